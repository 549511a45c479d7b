// Package memory is a journal that lives in the process's memory: for tests,
// for caches, and as the yardstick of what everything above a journal costs.
//
// It keeps every promise of the contract but durability, and takes whole
// batches but for fences. Any table of a read model exists, and any row of it
// has the columns that were written to it. A batch is committed inside Submit,
// so there is no queue, no committer and no waiting.
package memory
