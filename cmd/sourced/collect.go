package main

import (
	"go/ast"
	"go/token"
	"reflect"
	"strconv"
	"strings"
)

// generate reads the package in dir and returns its generated files by name,
// the lock among them.
func generate(dir string, tests bool) (*output, error) {
	s, err := readSource(dir)
	if err != nil {
		return nil, err
	}
	m, out, err := s.generate(tests)
	if err != nil {
		return nil, err
	}
	locked, err := readLock(dir)
	if err != nil {
		return nil, err
	}
	shapes := s.shapes(m)
	s.compare(m, shapes, locked)
	if err := s.err(); err != nil {
		return nil, err
	}
	out.files[lockName] = formatLock(merge(shapes, locked))
	if locked.text != nil {
		out.generated = append(out.generated, lockName)
	}
	return out, nil
}

// generate turns the directives into a model and its generated files, without
// the lock.
func (s *source) generate(tests bool) (m *model, out *output, err error) {
	m = s.collect()
	if err := s.err(); err != nil {
		return nil, nil, err
	}
	out = &output{files: map[string][]byte{}, generated: s.generated}
	for _, a := range m.aggregates {
		if out.files[a.outputName()], err = s.emit(m, a); err != nil {
			return nil, nil, err
		}
		if tests {
			if out.files[a.testName()], err = s.emitTest(m, a); err != nil {
				return nil, nil, err
			}
		}
	}
	// Imports are resolved while writing.
	return m, out, s.err()
}

// load reads the package in dir and its directives.
func load(dir string) (*source, *model, error) {
	s, err := readSource(dir)
	if err != nil {
		return nil, nil, err
	}
	m := s.collect()
	return s, m, s.err()
}

// collect turns the directives of the package into a model, noting mistakes.
func (s *source) collect() *model {
	m := &model{name: s.name}
	for _, f := range s.files {
		for _, d := range f.syntax.Decls {
			if d, ok := d.(*ast.GenDecl); ok && d.Tok == token.TYPE {
				for _, spec := range d.Specs {
					spec := spec.(*ast.TypeSpec)
					doc := spec.Doc
					if doc == nil && len(d.Specs) == 1 {
						doc = d.Doc
					}
					s.collectType(m, f, spec, doc)
				}
			}
		}
	}
	var upcasts []func()
	for _, f := range s.files {
		for _, d := range f.syntax.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			for _, d := range f.directives(fn.Doc) {
				switch d.Name {
				case "event":
					s.collectEvent(m, f, fn, d)
				case "upcast":
					upcasts = append(upcasts, func() { s.collectUpcast(m, f, fn, d) })
				case "rename", "split":
					s.later = append(s.later, func() { s.collectConverted(m, f, fn, d) })
				case "aggregate", "snapshot", "baseline", "drop":
					s.addf(d.Slash, "//sourced:%s stands above function %s: move it above the struct", d.Name, fn.Name.Name)
				default:
					s.unknown(d.Directive)
				}
			}
		}
	}
	for _, collect := range append(s.later, upcasts...) {
		collect()
	}
	for _, f := range s.files {
		s.strays(f)
	}
	if len(m.aggregates) == 0 && len(s.list) == 0 {
		s.addf(s.files[0].syntax.Name.Pos(), "package %s has no aggregate: %s, above a struct that embeds aggregate.Root", s.name, wantAggregate)
	}
	s.check(m)
	return m
}

// collectType reads the directives above one type.
func (s *source) collectType(m *model, f *file, spec *ast.TypeSpec, doc *ast.CommentGroup) {
	var a *aggregateType
	var snapshot, baseline *directive
	var formers []directive
	for _, d := range f.directives(doc) {
		switch d.Name {
		case "aggregate":
			if a != nil {
				s.addf(d.Slash, "%s is an aggregate already: remove one //sourced:aggregate", a.name)
				continue
			}
			a = s.newAggregate(f, spec, d)
		case "snapshot":
			if snapshot != nil {
				s.addf(d.Slash, "snapshots of %s are asked for already: remove one //sourced:snapshot", spec.Name.Name)
				continue
			}
			snapshot = &d
		case "baseline":
			if baseline != nil {
				s.addf(d.Slash, "a baseline of %s is asked for already: remove one //sourced:baseline", spec.Name.Name)
				continue
			}
			baseline = &d
		case "rename", "drop":
			formers = append(formers, d)
		case "event", "upcast", "split":
			s.addf(d.Slash, "//sourced:%s stands above type %s: move it above the %s", d.Name, spec.Name.Name, owner[d.Name])
		default:
			s.unknown(d.Directive)
		}
	}
	if a != nil {
		m.aggregates = append(m.aggregates, a)
	}
	for _, d := range formers {
		if a == nil {
			s.addf(d.Slash, "%s has a former event but is no aggregate: %s", spec.Name.Name, wantAggregate)
			continue
		}
		s.later = append(s.later, func() { s.collectFormer(a, d) })
	}
	switch {
	case snapshot == nil:
	case a == nil:
		s.addf(snapshot.Slash, "%s has snapshots but is no aggregate: %s", spec.Name.Name, wantAggregate)
	case len(snapshot.words) == 0:
		s.addf(snapshot.end(), "//sourced:snapshot takes a schema: %s", wantSnapshot)
	default:
		if n, ok := s.number(snapshot.words[0], "schema", wantSnapshot); ok {
			a.snapshot, a.snapshotPos = n, snapshot.words[0].pos
			s.snapshotOptions(a, snapshot.words[1:])
		}
	}
	switch {
	case baseline == nil:
	case a == nil:
		s.addf(baseline.Slash, "%s has a baseline but is no aggregate: %s", spec.Name.Name, wantAggregate)
	case len(baseline.words) == 0:
		s.addf(baseline.end(), "//sourced:baseline takes a schema: %s", wantBaseline)
	case len(baseline.words) > 1:
		s.addf(baseline.words[1].pos, "%q is not understood: %s", baseline.words[1].text, wantBaseline)
	default:
		if n, ok := s.number(baseline.words[0], "schema", wantBaseline); ok {
			a.addBaseline(baseline.words[0].pos, n)
		}
	}
	if a != nil && (a.snapshot > 0 || a.baseline != nil) {
		s.collectFields(a)
	}
}

// snapshotOptions reads what follows the schema of a snapshot.
func (s *source) snapshotOptions(a *aggregateType, words []word) {
	for _, w := range words {
		name, ok := strings.CutPrefix(w.text, "id=")
		switch {
		case !ok:
			s.addf(w.pos, "%q is not understood: %s", w.text, wantSnapshot)
		case a.id != nil:
			s.addf(w.pos, "the snapshot's field for the id is given twice: keep one")
		case !token.IsIdentifier(name) || !token.IsExported(exported(name)):
			s.addf(w.pos, "id is %q: write the name of the snapshot's field, as in id=sku", name)
		default:
			a.id = &field{pos: w.pos, source: name, name: exported(name), typ: "string", tag: snake(name), expr: ast.NewIdent("string")}
		}
	}
}

func (s *source) newAggregate(f *file, spec *ast.TypeSpec, d directive) *aggregateType {
	name := spec.Name.Name
	a := &aggregateType{file: f, spec: spec, name: name, prefix: exported(name), rootPkg: "aggregate"}
	a.sealed = a.prefix + "Event"
	if len(d.words) == 0 {
		s.addf(d.end(), "//sourced:aggregate takes a name: %s", wantAggregate)
	} else {
		a.durable = d.words[0].text
		s.checkName(d.words[0], "aggregate")
		s.aggregateOptions(a, d.words[1:])
	}
	if spec.TypeParams != nil {
		s.addf(spec.TypeParams.Pos(), "aggregate %s has type parameters: write one struct for each", name)
	}
	st, ok := spec.Type.(*ast.StructType)
	if !ok {
		s.addf(spec.Type.Pos(), "%s is no struct: an aggregate is a struct that embeds aggregate.Root", name)
		return a
	}
	if a.root != "" {
		s.findRoot(a, st, f)
		return a
	}
	for _, fd := range st.Fields.List {
		if len(fd.Names) > 0 {
			continue
		}
		pkg, pointer := rootField(fd.Type)
		if pkg == "" || !s.isAggregatePkg(f, pkg) {
			continue
		}
		if pointer {
			s.addf(fd.Type.Pos(), "%s embeds a pointer, which is nil in a new aggregate: write %s.Root", name, pkg)
		}
		a.rootPkg = pkg
		return a
	}
	s.addf(spec.Name.Pos(), "%s does not embed aggregate.Root: write aggregate.Root as its first field", name)
	return a
}

// aggregateOptions reads what follows the name of an aggregate.
func (s *source) aggregateOptions(a *aggregateType, words []word) {
	seen := map[string]bool{}
	for _, w := range words {
		key, value, assigned := strings.Cut(w.text, "=")
		if seen[key] {
			s.addf(w.pos, "%s is given twice: keep one", key)
			continue
		}
		seen[key] = true
		if key != "enqueue" && key != "events" && key != "root" || key != "enqueue" && !assigned {
			s.addf(w.pos, "%q is not understood: %s", w.text, wantOptions)
			continue
		}
		if assigned && !token.IsIdentifier(value) {
			s.addf(w.pos, "%s is %q, which is no name in Go: %s", key, value, wantOptions)
			continue
		}
		switch key {
		case "enqueue":
			a.enqueue, a.emitter = true, value
			if _, ok := structFields(a.spec)[value]; assigned && !ok {
				s.addf(w.pos, "%s has no field %s: write the name of a field of type *aggregate.Emitter, or enqueue alone", a.name, value)
			}
		case "events":
			a.sealed = value
		case "root":
			a.root = value
		}
	}
}

// findRoot finds the field that root=FIELD names.
func (s *source) findRoot(a *aggregateType, st *ast.StructType, f *file) {
	for _, fd := range st.Fields.List {
		pkg, pointer := rootField(fd.Type)
		isRoot := pkg != "" && s.isAggregatePkg(f, pkg)
		if isRoot && len(fd.Names) == 0 {
			s.addf(fd.Type.Pos(), "%s embeds %s.Root and has root=%s: keep one", a.name, pkg, a.root)
			a.rootPkg = pkg
			return
		}
		for _, n := range fd.Names {
			if n.Name != a.root {
				continue
			}
			if !isRoot || pointer {
				s.addf(fd.Type.Pos(), "field %s, the root of %s, is %s: write aggregate.Root", n.Name, a.name, s.text(fd.Type))
				return
			}
			a.rootPkg = pkg
			return
		}
	}
	s.addf(a.spec.Name.Pos(), "%s has no field %s: write root=FIELD with the name of a field of type aggregate.Root", a.name, a.root)
}

// rootField returns the package name of the embedded field p.Root or *p.Root.
func rootField(t ast.Expr) (pkg string, pointer bool) {
	if star, ok := t.(*ast.StarExpr); ok {
		pointer = true
		t = star.X
	}
	if sel, ok := t.(*ast.SelectorExpr); ok && sel.Sel.Name == "Root" {
		if x, ok := sel.X.(*ast.Ident); ok {
			return x.Name, pointer
		}
	}
	return "", false
}

// collectFields reads what a snapshot of a keeps, and its baseline.
func (s *source) collectFields(a *aggregateType) {
	st, ok := a.spec.Type.(*ast.StructType)
	if !ok {
		return
	}
	what, typ := "snapshot", a.prefix+"Snapshot"
	if a.snapshot == 0 {
		what, typ = "baseline", a.baselineType()
	}
	for _, fd := range st.Fields.List {
		tag := structTag(fd.Tag)
		if pkg, _ := rootField(fd.Type); len(fd.Names) == 0 && pkg == a.rootPkg || tag.Get("snapshot") == "-" {
			continue
		}
		if len(fd.Names) == 1 && (fd.Names[0].Name == a.root || fd.Names[0].Name == a.emitter) {
			continue
		}
		if v := tag.Get("snapshot"); v != "" {
			s.addf(fd.Tag.Pos(), "tag snapshot:%q is not understood: write snapshot:\"-\" to leave the field out", v)
		}
		names := fd.Names
		if len(names) == 0 {
			names = []*ast.Ident{embeddedName(fd.Type)}
		}
		for _, n := range names {
			if n.Name == "_" {
				continue
			}
			if kind := unstorable(fd.Type); kind != "" {
				s.addf(n.Pos(), "field %s is %s, which no %s can hold: tag it `snapshot:\"-\"`", n.Name, kind, what)
			}
			fld := field{pos: n.Pos(), source: n.Name, name: exported(n.Name), typ: s.text(fd.Type), tag: snake(n.Name), expr: fd.Type}
			if v, _, _ := strings.Cut(tag.Get("json"), ","); v != "" && v != "-" {
				fld.tag = v
			}
			a.fields = append(a.fields, fld)
		}
	}
	s.checkFields(a.snapshotFields(), typ, "field")
}

func structTag(lit *ast.BasicLit) reflect.StructTag {
	if lit == nil {
		return ""
	}
	text, _ := strconv.Unquote(lit.Value) // the parser has seen that it is a string
	return reflect.StructTag(text)
}

// embeddedName is the name of the field that embedding t makes.
func embeddedName(t ast.Expr) *ast.Ident {
	switch x := typeName(t).(type) {
	case *ast.SelectorExpr:
		return x.Sel
	case *ast.Ident:
		return x
	}
	return &ast.Ident{NamePos: t.Pos(), Name: "_"}
}

// unstorable says what t is when no codec can store it, and "" otherwise.
func unstorable(t ast.Expr) string {
	switch t := t.(type) {
	case *ast.FuncType:
		return "a function"
	case *ast.ChanType:
		return "a channel"
	case *ast.Ident:
		if t.Name == "error" {
			return "an error"
		}
	case *ast.InterfaceType:
		if t.Methods.NumFields() > 0 {
			return "an interface"
		}
	case *ast.StarExpr:
		return unstorable(t.X)
	case *ast.ArrayType:
		return unstorable(t.Elt)
	case *ast.MapType:
		return unstorable(t.Value)
	}
	return ""
}
