package statediff

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
	"unsafe"
)

// Diff compares two states of the same type and returns the path of the first
// field that differs, with the value in a and the value in b:
//
//	Items["pen"].Count: 3 and 4
//
// It returns "" when they are equal. Unexported fields count too. What a codec
// does not keep makes no difference: nil or empty slices and maps, the location
// and the monotonic reading of a [time.Time]. A NaN is equal to a NaN. Left out
// are functions and channels, which are no state, fields tagged
// `snapshot:"-"`, which a restored aggregate does not have either, and the
// bookkeeping of an embedded aggregate.Root, except its id.
//
// Diff only reads. a and b must not change meanwhile.
func Diff(a, b any) string {
	d := differ{seen: map[visit]bool{}}
	d.compare("", addressable(reflect.ValueOf(a)), addressable(reflect.ValueOf(b)))
	return d.found
}

// differ is one comparison on its way.
type differ struct {
	found string
	seen  map[visit]bool
}

// visit is a pair of pointers that is being compared, so that a ring ends.
type visit struct {
	a, b unsafe.Pointer
	typ  reflect.Type
}

var timeType = reflect.TypeFor[time.Time]()

// compare notes the first difference below path and reports whether it found
// none.
func (d *differ) compare(path string, a, b reflect.Value) bool {
	if a.IsValid() != b.IsValid() {
		return d.differ(path, a, b)
	}
	if !a.IsValid() {
		return true
	}
	if a.Type() != b.Type() {
		return d.note(path, a.Type().String(), b.Type().String())
	}
	if a.Type() == timeType {
		return value[time.Time](a).Equal(value[time.Time](b)) || d.differ(path, a, b)
	}
	switch a.Kind() {
	case reflect.Pointer:
		return d.pointers(path, a, b)
	case reflect.Interface:
		return d.compare(path, addressable(a.Elem()), addressable(b.Elem()))
	case reflect.Struct:
		return d.structs(path, a, b)
	case reflect.Array, reflect.Slice:
		return d.lists(path, a, b)
	case reflect.Map:
		return d.maps(path, a, b)
	case reflect.Func, reflect.Chan:
		return true
	case reflect.Float32, reflect.Float64:
		return sameFloat(a.Float(), b.Float()) || d.differ(path, a, b)
	case reflect.Complex64, reflect.Complex128:
		x, y := a.Complex(), b.Complex()
		return sameFloat(real(x), real(y)) && sameFloat(imag(x), imag(y)) || d.differ(path, a, b)
	}
	return a.Equal(b) || d.differ(path, a, b)
}

func sameFloat(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }

func (d *differ) pointers(path string, a, b reflect.Value) bool {
	if a.IsNil() || b.IsNil() {
		return a.IsNil() == b.IsNil() || d.differ(path, a, b)
	}
	v := visit{a.UnsafePointer(), b.UnsafePointer(), a.Type()}
	if v.a == v.b || d.seen[v] {
		return true
	}
	d.seen[v] = true
	return d.compare(path, a.Elem(), b.Elem())
}

func (d *differ) structs(path string, a, b reflect.Value) bool {
	t := a.Type()
	if isRoot(t) {
		id, _ := t.FieldByName("id")
		return d.compare(join(path, "ID"), field(a, id.Index[0]), field(b, id.Index[0]))
	}
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Tag.Get("snapshot") == "-" || f.Name == "_" {
			continue
		}
		under := path // the id of an embedded Root is the aggregate's own
		if !isRoot(f.Type) {
			under = join(path, f.Name)
		}
		if !d.compare(under, field(a, i), field(b, i)) {
			return false
		}
	}
	return true
}

// isRoot recognizes aggregate.Root, which this package cannot import.
func isRoot(t reflect.Type) bool {
	return t.Name() == "Root" && t.PkgPath() == "github.com/troupe-go/troupe/aggregate"
}

func (d *differ) lists(path string, a, b reflect.Value) bool {
	if a.Len() != b.Len() {
		return d.note(path, strconv.Itoa(a.Len())+" elements", strconv.Itoa(b.Len()))
	}
	for i := range a.Len() {
		if !d.compare(path+"["+strconv.Itoa(i)+"]", a.Index(i), b.Index(i)) {
			return false
		}
	}
	return true
}

func (d *differ) maps(path string, a, b reflect.Value) bool {
	keys := a.MapKeys()
	for _, k := range b.MapKeys() {
		if !a.MapIndex(k).IsValid() {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(x, y reflect.Value) int { // so that the first difference is always the same
		return strings.Compare(fmt.Sprint(x), fmt.Sprint(y))
	})
	for _, k := range keys {
		under := fmt.Sprintf("%s[%v]", path, k)
		if k.Kind() == reflect.String {
			under = fmt.Sprintf("%s[%q]", path, k.String())
		}
		if k.Comparable() && k.CanFloat() && math.IsNaN(k.Float()) {
			continue // no key finds it again
		}
		if !d.compare(under, addressable(a.MapIndex(k)), addressable(b.MapIndex(k))) {
			return false
		}
	}
	return true
}

// join appends a field's name to a path.
func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// differ notes the difference of two values and returns false.
func (d *differ) differ(path string, a, b reflect.Value) bool {
	return d.note(path, show(a), show(b))
}

func (d *differ) note(path, a, b string) bool {
	if path == "" {
		path = "value"
	}
	d.found = fmt.Sprintf("%s: %s and %s", path, a, b)
	return false
}

// show writes v, shortened to 64 bytes.
func show(v reflect.Value) string {
	if !v.IsValid() {
		return "nothing"
	}
	text := fmt.Sprintf("%v", v)
	if v.Kind() == reflect.String {
		text = strconv.Quote(v.String())
	}
	const most = 64
	if len(text) > most {
		cut := most
		for cut > 0 && !utf8.RuneStart(text[cut]) {
			cut--
		}
		text = text[:cut] + "…"
	}
	return text
}

// addressable returns v in memory of its own, from where unexported fields can
// be read.
func addressable(v reflect.Value) reflect.Value {
	if !v.IsValid() || v.CanAddr() {
		return v
	}
	c := reflect.New(v.Type()).Elem()
	c.Set(v)
	return c
}

// field is field i of the addressable struct v, readable although it may be
// unexported.
func field(v reflect.Value, i int) reflect.Value {
	f := v.Field(i)
	return reflect.NewAt(f.Type(), unsafe.Pointer(f.UnsafeAddr())).Elem()
}

// value is the T in v.
func value[T any](v reflect.Value) T { return v.Interface().(T) }
