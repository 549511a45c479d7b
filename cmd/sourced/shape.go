package main

import (
	"cmp"
	"go/ast"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// maxSteps bounds the work on one payload, so that types that hold each other
// many times over do not fill the lock.
const maxSteps = 20_000

// shaper writes the shape of one payload: a line for each field that is stored,
// those inside nested structs included. Two payloads of one shape have the same
// bytes for the same values.
//
// A line is a path, a type and options, "lines[].text string omitempty". A path
// goes from JSON name to JSON name; behind a name, [] is an element, {} the
// value of a map, {key} its key, <1> a type argument. * stands for what
// an embedded type of another package adds, or a payload that encodes itself.
type shaper struct {
	*source
	lines []string
	open  []expansion // the named types around what is written now
	steps int
}

// expansion is a named type that is being written, with its arguments, and where.
type expansion struct{ name, path string }

// payloadShape returns the sorted lines of the generated struct called name.
func (s *source) payloadShape(name string) (lines []string, ok bool) {
	w := &shaper{source: s, open: []expansion{{name, ""}}}
	t := s.declared[name]
	in := t.scope(s)
	if e := in.encoder(t); e != nil {
		w.lines = []string{"* " + name + "(" + e.method + ")"}
	} else {
		w.typ("", t.expr, in)
	}
	return w.done()
}

// structShape is payloadShape of the struct that t, in f, is or points to. It is
// not ok for anything else, and for a type that encodes itself: only its own code knows
// what that reads.
func (s *source) structShape(t ast.Expr, f *file) (lines []string, ok bool) {
	w := &shaper{source: s}
	if strings.TrimLeft(w.typ("", t, scope{pkg: s, file: f}), "*") != "struct" {
		return nil, false
	}
	return w.done()
}

func (w *shaper) done() ([]string, bool) {
	slices.Sort(w.lines)
	return slices.Compact(w.lines), !w.tooLarge()
}

// step counts one type or field more, and reports whether there are too many.
func (w *shaper) step() bool {
	w.steps++
	return w.tooLarge()
}

func (w *shaper) tooLarge() bool { return w.steps > maxSteps }

// field writes one field of a struct at path, and what is inside it.
func (w *shaper) field(path string, f jsonField) {
	if w.step() {
		return
	}
	path = joinPath(path, plain(f.name))
	line := path + " " + w.typ(path, f.expr, f.in)
	for _, option := range f.options {
		if changesBytes(option, line[len(path)+1:]) {
			line += " " + option
		}
	}
	w.lines = append(w.lines, line)
}

func joinPath(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// changesBytes reports whether a tag's option makes a difference to a field of
// that type.
func changesBytes(option, typ string) bool {
	switch option {
	case "omitzero":
		return true
	case "omitempty":
		return typ != "struct"
	case "string":
		typ = strings.TrimPrefix(typ, "*")
		return predeclared[typ] && typ != "any" && typ != "error"
	}
	return false
}

// typ writes the type t, whose value stands at path: its text, and a line for
// each field inside.
func (w *shaper) typ(path string, t ast.Expr, in scope) string {
	if w.step() {
		return ""
	}
	switch t := t.(type) {
	case *ast.ParenExpr:
		return w.typ(path, t.X, in)
	case *ast.StarExpr:
		return "*" + w.typ(path, t.X, in)
	case *ast.ArrayType:
		elem := w.typ(path+"[]", t.Elt, in)
		switch {
		case t.Len != nil:
			return "[" + w.length(t.Len) + "]" + elem
		case elem == "uint8":
			return "[]byte"
		}
		return "[]" + elem
	case *ast.MapType:
		return "map[" + w.typ(path+"{key}", t.Key, in) + "]" + w.typ(path+"{}", t.Value, in)
	case *ast.StructType:
		fields, foreign := in.jsonFields(t)
		for _, f := range fields {
			w.field(path, f)
		}
		for _, f := range foreign {
			w.lines = append(w.lines, joinPath(path, "*")+" "+w.typ(path, f.expr, f.in))
		}
		return "struct"
	case *ast.InterfaceType:
		if t.Methods.NumFields() == 0 {
			return "any"
		}
		return "interface"
	case *ast.Ident, *ast.IndexExpr, *ast.IndexListExpr:
		return w.named(path, t, in)
	case *ast.SelectorExpr:
		return w.foreign(t, in)
	}
	return printable(w.text(t))
}

// named writes a type that has a name, and perhaps type arguments.
func (w *shaper) named(path string, t ast.Expr, in scope) string {
	if decl, inner := in.lookup(t); decl != nil {
		return w.declaredAt(path, t, in, decl, inner, true)
	}
	var args []ast.Expr
	switch x := t.(type) {
	case *ast.Ident:
		if arg, ok := in.args[x.Name]; ok {
			return w.typ(path, arg.expr, arg.in)
		}
		switch x.Name {
		case "byte":
			return "uint8"
		case "rune":
			return "int32"
		}
		return x.Name
	case *ast.IndexExpr:
		t, args = x.X, []ast.Expr{x.Index}
	case *ast.IndexListExpr:
		t, args = x.X, x.Indices
	}
	var texts []string
	for i, arg := range args {
		texts = append(texts, w.typ(path+"<"+strconv.Itoa(i+1)+">", arg, in))
	}
	return w.typ(path, t, in) + "[" + strings.Join(texts, ", ") + "]"
}

// declaredAt writes the type decl of this package, which t names in the scope in.
// Without methods, it is written as the underlying type of another one, which
// inherits none.
func (w *shaper) declaredAt(path string, t ast.Expr, in scope, decl *declaredType, inner scope, methods bool) string {
	if decl.sealed != nil {
		return decl.name
	}
	if methods {
		// What a type of another package adds, * shows.
		if e := inner.encoder(decl); e != nil && e.known == nil {
			return e.of.name + "(" + e.method + ")"
		}
	}
	full := in.text(t)
	// A generic type may have a part of itself, with ever longer arguments.
	if w.steps += (len(full) - len(decl.name)) / 4; w.tooLarge() {
		return ""
	}
	for _, e := range w.open {
		if e.name == full {
			return "=" + cmp.Or(e.path, ".")
		}
	}
	w.open = append(w.open, expansion{full, path})
	defer func() { w.open = w.open[:len(w.open)-1] }()
	methods = methods && decl.alias // an alias is the other type
	below := ast.Unparen(decl.expr)
	if sel, ok := below.(*ast.SelectorExpr); ok && !methods {
		return "underlying(" + w.foreign(sel, inner) + ")"
	}
	if other, at := inner.lookup(below); other != nil {
		return w.declaredAt(path, below, inner, other, at, methods)
	}
	return w.typ(path, below, inner)
}

// foreign writes a type of another package under the package's path, so that
// an alias makes no difference.
func (w *shaper) foreign(t *ast.SelectorExpr, in scope) string {
	if ref, ok := in.imported(t); ok {
		return printable(ref.path + "." + ref.name)
	}
	return printable(w.text(t))
}

// length writes the length of an array: a number, also where a constant of the
// package stands for it.
func (s *source) length(t ast.Expr) string {
	t = s.constantValue(t)
	if n, ok := intLiteral(t); ok {
		return strconv.Itoa(n)
	}
	return printable(s.text(t))
}

// plain is name as the lock writes it: in quotes where it has other characters
// than letters, digits, - and _.
func plain(name string) string {
	if isPlain(name, "-_") {
		return name
	}
	return strconv.Quote(name)
}

// printable is text on one line.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, oneLine(text))
}
