package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/format"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// emitter writes the file of one aggregate.
type emitter struct {
	bytes.Buffer
	*aggregateType
	m  *model
	im *imports

	jsonNames []string // the types of the package that jsonType looks into
}

// emit returns the generated file of a, and none while there are mistakes:
// those of imports are found here.
func (s *source) emit(m *model, a *aggregateType) ([]byte, error) {
	g := &emitter{aggregateType: a, m: m, im: s.newImports()}
	g.im.own(a.rootPkg, aggregatePath, a.spec.Pos())
	g.im.own("envelope", envelopePath, a.spec.Pos())
	g.specVar()
	for _, e := range a.events {
		g.command(e)
	}
	g.sealed()
	for _, e := range a.events {
		g.payloadType(e)
	}
	g.decoder()
	for _, e := range a.events {
		g.eventVar(e)
	}
	if a.snapshot > 0 {
		g.snapshotType()
	}
	g.json()
	text := fmt.Sprintf("%s\n\npackage %s\n\n%s\n%s", header, m.name, g.im.text(), g.String())
	if len(s.list) > 0 {
		return nil, nil // generate reports them, with those of the other aggregates
	}
	out, err := format.Source([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("the file generated for %s does not parse, which is a mistake in sourced: %w\n%s", a.name, err, text)
	}
	return closeLines(out, a.outputName()), nil
}

// p writes one formatted line.
func (g *emitter) p(format string, args ...any) {
	fmt.Fprintf(&g.Buffer, format+"\n", args...)
}

// doc writes text as a comment.
func (g *emitter) doc(text string) {
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		g.p("%s", strings.TrimRight("// "+line, " "))
	}
}

func (g *emitter) specVar() {
	spec := g.m.specName(g.aggregateType)
	g.p("// %s describes [%s]: its type name, its events and how they are replayed.", spec, g.name)
	g.p("var %s = %s.Define[%s](%q,", spec, g.rootPkg, g.name, g.durable)
	for _, e := range g.events {
		g.p("\t%s,", e.variable)
	}
	if g.snapshot > 0 {
		g.p("\t%s.Snapshots(%d, snapshot%s, restore%s),", g.rootPkg, g.snapshot, g.prefix, g.prefix)
	}
	g.p(")\n")
}

// command writes the exported method that records e.
func (g *emitter) command(e *event) {
	g.doc(e.doc())
	var params, values []string
	for _, p := range e.params {
		var names []string
		for _, f := range p.fields {
			names = append(names, f.source)
			values = append(values, f.name+": "+f.source)
		}
		params = append(params, strings.Join(names, ", ")+" "+p.typ)
		g.im.resolveType(e.file, p.fields[0].expr)
	}
	g.p("func (%s *%s) %s(%s) error {", e.recv, g.name, e.command, strings.Join(params, ", "))
	local := func(name string) bool { return name == e.recv || e.hasParam(name) }
	if c := e.when; c.text != "" {
		g.im.resolve(e.file, c.expr, c.pos, local)
		g.p("\tif ok := bool(%s); !ok {\n\t\treturn nil\n\t}", g.borrowed(c))
	}
	if c := e.require; c.text != "" {
		g.im.resolve(e.file, c.expr, c.pos, local)
		g.p("\tif err := error(%s); err != nil {\n\t\treturn err\n\t}", g.borrowed(c))
	}
	g.p("\treturn %s.Record(%s, %s{%s})\n}\n", e.variable, e.recv, e.payload, strings.Join(values, ", "))
}

// doc is the mutator's comment, about the command.
func (e *event) doc() string {
	text := e.fn.Doc.Text()
	if text == "" {
		return fmt.Sprintf("%s records event %q.", e.command, e.name)
	}
	if rest, ok := strings.CutPrefix(text, e.fn.Name.Name); ok && !startsIdent(rest) {
		return e.command + rest
	}
	return text
}

// startsIdent reports whether text goes on with a letter or digit.
func startsIdent(text string) bool {
	r, _ := utf8.DecodeRuneInString(text)
	return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r)
}

func (g *emitter) sealed() {
	g.p("// %sEvent is the payload of an event of [%s]. No other package can add one.", g.prefix, g.name)
	g.p("//\n//sumtype:decl\ntype %sEvent interface{ is%sEvent() }\n", g.prefix, g.prefix)
}

func (g *emitter) payloadType(e *event) {
	g.p("// %s is the payload of event %q, schema %d.", e.payload, e.name, e.schema)
	fields := e.eventFields()
	if len(fields) == 0 {
		g.p("type %s struct{}\n", e.payload)
	} else {
		g.p("type %s struct {", e.payload)
		for _, f := range fields {
			g.p("\t%s %s `json:%s`", f.name, f.typ, strconv.Quote(f.tag))
		}
		g.p("}\n")
	}
	g.p("func (%s) is%sEvent() {}\n", e.payload, g.prefix)
}

func (g *emitter) decoder() {
	g.p("// Decode%sEvent reads a stored event, bringing an old schema up to date.\n//", g.prefix)
	g.p("// Errors: [%s.ErrReplay].", g.rootPkg)
	g.p("func Decode%sEvent(rec *envelope.Record) (%sEvent, error) {", g.prefix, g.prefix)
	g.p("\tpayload, err := %s.Decode(rec)\n\tif err != nil {\n\t\treturn nil, err\n\t}", g.m.specName(g.aggregateType))
	g.p("\treturn payload.(%sEvent), nil\n}\n", g.prefix)
}

// eventVar writes the variable that records and replays e.
func (g *emitter) eventVar(e *event) {
	payload := "e"
	if e.recv == payload {
		payload = "event"
	}
	var values []string
	for _, f := range e.eventFields() {
		values = append(values, payload+"."+f.name)
	}
	if len(values) == 0 {
		payload = "_"
	}
	g.p("// %s records and replays [%s].", e.variable, e.payload)
	head, tail := g.rootPkg+".", ""
	for from := uint32(1); from < e.schema; from++ {
		head = g.rootPkg + ".Upcast(" + head
		tail += fmt.Sprintf(",\n\t%d, %s)", from, e.upcasts[from].fn.Name.Name)
	}
	if e.schema > 1 {
		tail = fmt.Sprintf(".Schema(%d)", e.schema) + tail
	}
	g.p("var %s = %sOn(%q, func(%s *%s, %s %s) {", e.variable, head, e.name, e.recv, g.name, payload, e.payload)
	g.p("\t%s.%s(%s)\n})%s\n", e.recv, e.fn.Name.Name, strings.Join(values, ", "), tail)
}

// snapshotType writes the snapshot's payload, and the ways there and back.
func (g *emitter) snapshotType() {
	name := g.prefix + "Snapshot"
	g.p("// %s is the state of [%s] as a snapshot keeps it.\ntype %s struct {", name, g.name, name)
	for _, f := range g.fields {
		g.im.resolveType(g.file, f.expr)
		g.p("\t%s %s `json:%s`", f.name, f.typ, strconv.Quote(f.tag))
	}
	g.p("}\n")
	recv := initial(g.name)
	g.p("func snapshot%s(%s *%s) %s {\n\treturn %s{", g.prefix, recv, g.name, name, name)
	for _, f := range g.fields {
		g.p("\t\t%s: %s,", f.name, g.copied(f, recv+"."+f.source))
	}
	g.p("\t}\n}\n")
	g.p("func restore%s(%s *%s, snapshot %s) {", g.prefix, recv, g.name, name)
	for _, f := range g.fields {
		g.p("\t%s.%s = snapshot.%s", recv, f.source, f.name)
	}
	g.p("}")
}

// copied is the expression that copies what a command may change in place.
func (g *emitter) copied(f field, value string) string {
	t := f.expr
	for range 8 { // names of names of types
		id, ok := t.(*ast.Ident)
		if !ok || g.im.types[id.Name] == nil {
			break
		}
		t = g.im.types[id.Name].Type
	}
	switch t := t.(type) {
	case *ast.MapType:
		g.im.own("maps", "maps", f.pos)
		return "maps.Clone(" + value + ")"
	case *ast.ArrayType:
		if t.Len == nil {
			g.im.own("slices", "slices", f.pos)
			return "slices.Clone(" + value + ")"
		}
	}
	return value
}
