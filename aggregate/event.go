package aggregate

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/troupe-go/troupe/envelope"
)

// Event is one kind of event of an aggregate A, with payload E: its durable
// name, how it changes the state, and when it may be recorded. Make one with
// [On], pass it to [Define], and record with [Event.Record].
type Event[A, E any] struct {
	name    string
	schema  uint32
	apply   func(*A, E)
	when    func(*A, E) bool
	require func(*A, E) error
	ups     map[uint32]upcaster
	former  []string // names that old records have
	enqueue bool
	take    func(*A) E        // of a baseline: the state as payload
	emitter func(*A) *Emitter // nil: the runtime's
	spec    *Spec[A]          // set by Define
}

// On declares the event called name. apply changes the state; it runs when the
// event is recorded and at each replay, so it must not fail, read a clock, or
// do anything but change a. The payload's schema is 1 unless [Event.Schema]
// says otherwise.
func On[A, E any](name string, apply func(a *A, e E)) *Event[A, E] {
	return &Event[A, E]{name: name, schema: 1, apply: apply}
}

// Schema sets the layout number of E, from 1. Each number below needs an
// [Upcast].
func (e *Event[A, E]) Schema(n uint32) *Event[A, E] { e.schema = n; return e }

// When makes recording a no-op while ok reports false: there is nothing to do,
// the command succeeds. Replay does not ask: history stands.
func (e *Event[A, E]) When(ok func(a *A, e E) bool) *Event[A, E] { e.when = ok; return e }

// Require refuses to record while check returns an error, which the command's
// caller gets as an [ErrRejected] unless it has another code. Replay does not
// ask: history stands.
func (e *Event[A, E]) Require(check func(a *A, e E) error) *Event[A, E] { e.require = check; return e }

// Formerly makes e read the records of earlier names too, as they are: schemas
// and upcasters are e's own. Stored data is never changed. It returns e.
func (e *Event[A, E]) Formerly(names ...string) *Event[A, E] {
	e.former = append(e.former, names...)
	return e
}

// Enqueue makes each payload that is recorded go to the listeners of an
// [Emitter], once its commit succeeded. Replay enqueues nothing. It returns e.
func (e *Event[A, E]) Enqueue() *Event[A, E] { e.enqueue = true; return e }

// EnqueueTo is [Event.Enqueue] for an aggregate that knows its own emitter. Where
// emitter returns nil, the runtime's is meant.
func (e *Event[A, E]) EnqueueTo(emitter func(*A) *Emitter) *Event[A, E] {
	e.enqueue, e.emitter = true, emitter
	return e
}

// Name returns the durable name.
func (e *Event[A, E]) Name() string { return e.name }

// Record records that payload happened to a: it checks When, then Require,
// encodes, applies, and keeps the record until the commit. On an error nothing
// changed.
//
// Errors: what Require returned; [ErrInvalid] for a payload that cannot be
// encoded or is larger than [envelope.MaxDataBytes], and for an aggregate that
// was only peeked at.
func (e *Event[A, E]) Record(a *A, payload E) error {
	if e.spec == nil {
		return envelope.Invalid("event", e.name, "is not part of an aggregate: pass it to aggregate.Define")
	}
	if e.when != nil && !e.when(a, payload) {
		return nil
	}
	if e.require != nil {
		if err := e.require(a, payload); err != nil {
			return refusal(err)
		}
	}
	r := rootOf(a)
	rec := r.recorder()
	if rec.readOnly {
		return envelope.Invalid("event", e.name, "cannot be recorded: the aggregate was peeked at, not loaded")
	}
	data, err := e.spec.codec.Encode(payload)
	if err != nil {
		return &Error{Code: CodeInvalid, Message: fmt.Sprintf("event %q of %s cannot be encoded: %v", e.name, e.spec.typ, err), Err: err}
	}
	if len(data) > envelope.MaxDataBytes {
		return envelope.Invalid("event data", e.name, fmt.Sprintf("has %d bytes, at most %d are allowed", len(data), envelope.MaxDataBytes))
	}
	if e.take == nil { // else the payload is the state already
		e.apply(a, payload)
	}
	r.version++
	if e.enqueue {
		em := Emission{Name: e.name, Version: r.version, Value: payload}
		if e.emitter != nil {
			em.to = e.emitter(a)
		}
		r.enqueue(em)
	}
	rec.Records = append(rec.Records, envelope.Record{
		Stream:   envelope.Stream{Type: e.spec.typ, ID: r.id},
		Version:  r.version,
		Name:     e.name,
		Schema:   e.schema,
		Codec:    e.spec.codec.Name(),
		Data:     data,
		Metadata: rec.Metadata,
	})
	return nil
}

// addTo makes e part of s.
func (e *Event[A, E]) addTo(s *Spec[A]) error {
	if e == nil {
		return fmt.Errorf("an event is nil: package variables are built in order of dependency, so define it in a variable of its own")
	}
	if e.spec != nil {
		return fmt.Errorf("event %q is part of aggregate %s already", e.name, e.spec.typ)
	}
	if e.apply == nil {
		return fmt.Errorf("event %q has no function that applies it", e.name)
	}
	if e.schema == 0 {
		return fmt.Errorf("event %q has schema 0; schemas count from 1", e.name)
	}
	payload := reflect.TypeFor[E]()
	if err := checkChain(e.name, e.schema, e.ups, payload); err != nil {
		return err
	}
	def := eventDef[A]{
		schema: e.schema, payload: payload, replay: e.replay,
		decode: func(codec envelope.Codec, rec *envelope.Record) ([]any, error) {
			v, err := e.decode(codec, rec)
			return []any{v}, err
		},
	}
	if e.take != nil {
		s.events[e.name] = def
		s.baseline = func(a *A) error { return e.Record(a, e.take(a)) }
		e.spec = s
		return nil // nobody else records one
	}
	if err := s.addEvent(e.name, def); err != nil {
		return err
	}
	def.payload = nil // a former name is not what is recorded
	for _, name := range e.former {
		if err := s.addEvent(name, def); err != nil {
			return err
		}
	}
	e.spec = s
	// Two events may share a payload type, which then names neither.
	p := payloadDef[A]{name: e.name}
	if _, shared := s.payloads[payload]; !shared {
		p.apply = func(a *A, v any) { e.apply(a, v.(E)) }
		p.record = func(a *A, v any) error { return e.Record(a, v.(E)) }
	}
	s.payloads[payload] = p
	return nil
}

// addEvent makes def read the records called name.
func (s *Spec[A]) addEvent(name string, def eventDef[A]) error {
	if err := envelope.ValidateName("event name", name, envelope.MaxNameBytes); err != nil {
		return err
	}
	if strings.HasPrefix(name, envelope.ReservedPrefix) {
		return fmt.Errorf("event %q: the prefix %s is reserved", name, envelope.ReservedPrefix)
	}
	if _, twice := s.events[name]; twice {
		return fmt.Errorf("event %q is defined twice", name)
	}
	s.events[name] = def
	return nil
}

// replay decodes rec and applies it.
func (e *Event[A, E]) replay(a *A, codec envelope.Codec, rec *envelope.Record) error {
	payload, err := e.decode(codec, rec)
	if err != nil {
		return err
	}
	e.apply(a, payload)
	return nil
}

// decode returns the payload of rec, upcasting an older schema.
func (e *Event[A, E]) decode(codec envelope.Codec, rec *envelope.Record) (E, error) {
	var payload E
	if rec.Schema == e.schema {
		err := codec.Decode(rec.Data, &payload)
		return payload, err
	}
	up, err := upcastTo(e.schema, e.ups, codec, rec)
	if err != nil {
		return payload, err
	}
	return up.(E), nil // checkChain has proven the chain's last type
}
