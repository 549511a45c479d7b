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
	e := s.findEvent(m, d.words[0])
	if !isUpcaster(fn) {
		s.addf(fn.Name.Pos(), "%s is no upcaster: write func %s(old Old) New", fn.Name.Name, fn.Name.Name)
		return
	}
	if !ok || e == nil {
		return
	}
	if other := e.upcasts[from]; other != nil {
		s.addf(d.words[1].pos, "event %q has an upcaster from=%d already, %s (%s): remove one", e.name, from, other.fn.Name.Name, s.at(other.pos))
		return
	}
	if from >= e.schema {
		s.addf(d.words[1].pos, "event %q is at schema %d, so an upcaster from=%d leads nowhere: raise the event's schema, or remove it", e.name, e.schema, from)
		return
	}
	e.upcasts[from] = &upcast{
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

// findEvent finds the event that an upcaster names, as EVENT or
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
