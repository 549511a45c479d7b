package aggregate

import (
	"github.com/troupe-go/troupe/envelope"
)

// Root is what every aggregate has: an identity, a version, and the events
// that it recorded and nobody has committed yet. Embed it in a struct to make
// the struct an aggregate. The zero Root is a new aggregate without an id.
//
// A Root is not safe for concurrent use; an actor gives its aggregate to one
// command at a time.
type Root struct {
	id       string
	version  uint64 // includes what is recorded
	snapshot uint64 // version of the newest stored snapshot known
	ended    uint64 // version of the tombstone that the present life began behind; 0 without one
	rec      *Recorder

	replaying bool // a stored record is being applied: its mutator enqueues nothing
}

// ID returns the aggregate's id, empty until it has one.
func (r *Root) ID() string { return r.id }

// SetID gives the aggregate its id. The first event's mutator usually does.
// A command that changes the id of an aggregate which has one is refused with
// [ErrInvalid].
func (r *Root) SetID(id string) { r.id = id }

// Version returns how many events the aggregate has, recorded ones included.
// An aggregate at version 0 does not exist yet; see also [Root.Exists].
func (r *Root) Version() uint64 { return r.version }

// Exists reports whether the aggregate has an event: it was created, and not
// deleted since.
func (r *Root) Exists() bool { return r.version > r.ended }

// Metadata returns what each event recorded from now on inherits.
func (r *Root) Metadata() envelope.Metadata {
	if r.rec == nil {
		return envelope.Metadata{}
	}
	return r.rec.Metadata
}

// SetMetadata sets what each event recorded from now on inherits. It is not
// part of the state and is gone after the commit. An actor sets it from the
// command.
func (r *Root) SetMetadata(m envelope.Metadata) { r.recorder().Metadata = m }

func (r *Root) recorder() *Recorder {
	if r.rec == nil {
		r.rec = new(Recorder)
	}
	return r.rec
}

// Enqueue queues value under name for the listeners of an [Emitter]: they get
// it once the command's commit succeeded, and never when it failed. It is for
// what is not an event: an event that is enqueued says so in its definition,
// see [Event.Enqueue]. A mutator may call it; while history is replayed it does
// nothing. The value is handed over as it is: do not change it later.
//
// A blank name, or more than [MaxEmissions] of one command, is an [ErrInvalid]
// of the command.
func (r *Root) Enqueue(name string, value any) { r.enqueue(Emission{Name: name, Value: value}) }

func (r *Root) enqueue(e Emission) {
	if r.replaying {
		return
	}
	rec := r.recorder()
	e.Stream.ID, e.Metadata = r.id, rec.Metadata
	rec.Emissions = append(rec.Emissions, e)
}

// AggregateRoot returns r: it is how the runtime finds the Root of a struct
// that embeds one. See [Rooted].
func (r *Root) AggregateRoot() *Root { return r }

// Rooted is a pointer to a struct that has a [Root]. Embedding a Root is enough;
// a struct that keeps it in a field has a method AggregateRoot that returns the
// field's address.
type Rooted interface{ AggregateRoot() *Root }

// rootOf returns the Root of a. Define has checked that there is one.
func rootOf[A any](a *A) *Root { return any(a).(Rooted).AggregateRoot() }

// Recorder collects recorded events until they are committed. It is the
// runtimes' side of a [Root]: an actor lends one to its aggregate for a turn.
type Recorder struct {
	Records   []envelope.Record
	Emissions []Emission // enqueued, for after the commit
	Metadata  envelope.Metadata

	messages []envelope.Message // published by the command, see [TakeMessages]
	failed   error              // of one that could not be encoded

	readOnly bool // of a peeked aggregate
}
