// Package mistyped does not compile: its clauses have the wrong types.
package mistyped

import "github.com/troupe-go/troupe/aggregate"

// Todo is one thing to do.
//
//sourced:aggregate todo
type Todo struct {
	aggregate.Root
	Done int
}

// finish is done.
//
//sourced:event finished schema=1 when t.Done require t.missing(n)
func (t *Todo) finish(n int) { t.Done = n }
