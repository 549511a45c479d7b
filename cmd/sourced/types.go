package main

import (
	"go/ast"
	"go/doc"
	"go/token"
	"go/types"
	"strconv"
	"strings"
)

// The types of a package, and what a type expression means in its place. The
// lock (shape.go) and the catalogue read types this way; json_fields.go builds
// on it. The JSON methods (json_type.go) need less: they take plain types only.

// declaredType is a type of a package, hand-written or generated.
type declaredType struct {
	name    string
	file    *file
	expr    ast.Expr
	params  []string // of a generic type
	alias   bool
	doc     string
	payload bool           // of an event
	sealed  *aggregateType // whose events implement it; nil for none
}

// declareTypes collects the types of the package. The generated ones are made
// from the model, since their files may be missing or old.
func (s *source) declareTypes(m *model) {
	s.declared = map[string]*declaredType{}
	for name, spec := range s.types {
		t := &declaredType{name: name, file: s.fileOf(spec.Pos()), expr: spec.Type, alias: spec.Assign.IsValid(), doc: s.typeDoc(spec)}
		if spec.TypeParams != nil {
			for _, group := range spec.TypeParams.List {
				for _, n := range group.Names {
					t.params = append(t.params, n.Name)
				}
			}
		}
		s.declared[name] = t
	}
	for _, a := range m.aggregates {
		s.declared[a.sealed] = &declaredType{name: a.sealed, file: a.file, expr: &ast.InterfaceType{Methods: &ast.FieldList{}}, sealed: a}
		for _, e := range a.events {
			s.declared[e.payload] = &declaredType{name: e.payload, file: e.file, expr: structOf(e.eventFields()), doc: e.summary(), payload: true}
		}
		if a.snapshot > 0 {
			name := a.prefix + "Snapshot"
			s.declared[name] = &declaredType{name: name, file: a.file, expr: structOf(a.snapshotFields())}
		}
		if a.baseline != nil {
			name := a.baselineType()
			s.declared[name] = &declaredType{name: name, file: a.file, expr: structOf(a.fields)}
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
func (s *source) typeDoc(spec *ast.TypeSpec) string {
	if spec.Doc != nil {
		return firstSentence(spec.Doc)
	}
	for _, f := range s.files {
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
	pkg  *source
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
	return in.follow(expr, func(*declaredType) bool { return true })
}

// named is lookup of the type that expr is, where an alias or a type parameter
// stands for it. Without one, it returns the expression that they stand for.
func (in scope) named(expr ast.Expr) (*declaredType, ast.Expr, scope) {
	expr, in = in.follow(expr, func(t *declaredType) bool { return t.alias })
	t, inner := in.lookup(expr)
	return t, expr, inner
}

// follow replaces type parameters by their arguments and the declared types
// that through accepts by what they are declared as.
func (in scope) follow(expr ast.Expr, through func(*declaredType) bool) (ast.Expr, scope) {
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
		if t == nil || !through(t) {
			break
		}
		expr, in = t.expr, inner
	}
	return expr, in
}

// scope is where the names in a declaration of s are looked up: the parameters
// of a generic type stand for themselves.
func (t *declaredType) scope(s *source) scope {
	in := scope{pkg: s, file: t.file, args: map[string]typeArg{}}
	for _, name := range t.params {
		in.args[name] = typeArg{expr: ast.NewIdent(name)}
	}
	return in
}
