package main

import (
	"cmp"
	"go/ast"
	"slices"
	"strings"
)

// jsonField is a field of a struct as encoding/json sees it.
type jsonField struct {
	name    string // empty for an embedded type of another package
	options []string
	expr    ast.Expr
	scope   typeScope

	depth  int // how many embedded structs it is inside
	tagged bool
}

// jsonFields returns the fields that a struct is stored with, those of embedded
// structs included. Where several have one name, encoding/json takes the
// outermost, then the one that is tagged, and none when that leaves two.
func (w *shaper) jsonFields(st *ast.StructType, sc typeScope) []jsonField {
	all := w.collectJSON(nil, st, sc, 0, nil)
	byName := map[string][]jsonField{}
	var fields []jsonField
	for _, f := range all {
		if f.name == "" {
			fields = append(fields, f)
		} else {
			byName[f.name] = append(byName[f.name], f)
		}
	}
	for _, same := range byName {
		depth := slices.MinFunc(same, func(a, b jsonField) int { return cmp.Compare(a.depth, b.depth) }).depth
		same = slices.DeleteFunc(same, func(f jsonField) bool { return f.depth > depth })
		if len(same) > 1 {
			same = slices.DeleteFunc(same, func(f jsonField) bool { return !f.tagged })
		}
		if len(same) == 1 {
			fields = append(fields, same[0])
		}
	}
	return fields
}

// collectJSON appends the fields of st, which is inside the embedded types
// around.
func (w *shaper) collectJSON(all []jsonField, st *ast.StructType, sc typeScope, depth int, around []string) []jsonField {
	for _, fd := range st.Fields.List {
		tag := structTag(fd.Tag).Get("json")
		name, rest, _ := strings.Cut(tag, ",")
		if tag == "-" {
			continue
		}
		if !isPlain(name, jsonNameMarks) {
			name = ""
		}
		f := jsonField{name: name, expr: fd.Type, scope: sc, depth: depth, tagged: name != ""}
		f.options = strings.Split(rest, ",")
		slices.Sort(f.options)
		f.options = slices.Compact(f.options)
		if len(fd.Names) == 0 {
			all = w.collectEmbedded(all, f, around)
			continue
		}
		for _, n := range fd.Names {
			if n.IsExported() {
				f := f
				if f.name == "" {
					f.name = n.Name
				}
				all = append(all, f)
			}
		}
	}
	return all
}

// collectEmbedded appends what the embedded field f adds.
func (w *shaper) collectEmbedded(all []jsonField, f jsonField, around []string) []jsonField {
	id := embeddedName(f.expr)
	if f.tagged {
		if id.IsExported() || isLocal(f.expr) && w.types[id.Name] != nil {
			all = append(all, f)
		}
		return all
	}
	if !isLocal(f.expr) {
		return append(all, f)
	}
	spec := w.types[id.Name]
	if spec == nil || w.step() || slices.Contains(around, id.Name) {
		return all
	}
	if st, sc := w.structOf(spec, f); st != nil {
		return w.collectJSON(all, st, sc, f.depth+1, append(slices.Clip(around), id.Name))
	}
	if id.IsExported() {
		f.name = id.Name
		all = append(all, f)
	}
	return all
}

// structOf returns the struct that the embedded type is, and nil for another
// kind.
func (w *shaper) structOf(spec *ast.TypeSpec, f jsonField) (*ast.StructType, typeScope) {
	t := f.expr
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	var args []ast.Expr
	switch x := t.(type) {
	case *ast.IndexExpr:
		args = []ast.Expr{x.Index}
	case *ast.IndexListExpr:
		args = x.Indices
	}
	sc := w.inside(spec, args, f.scope)
	for range 8 { // names of names of types
		switch x := ast.Unparen(spec.Type).(type) {
		case *ast.StructType:
			return x, sc
		case *ast.Ident:
			if spec = w.types[x.Name]; spec == nil {
				return nil, sc
			}
			sc = w.inside(spec, nil, sc)
		default:
			return nil, sc
		}
	}
	return nil, sc
}

// jsonNameMarks are the characters beside letters and digits that encoding/json
// takes in a name from a tag.
const jsonNameMarks = "!#$%&()*+-./:;<=>?@[]^_{|}~ "
