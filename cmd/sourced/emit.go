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
	g.sealedType()
	for _, e := range a.events {
		g.payloadType(e)
	}
	g.decodeFunc()
	for _, e := range a.events {
		g.eventVar(e)
	}
	for _, f := range a.fields {
		g.im.resolveType(a.file, f.expr)
	}
	if a.snapshot > 0 {
		g.snapshotType()
	}
	if a.baseline != nil {
		g.baselineParts()
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
	g.formerParts()
	if g.snapshot > 0 {
		g.p("\t%s.Snapshots(%d, (*%s).Snapshot, (*%s).Restore),", g.rootPkg, g.snapshot, g.name, g.name)
	}
	if g.baseline != nil {
		g.p("\t%s,", g.baselineVar())
	}
	g.p(")\n")
	if g.root != "" {
		recv := initial(g.name)
		g.p("// AggregateRoot returns the root: it makes %s an aggregate.", g.name)
		g.p("func (%s *%s) AggregateRoot() *%s.Root { return &%s.%s }\n", recv, g.name, g.rootPkg, recv, g.root)
	}
}

// formerParts writes what reads events that are no longer recorded.
func (g *emitter) formerParts() {
	for _, fm := range g.former {
		if fm.directive == "drop" {
			g.p("\t%s.Drop[%s](%q),", g.rootPkg, g.name, fm.name)
		}
		if fm.fn == nil {
			continue
		}
		g.im.resolveType(fm.file, fm.in)
		in := g.im.source.text(fm.in)
		head, tail := g.rootPkg+".", ""
		for from := uint32(1); from < fm.schema; from++ {
			head = g.rootPkg + ".Upcast(" + head
			tail += fmt.Sprintf(", %d, %s)", from, fm.upcasts[from].fn.Name.Name)
		}
		if fm.schema > 1 {
			tail = fmt.Sprintf(".Schema(%d)", fm.schema) + tail
		}
		read := fm.fn.Name.Name
		if fm.to != nil {
			read = fmt.Sprintf("func(old %s) []%s { return []%s{%s(old)} }", in, g.sealed, g.sealed, read)
		}
		g.p("\t%s.Split(%sFormer[%s, %s](%q)%s, %s),", g.rootPkg, head, g.name, in, fm.name, tail, read)
	}
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

func (g *emitter) sealedType() {
	if g.baseline != nil {
		g.p("// %s is the payload of an event of [%s], or of its baseline. No other", g.sealed, g.name)
		g.p("// package can add one.")
	} else {
		g.p("// %s is the payload of an event of [%s]. No other package can add one.", g.sealed, g.name)
	}
	g.p("//\n//sumtype:decl\ntype %s interface{ %s() }\n", g.sealed, g.marker())
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
	g.p("func (%s) %s() {}\n", e.payload, g.marker())
}

// marker is the method that makes a type one of the events.
func (a *aggregateType) marker() string { return "is" + exported(a.sealed) }

// decoder is the function that reads stored events.
func (a *aggregateType) decoder() string {
	if a.splits() {
		return "Decode" + exported(a.sealed) + "s"
	}
	return "Decode" + exported(a.sealed)
}

func (g *emitter) decodeFunc() {
	name, spec := g.decoder(), g.m.specName(g.aggregateType)
	if g.splits() {
		g.p("// %s reads a stored record, bringing old schemas up to date: one event, or", name)
		g.p("// those that a former event is read as, none included.\n//")
		g.p("// Errors: [%s.ErrReplay].", g.rootPkg)
		g.p("func %s(rec *envelope.Record) ([]%s, error) {", name, g.sealed)
		g.p("\tpayloads, err := %s.DecodeAll(rec)\n\tif err != nil {\n\t\treturn nil, err\n\t}", spec)
		g.p("\tevents := make([]%s, len(payloads))\n\tfor i, payload := range payloads {", g.sealed)
		g.p("\t\tevents[i] = payload.(%s)\n\t}\n\treturn events, nil\n}\n", g.sealed)
		return
	}
	g.p("// %s reads a stored event, bringing an old schema up to date.\n//", name)
	g.p("// Errors: [%s.ErrReplay].", g.rootPkg)
	g.p("func %s(rec *envelope.Record) (%s, error) {", name, g.sealed)
	g.p("\tpayload, err := %s.Decode(rec)\n\tif err != nil {\n\t\treturn nil, err\n\t}", spec)
	g.p("\treturn payload.(%s), nil\n}\n", g.sealed)
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
	head, methods, tail := g.chained(e.schema, e.upcasts)
	if names := g.formerly(e); len(names) > 0 {
		methods += fmt.Sprintf(".Formerly(%s)", quoted(names))
	}
	switch {
	case g.emitter != "":
		methods += fmt.Sprintf(".EnqueueTo(func(%s *%s) *%s.Emitter { return %s.%s })", e.recv, g.name, g.rootPkg, e.recv, g.emitter)
	case g.enqueue:
		methods += ".Enqueue()"
	}
	tail = methods + tail
	g.p("var %s = %sOn(%q, func(%s *%s, %s %s) {", e.variable, head, e.name, e.recv, g.name, payload, e.payload)
	g.p("\t%s.%s(%s)\n})%s\n", e.recv, e.fn.Name.Name, strings.Join(values, ", "), tail)
}

// chained is what stands around the call that declares an event: before the
// function's name, behind the call, and behind its other methods.
func (g *emitter) chained(schema uint32, upcasts map[uint32]*upcast) (head, methods, tail string) {
	head = g.rootPkg + "."
	for from := uint32(1); from < schema; from++ {
		head = g.rootPkg + ".Upcast(" + head
		tail += fmt.Sprintf(",\n\t%d, %s)", from, upcasts[from].fn.Name.Name)
	}
	if schema > 1 {
		methods = fmt.Sprintf(".Schema(%d)", schema)
	}
	return head, methods, tail
}

func quoted(names []string) string {
	all := make([]string, len(names))
	for i, name := range names {
		all[i] = strconv.Quote(name)
	}
	return strings.Join(all, ", ")
}

// snapshotType writes the snapshot's payload, and the ways there and back.
func (g *emitter) snapshotType() {
	name := g.prefix + "Snapshot"
	g.p("// %s is the state of [%s] as a snapshot keeps it.\ntype %s struct {", name, g.name, name)
	g.stateFields(g.snapshotFields())
	g.p("}\n")
	recv, root := initial(g.name), initial(g.name)
	if g.root != "" {
		root += "." + g.root
	}
	g.p("// Snapshot returns the state as a snapshot keeps it.")
	g.p("func (%s *%s) Snapshot() %s {\n\treturn %s{", recv, g.name, name, name)
	if f := g.id; f != nil {
		g.p("\t\t%s: %s.ID(),", f.name, root)
	}
	for _, f := range g.fields {
		g.p("\t\t%s: %s,", f.name, g.copied(f, recv+"."+f.source))
	}
	g.p("\t}\n}\n")
	g.p("// Restore sets the state to that of a snapshot.")
	g.p("func (%s *%s) Restore(snapshot %s) {", recv, g.name, name)
	if f := g.id; f != nil {
		g.p("\t%s.SetID(snapshot.%s)", root, f.name)
	}
	for _, f := range g.fields {
		g.p("\t%s.%s = snapshot.%s", recv, f.source, f.name)
	}
	g.p("}\n")
}

// stateFields writes the fields of a snapshot or a baseline.
func (g *emitter) stateFields(fields []field) {
	for _, f := range fields {
		g.p("\t%s %s `json:%s`", f.name, f.typ, strconv.Quote(f.tag))
	}
}

// baselineParts writes the baseline's payload, and the variable that records and
// replays it. The ways there and back are no methods: unlike those of a snapshot
// they would take names that the model may need.
func (g *emitter) baselineParts() {
	name, recv := g.baselineType(), initial(g.name)
	g.p("// %s is the whole state of [%s], schema %d, with which a truncated", name, g.name, g.baseline.schema)
	g.p("// stream begins.\ntype %s struct {", name)
	g.stateFields(g.fields)
	g.p("}\n")
	g.p("func (%s) %s() {}\n", name, g.marker())
	g.p("// %s records and replays [%s].", g.baselineVar(), name)
	head, methods, tail := g.chained(g.baseline.schema, g.baseline.upcasts)
	g.p("var %s = %sBaseline(func(%s *%s) %s {", g.baselineVar(), head, recv, g.name, name)
	g.p("\treturn %s{", name)
	for _, f := range g.fields {
		g.p("\t\t%s: %s,", f.name, g.copied(f, recv+"."+f.source))
	}
	g.p("\t}\n}, func(%s *%s, baseline %s) {", recv, g.name, name)
	for _, f := range g.fields {
		g.p("\t%s.%s = baseline.%s", recv, f.source, f.name)
	}
	g.p("})%s%s\n", methods, tail)
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
