// Command sourced writes, for each aggregate type of a package, the exported
// commands, the events' payloads and their sealed interface, the snapshot, and
// the [aggregate.Spec], so that the model itself is a struct and a few methods:
//
//	//go:generate go tool sourced
//
//	// Todo is one thing to do.
//	//
//	//sourced:aggregate todo
//	//sourced:snapshot schema=1
//	type Todo struct {
//		aggregate.Root
//		Task      string
//		Completed bool
//	}
//
//	// complete marks the todo as done.
//	//
//	//sourced:event completed when !t.Completed
//	func (t *Todo) complete() { t.Completed = true }
//
// Run it in the package's folder, or name folders:
//
//	sourced [-check] [folder ...]
//
// It reads syntax only, so it works on a package that does not compile yet.
// Files are written only when they change. With -check nothing is written, and
// the exit code is 1 when something would be.
//
// # Directives
//
//	//sourced:aggregate NAME
//
// above a struct that embeds aggregate.Root makes it an aggregate; NAME is the
// durable first half of its streams' identity.
//
//	//sourced:event NAME [schema=N] [when EXPR] [require EXPR]
//
// above an unexported method with a pointer receiver and without results makes
// it the mutator of the event NAME. The parameters become the payload's fields.
// The exported command of the same name evaluates the expressions, with the
// receiver and the parameters in scope: nothing happens while when is false,
// and the error of require refuses.
//
//	//sourced:upcast NAME from=N
//
// above a func(Old) New makes it the step from schema N of event NAME to N+1.
// Where two aggregates of a package have an event of that name, write
// AGGREGATE/NAME.
//
//	//sourced:snapshot schema=N
//
// beside //sourced:aggregate adds snapshots of all fields, except those tagged
// `snapshot:"-"`.
//
// # JSON
//
// A payload or a snapshot whose fields are all plain gets methods that write
// and read its JSON; [envelope.JSON] uses them. Bytes, values and errors are
// those of encoding/json, which still does what is not plain. Plain are
// strings, bools, numbers, time.Time, time.Duration, bytes, the package's own
// types over those that do not encode themselves, slices of them, and pointers
// to all but bytes.
//
// [envelope.JSON]: https://pkg.go.dev/github.com/troupe-go/troupe/envelope#JSON
// [aggregate.Spec]: https://pkg.go.dev/github.com/troupe-go/troupe/aggregate#Spec
package main
