package aggregate

import (
	"fmt"
	"reflect"

	"github.com/troupe-go/troupe/envelope"
)

// upcaster reads one old schema and brings its payload one schema further.
type upcaster struct {
	in, out reflect.Type
	decode  func(codec envelope.Codec, data []byte) (any, error)
	convert func(any) any
}

// Upcast makes e read payloads of schema from, an Old, by turning them into a
// payload of schema from+1. Steps chain: with upcasters from 1 and from 2, a
// stored schema 1 goes through both. Stored data is never changed, and an
// aggregate without old records pays nothing. It returns e.
//
// A step that is missing, declared twice, or does not lead to the next step's
// type makes [Define] panic.
func Upcast[A, E, Old, New any](e *Event[A, E], from uint32, f func(Old) New) *Event[A, E] {
	if e.ups == nil {
		e.ups = make(map[uint32]upcaster)
	}
	if _, twice := e.ups[from]; twice {
		panic(fmt.Sprintf("aggregate: event %q has two upcasters from schema %d", e.name, from))
	}
	e.ups[from] = upcaster{
		in:  reflect.TypeFor[Old](),
		out: reflect.TypeFor[New](),
		decode: func(codec envelope.Codec, data []byte) (any, error) {
			var old Old
			err := codec.Decode(data, &old)
			return old, err
		},
		convert: func(old any) any { return f(old.(Old)) },
	}
	return e
}

// checkChain proves that every schema from 1 leads to the current one.
func checkChain(name string, current uint32, ups map[uint32]upcaster, payload reflect.Type) error {
	for from := range ups {
		if from == 0 || from >= current {
			return fmt.Errorf("event %q is at schema %d: an upcaster from=%d leads nowhere", name, current, from)
		}
	}
	for from := uint32(1); from < current; from++ {
		up, ok := ups[from]
		if !ok {
			return fmt.Errorf("event %q is at schema %d but has no upcaster from=%d", name, current, from)
		}
		want := payload
		if from+1 < current {
			next, ok := ups[from+1]
			if !ok {
				continue // reported in the next round
			}
			want = next.in
		}
		if up.out != want {
			return fmt.Errorf("event %q: the upcaster from=%d gives %s, the next step needs %s", name, from, up.out, want)
		}
	}
	return nil
}

// upcastTo decodes rec as what it was and brings it to the current schema.
func upcastTo(current uint32, ups map[uint32]upcaster, codec envelope.Codec, rec *envelope.Record) (any, error) {
	up, ok := ups[rec.Schema]
	if !ok {
		return nil, fmt.Errorf("%w: the newest known is %d", ErrUnknownSchema, current)
	}
	v, err := up.decode(codec, rec.Data)
	if err != nil {
		return nil, err
	}
	v = up.convert(v)
	for n := rec.Schema + 1; n < current; n++ {
		v = ups[n].convert(v)
	}
	return v, nil
}
