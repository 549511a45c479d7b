package main

import (
	"fmt"
	"go/ast"
	"go/types"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// printText writes c for a terminal, and for a diff.
func printText(w io.Writer, c *catalogue) error {
	t := &textWriter{}
	if c.title != "" {
		t.line(0, c.title)
		t.line(0, strings.Repeat("=", utf8.RuneCountInString(c.title)))
	}
	for _, p := range c.packages {
		t.pkg(p)
	}
	_, err := io.WriteString(w, t.b.String())
	return err
}

type textWriter struct{ b strings.Builder }

// line writes words, two blanks apart, behind an indent; empty ones are left out.
func (t *textWriter) line(indent int, words ...string) {
	words = slices.DeleteFunc(words, func(w string) bool { return w == "" })
	t.b.WriteString(strings.Repeat("  ", indent) + strings.Join(words, "  ") + "\n")
}

// head begins a section behind an empty line.
func (t *textWriter) head(indent int, words ...string) {
	if t.b.Len() > 0 {
		t.b.WriteByte('\n')
	}
	t.line(indent, words...)
}

// table writes rows with aligned columns.
func (t *textWriter) table(indent int, rows [][]string) {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		var b strings.Builder
		for i, cell := range row {
			if widths[i] == 0 {
				continue // nothing in this column
			}
			b.WriteString(cell + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
		}
		t.line(indent, strings.TrimRight(b.String(), " "))
	}
}

func (t *textWriter) pkg(p *packageEntry) {
	t.head(0, "package "+p.name, p.path)
	for _, a := range p.aggregates {
		t.aggregate(a)
	}
	if len(p.commands) > 0 {
		t.head(1, "commands of other aggregates")
		t.commands(p, p.commands)
	}
	if found := p.reachedTypes(); len(found) > 0 {
		t.head(1, "types")
		for _, decl := range found {
			t.declared(p, decl)
		}
	}
	if len(p.listeners) > 0 {
		t.head(1, "listeners")
		var rows [][]string
		for _, l := range p.listeners {
			for _, heard := range l.heard() {
				rows = append(rows, []string{l.function, heard})
			}
		}
		t.table(2, slices.CompactFunc(rows, slices.Equal))
	}
}

// heard says what l hears, a line for each.
func (l *listenerEntry) heard() []string {
	if l.all {
		return []string{"everything that is enqueued"}
	}
	if l.other != "" {
		return []string{l.other}
	}
	var all []string
	for _, e := range l.events {
		all = append(all, quotedName(e.durableName()))
	}
	return all
}

func (t *textWriter) aggregate(a *aggregateEntry) {
	snapshot := ""
	if a.snapshot > 0 {
		snapshot = fmt.Sprint("snapshot schema ", a.snapshot)
	}
	baseline := ""
	if a.baseline != nil {
		baseline = fmt.Sprint("baseline schema ", a.baseline.schema)
	}
	enqueue := ""
	if a.enqueue {
		enqueue = "enqueues its events"
	}
	t.head(1, "aggregate "+quotedName(a.durable), a.name, snapshot, baseline, enqueue)
	if a.doc != "" {
		t.line(2, a.doc)
	}
	if len(a.commands) > 0 {
		t.head(2, "commands")
		t.commands(a.pkg, a.commands)
	}
	if len(a.events) > 0 {
		t.head(2, "methods")
	}
	for _, e := range a.events {
		t.line(3, e.method(), "-> "+quotedName(e.name))
		for _, c := range []struct{ keyword, text string }{{"when", e.when.text}, {"require", e.require.text}} {
			if c.text != "" {
				t.line(4, c.keyword+" "+oneLine(c.text))
			}
		}
	}
	if len(a.events) > 0 {
		t.head(2, "events")
	}
	for _, e := range a.events {
		t.event(e)
	}
	if a.baseline != nil && len(a.baseline.upcasts) > 0 {
		t.head(2, "baseline")
		t.line(3, fmt.Sprint("schema ", a.baseline.schema), a.baselineType())
		t.chain(a.baseline.upcasts)
	}
	if len(a.former) > 0 {
		t.head(2, "former events")
		for _, f := range a.former {
			t.former(f)
		}
	}
}

// commands writes commands, named from package p.
func (t *textWriter) commands(p *packageEntry, all []*commandEntry) {
	var rows [][]string
	for _, c := range all {
		in, out := "?", "?"
		if c.in.expr != nil {
			in, out = c.in.in.text(c.in.expr), c.out.in.text(c.out.expr)
		}
		variable := c.variable
		if c.pkg != p && variable != "" {
			variable = c.pkg.label + "." + variable
		}
		exists, on := "", ""
		if c.mustExist {
			exists = "must exist"
		}
		if len(p.commands) > 0 && c.on != "" && slices.Contains(p.commands, c) {
			on = "of " + c.on
		}
		rows = append(rows, []string{quotedName(c.name), variable, in + " -> " + out, on, exists})
	}
	t.table(3, rows)
}

// method is the generated method as declared.
func (e *eventEntry) method() string {
	var params []string
	for _, p := range e.params {
		var names []string
		for _, f := range p.fields {
			names = append(names, f.source)
		}
		params = append(params, strings.Join(names, ", ")+" "+oneLineType(p.fields[0].expr))
	}
	return e.command + "(" + strings.Join(params, ", ") + ")"
}

func (t *textWriter) event(e *eventEntry) {
	t.line(3, quotedName(e.name), fmt.Sprint("schema ", e.schema), e.payload)
	if doc := e.summary(); doc != "" {
		t.line(4, doc)
	}
	var rows [][]string
	for _, f := range e.eventFields() {
		rows = append(rows, []string{f.tag, oneLineType(f.expr)})
	}
	t.table(4, rows)
	t.chain(e.upcasts)
	for _, l := range e.listeners {
		t.line(4, "heard by "+l.name())
	}
}

// chain writes the steps from the oldest schema to the newest.
func (t *textWriter) chain(upcasts map[uint32]*upcast) {
	var rows [][]string
	for _, from := range slices.Sorted(maps.Keys(upcasts)) {
		fn := upcasts[from].fn
		rows = append(rows, []string{
			fmt.Sprintf("v%d -> v%d", from, from+1), fn.Name.Name,
			oneLineType(fn.Type.Params.List[0].Type) + " -> " + oneLineType(fn.Type.Results.List[0].Type),
		})
	}
	t.table(4, rows)
}

func (t *textWriter) former(f *former) {
	name := quotedName(f.name)
	switch {
	case f.directive == "drop":
		t.line(3, name, "skipped")
		return
	case f.fn == nil:
		t.line(3, name, "read as "+quotedName(f.to.name)+", schemas and all")
		return
	case f.directive == "rename":
		t.line(3, name, fmt.Sprint("schema ", f.schema), oneLineType(f.in), "read as "+quotedName(f.to.name)+" by "+f.fn.Name.Name)
	default:
		t.line(3, name, fmt.Sprint("schema ", f.schema), oneLineType(f.in), "read as "+oneLineType(f.fn.Type.Results.List[0].Type)+" by "+f.fn.Name.Name)
	}
	t.chain(f.upcasts)
}

// reachedTypes are the types that events, commands and replies are made of,
// without the payloads, which stand at their events.
func (p *packageEntry) reachedTypes() []*declaredType {
	found := map[string]*declaredType{}
	for _, a := range p.aggregates {
		for _, e := range a.events {
			for _, f := range e.eventFields() {
				scope{pkg: p.source, file: e.file}.reached(f.expr, found)
			}
		}
		for _, c := range a.commands {
			c.reached(p, found)
		}
	}
	for _, c := range p.commands {
		c.reached(p, found)
	}
	var all []*declaredType
	for _, name := range slices.Sorted(maps.Keys(found)) {
		if !found[name].payload {
			all = append(all, found[name])
		}
	}
	return all
}

func (c *commandEntry) reached(p *packageEntry, found map[string]*declaredType) {
	if c.pkg == p && c.in.expr != nil {
		c.in.in.reached(c.in.expr, found)
		c.out.in.reached(c.out.expr, found)
	}
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

// declared writes one type.
func (t *textWriter) declared(p *packageEntry, decl *declaredType) {
	name := decl.name
	if len(decl.params) > 0 {
		name += "[" + strings.Join(decl.params, ", ") + "]"
	}
	if _, by := p.marshaled(decl); by != "" {
		t.line(2, name, by)
		return
	}
	if decl.sealed != nil {
		t.line(2, name, "an event of "+quotedName(decl.sealed.durable))
		return
	}
	st, ok := decl.expr.(*ast.StructType)
	if !ok {
		equal := ""
		if decl.alias {
			equal = "= "
		}
		t.line(2, name, equal+oneLineType(decl.expr))
		return
	}
	t.line(2, name)
	if decl.doc != "" {
		t.line(3, decl.doc)
	}
	fields, foreign := decl.scope(p.source).jsonFields(st)
	var rows [][]string
	for _, f := range fields {
		notes := ""
		if f.optional() {
			notes = "optional"
		}
		if f.has("string") {
			notes = strings.TrimPrefix(notes+", in a string", ", ")
		}
		rows = append(rows, []string{f.name, f.in.text(f.expr), f.goName, notes})
	}
	t.table(3, rows)
	for _, other := range foreignNames(foreign) {
		t.line(3, "and the fields of "+other)
	}
}

// quotedName is a name that may hold blanks.
func quotedName(name string) string {
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r == ' ' || r == '"' || !strconv.IsPrint(r) }) {
		return strconv.Quote(name)
	}
	return name
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// oneLineType is a type as it is written, on one line.
func oneLineType(expr ast.Expr) string { return types.ExprString(expr) }
