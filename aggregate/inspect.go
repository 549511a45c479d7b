package aggregate

import (
	"cmp"
	"fmt"
	"iter"
	"reflect"
	"slices"

	"github.com/troupe-go/troupe/envelope"
)

// EventType describes one kind of event of an aggregate, for tools.
type EventType struct {
	Name    string
	Schema  uint32       // the current one
	Payload reflect.Type // of the current schema
}

// Events yields the kinds of event of A that are recorded, ordered by name.
func (s *Spec[A]) Events() iter.Seq[EventType] {
	all := make([]EventType, 0, len(s.events))
	for name, def := range s.events {
		if def.payload != nil {
			all = append(all, EventType{Name: name, Schema: def.schema, Payload: def.payload})
		}
	}
	slices.SortFunc(all, func(a, b EventType) int { return cmp.Compare(a.Name, b.Name) })
	return slices.Values(all)
}

// Decode returns the payload of a stored record, brought to the current schema.
// It applies nothing. A record of a former event that is dropped or split need
// not be one payload: for these, use [Spec.DecodeAll].
//
// Errors: [ErrReplay], as a [ReplayError].
func (s *Spec[A]) Decode(rec *envelope.Record) (payload any, err error) {
	all, err := s.DecodeAll(rec)
	if err != nil {
		return nil, err
	}
	if len(all) != 1 {
		return nil, replayError(rec, fmt.Errorf("its event is a former one, and is read as %d events: use DecodeAll", len(all)))
	}
	return all[0], nil
}

// DecodeAll returns the payloads that a stored record is read as, brought to
// their current schemas: one, except for a former event. It applies nothing.
//
// Errors: [ErrReplay], as a [ReplayError].
func (s *Spec[A]) DecodeAll(rec *envelope.Record) (payloads []any, err error) {
	def, codec, err := s.lookup(rec)
	if err == nil {
		payloads, err = def.decode(codec, rec)
	}
	if err != nil {
		return nil, replayError(rec, err)
	}
	return payloads, nil
}

// lookup finds what reads rec.
func (s *Spec[A]) lookup(rec *envelope.Record) (eventDef[A], envelope.Codec, error) {
	def, ok := s.events[rec.Name]
	if !ok {
		return def, nil, fmt.Errorf("%w in aggregate type %q", ErrUnknownEvent, s.typ)
	}
	codec, err := s.codecs.Lookup(rec.Codec)
	return def, codec, err
}
