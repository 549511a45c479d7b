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
	rec      *Recorder
}

// ID returns the aggregate's id, empty until it has one.
func (r *Root) ID() string { return r.id }

// SetID gives the aggregate its id. The first event's mutator usually does.
// A command that changes the id of an aggregate which has one is refused with
// [ErrInvalid].
func (r *Root) SetID(id string) { r.id = id }

// Version returns how many events the aggregate has, recorded ones included.
// An aggregate at version 0 does not exist yet.
func (r *Root) Version() uint64 { return r.version }

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

// root is how the package finds the Root inside a user's struct.
func (r *Root) root() *Root { return r }

// rooted is a pointer to a struct that embeds [Root].
type rooted interface{ root() *Root }

// rootOf returns the Root of a. Define has checked that there is one.
func rootOf[A any](a *A) *Root { return any(a).(rooted).root() }

// Recorder collects recorded events until they are committed. It is the
// runtimes' side of a [Root]: an actor lends one to its aggregate for a turn.
type Recorder struct {
	Records  []envelope.Record
	Metadata envelope.Metadata

	readOnly bool // of a peeked aggregate
}
