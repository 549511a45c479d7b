package main

import (
	"fmt"
	"go/ast"
	"slices"
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
		s.addf(d.words[1].pos, "%s has an upcaster from=%d already, %s (%s): remove one", t.what, from, other.fn.Name.Name, s.at(other.pos))
		return
	}
	if from >= t.schema {
		s.addf(d.words[1].pos, "%s is at schema %d, so an upcaster from=%d leads nowhere: raise the schema, or remove it", t.what, t.schema, from)
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

// chain is what upcasters lead to: an event, a former one, or a baseline.
type chain struct {
	what    string // for messages
	name    string // as //sourced:upcast has it
	schema  uint32
	upcasts map[uint32]*upcast
}

func eventChain(name string, schema uint32, upcasts map[uint32]*upcast) *chain {
	return &chain{fmt.Sprintf("event %q", name), name, schema, upcasts}
}

// baselineChain is that of the baseline of a, which has one.
func (m *model) baselineChain(a *aggregateType) *chain {
	return &chain{fmt.Sprintf("the baseline of %q", a.durable), m.baselineName(a), a.baseline.schema, a.baseline.upcasts}
}

// baselineWord is what //sourced:upcast calls the baseline. An aggregate that
// has one has no event of that name: the payloads would have one name too.
const baselineWord = "baseline"

// baselineName is what //sourced:upcast calls the baseline of a, where others
// may be called so too.
func (m *model) baselineName(a *aggregateType) string {
	for _, other := range m.aggregates {
		if other != a && other.upcastable(baselineWord) {
			return a.durable + "/" + baselineWord
		}
	}
	return baselineWord
}

// upcastable reports whether a has what //sourced:upcast may call name.
func (a *aggregateType) upcastable(name string) bool {
	return a.baseline != nil && name == baselineWord ||
		slices.ContainsFunc(a.events, func(e *event) bool { return e.name == name }) ||
		slices.ContainsFunc(a.former, func(fm *former) bool { return fm.name == name })
}

// findUpcastTarget finds what an upcaster names: a baseline, or an event, former
// ones included.
func (s *source) findUpcastTarget(m *model, w word) *chain {
	var found *chain
	if aggregate, isBaseline := strings.CutSuffix("/"+w.text, "/"+baselineWord); isBaseline {
		aggregate = strings.TrimPrefix(aggregate, "/")
		var owners []string
		for _, a := range m.aggregates {
			if (aggregate == "" || aggregate == a.durable) && a.upcastable(baselineWord) {
				owners = append(owners, a.durable)
				if a.baseline != nil {
					found = m.baselineChain(a)
				}
			}
		}
		named := func(a *aggregateType) bool { return a.upcastable(w.text) }
		switch {
		case len(owners) == 0 && !slices.ContainsFunc(m.aggregates, named):
			s.addf(w.pos, "no aggregate of this package has a baseline or an event %q: write a name that a //sourced:event gives, or //sourced:baseline schema=N above the struct", w.text)
			return nil
		case found != nil && len(owners) > 1:
			s.addf(w.pos, "%q belongs to %s: write %s/%s", w.text, strings.Join(owners, " and "), owners[0], w.text)
			return nil
		case found != nil:
			return found
		}
	}
	for _, a := range m.aggregates {
		for _, fm := range a.former {
			if fm.name != w.text && a.durable+"/"+fm.name != w.text {
				continue
			}
			if fm.fn == nil {
				s.addf(w.pos, "former event %q is read without a function, so an upcaster leads nowhere: name the present event", fm.name)
				return nil
			}
			found = eventChain(fm.name, fm.schema, fm.upcasts)
		}
	}
	if found != nil {
		return found
	}
	if e := s.findEvent(m, w); e != nil {
		return eventChain(e.name, e.schema, e.upcasts)
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
