// Package journal is the contract of an append-only store of streams.
//
// A [Journal] takes whole batches: a [Batch] is stored entirely or not at all,
// and nothing is answered before it is durable. Appends are gated by the head
// of their stream alone: a batch that expects another version than the stored
// one is an [ErrConflict] and writes nothing, so streams are gapless and never
// fork, whoever writes.
//
// The adapters lie beside this package: memory for tests and caches, bolt for
// one process with one file. Package journaltest holds one named subtest for
// each promise of the contract; an adapter is one that passes them.
package journal
