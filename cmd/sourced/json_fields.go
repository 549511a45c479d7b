package main

import (
	"cmp"
	"go/ast"
	"go/token"
	"maps"
	"slices"
	"strings"
)

// What encoding/json makes of a type, read from the syntax: which fields a
// struct has in JSON, and which method writes a value instead. The lock
// (shape.go) and the catalogue ask here, so that they agree.

// jsonField is one field of a struct as encoding/json sees it.
type jsonField struct {
	name    string // in JSON
	goName  string
	options []string // of the tag, sorted
	expr    ast.Expr
	in      scope
	tagged  bool // with a name
	pointer bool // inside a struct that is embedded by a pointer, which may be nil
	index   []int
}

// has reports whether the tag of f has an option.
func (f jsonField) has(option string) bool { return slices.Contains(f.options, option) }

// optional reports whether f may be missing.
func (f jsonField) optional() bool { return f.pointer || f.has("omitempty") || f.has("omitzero") }

// jsonNameMarks are the characters beside letters and digits that encoding/json
// takes in a name from a tag.
const jsonNameMarks = "!#$%&()*+-./:;<=>?@[]^_{|}~ "

// pointee is t, without the pointer that it may be.
func pointee(t ast.Expr) (_ ast.Expr, pointer bool) {
	if star, ok := t.(*ast.StarExpr); ok {
		return star.X, true
	}
	return t, false
}

// maxTypeText bounds the text of a type. A generic type that does not compile may
// have a part of itself, with ever longer arguments.
const maxTypeText = 1000

// structLevel is one struct to read: that asked for, or one embedded in it.
type structLevel struct {
	st      *ast.StructType
	in      scope
	key     string // tells embedded types apart
	pointer bool
	index   []int // place in the outermost struct
}

// jsonFields returns the fields of st, those of embedded structs included, by
// the rules of encoding/json: of those with one name the outermost counts,
// then the tagged one, and without a winner none. foreign are the embedded types
// of other packages, whose fields are not read.
func (in scope) jsonFields(st *ast.StructType) (fields, foreign []jsonField) {
	next := []structLevel{{st: st, in: in}}
	visited := map[string]bool{}
	byName := map[string][]jsonField{}
	for len(next) > 0 {
		current := next
		next = nil
		for _, l := range current {
			visited[l.key] = true
		}
		copies := map[string]int{}
		for _, l := range current {
			own, embedded, others := l.read()
			for _, f := range own {
				byName[f.name] = append(byName[f.name], f)
			}
			foreign = append(foreign, others...)
			for _, e := range embedded {
				// The same struct twice at one depth stays: its fields hide
				// each other. More copies change nothing.
				if copies[e.key]++; copies[e.key] <= 2 && !visited[e.key] && len(e.key) <= maxTypeText {
					next = append(next, e)
				}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		same := byName[name]
		slices.SortStableFunc(same, func(a, b jsonField) int {
			return cmp.Or(cmp.Compare(len(a.index), len(b.index)), cmp.Compare(rank(a), rank(b)))
		})
		if len(same) > 1 && len(same[0].index) == len(same[1].index) && same[0].tagged == same[1].tagged {
			continue
		}
		fields = append(fields, same[0])
	}
	slices.SortFunc(fields, func(a, b jsonField) int { return slices.Compare(a.index, b.index) })
	return fields, foreign
}

// foreignNames are the types that foreign embeds, as written, without those
// that are known to add no field.
func foreignNames(foreign []jsonField) []string {
	var names []string
	for _, f := range foreign {
		t, _ := pointee(f.expr)
		kind, at := f.in.kind(t)
		if ref, _ := at.imported(kind); wellKnown[ref] == nil {
			names = append(names, f.in.text(t))
		}
	}
	return names
}

func rank(f jsonField) int {
	if f.tagged {
		return 0
	}
	return 1
}

// read returns the fields of l alone, the structs that it embeds, and the
// embedded types of other packages.
func (l structLevel) read() (own []jsonField, embedded []structLevel, foreign []jsonField) {
	i := -1
	for _, fd := range l.st.Fields.List {
		tag := structTag(fd.Tag).Get("json")
		name, rest, _ := strings.Cut(tag, ",")
		if !isPlain(name, jsonNameMarks) {
			name = ""
		}
		options := strings.Split(rest, ",")
		slices.Sort(options)
		names := fd.Names
		if len(names) == 0 {
			names = []*ast.Ident{embeddedName(fd.Type)}
		}
		for _, n := range names {
			i++
			if tag == "-" {
				continue
			}
			f := jsonField{
				name: cmp.Or(name, n.Name), goName: n.Name, options: slices.Compact(options), expr: fd.Type, in: l.in,
				tagged: name != "", pointer: l.pointer, index: append(slices.Clone(l.index), i),
			}
			if len(fd.Names) == 0 {
				e, isStruct, isForeign := l.embedded(f)
				switch {
				case !isStruct && !token.IsExported(n.Name):
					continue
				case isStruct && !f.tagged:
					embedded = append(embedded, e)
					continue
				case isForeign && !f.tagged:
					foreign = append(foreign, f)
					continue
				}
			} else if !token.IsExported(n.Name) {
				continue
			}
			own = append(own, f)
		}
	}
	return own, embedded, foreign
}

// embedded follows an embedded field to its struct. A type of another package
// may be one, unless it is known to be none.
func (l structLevel) embedded(f jsonField) (e structLevel, isStruct, foreign bool) {
	t, pointer := pointee(f.expr)
	kind, at := l.in.kind(t)
	if st, ok := kind.(*ast.StructType); ok {
		return structLevel{st, at, l.in.text(t), l.pointer || pointer, f.index}, true, false
	}
	ref, _ := at.imported(kind)
	known := wellKnown[ref]
	_, foreign = typeName(kind).(*ast.SelectorExpr)
	return e, false, foreign && (known == nil || known.isStruct)
}

// encoder is the method by which values of a type encode themselves.
type encoder struct {
	method string        // MarshalJSON or MarshalText
	of     *declaredType // the type that has it
	by     *declaredType // the type that declares it: of, or one that of embeds
	known  *knownType    // in the place of by, for a type of another package

	embedded typeArg // by which of has it; empty for its own
}

// encoder returns the method by which values of t encode themselves, and nil
// for none. in is the scope of what t is declared as.
func (in scope) encoder(t *declaredType) *encoder {
	if t.alias {
		if other, _, inner := in.named(t.expr); other != nil {
			t, in = other, inner
		}
	}
	for _, method := range []string{"MarshalJSON", "MarshalText"} { // encoding/json prefers the first
		if e := in.encoderBy(t, method); e != nil {
			return e
		}
	}
	return nil
}

// encodes reports whether values of expr encode themselves by one of methods.
func (in scope) encodes(expr ast.Expr, methods ...string) bool {
	t, _, inner := in.named(expr)
	return t != nil && slices.ContainsFunc(methods, func(method string) bool { return inner.encoderBy(t, method) != nil })
}

// encoderBy looks for one method in t and, depth by depth, in what it embeds. As
// in Go, the outermost counts, and two at one depth hide each other.
func (in scope) encoderBy(t *declaredType, method string) *encoder {
	type level struct {
		encoder
		in scope
	}
	next := []level{{encoder{method: method, of: t, by: t}, in}}
	copies := map[*declaredType]int{}
	for len(next) > 0 {
		current := next
		next = nil
		var found []encoder
		for _, l := range current {
			if l.known != nil || l.in.pkg.hasMethod(l.by.name, method) {
				found = append(found, l.encoder)
				continue
			}
			kind, at := l.in.kind(l.by.expr)
			st, ok := kind.(*ast.StructType)
			if !ok {
				continue
			}
			for _, fd := range st.Fields.List {
				if len(fd.Names) > 0 {
					continue
				}
				expr, _ := pointee(fd.Type)
				inside := l.encoder
				if inside.embedded.expr == nil {
					inside.embedded = typeArg{expr, at}
				}
				embedded, named, inner := at.named(expr)
				if embedded != nil {
					inside.by = embedded
					if copies[embedded]++; copies[embedded] <= 2 { // more hide each other no better
						next = append(next, level{inside, inner})
					}
				} else if ref, ok := inner.imported(named); ok && wellKnown[ref] != nil && slices.Contains(wellKnown[ref].methods, method) {
					inside.known = wellKnown[ref]
					next = append(next, level{inside, inner})
				}
			}
		}
		if len(found) == 1 {
			return &found[0]
		}
		if len(found) > 1 {
			return nil
		}
	}
	return nil
}

// isByte reports whether expr is a byte without methods, a slice of which is
// encoded as base64.
func (in scope) isByte(expr ast.Expr) bool {
	kind, at := in.kind(expr)
	id, ok := kind.(*ast.Ident)
	return ok && at.pkg.declared[id.Name] == nil && (id.Name == "byte" || id.Name == "uint8") && !in.encodes(expr, "MarshalJSON", "MarshalText")
}
