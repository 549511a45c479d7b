package aggregate

import (
	"fmt"
	"reflect"

	"github.com/troupe-go/troupe/envelope"
)

// Events come and go while their records stay. What reads the records of an
// event that is no longer recorded:
//
//   - [Event.Formerly]: it has another name now.
//   - [Split]: it is another event now, or several.
//   - [Drop]: it means nothing any more.
//
// Stored data is never changed. A record counts as one version of its stream,
// however many events it is read as, none included: versions count records.

// Former describes an event that is no longer recorded, for [Split]: the name
// and the payload of its records. [Event.Schema] and [Upcast] apply as ever.
func Former[A, Old any](name string) *Event[A, Old] { return On[A, Old](name, nil) }

// Split makes the records of a former event be read as the events that f
// returns, in order, none included: payloads of events of the same aggregate,
// current schemas, as values of their own types or of an interface E that they
// implement.
//
// A payload that is not one of an event is an [ErrReplay] when a record is
// read.
func Split[A, Old, E any](former *Event[A, Old], f func(Old) []E) Part[A] {
	return splitPart[A, Old, E]{former, f}
}

type splitPart[A, Old, E any] struct {
	former *Event[A, Old]
	f      func(Old) []E
}

func (p splitPart[A, Old, E]) addTo(s *Spec[A]) error {
	e := p.former
	switch {
	case e == nil || p.f == nil:
		return fmt.Errorf("a split lacks its former event or its function")
	case e.apply != nil || e.spec != nil:
		return fmt.Errorf("event %q is split, but is still recorded: describe it by aggregate.Former", e.name)
	case e.schema == 0:
		return fmt.Errorf("former event %q has schema 0; schemas count from 1", e.name)
	}
	if err := checkChain(e.name, e.schema, e.ups, reflect.TypeFor[Old]()); err != nil {
		return err
	}
	decode := func(codec envelope.Codec, rec *envelope.Record) ([]any, error) {
		old, err := e.decode(codec, rec)
		if err != nil {
			return nil, err
		}
		events := p.f(old)
		all := make([]any, len(events))
		for i, v := range events {
			all[i] = v
		}
		return all, nil
	}
	return s.addEvent(e.name, eventDef[A]{
		schema: e.schema,
		decode: decode,
		replay: func(a *A, codec envelope.Codec, rec *envelope.Record) error {
			payloads, err := decode(codec, rec)
			if err != nil {
				return err
			}
			for _, v := range payloads {
				def, err := s.payload(v)
				if err != nil {
					return fmt.Errorf("former event %q: %w", e.name, err)
				}
				def.apply(a, v)
			}
			return nil
		},
	})
}

// Drop makes the records of the former event called name, of any schema, be
// skipped. Each still counts as a version.
func Drop[A any](name string) Part[A] { return dropPart[A]{name} }

type dropPart[A any] struct{ name string }

func (p dropPart[A]) addTo(s *Spec[A]) error {
	return s.addEvent(p.name, eventDef[A]{
		decode: func(envelope.Codec, *envelope.Record) ([]any, error) { return nil, nil },
		replay: func(*A, envelope.Codec, *envelope.Record) error { return nil },
	})
}

// payload finds the event that v is the payload of.
//
// Errors: [ErrInvalid].
func (s *Spec[A]) payload(v any) (payloadDef[A], error) {
	def, ok := s.payloads[reflect.TypeOf(v)]
	switch {
	case !ok:
		return def, envelope.Invalid("event payload", fmt.Sprintf("%T", v), "is not the payload of an event of "+s.typ)
	case def.apply == nil:
		return def, envelope.Invalid("event payload", fmt.Sprintf("%T", v), "is the payload of several events of "+s.typ+", "+def.name+" among them: give each a type of its own")
	}
	return def, nil
}
