package envelope

import (
	"encoding"
	"encoding/json"
	"reflect"
	"slices"
	"sync"
	"time"
)

// JSONAppender is a struct that appends its own JSON: the same bytes as by
// [json.Marshal], but faster. On an error [JSON] asks encoding/json. sourced
// writes the method for payloads and snapshots of plain fields.
type JSONAppender interface {
	AppendJSON(dst []byte) ([]byte, error)
}

// JSONDecoder is a struct, behind a pointer, that decodes its own JSON: the
// same value and the same error as by [json.Unmarshal] into a new struct, but
// faster. It keeps no reference to data. sourced writes the method for payloads
// and snapshots of plain fields.
type JSONDecoder interface {
	DecodeJSON(data []byte) error
}

type jsonCodec struct{}

func (jsonCodec) Name() string { return CodecJSON }

func (jsonCodec) Encode(v any) ([]byte, error) {
	a, ok := v.(JSONAppender)
	if !ok || !stands(reflect.TypeOf(v)) {
		return json.Marshal(v)
	}
	scratch := scratches.Get().(*[]byte)
	data, err := a.AppendJSON((*scratch)[:0])
	if err != nil {
		scratches.Put(scratch)
		return json.Marshal(v)
	}
	exact := append([]byte(nil), data...)
	if cap(data) > cap(*scratch) && cap(data) <= maxScratchBytes {
		*scratch = data
	}
	scratches.Put(scratch)
	return exact, nil
}

func (jsonCodec) Decode(data []byte, v any) error {
	d, ok := v.(JSONDecoder)
	if !ok {
		return json.Unmarshal(data, v)
	}
	t := reflect.TypeOf(v)
	if t.Kind() != reflect.Pointer || reflect.ValueOf(v).IsNil() || !stands(t.Elem()) {
		return json.Unmarshal(data, v)
	}
	return d.DecodeJSON(data)
}

// scratches are buffers that JSON is appended to before it is copied at its
// exact size: a record's bytes may live long.
var scratches = sync.Pool{New: func() any { return new([]byte) }}

// maxScratchBytes is the largest buffer that is kept.
const maxScratchBytes = 64 << 10

// stands reports whether the JSON methods of t may stand for encoding/json: t
// is a struct, and the methods are its own and all there is. A struct that
// embeds one with JSON methods has them too, but they know of a part of it
// only. And where encoding/json would ask t or a field, it must be asked: the
// generator does not see methods in files for other platforms.
func stands(t reflect.Type) bool {
	if known, ok := standing.Load(t); ok {
		return known.(bool)
	}
	ok := t.Kind() == reflect.Struct && !encodesItself(t)
	for i := 0; ok && i < t.NumField(); i++ {
		f := t.Field(i)
		ok = !f.Anonymous && !encodesItself(f.Type)
		if k := f.Type.Kind(); ok && (k == reflect.Pointer || k == reflect.Slice) {
			ok = !encodesItself(f.Type.Elem())
		}
	}
	standing.Store(t, ok)
	return ok
}

var standing sync.Map // reflect.Type: bool

var timeType = reflect.TypeFor[time.Time]()

// encodesItself reports whether encoding/json would call methods of t. Those of
// a time are known.
func encodesItself(t reflect.Type) bool {
	return t != timeType && slices.ContainsFunc(encoders, reflect.PointerTo(t).Implements)
}

var encoders = []reflect.Type{
	reflect.TypeFor[json.Marshaler](), reflect.TypeFor[json.Unmarshaler](),
	reflect.TypeFor[encoding.TextMarshaler](), reflect.TypeFor[encoding.TextUnmarshaler](),
}
