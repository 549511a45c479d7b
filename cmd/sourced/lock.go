package main

import (
	"fmt"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
)

// shape is a schema as the source has it.
type shape struct {
	layout
	upcast *upcast // that reads it; nil for the current schema
	pos    token.Pos
	params []field // what the lines come from: parameters, or an aggregate's fields
}

// shapes returns all schemas that the source knows the shape of: the current
// ones, and the older ones that an upcaster reads as a struct.
func (s *source) shapes(m *model) map[lockID]shape {
	all := map[lockID]shape{}
	for _, a := range m.aggregates {
		if a.snapshot > 0 {
			lines, ok := s.payloadShape(m, a.prefix+"Snapshot", payload{a.file, a.fields})
			if !ok {
				s.addf(a.snapshotPos, "the snapshot of %s has more than %d fields, nested ones included: tag one `snapshot:\"-\"`", a.name, maxSteps)
			}
			all[lockID{a.durable, "", a.snapshot}] = shape{layout: layout{fields: lines}, pos: a.snapshotPos, params: a.fields}
		}
		for _, e := range a.events {
			fields := e.eventFields()
			lines, ok := s.payloadShape(m, e.payload, payload{e.file, fields})
			if !ok {
				s.addf(e.pos, "event %q has more than %d fields, nested ones included: record less", e.name, maxSteps)
			}
			all[lockID{a.durable, e.name, e.schema}] = shape{layout: layout{fields: lines}, pos: e.pos, params: fields}
			for from, up := range e.upcasts {
				in := up.fn.Type.Params.List[0].Type
				if lines, ok := s.structShape(m, in, up.file); ok {
					all[lockID{a.durable, e.name, from}] = shape{layout: layout{fields: lines}, pos: in.Pos(), upcast: up}
				}
			}
		}
	}
	return all
}

// compare reports where the source contradicts the lock.
func (s *source) compare(m *model, shapes map[lockID]shape, locked *lock) {
	newest := locked.newest()
	for _, a := range m.aggregates {
		if a.snapshot > 0 {
			id := lockID{a.durable, "", a.snapshot}
			if n := newest[id.series()]; n > a.snapshot {
				s.addf(a.snapshotPos, "the snapshot of %s is at schema %d, but %s has schema %d: write schema=%d; %s",
					a.name, a.snapshot, locked.at(lockID{a.durable, "", n}), n, n, orAccept)
			} else {
				s.compareShape(m, id, shapes[id], locked)
			}
		}
		for _, e := range a.events {
			id := lockID{a.durable, e.name, e.schema}
			n := newest[id.series()]
			at := locked.at(lockID{a.durable, e.name, n})
			switch {
			case n > e.schema:
				s.addf(e.pos, "event %q is at schema %d, but %s has schema %d: write schema=%d; %s", e.name, e.schema, at, n, n, orAccept)
				continue
			case n > 0 && n+1 < e.schema:
				s.addf(e.pos, "event %q is at schema %d, but the newest schema in the lock is %d (%s): write schema=%d; %s", e.name, e.schema, n, at, n+1, orAccept)
			}
			for schema := e.schema; schema > 0; schema-- {
				id.schema = schema
				if known, ok := shapes[id]; ok {
					s.compareShape(m, id, known, locked)
				}
			}
		}
	}
	s.reportGone(m, shapes, locked)
}

const orAccept = "if that was never released, run go tool sourced lock -accept"

// series is id without its number.
func (id lockID) series() lockID { return lockID{id.aggregate, id.event, 0} }

// newest is the highest schema of each series.
func (l *lock) newest() map[lockID]uint32 {
	newest := map[lockID]uint32{}
	for id := range l.layouts {
		newest[id.series()] = max(newest[id.series()], id.schema)
	}
	return newest
}

// at is where the lock has id.
func (l *lock) at(id lockID) string {
	return fmt.Sprintf("%s:%d", filepath.Base(l.path), l.layouts[id].line)
}

// compareShape reports a schema that has another shape than in the lock.
func (s *source) compareShape(m *model, id lockID, sh shape, locked *lock) {
	old, ok := locked.layouts[id]
	if !ok || slices.Equal(old.fields, sh.fields) {
		return
	}
	at, diff := locked.at(id), diffLines(old.fields, sh.fields)
	switch {
	case sh.upcast != nil:
		s.addf(sh.pos, "%s reads schema %d of event %q, but its %s has another shape (+) than %s (-): give it the fields of the lock; %s%s",
			sh.upcast.fn.Name.Name, id.schema, id.event, sh.upcast.in, at, orAccept, diff)
	case id.event == "":
		s.addf(sh.place(old), "the snapshot of %q has another shape (+) than schema %d in %s (-): write //sourced:snapshot schema=%d; %s%s",
			id.aggregate, id.schema, at, id.schema+1, orAccept, diff)
	default:
		s.addf(sh.place(old), "event %q has another shape (+) than schema %d in %s (-): write schema=%d and //sourced:upcast %s from=%d above a func(Old) New; %s%s",
			id.event, id.schema, at, id.schema+1, m.upcastName(id), id.schema, orAccept, diff)
	}
}

// upcastName is what //sourced:upcast calls the event of id.
func (m *model) upcastName(id lockID) string {
	owners := 0
	for _, a := range m.aggregates {
		for _, e := range a.events {
			if e.name == id.event {
				owners++
			}
		}
	}
	if owners > 1 {
		return id.aggregate + "/" + id.event
	}
	return id.event
}

// place is the first parameter that differs from the lock, and the directive
// where all that the source has is in the lock as well.
func (sh shape) place(old layout) token.Pos {
	for _, f := range sh.params {
		own := func(lines []string) []string {
			var own []string
			for _, line := range lines {
				if rest, ok := strings.CutPrefix(line, plain(f.tag)); ok && strings.IndexAny(rest, " .[{<") == 0 {
					own = append(own, line)
				}
			}
			return own
		}
		if !slices.Equal(own(old.fields), own(sh.fields)) {
			return f.pos
		}
	}
	return sh.pos
}

// diffLines shows two sorted lists of fields as one: those of old alone with -,
// those of now alone with +.
func diffLines(old, now []string) string {
	name := func(field string) string {
		name, _, _ := strings.Cut(field, " ")
		return name
	}
	var b strings.Builder
	for len(old)+len(now) > 0 {
		switch {
		case len(old) > 0 && len(now) > 0 && old[0] == now[0]:
			b.WriteString("\n\t  " + old[0])
			old, now = old[1:], now[1:]
		case len(now) == 0 || len(old) > 0 && name(old[0]) <= name(now[0]):
			b.WriteString("\n\t- " + old[0])
			old = old[1:]
		default:
			b.WriteString("\n\t+ " + now[0])
			now = now[1:]
		}
	}
	return b.String()
}

// reportGone reports events that the lock has and the source has not.
func (s *source) reportGone(m *model, shapes map[lockID]shape, locked *lock) {
	reported := map[lockID]bool{}
	for _, id := range sortedIDs(locked.layouts) {
		if !m.gone(id, shapes) || reported[id.series()] {
			continue
		}
		reported[id.series()] = true
		pos := token.Position{Filename: locked.path, Line: locked.layouts[id].line, Column: 1}
		if !m.has(id.aggregate) {
			if reported[lockID{aggregate: id.aggregate}] {
				continue
			}
			reported[lockID{aggregate: id.aggregate}] = true
			s.list.Add(pos, fmt.Sprintf("aggregate %q is not in the source any more, but its streams may be stored: write //sourced:aggregate %s above its struct again; %s",
				id.aggregate, id.aggregate, orAccept))
			continue
		}
		s.list.Add(pos, fmt.Sprintf("event %q of aggregate %q is not in the source any more, but records of it may be stored: write //sourced:event %s above its method again; %s",
			id.event, id.aggregate, id.event, orAccept))
	}
}

// has reports whether the source has an aggregate of that durable name.
func (m *model) has(aggregate string) bool {
	return slices.ContainsFunc(m.aggregates, func(a *aggregateType) bool { return a.durable == aggregate })
}

// gone reports whether the source has no schema of the series that id belongs
// to, and does not say why. A snapshot may go: it is read by no later program.
func (m *model) gone(id lockID, shapes map[lockID]shape) bool {
	if id.event == "" {
		return !m.has(id.aggregate)
	}
	for other := range shapes {
		if other.series() == id.series() {
			return false
		}
	}
	return !m.retired(id.aggregate, id.event)
}

// merge is the lock with what is new in the source.
func merge(shapes map[lockID]shape, locked *lock) map[lockID]layout {
	all := map[lockID]layout{}
	for id, sh := range shapes {
		all[id] = sh.layout
	}
	for id, l := range locked.layouts {
		all[id] = l
	}
	return all
}

// accepted is the lock after the source, which is right in every contradiction:
// without events that are gone and schemas above the newest.
func (m *model) accepted(shapes map[lockID]shape, locked *lock) map[lockID]layout {
	current := map[lockID]uint32{}
	for id := range shapes {
		current[id.series()] = max(current[id.series()], id.schema)
	}
	all := map[lockID]layout{}
	for id, l := range locked.layouts {
		newest, ok := current[id.series()]
		if !m.gone(id, shapes) && (!ok || id.schema <= newest) {
			all[id] = l
		}
	}
	for id, sh := range shapes {
		all[id] = sh.layout
	}
	return all
}
