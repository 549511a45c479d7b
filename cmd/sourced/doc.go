// Command sourced writes, for each aggregate type of a package, the exported
// commands, the events' payloads and their sealed interface, the snapshot, the
// baseline, and the [aggregate.Spec], so that the model itself is a struct and a
// few methods:
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
//	sourced [-check] [-no-tests] [folder ...]
//	sourced lock [-accept] [folder ...]
//
// It reads syntax only, so it works on a package that does not compile yet.
// Files are written only when they change. With -check nothing is written, and
// the exit code is 1 when something would be. A folder called lock is written
// ./lock.
//
// # Directives
//
//	//sourced:aggregate NAME [enqueue[=FIELD]] [events=TYPE] [root=FIELD]
//
// above a struct that embeds aggregate.Root makes it an aggregate; NAME is the
// durable first half of its streams' identity. enqueue hands each event to the
// listeners of an aggregate.Emitter after its commit: the host's, or the one in
// FIELD. events names the interface of the payloads, for Todo TodoEvent without
// it. root names the field that is the aggregate.Root where none is embedded.
//
//	//sourced:event NAME [schema=N] [when EXPR] [require EXPR]
//
// above an unexported method with a pointer receiver and without results makes
// it the mutator of the event NAME. The parameters become the payload's fields.
// The exported command of the same name evaluates the expressions, with the
// receiver and the parameters in scope: nothing happens while when is false,
// and the error of require refuses.
//
//	//sourced:snapshot schema=N [id=FIELD]
//
// beside //sourced:aggregate adds snapshots of all fields, except those tagged
// `snapshot:"-"`. With id, the snapshot holds the aggregate's id as FIELD.
//
//	//sourced:baseline schema=N
//
// beside //sourced:aggregate adds an [aggregate.Baseline], so that the history of
// an aggregate can be let go: for Todo TodoBaseline, which is one of the payloads
// in TodoEvent too, and which has the fields that a snapshot has or would have,
// without the id. It needs no //sourced:snapshot. A field tagged `snapshot:"-"`
// is left out here as well, and is empty behind a truncation: tag only what can be
// computed from the others.
//
//	//sourced:upcast NAME from=N
//	//sourced:upcast baseline from=N
//
// above a func(Old) New makes it the step from schema N of event NAME, or of the
// baseline, to N+1.
//
//	//sourced:rename OLD NEW
//	//sourced:rename OLD NEW [schema=N]
//	//sourced:split OLD [schema=N]
//	//sourced:drop OLD
//
// say what became of an event that is no longer recorded, since its records
// stay. Above the struct, rename reads them as NEW, schemas and all; above a
// func(Old) New it converts their payload. split stands above a func(Old) []E,
// where E is the events' interface, and reads a record as the events that it
// returns; drop, above the struct, skips it. A record counts as one version
// whatever it is read as. With schema, N is that of Old, and older ones have
// upcasters as ever.
//
// Where two aggregates of a package have an event of that name, write
// AGGREGATE/NAME; where two have a baseline, AGGREGATE/baseline. An event may be
// called baseline in an aggregate without one. To give that aggregate a baseline,
// give the event another name first, and write //sourced:rename baseline NAME
// above the struct; its upcasters then name NAME. Names that begin with x-sourced-
// are reserved: a stored baseline is a record called x-sourced-baseline.
//
// # The lock
//
// A stored event is read for ever, and its fields are found by name: rename a
// parameter, and every event stored so far loses it. So the file sourced.lock
// beside the sources records the shape of each schema of each event, baseline and
// snapshot, a line for each field with its JSON name and its type. Commit it.
//
// sourced adds what is new to the lock. What contradicts it is an error, and
// nothing is written:
//
//   - A schema has another shape: a field was renamed, retyped, added or
//     removed, also inside a struct of the package. Raise it to schema=N+1, and
//     write an upcaster from=N, also for a baseline, behind which nothing is left
//     to replay. A snapshot needs none: an old one is ignored.
//   - A schema is lower than the newest one of the lock, or more than one
//     higher.
//   - An upcaster from=N reads a struct of another shape than schema N.
//   - An event, a baseline or an aggregate is gone: records of it may be stored,
//     and a truncated stream begins with its baseline.
//
// The order of parameters and fields, the names of Go types and the aliases of
// imports make no difference. A type of another package, and a type of this one
// that has a method MarshalJSON or MarshalText, is recorded by its name; what it
// writes is not looked at. An upcaster that reads anything but a struct, for
// example map[string]any, is trusted.
//
// While the work was never released, no record is stored, and the source is
// right: sourced lock prints where lock and source differ, and exits with 1 if
// they do; sourced lock -accept makes the lock say what the source says. It
// replaces shapes, and drops events and baselines that are gone and schemas above
// the newest.
//
// # The stored payloads
//
// For each aggregate a test is generated that calls aggregatetest.Payloads: the
// folder testdata/payloads must have one stored example for each event and
// schema, those of the baseline included, and all of them must still be readable.
// Write what is missing for current schemas, and commit it:
//
//	TROUPE_WRITE_PAYLOADS=1 go test ./...
//
// With -no-tests there is no such test.
//
// # JSON
//
// A payload, snapshot or baseline whose fields are all plain gets methods that write
// and read its JSON; [envelope.JSON] uses them. Bytes, values and errors are
// those of encoding/json, which still does what is not plain. Plain are
// strings, bools, numbers, time.Time, time.Duration, bytes, the package's own
// types over those that do not encode themselves, slices of them, and pointers
// to all but bytes.
//
// # Catalogue
//
//	sourced catalogue [-format text|mermaid|asyncapi] [-title TITLE] [folder ...]
//
// prints what the packages in the folders contain: aggregates, commands, events
// with their schemas and upcasters, former events, and who listens to what.
// ./... means the folders below too, except testdata, vendor, hidden ones and
// other modules. A folder called catalogue is ./catalogue to sourced itself.
//
//	package account  github.com/troupe-go/troupe/examples/bank/account
//
//	  aggregate account  Account  snapshot schema 1  baseline schema 1
//	    Account is one account of one owner.
//
//	    commands
//	      account.close     CloseAccount  Number -> View   must exist
//	      account.open      OpenAccount   Open -> View
//
//	    methods
//	      Close()  -> closed
//	        when !a.Closed
//	        require a.mayClose()
//
//	    events
//	      opened  schema 1  AccountOpened
//	        Open gives the account its number and its owner.
//	        id     string
//	        owner  string
//	        at     time.Time
//
// text is for a terminal, and for the diff of a review. mermaid is a flowchart
// from commands to listeners. asyncapi is an AsyncAPI 3.0.0 document in JSON, with
// a channel for each event, AGGREGATE.EVENT, and each command, and JSON Schemas of
// what encoding/json writes: a nil slice, map or pointer is null.
//
// Commands are the calls of aggregate.NewCommand, listeners those of
// aggregate.Listen and of Listen with a name. A listener finds the events of all
// packages given. Which emitter it listens to is not followed: it is taken to
// hear every aggregate with enqueue. What the syntax does not tell, as a name
// made at run time, is left out and reported, with exit code 0.
//
// [envelope.JSON]: https://pkg.go.dev/github.com/troupe-go/troupe/envelope#JSON
// [aggregate.Baseline]: https://pkg.go.dev/github.com/troupe-go/troupe/aggregate#Baseline
// [aggregate.Spec]: https://pkg.go.dev/github.com/troupe-go/troupe/aggregate#Spec
package main
