package main

import (
	"cmp"
	"go/ast"
	"go/doc"
	"go/token"
	"go/types"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// declaredType is a type of a package, hand-written or generated.
type declaredType struct {
	name   string
	file   *file
	expr   ast.Expr
	params []string // of a generic type
	alias  bool
	doc    string
	event  *eventEntry     // whose payload it is; nil for none
	sealed *aggregateEntry // whose events implement it; nil for none
}

// declare collects the types of p. The generated ones are made from the model,
// since their files may be missing or old.
func (p *packageEntry) declare() {
	p.declared = map[string]*declaredType{}
	for _, f := range p.files {
		for _, d := range f.syntax.Decls {
			d, ok := d.(*ast.GenDecl)
			if !ok || d.Tok != token.TYPE {
				continue
			}
			for _, spec := range d.Specs {
				spec := spec.(*ast.TypeSpec)
				t := &declaredType{name: spec.Name.Name, file: f, expr: spec.Type, alias: spec.Assign.IsValid(), doc: p.typeDoc(spec)}
				if spec.TypeParams != nil {
					for _, group := range spec.TypeParams.List {
						for _, n := range group.Names {
							t.params = append(t.params, n.Name)
						}
					}
				}
				p.declared[t.name] = t
			}
		}
	}
	for _, a := range p.aggregates {
		p.declared[a.sealed] = &declaredType{name: a.sealed, file: a.file, expr: &ast.InterfaceType{Methods: &ast.FieldList{}}, sealed: a}
		for _, e := range a.events {
			p.declared[e.payload] = &declaredType{name: e.payload, file: e.file, expr: structOf(e.eventFields()), doc: e.doc(), event: e}
		}
		if a.snapshot > 0 {
			fields := a.fields
			if a.id != nil {
				fields = append([]field{*a.id}, fields...)
			}
			name := a.prefix + "Snapshot"
			p.declared[name] = &declaredType{name: name, file: a.file, expr: structOf(fields)}
		}
	}
}

// structOf is the struct that sourced generates for fields.
func structOf(fields []field) *ast.StructType {
	list := &ast.FieldList{}
	for _, f := range fields {
		list.List = append(list.List, &ast.Field{
			Names: []*ast.Ident{ast.NewIdent(f.name)},
			Type:  f.expr,
			Tag:   &ast.BasicLit{Kind: token.STRING, Value: strconv.Quote("json:" + strconv.Quote(f.tag))},
		})
	}
	return &ast.StructType{Fields: list}
}

// typeDoc is the first sentence above a type.
func (p *packageEntry) typeDoc(spec *ast.TypeSpec) string {
	if spec.Doc != nil {
		return firstSentence(spec.Doc)
	}
	for _, f := range p.files {
		for _, d := range f.syntax.Decls {
			if d, ok := d.(*ast.GenDecl); ok && len(d.Specs) == 1 && d.Specs[0] == spec {
				return firstSentence(d.Doc)
			}
		}
	}
	return ""
}

func firstSentence(group *ast.CommentGroup) string {
	if group == nil {
		return ""
	}
	return new(doc.Package).Synopsis(group.Text())
}

// scope is where the names in a type are looked up.
type scope struct {
	pkg  *packageEntry
	file *file
	args map[string]typeArg // of the generic type around, by parameter
}

// typeArg is a type in the scope where it is written.
type typeArg struct {
	expr ast.Expr
	in   scope
}

// lookup finds the declared type that expr names, with the scope of its parts.
// It returns nil for every other type.
func (in scope) lookup(expr ast.Expr) (*declaredType, scope) {
	var args []ast.Expr
	switch x := expr.(type) {
	case *ast.IndexExpr:
		expr, args = x.X, []ast.Expr{x.Index}
	case *ast.IndexListExpr:
		expr, args = x.X, x.Indices
	}
	id, ok := expr.(*ast.Ident)
	if !ok {
		return nil, in
	}
	if _, ok := in.args[id.Name]; ok {
		return nil, in
	}
	t := in.pkg.declared[id.Name]
	if t == nil {
		return nil, in
	}
	inner := scope{pkg: in.pkg, file: t.file}
	if len(t.params) > 0 {
		inner.args = map[string]typeArg{}
		for i, name := range t.params {
			if i < len(args) {
				inner.args[name] = typeArg{args[i], in}
			}
		}
	}
	return t, inner
}

// imported returns path and name of a type of another package.
func (in scope) imported(expr ast.Expr) (typeRef, bool) {
	sel, ok := expr.(*ast.SelectorExpr)
	if !ok {
		return typeRef{}, false
	}
	x, ok := sel.X.(*ast.Ident)
	if !ok {
		return typeRef{}, false
	}
	spec := in.file.importOf(x.Name, nil)
	if spec == nil {
		return typeRef{}, false
	}
	path, _ := strconv.Unquote(spec.Path.Value)
	return typeRef{path, sel.Sel.Name}, true
}

// text is expr as written, with the arguments of the generic type around.
func (in scope) text(expr ast.Expr) string {
	switch x := expr.(type) {
	case *ast.ParenExpr:
		return in.text(x.X)
	case *ast.Ident:
		if arg, ok := in.args[x.Name]; ok {
			return arg.in.text(arg.expr)
		}
		return x.Name
	case *ast.StarExpr:
		return "*" + in.text(x.X)
	case *ast.ArrayType:
		if x.Len == nil {
			return "[]" + in.text(x.Elt)
		}
		return "[" + types.ExprString(x.Len) + "]" + in.text(x.Elt)
	case *ast.MapType:
		return "map[" + in.text(x.Key) + "]" + in.text(x.Value)
	case *ast.IndexExpr:
		return in.text(x.X) + "[" + in.text(x.Index) + "]"
	case *ast.IndexListExpr:
		var args []string
		for _, arg := range x.Indices {
			args = append(args, in.text(arg))
		}
		return in.text(x.X) + "[" + strings.Join(args, ", ") + "]"
	}
	return types.ExprString(expr)
}

// kind is the shape below a type's names. Where it is a type of another package
// or cannot be found, expr is that.
func (in scope) kind(expr ast.Expr) (ast.Expr, scope) {
	for range 100 { // a package that does not compile may define A as B and B as A
		if p, ok := expr.(*ast.ParenExpr); ok {
			expr = p.X
			continue
		}
		if id, ok := expr.(*ast.Ident); ok {
			if arg, ok := in.args[id.Name]; ok && arg.in.pkg != nil {
				expr, in = arg.expr, arg.in
				continue
			}
		}
		t, inner := in.lookup(expr)
		if t == nil {
			break
		}
		expr, in = t.expr, inner
	}
	return expr, in
}

// isByte reports whether expr is a byte without methods, a slice of which is
// encoded as base64.
func (in scope) isByte(expr ast.Expr) bool {
	if t, _ := in.lookup(expr); t != nil && (in.pkg.methods[t.name]["MarshalJSON"] != 0 || in.pkg.methods[t.name]["MarshalText"] != 0) {
		return false
	}
	kind, at := in.kind(expr)
	id, ok := kind.(*ast.Ident)
	return ok && at.pkg.declared[id.Name] == nil && (id.Name == "byte" || id.Name == "uint8")
}

// schemaField is one field of a struct as encoding/json sees it.
type schemaField struct {
	name     string // in JSON
	goName   string
	expr     ast.Expr
	in       scope
	optional bool // may be missing
	quoted   bool // a number or boolean in a string
	tagged   bool
	index    []int
}

// maxTypeText bounds the text of a type. A generic type that does not compile may
// have a part of itself, with ever longer arguments.
const maxTypeText = 1000

// structLevel is one struct to read: that asked for, or one embedded in it.
type structLevel struct {
	st       *ast.StructType
	in       scope
	key      string // tells embedded types apart
	optional bool   // embedded by a pointer, which may be nil
	index    []int  // place in the outermost struct
}

// jsonFields returns the fields of st, those of embedded structs included, by
// the rules of encoding/json: of those with one name the outermost counts,
// then the tagged one, and without a winner none. unknown are the embedded types
// of other packages, whose fields are not read.
func (in scope) jsonFields(st *ast.StructType) (fields []schemaField, unknown []string) {
	next := []structLevel{{st: st, in: in}}
	visited := map[string]bool{}
	byName := map[string][]schemaField{}
	for len(next) > 0 {
		current := next
		next = nil
		for _, l := range current {
			visited[l.key] = true
		}
		for _, l := range current {
			own, embedded, others := l.read()
			for _, f := range own {
				byName[f.name] = append(byName[f.name], f)
			}
			unknown = append(unknown, others...)
			for _, e := range embedded {
				// The same struct twice at one depth stays: its fields hide
				// each other.
				if !visited[e.key] && len(e.key) <= maxTypeText {
					next = append(next, e)
				}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		same := byName[name]
		slices.SortStableFunc(same, func(a, b schemaField) int {
			return cmp.Or(cmp.Compare(len(a.index), len(b.index)), cmp.Compare(rank(a), rank(b)))
		})
		if len(same) > 1 && len(same[0].index) == len(same[1].index) && same[0].tagged == same[1].tagged {
			continue
		}
		fields = append(fields, same[0])
	}
	slices.SortFunc(fields, func(a, b schemaField) int { return slices.Compare(a.index, b.index) })
	return fields, unknown
}

// read returns the fields of l alone, the structs that it embeds, and the
// embedded types of other packages.
func (l structLevel) read() (own []schemaField, embedded []structLevel, unknown []string) {
	i := -1
	for _, fd := range l.st.Fields.List {
		tag := structTag(fd.Tag).Get("json")
		name, options, _ := strings.Cut(tag, ",")
		if !isPlain(name, jsonNameMarks) {
			name = ""
		}
		names := fd.Names
		if len(names) == 0 {
			names = []*ast.Ident{embeddedName(fd.Type)}
		}
		for _, n := range names {
			i++
			if tag == "-" {
				continue
			}
			f := schemaField{name: name, goName: n.Name, expr: fd.Type, in: l.in, tagged: name != "", index: append(slices.Clone(l.index), i), optional: l.optional}
			for option := range strings.SplitSeq(options, ",") {
				f.optional = f.optional || option == "omitempty" || option == "omitzero"
				f.quoted = f.quoted || option == "string"
			}
			if len(fd.Names) == 0 {
				e, isStruct, other := l.embedded(f)
				switch {
				case !token.IsExported(n.Name) && !isStruct:
					continue
				case name == "" && isStruct:
					embedded = append(embedded, e)
					continue
				case name == "" && other != "":
					unknown = append(unknown, other)
					continue
				}
			} else if !token.IsExported(n.Name) {
				continue
			}
			if f.name == "" {
				f.name = n.Name
			}
			own = append(own, f)
		}
	}
	return own, embedded, unknown
}

// embedded follows an embedded field to its struct. other is a type of another
// package, which may be one.
func (l structLevel) embedded(f schemaField) (e structLevel, isStruct bool, other string) {
	t, pointer := f.expr, false
	if star, ok := t.(*ast.StarExpr); ok {
		t, pointer = star.X, true
	}
	kind, at := l.in.kind(t)
	if st, ok := kind.(*ast.StructType); ok {
		key := l.in.pkg.path + "." + l.in.text(t)
		return structLevel{st, at, key, l.optional || pointer, f.index}, true, ""
	}
	if ref, ok := at.imported(kind); ok && wellKnown[ref] == nil {
		other = l.in.text(t)
	}
	return e, false, other
}

func rank(f schemaField) int {
	if f.tagged {
		return 0
	}
	return 1
}

// reached adds the declared types that expr names to found, those of their
// fields included.
func (in scope) reached(expr ast.Expr, found map[string]*declaredType) {
	switch x := expr.(type) {
	case *ast.ParenExpr:
		in.reached(x.X, found)
	case *ast.StarExpr:
		in.reached(x.X, found)
	case *ast.ArrayType:
		in.reached(x.Elt, found)
	case *ast.MapType:
		in.reached(x.Key, found)
		in.reached(x.Value, found)
	case *ast.StructType:
		fields, _ := in.jsonFields(x)
		for _, f := range fields {
			f.in.reached(f.expr, found)
		}
	case *ast.IndexExpr:
		in.reached(x.X, found)
		in.reached(x.Index, found)
	case *ast.IndexListExpr:
		in.reached(x.X, found)
		for _, arg := range x.Indices {
			in.reached(arg, found)
		}
	case *ast.Ident:
		if arg, ok := in.args[x.Name]; ok {
			if arg.in.pkg != nil {
				arg.in.reached(arg.expr, found)
			}
			return
		}
		t := in.pkg.declared[x.Name]
		if t == nil || found[t.name] != nil {
			return
		}
		found[t.name] = t
		t.scope(in.pkg).reached(t.expr, found)
	}
}

// scope is where the names in a declaration of p are looked up: the parameters
// of a generic type stand for themselves.
func (t *declaredType) scope(p *packageEntry) scope {
	in := scope{pkg: p, file: t.file, args: map[string]typeArg{}}
	for _, name := range t.params {
		in.args[name] = typeArg{expr: ast.NewIdent(name)}
	}
	return in
}
