// Package snapshot holds rebuildable copies of an aggregate's state.
//
// A snapshot is a cache, never the truth. One that is missing, corrupt, of
// another layout, or ahead of its stream is ignored and replaced; replay of the
// whole stream gives the same state. Because of that a snapshot may be written
// lazily: every n events in the batch that crosses the mark, and when an idle
// aggregate is passivated.
package snapshot
