package main

import (
	"go/ast"
	"strings"
)

// collectFormer reads rename OLD NEW or drop OLD above the struct of a.
func (s *source) collectFormer(a *aggregateType, d directive) {
	fm := &former{directive: d.Name, file: a.file, schema: 1}
	switch {
	case d.Name == "drop" && len(d.words) != 1:
		s.addf(d.end(), "//sourced:drop takes the event: %s", wantDrop)
		return
	case d.Name == "rename" && len(d.words) != 2:
		s.addf(d.end(), "//sourced:rename takes the former event and the present one: %s", wantRename)
		return
	}
	fm.name, fm.pos = d.words[0].text, d.words[0].pos
	if d.Name == "rename" {
		w := d.words[1]
		for _, e := range a.events {
			if e.name == w.text {
				fm.to = e
			}
		}
		if fm.to == nil {
			s.addf(w.pos, "%s has no event %q: write a name that a //sourced:event gives", a.name, w.text)
			return
		}
	}
	s.addFormer(a, fm, d.words[0])
}

// collectConverted reads rename OLD NEW or split OLD above a function.
func (s *source) collectConverted(m *model, f *file, fn *ast.FuncDecl, d directive) {
	want, names := wantSplit, 1
	if d.Name == "rename" {
		want, names = wantRename, 2
	}
	if len(d.words) < names || len(d.words) > names+1 {
		s.addf(d.end(), "//sourced:%s is incomplete or too long: %s", d.Name, want)
		return
	}
	fm := &former{directive: d.Name, file: f, name: d.words[0].text, pos: d.words[0].pos, schema: 1, fn: fn, upcasts: map[uint32]*upcast{}}
	if len(d.words) > names {
		n, ok := s.number(d.words[names], "schema", want)
		if !ok {
			return
		}
		fm.schema = n
	}
	if !isUpcaster(fn) {
		s.addf(fn.Name.Pos(), "%s takes or returns too much or too little: %s", fn.Name.Name, want)
		return
	}
	fm.in = fn.Type.Params.List[0].Type
	out := fn.Type.Results.List[0].Type
	var a *aggregateType
	if d.Name == "rename" {
		if fm.to = s.findEvent(m, d.words[1]); fm.to == nil {
			return
		}
		a = m.owner(fm.to)
		if s.text(out) != fm.to.payload {
			s.addf(out.Pos(), "%s returns %s, but event %q is %s: return that", fn.Name.Name, s.text(out), fm.to.name, fm.to.payload)
			return
		}
	} else {
		var sealed []string
		for _, known := range m.aggregates {
			if s.text(out) == "[]"+known.sealed {
				a = known
			}
			sealed = append(sealed, "[]"+known.sealed)
		}
		if a == nil {
			s.addf(out.Pos(), "%s returns %s: return %s, the events that a record of %q is read as", fn.Name.Name, s.text(out), strings.Join(sealed, " or "), fm.name)
			return
		}
	}
	s.addFormer(a, fm, d.words[0])
}

// addFormer hands fm to its aggregate.
func (s *source) addFormer(a *aggregateType, fm *former, w word) {
	s.checkName(w, "event")
	for _, e := range a.events {
		if e.name == fm.name {
			s.addf(fm.pos, "event %q is recorded by %s (%s): a former event has no mutator", fm.name, e.fn.Name.Name, s.at(e.pos))
			return
		}
	}
	for _, other := range a.former {
		if other.name == fm.name {
			s.addf(fm.pos, "former event %q has a //sourced:%s already (%s): remove one", fm.name, other.directive, s.at(other.pos))
			return
		}
	}
	a.former = append(a.former, fm)
}

// owner is the aggregate of e.
func (m *model) owner(e *event) *aggregateType {
	for _, a := range m.aggregates {
		for _, other := range a.events {
			if other == e {
				return a
			}
		}
	}
	return nil
}
