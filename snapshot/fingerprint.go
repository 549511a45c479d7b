package snapshot

import (
	"fmt"
	"hash/fnv"
	"io"
	"reflect"
)

// Fingerprint is a hash of the shape of t: names, tags and types of its
// exported fields, recursively. Two builds of a program give the same
// fingerprint as long as the type looks the same; renaming, retyping, adding,
// removing or retagging a field changes it. A type's own name is not part of
// it, nor are unexported fields, which no codec stores.
//
// A stored snapshot with another fingerprint is ignored and replaced, so a
// forgotten schema number can cost a replay but never gives a wrong state.
func Fingerprint(t reflect.Type) uint64 {
	h := fnv.New64a()
	describe(h, t, map[reflect.Type]int{})
	return h.Sum64()
}

// describe writes a canonical text of t. seen breaks cycles: a type met again
// is written as the number of its first meeting.
func describe(w io.Writer, t reflect.Type, seen map[reflect.Type]int) {
	if n, again := seen[t]; again && t.Name() != "" && t.PkgPath() != "" {
		_, _ = fmt.Fprintf(w, "@%d", n) // a hash never fails to write
		return
	}
	seen[t] = len(seen)
	switch t.Kind() {
	case reflect.Pointer:
		_, _ = io.WriteString(w, "*")
		describe(w, t.Elem(), seen)
	case reflect.Slice:
		_, _ = io.WriteString(w, "[]")
		describe(w, t.Elem(), seen)
	case reflect.Array:
		_, _ = fmt.Fprintf(w, "[%d]", t.Len())
		describe(w, t.Elem(), seen)
	case reflect.Map:
		_, _ = io.WriteString(w, "map[")
		describe(w, t.Key(), seen)
		_, _ = io.WriteString(w, "]")
		describe(w, t.Elem(), seen)
	case reflect.Struct:
		describeStruct(w, t, seen)
	default:
		_, _ = io.WriteString(w, t.Kind().String())
	}
}

func describeStruct(w io.Writer, t reflect.Type, seen map[reflect.Type]int) {
	_, _ = io.WriteString(w, "{")
	exported := 0
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() && !f.Anonymous {
			continue
		}
		exported++
		_, _ = fmt.Fprintf(w, "%s %q ", f.Name, f.Tag)
		describe(w, f.Type, seen)
		_, _ = io.WriteString(w, ";")
	}
	if exported == 0 {
		// time.Time and its like encode themselves: only the name tells them apart.
		_, _ = io.WriteString(w, t.PkgPath()+"."+t.Name())
	}
	_, _ = io.WriteString(w, "}")
}
