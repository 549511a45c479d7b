package main

import (
	"go/ast"
	"strings"
)

// collectEvent reads one mutator.
func (s *source) collectEvent(m *model, f *file, fn *ast.FuncDecl, d directive) {
	name := fn.Name.Name
	if fn.Recv == nil {
		s.addf(fn.Name.Pos(), "%s is a function, not a method: an event is recorded by a method of the aggregate, func (a *Type) %s(...)", name, name)
		return
	}
	if fn.Doc != nil {
		for _, other := range f.directives(fn.Doc) {
			if other.Name == "event" && other.Slash < d.Slash {
				s.addf(d.Slash, "%s records an event already: write one method for each event", name)
				return
			}
		}
	}
	typ := receiverType(fn)
	var a *aggregateType
	for _, known := range m.aggregates {
		if known.name == typ {
			a = known
		}
	}
	if a == nil {
		s.addf(d.Slash, "%s is a method of %s, which is no aggregate: %s, above the struct", name, typ, wantAggregate)
		return
	}
	s.checkMutator(a, fn)
	e := &event{file: f, fn: fn, pos: d.Slash, schema: 1, command: exported(name), upcasts: map[uint32]*upcast{}}
	s.readEventDirective(a, e, d)
	s.readReceiver(a, e)
	s.readParams(e)
	if e.name != "" {
		a.events = append(a.events, e)
	}
}

// checkMutator reports what a mutator must not be.
func (s *source) checkMutator(a *aggregateType, fn *ast.FuncDecl) {
	name := fn.Name.Name
	if _, pointer := fn.Recv.List[0].Type.(*ast.StarExpr); !pointer {
		s.addf(fn.Recv.List[0].Type.Pos(), "%s has a value receiver and would change a copy: write *%s", name, a.name)
	}
	if ast.IsExported(name) {
		s.addf(fn.Name.Pos(), "%s is exported, and the generated command takes that name: write %s", name, unexported(name))
	}
	if fn.Type.Results != nil {
		s.addf(fn.Type.Results.Pos(), "%s has results, but history cannot be refused: remove them, and refuse in a require clause", name)
	}
}

// readEventDirective reads NAME [schema=N] [when EXPR] [require EXPR].
func (s *source) readEventDirective(a *aggregateType, e *event, d directive) {
	if len(d.words) == 0 {
		s.addf(d.Slash, "the event has no name: %s", wantEvent)
		return
	}
	first := d.words[0]
	if first.text == "when" || first.text == "require" || strings.HasPrefix(first.text, "schema=") {
		s.addf(first.pos, "the event has no name before %s: %s", first.text, wantEvent)
		return
	}
	e.name, e.pos = first.text, first.pos
	s.checkName(first, "event")
	e.payload = payloadName(a, e.name)
	e.variable = unexported(e.payload)
	rest := d.words[1:]
	for i, seen := 0, false; i < len(rest); i++ {
		w := rest[i]
		if w.text == "when" || w.text == "require" {
			from := int(w.pos - d.ArgsPos)
			s.readClauses(e, strings.TrimRight(d.Args[from:], " \t\r"), w.pos)
			return
		}
		if !strings.HasPrefix(w.text, "schema=") {
			s.addf(w.pos, "%q is not understood: %s", w.text, wantEvent)
			return
		}
		if seen {
			s.addf(w.pos, "the schema of event %q is given twice: keep one", e.name)
			return
		}
		if n, ok := s.number(w, "schema", wantEvent); ok {
			e.schema, seen = n, true
		}
	}
}

// readReceiver finds a name for the receiver of the generated command.
func (s *source) readReceiver(a *aggregateType, e *event) {
	if names := e.fn.Recv.List[0].Names; len(names) > 0 && names[0].Name != "_" {
		e.recv = names[0].Name
		s.checkShadow(e, e.recv, names[0])
		return
	}
	e.recv = initial(a.name)
	for e.hasParam(e.recv) {
		e.recv += "_"
	}
}

func (e *event) hasParam(name string) bool {
	for _, p := range e.fn.Type.Params.List {
		for _, n := range p.Names {
			if n.Name == name {
				return true
			}
		}
	}
	return false
}

// readParams reads the parameters, which become the payload's fields.
func (s *source) readParams(e *event) {
	if tp := e.fn.Type.TypeParams; tp != nil {
		s.addf(tp.Pos(), "%s has type parameters: write one method for each type", e.fn.Name.Name)
	}
	for _, group := range e.fn.Type.Params.List {
		if dots, ok := group.Type.(*ast.Ellipsis); ok {
			s.addf(dots.Pos(), "%s is variadic: write a slice, []%s", e.fn.Name.Name, s.text(dots.Elt))
			continue
		}
		if len(group.Names) == 0 {
			s.addf(group.Type.Pos(), "a parameter of %s has no name, which its field in %s needs: name it", e.fn.Name.Name, e.payload)
			continue
		}
		if what := unstorable(group.Type); what != "" {
			s.addf(group.Type.Pos(), "parameter %s is %s, which no event can hold: pass what it stands for", group.Names[0].Name, what)
		}
		p := param{typ: s.text(group.Type)}
		for _, n := range group.Names {
			if n.Name == "_" {
				s.addf(n.Pos(), "a parameter of %s is blank, but its field in %s needs a name: name it", e.fn.Name.Name, e.payload)
				continue
			}
			s.checkShadow(e, n.Name, n)
			p.fields = append(p.fields, field{pos: n.Pos(), source: n.Name, name: exported(n.Name), typ: p.typ, tag: snake(n.Name), expr: group.Type})
		}
		if len(p.fields) > 0 {
			e.params = append(e.params, p)
		}
	}
	s.checkFields(e.eventFields(), e.payload, "parameter")
}

// checkShadow reports a receiver or parameter that hides what the generated
// command needs.
func (s *source) checkShadow(e *event, name string, at *ast.Ident) {
	switch name {
	case "nil", "error", "bool", e.variable, e.payload:
		s.addf(at.Pos(), "%s hides a name that the generated command uses: rename it", name)
	}
}
