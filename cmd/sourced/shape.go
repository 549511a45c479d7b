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
	payloads map[string]payload // generated types by name
	lines    []string
	open     []expansion // the named types around what is written now
	steps    int
}

// payload is a struct that this program generates.
type payload struct {
	file   *file
	fields []field
}

// expansion is a named type that is being written, with its arguments, and where.
type expansion struct{ name, path string }

// typeScope is where a type expression stands: its file says what package names
// mean, and params what type parameters do.
type typeScope struct {
	file   *file
	params map[string]argument
}

// argument is what stands for a type parameter.
type argument struct {
	expr  ast.Expr
	scope typeScope
}

// payloadShape returns the sorted lines of a generated struct, called name.
func (s *source) payloadShape(m *model, name string, p payload) (lines []string, ok bool) {
	w := &shaper{source: s, payloads: m.payloads(), open: []expansion{{name, ""}}}
	if method := w.method(name); method != "" {
		w.lines = []string{"* " + name + "(" + method + ")"}
	} else {
		w.payload("", p)
	}
	return w.done()
}

// structShape is payloadShape of the struct that t, in f, is or points to. It is
// not ok for anything else, and for a type that encodes itself: only its own code knows
// what that reads.
func (s *source) structShape(m *model, t ast.Expr, f *file) (lines []string, ok bool) {
	w := &shaper{source: s, payloads: m.payloads()}
	if strings.TrimLeft(w.typ("", t, typeScope{file: f}), "*") != "struct" {
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

// payloads are the types that the generated files declare.
func (m *model) payloads() map[string]payload {
	all := map[string]payload{}
	for _, a := range m.aggregates {
		if a.snapshot > 0 {
			all[a.prefix+"Snapshot"] = payload{a.file, a.fields}
		}
		for _, e := range a.events {
			all[e.payload] = payload{e.file, e.eventFields()}
		}
	}
	return all
}

func (w *shaper) payload(path string, p payload) {
	for _, f := range p.fields {
		w.field(path, jsonField{name: f.tag, expr: f.expr, scope: typeScope{file: p.file}})
	}
}

// field writes one field of a struct at path, and what is inside it.
func (w *shaper) field(path string, f jsonField) {
	if w.step() {
		return
	}
	if f.name == "" { // embedded, of another package
		w.lines = append(w.lines, joinPath(path, "*")+" "+w.typ(path, f.expr, f.scope))
		return
	}
	path = joinPath(path, plain(f.name))
	line := path + " " + w.typ(path, f.expr, f.scope)
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
func (w *shaper) typ(path string, t ast.Expr, sc typeScope) string {
	if w.step() {
		return ""
	}
	switch t := t.(type) {
	case *ast.ParenExpr:
		return w.typ(path, t.X, sc)
	case *ast.StarExpr:
		return "*" + w.typ(path, t.X, sc)
	case *ast.ArrayType:
		elem := w.typ(path+"[]", t.Elt, sc)
		switch {
		case t.Len != nil:
			return "[" + w.length(t.Len) + "]" + elem
		case elem == "uint8":
			return "[]byte"
		}
		return "[]" + elem
	case *ast.MapType:
		return "map[" + w.typ(path+"{key}", t.Key, sc) + "]" + w.typ(path+"{}", t.Value, sc)
	case *ast.StructType:
		for _, f := range w.jsonFields(t, sc) {
			w.field(path, f)
		}
		return "struct"
	case *ast.InterfaceType:
		if t.Methods.NumFields() == 0 {
			return "any"
		}
		return "interface"
	case *ast.Ident:
		return w.named(path, t.Name, nil, sc, true)
	case *ast.SelectorExpr:
		return w.foreign(t, sc)
	case *ast.IndexExpr:
		return w.instance(path, t.X, []ast.Expr{t.Index}, sc)
	case *ast.IndexListExpr:
		return w.instance(path, t.X, t.Indices, sc)
	}
	return printable(w.text(t))
}

// instance writes a generic type with its arguments.
func (w *shaper) instance(path string, t ast.Expr, args []ast.Expr, sc typeScope) string {
	if id, ok := t.(*ast.Ident); ok {
		return w.named(path, id.Name, args, sc, true)
	}
	var texts []string
	for i, arg := range args {
		texts = append(texts, w.typ(path+"<"+strconv.Itoa(i+1)+">", arg, sc))
	}
	return w.typ(path, t, sc) + "[" + strings.Join(texts, ", ") + "]"
}

// named writes a type that has a name in this package. Without methods, it is
// written as the underlying type of another one, which inherits none.
func (w *shaper) named(path, name string, args []ast.Expr, sc typeScope, methods bool) string {
	if arg, ok := sc.params[name]; ok {
		return w.typ(path, arg.expr, arg.scope)
	}
	spec := w.types[name]
	generated, isPayload := w.payloads[name]
	if spec == nil && !isPayload {
		switch name {
		case "byte":
			return "uint8"
		case "rune":
			return "int32"
		}
		return name
	}
	if methods {
		method := w.method(name)
		if spec != nil {
			method = w.encoder(spec, nil)
		}
		if method != "" {
			return name + "(" + method + ")"
		}
	}
	full := name
	for _, arg := range args {
		full += " " + w.resolved(arg, sc)
	}
	for _, e := range w.open {
		if e.name == full {
			return "=" + cmp.Or(e.path, ".")
		}
	}
	w.open = append(w.open, expansion{full, path})
	defer func() { w.open = w.open[:len(w.open)-1] }()
	if spec == nil {
		w.payload(path, generated)
		return "struct"
	}
	inner := w.inside(spec, args, sc)
	if spec.Assign.IsValid() { // an alias is the other type
		return w.typ(path, spec.Type, inner)
	}
	switch t := ast.Unparen(spec.Type).(type) {
	case *ast.Ident:
		return w.named(path, t.Name, nil, inner, false)
	case *ast.IndexExpr:
		if id, ok := t.X.(*ast.Ident); ok {
			return w.named(path, id.Name, []ast.Expr{t.Index}, inner, false)
		}
	case *ast.IndexListExpr:
		if id, ok := t.X.(*ast.Ident); ok {
			return w.named(path, id.Name, t.Indices, inner, false)
		}
	case *ast.SelectorExpr:
		return "underlying(" + w.foreign(t, inner) + ")"
	}
	return w.typ(path, spec.Type, inner)
}

// resolved is the text of t with arguments in the place of type parameters.
func (w *shaper) resolved(t ast.Expr, sc typeScope) string {
	if w.step() {
		return ""
	}
	switch t := t.(type) {
	case *ast.Ident:
		if arg, ok := sc.params[t.Name]; ok {
			return w.resolved(arg.expr, arg.scope)
		}
	case *ast.StarExpr:
		return "*" + w.resolved(t.X, sc)
	case *ast.ArrayType:
		if t.Len == nil {
			return "[]" + w.resolved(t.Elt, sc)
		}
		return "[" + w.text(t.Len) + "]" + w.resolved(t.Elt, sc)
	case *ast.MapType:
		return "map[" + w.resolved(t.Key, sc) + "]" + w.resolved(t.Value, sc)
	case *ast.IndexExpr:
		return w.text(t.X) + "[" + w.resolved(t.Index, sc) + "]"
	case *ast.IndexListExpr:
		text := w.text(t.X)
		for _, index := range t.Indices {
			text += "[" + w.resolved(index, sc) + "]"
		}
		return text
	}
	return w.text(t)
}

// inside is the scope of what spec declares, with args for its type parameters.
func (s *source) inside(spec *ast.TypeSpec, args []ast.Expr, sc typeScope) typeScope {
	inner := typeScope{file: s.fileOf(spec.Pos())}
	if spec.TypeParams == nil {
		return inner
	}
	inner.params = map[string]argument{}
	i := 0
	for _, group := range spec.TypeParams.List {
		for _, n := range group.Names {
			if i < len(args) {
				inner.params[n.Name] = argument{args[i], sc}
			}
			i++
		}
	}
	return inner
}

// encoder returns the method by which values of the type encode themselves, its
// own or that of an embedded type, and "" without.
func (w *shaper) encoder(spec *ast.TypeSpec, around []string) string {
	name := spec.Name.Name
	if method := w.method(name); method != "" {
		return method
	}
	st, ok := spec.Type.(*ast.StructType)
	if !ok || w.step() || slices.Contains(around, name) {
		return ""
	}
	found := ""
	for _, fd := range st.Fields.List {
		if len(fd.Names) > 0 {
			continue
		}
		if embedded := w.types[embeddedName(fd.Type).Name]; embedded != nil && isLocal(fd.Type) {
			if method := w.encoder(embedded, append(around, name)); method != "" {
				if found != "" {
					return "" // neither is promoted
				}
				found = method
			}
		}
	}
	return found
}

// method returns the method by which the type called name encodes itself, and
// "" without.
func (s *source) method(name string) string {
	for _, method := range []string{"MarshalJSON", "MarshalText"} {
		if s.hasMethod(name, method) {
			return method
		}
	}
	return ""
}

// isLocal reports whether the embedded type t has no package in front.
func isLocal(t ast.Expr) bool {
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	switch x := t.(type) {
	case *ast.IndexExpr:
		t = x.X
	case *ast.IndexListExpr:
		t = x.X
	}
	_, ok := t.(*ast.Ident)
	return ok
}

// foreign writes a type of another package under the package's path, so that
// an alias makes no difference.
func (w *shaper) foreign(t *ast.SelectorExpr, sc typeScope) string {
	if x, ok := t.X.(*ast.Ident); ok && sc.file != nil {
		if spec := sc.file.importOf(x.Name, nil); spec != nil {
			importPath, _ := strconv.Unquote(spec.Path.Value)
			return printable(importPath + "." + t.Sel.Name)
		}
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
