package aggregate

import (
	"fmt"
	"reflect"

	"github.com/troupe-go/troupe/envelope"
)

// Part is what an aggregate is defined from: an [Event], [Snapshots], or what
// reads events of former times: [Split], [Drop].
type Part[A any] interface{ addTo(*Spec[A]) error }

// Spec describes an aggregate type: its durable name, its events, how its
// state becomes a snapshot, and its codecs. It is immutable once the program
// runs, and safe for concurrent use.
type Spec[A any] struct {
	typ      string
	events   map[string]eventDef[A] // former names too
	payloads map[reflect.Type]payloadDef[A]
	snapshot *snapshotDef[A]
	baseline func(*A) error // records one; nil without
	codec    envelope.Codec
	codecs   *envelope.Codecs
}

// eventDef is what reads the records of one name: an [Event] without its
// payload's type, or what stands for an event of former times.
type eventDef[A any] struct {
	schema  uint32
	replay  func(a *A, codec envelope.Codec, rec *envelope.Record) error
	decode  func(codec envelope.Codec, rec *envelope.Record) ([]any, error)
	payload reflect.Type // nil for an event of former times
}

// payloadDef finds an event by its payload's type.
type payloadDef[A any] struct {
	name   string
	apply  func(a *A, payload any)
	record func(a *A, payload any) error
}

// Define makes the Spec of A, a struct that embeds [Root]. typ is the durable
// first half of the streams' identity: choose it for ever.
//
// Define is called while package variables are built; a mistake in the
// definition (an event defined twice, a missing upcaster, a type without Root)
// is a mistake in the program, so it panics and names it.
func Define[A any](typ string, parts ...Part[A]) *Spec[A] {
	s := &Spec[A]{
		typ: typ, codec: envelope.JSON,
		events:   make(map[string]eventDef[A], len(parts)),
		payloads: make(map[reflect.Type]payloadDef[A], len(parts)),
	}
	if err := envelope.ValidateName("aggregate type", typ, envelope.MaxNameBytes); err != nil {
		panic("aggregate: " + err.Error())
	}
	switch a, ok := any(new(A)).(Rooted); {
	case !ok:
		panic(fmt.Sprintf("aggregate: %T does not embed aggregate.Root and has no method AggregateRoot", *new(A)))
	case a.AggregateRoot() == nil:
		panic(fmt.Sprintf("aggregate: %T embeds a pointer to aggregate.Root, which is nil in a new one; embed aggregate.Root", *new(A)))
	}
	for i, p := range parts {
		if p == nil {
			panic(fmt.Sprintf("aggregate: %s: part %d is nil: package variables are built in order of dependency, so define the part in a variable of its own", typ, i))
		}
		if err := p.addTo(s); err != nil {
			panic(fmt.Sprintf("aggregate: %s: %v", typ, err))
		}
	}
	return s
}

// WithCodec makes s write with codec, and read that, JSON and the others. It
// returns s, for use in a package variable. A codec that cannot be registered
// is a mistake in the program and panics.
func (s *Spec[A]) WithCodec(codec envelope.Codec, others ...envelope.Codec) *Spec[A] {
	set, err := envelope.NewCodecs(append(others, codec)...)
	if err != nil {
		panic(fmt.Sprintf("aggregate: %s: %v", s.typ, err))
	}
	s.codec, s.codecs = codec, set
	return s
}

// Type returns the durable type name.
func (s *Spec[A]) Type() string { return s.typ }

// Stream returns the identity of the aggregate of that id.
func (s *Spec[A]) Stream(id string) envelope.Stream { return envelope.Stream{Type: s.typ, ID: id} }

// Codec returns the codec that s writes with.
func (s *Spec[A]) Codec() envelope.Codec { return s.codec }

// Codecs returns the codecs that s reads with.
func (s *Spec[A]) Codecs() *envelope.Codecs { return s.codecs }

// New returns an aggregate without events that has the id.
func (s *Spec[A]) New(id string) *A {
	a := new(A)
	rootOf(a).id = id
	return a
}

// Version returns the version of a, recorded events included.
func (s *Spec[A]) Version(a *A) uint64 { return rootOf(a).version }

// ID returns the id of a.
func (s *Spec[A]) ID(a *A) string { return rootOf(a).id }

// SnapshotVersion returns the version of the newest snapshot that a was
// restored from or that [Spec.SetSnapshotVersion] told of, and 0 for none.
func (s *Spec[A]) SnapshotVersion(a *A) uint64 { return rootOf(a).snapshot }

// SetSnapshotVersion notes that a snapshot of a at version is stored.
func (s *Spec[A]) SetSnapshotVersion(a *A, version uint64) { rootOf(a).snapshot = version }

// Lend makes a record into rec from now on; nil takes the recorder back. It is
// for runtimes.
func (s *Spec[A]) Lend(a *A, rec *Recorder) { rootOf(a).rec = rec }

// Pending returns what a recorded and nobody committed yet. The slice is a's
// own.
func (s *Spec[A]) Pending(a *A) []envelope.Record {
	if r := rootOf(a); r.rec != nil {
		return r.rec.Records
	}
	return nil
}

// Committed tells a that its pending records are stored: it forgets them and
// the metadata.
func (s *Spec[A]) Committed(a *A) { rootOf(a).rec = nil }
