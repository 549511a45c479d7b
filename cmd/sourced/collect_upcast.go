package main

import (
	"go/ast"
	"strings"
)

// collectUpcast reads one upcaster and hands it to its event.
func (s *source) collectUpcast(m *model, f *file, fn *ast.FuncDecl, d directive) {
	if len(d.words) != 2 {
		s.addf(d.end(), "//sourced:upcast takes an event and a schema: %s", wantUpcast)
		return
	}
	from, ok := s.number(d.words[1], "from", wantUpcast)
	t := s.findUpcastTarget(m, d.words[0])
	if !isUpcaster(fn) {
		s.addf(fn.Name.Pos(), "%s is no upcaster: write func %s(old Old) New", fn.Name.Name, fn.Name.Name)
		return
	}
	if !ok || t == nil {
		return
	}
	if other := t.upcasts[from]; other != nil {
		s.addf(d.words[1].pos, "event %q has an upcaster from=%d already, %s (%s): remove one", t.name, from, other.fn.Name.Name, s.at(other.pos))
		return
	}
	if from >= t.schema {
		s.addf(d.words[1].pos, "event %q is at schema %d, so an upcaster from=%d leads nowhere: raise the event's schema, or remove it", t.name, t.schema, from)
		return
	}
	t.upcasts[from] = &upcast{
		file: f, fn: fn, pos: d.Slash,
		in:  s.text(fn.Type.Params.List[0].Type),
		out: s.text(fn.Type.Results.List[0].Type),
	}
}

// isUpcaster reports whether fn is a plain function of one value to one value.
func isUpcaster(fn *ast.FuncDecl) bool {
	if fn.Recv != nil || fn.Type.TypeParams != nil || fn.Type.Params.NumFields() != 1 || fn.Type.Results.NumFields() != 1 {
		return false
	}
	_, variadic := fn.Type.Params.List[0].Type.(*ast.Ellipsis)
	return !variadic
}

// chain is what upcasters lead to: an event, or a former one.
type chain struct {
	name    string
	schema  uint32
	upcasts map[uint32]*upcast
}

// findUpcastTarget finds the event that an upcaster names, former ones included.
func (s *source) findUpcastTarget(m *model, w word) *chain {
	var found *chain
	for _, a := range m.aggregates {
		for _, fm := range a.former {
			if fm.name != w.text && a.durable+"/"+fm.name != w.text {
				continue
			}
			if fm.fn == nil {
				s.addf(w.pos, "former event %q is read without a function, so an upcaster leads nowhere: name the present event", fm.name)
				return nil
			}
			found = &chain{fm.name, fm.schema, fm.upcasts}
		}
	}
	if found != nil {
		return found
	}
	if e := s.findEvent(m, w); e != nil {
		return &chain{e.name, e.schema, e.upcasts}
	}
	return nil
}

// findEvent finds the event that a directive names, as EVENT or
// AGGREGATE/EVENT.
func (s *source) findEvent(m *model, w word) *event {
	var found []*event
	var owners []string
	for _, a := range m.aggregates {
		for _, e := range a.events {
			if e.name == w.text || a.durable+"/"+e.name == w.text {
				found = append(found, e)
				owners = append(owners, a.durable)
			}
		}
	}
	switch len(found) {
	case 0:
		s.addf(w.pos, "no aggregate of this package has an event %q: write a name that a //sourced:event gives", w.text)
		return nil
	case 1:
		return found[0]
	}
	s.addf(w.pos, "event %q belongs to %s: write %s/%s", w.text, strings.Join(owners, " and "), owners[0], w.text)
	return nil
}
