package aggregatetest

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"time"
)

// exampleTime is the moment in each example: not on a full second, and in UTC,
// which any codec keeps.
var exampleTime = time.Date(2026, time.February, 3, 4, 5, 6, 700_000_000, time.UTC)

// maxDepth bounds how deep an example goes; a type that holds itself is met
// twice.
const maxDepth = 16

// exampleTexts are tried for a type that reads text in a form of its own.
var exampleTexts = []string{
	"example", "1", "EUR", "1.5", "en", "1.50 EUR", "a", "A", "10s", "2026-02-03", "2026-02-03T04:05:06.7Z", "192.0.2.1", "192.0.2.0/24", "192.0.2.1:80",
	"6ba7b810-9dad-11d1-80b4-00c04fd430c8", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "someone@example.com", "https://example.com/",
	"#102030", "0a0b0c", "v1.2.3", "true",
}

// exampleOf makes a value of the type in which no field is zero, the same on
// each call. Where that is not possible (an interface, a type that reads only
// what it likes) a field stays zero, or is an error when even that cannot be
// encoded.
func exampleOf(typ reflect.Type) (reflect.Value, error) {
	m := exampleMaker{open: map[reflect.Type]int{}}
	v := reflect.New(typ).Elem()
	err := m.fill(v, typ.String())
	return v, err
}

// exampleMaker is one example on its way.
type exampleMaker struct {
	n    int // values made so far, so that no two are alike
	open map[reflect.Type]int
}

// fill sets v; path names it in errors.
func (m *exampleMaker) fill(v reflect.Value, path string) error {
	typ := v.Type()
	if m.open[typ] > 1 || len(m.open) > maxDepth {
		return nil
	}
	m.open[typ]++
	defer func() {
		if m.open[typ]--; m.open[typ] == 0 {
			delete(m.open, typ)
		}
	}()
	switch {
	case typ == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(exampleTime))
		return nil
	case typ == reflect.TypeFor[json.Number]():
		v.SetString(strconv.Itoa(m.next()))
		return nil
	case typ.Kind() != reflect.Pointer && typ.Kind() != reflect.Interface && encodesItself(typ):
		return m.fillSelf(v, path)
	}
	return m.fillKind(v, path)
}

// next is the next number; it fits into an int8.
func (m *exampleMaker) next() int {
	m.n++
	return (m.n-1)%100 + 1
}

// fillKind sets v by what it is made of.
func (m *exampleMaker) fillKind(v reflect.Value, path string) error {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(m.next()))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		v.SetUint(uint64(m.next()))
	case reflect.Float32, reflect.Float64:
		v.SetFloat(float64(m.next()) + 0.5)
	case reflect.Complex64, reflect.Complex128:
		v.SetComplex(complex(float64(m.next()), 0.5))
	case reflect.String:
		v.SetString("text " + strconv.Itoa(m.next()))
	case reflect.Pointer:
		if m.open[v.Type().Elem()] > 1 {
			return nil // the type holds itself
		}
		to := reflect.New(v.Type().Elem())
		if err := m.fill(to.Elem(), path); err != nil {
			return err
		}
		v.Set(to)
	case reflect.Interface:
		if v.NumMethod() == 0 {
			v.Set(reflect.ValueOf("text " + strconv.Itoa(m.next())))
		}
	case reflect.Slice:
		return m.fillSlice(v, path)
	case reflect.Array:
		for i := range v.Len() {
			if err := m.fill(v.Index(i), path); err != nil {
				return err
			}
		}
	case reflect.Map:
		return m.fillMap(v, path)
	case reflect.Struct:
		return m.fillStruct(v, path)
	default: // a function or a channel: the codec says whether it minds
	}
	return nil
}

// fillSlice gives v one element.
func (m *exampleMaker) fillSlice(v reflect.Value, path string) error {
	if m.open[v.Type().Elem()] > 1 {
		return nil
	}
	s := reflect.MakeSlice(v.Type(), 1, 1)
	if err := m.fill(s.Index(0), path); err != nil {
		return err
	}
	v.Set(s)
	return nil
}

// fillMap gives v one element.
func (m *exampleMaker) fillMap(v reflect.Value, path string) error {
	if m.open[v.Type().Elem()] > 1 {
		return nil
	}
	key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
	if err := m.fill(key, path); err != nil {
		return err
	}
	if err := m.fill(value, path); err != nil {
		return err
	}
	v.Set(reflect.MakeMap(v.Type()))
	v.SetMapIndex(key, value)
	return nil
}

// fillStruct sets the fields that a codec can see.
func (m *exampleMaker) fillStruct(v reflect.Value, path string) error {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		embedded := f.Anonymous && f.Type.Kind() == reflect.Struct
		if !f.IsExported() && !embedded {
			continue
		}
		field := v.Field(i)
		if !field.CanSet() { // an embedded type that is not exported: its fields may be
			if err := m.fillStruct(field, path); err != nil {
				return err
			}
			continue
		}
		if err := m.fill(field, path+"."+f.Name); err != nil {
			return err
		}
	}
	return nil
}

var (
	jsonMarshaler   = reflect.TypeFor[json.Marshaler]()
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textMarshaler   = reflect.TypeFor[encoding.TextMarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// encodesItself reports whether values of the type have a form of their own.
func encodesItself(typ reflect.Type) bool {
	for _, method := range []reflect.Type{jsonMarshaler, jsonUnmarshaler, textMarshaler, textUnmarshaler} {
		if typ.Implements(method) || reflect.PointerTo(typ).Implements(method) {
			return true
		}
	}
	return false
}

// fillSelf sets a value that encodes itself: to one made of its parts, or to
// the first text that it reads, or to the zero value; whichever survives being
// written and read.
func (m *exampleMaker) fillSelf(v reflect.Value, path string) error {
	made := reflect.New(v.Type()).Elem()
	if err := m.fillKind(made, path); err == nil && !made.IsZero() && survives(made) {
		v.Set(made)
		return nil
	}
	for _, text := range exampleTexts {
		for _, data := range []string{text, strconv.Quote(text)} {
			read := reflect.New(v.Type()).Elem()
			if readsJSON(read, data) && !read.IsZero() && survives(read) {
				v.Set(read)
				return nil
			}
		}
	}
	if zero := reflect.New(v.Type()).Elem(); survives(zero) {
		return nil
	}
	return fmt.Errorf("%s: no value of %s is known", path, v.Type())
}

// readsJSON reads data into v, and reports whether that went well.
func readsJSON(v reflect.Value, data string) (ok bool) {
	defer func() {
		if recover() != nil {
			ok = false // a method that expects more than a zero value
		}
	}()
	return json.Unmarshal([]byte(data), v.Addr().Interface()) == nil
}

// survives reports whether v is written, read and written again as the same
// text. A method of the pointer counts: where the field is none, the example as
// a whole shows it.
func survives(v reflect.Value) (ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	first, err := json.Marshal(v.Addr().Interface())
	if err != nil {
		return false
	}
	again := reflect.New(v.Type())
	if err := json.Unmarshal(first, again.Interface()); err != nil {
		return false
	}
	second, err := json.Marshal(again.Interface())
	return err == nil && bytes.Equal(first, second)
}
