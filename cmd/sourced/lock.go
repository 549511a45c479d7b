package main

import (
	"fmt"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/troupe-go/troupe/envelope"
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
	s.declareTypes(m)
	all := map[lockID]shape{}
	for _, a := range m.aggregates {
		if a.snapshot > 0 {
			lines, ok := s.payloadShape(a.prefix + "Snapshot")
			if !ok {
				s.addf(a.snapshotPos, "the snapshot of %s has more than %d fields, nested ones included: tag one `snapshot:\"-\"`", a.name, maxSteps)
			}
			all[lockID{a.durable, "", a.snapshot}] = shape{layout: layout{fields: lines}, pos: a.snapshotPos, params: a.snapshotFields()}
		}
		if b := a.baseline; b != nil {
			lines, ok := s.payloadShape(a.baselineType())
			if !ok {
				s.addf(b.pos, "the baseline of %s has more than %d fields, nested ones included: tag one `snapshot:\"-\"`", a.name, maxSteps)
			}
			all[lockID{a.durable, envelope.BaselineName, b.schema}] = shape{layout: layout{fields: lines}, pos: b.pos, params: a.fields}
			s.addRead(all, lockID{a.durable, envelope.BaselineName, 0}, b.upcasts)
		}
		for _, e := range a.events {
			lines, ok := s.payloadShape(e.payload)
			if !ok {
				s.addf(e.pos, "event %q has more than %d fields, nested ones included: record less", e.name, maxSteps)
			}
			all[lockID{a.durable, e.name, e.schema}] = shape{layout: layout{fields: lines}, pos: e.pos, params: e.eventFields()}
			s.addRead(all, lockID{a.durable, e.name, 0}, e.upcasts)
		}
		for _, fm := range a.former {
			if fm.fn == nil {
				continue
			}
			reads := maps.Clone(fm.upcasts)
			reads[fm.schema] = &upcast{file: fm.file, fn: fm.fn, pos: fm.pos, in: s.text(fm.in)}
			s.addRead(all, lockID{a.durable, fm.name, 0}, reads)
		}
	}
	return all
}

// addRead adds the schemas of a series that functions read as structs.
func (s *source) addRead(all map[lockID]shape, id lockID, reads map[uint32]*upcast) {
	for from, up := range reads {
		id.schema = from
		in := up.fn.Type.Params.List[0].Type
		if lines, ok := s.structShape(in, up.file); ok {
			all[id] = shape{layout: layout{fields: lines}, pos: in.Pos(), upcast: up}
		}
	}
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
			s.compareSeries(m, eventChain(e.name, e.schema, nil), lockID{a.durable, e.name, e.schema}, e.pos, shapes, locked)
		}
		if b := a.baseline; b != nil {
			s.compareSeries(m, m.baselineChain(a), lockID{a.durable, envelope.BaselineName, b.schema}, b.pos, shapes, locked)
		}
	}
	for _, a := range m.aggregates {
		for _, fm := range a.former {
			s.compareFormer(m, a, fm, shapes, locked)
		}
	}
	s.reportGone(m, shapes, locked)
}

// compareSeries reports where the schemas of an event or a baseline, the newest
// of which is id, contradict the lock.
func (s *source) compareSeries(m *model, c *chain, id lockID, pos token.Pos, shapes map[lockID]shape, locked *lock) {
	n := locked.newest()[id.series()]
	at := locked.at(lockID{id.aggregate, id.event, n})
	switch {
	case n > id.schema:
		s.addf(pos, "%s is at schema %d, but %s has schema %d: write schema=%d; %s", c.what, id.schema, at, n, n, orAccept)
		return
	case n > 0 && n+1 < id.schema:
		s.addf(pos, "%s is at schema %d, but the newest schema in the lock is %d (%s): write schema=%d; %s", c.what, id.schema, n, at, n+1, orAccept)
	}
	for ; id.schema > 0; id.schema-- {
		if known, ok := shapes[id]; ok {
			s.compareShape(m, id, known, locked)
		}
	}
}

// compareFormer reports records of a former event that nothing reads as they
// are.
func (s *source) compareFormer(m *model, a *aggregateType, fm *former, shapes map[lockID]shape, locked *lock) {
	for _, id := range sortedIDs(locked.layouts) {
		if id.aggregate != a.durable || id.event != fm.name || fm.directive == "drop" {
			continue
		}
		old := locked.layouts[id]
		if fm.fn != nil {
			if id.schema > fm.schema {
				s.addf(fm.pos, "former event %q is read at schema %d, but %s has schema %d: write schema=%d", fm.name, fm.schema, locked.at(id), id.schema, id.schema)
			} else if sh, ok := shapes[id]; ok {
				s.compareShape(m, id, sh, locked)
			}
			continue
		}
		// Its records are read by the schemas of the present event.
		as, ok := shapes[lockID{a.durable, fm.to.name, id.schema}]
		switch {
		case id.schema > fm.to.schema:
			s.addf(fm.pos, "former event %q has schema %d (%s), but %q is at schema %d and would not read it: write schema=%d there, or convert it by //sourced:rename %s %s above a func(Old) New",
				fm.name, id.schema, locked.at(id), fm.to.name, fm.to.schema, id.schema, fm.name, fm.to.name)
		case ok && !slices.Equal(old.fields, as.fields):
			s.addf(fm.pos, "schema %d of former event %q (-, %s) has another shape than that of %q (+), which reads it: convert it by //sourced:rename %s %s above a func(Old) New%s",
				id.schema, fm.name, locked.at(id), fm.to.name, fm.name, fm.to.name, diffLines(old.fields, as.fields))
		}
	}
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
		what := fmt.Sprintf("event %q", id.event)
		if id.event == envelope.BaselineName {
			what = id.what()
		}
		s.addf(sh.pos, "%s reads schema %d of %s, but its %s has another shape (+) than %s (-): give it the fields of the lock; %s%s",
			sh.upcast.fn.Name.Name, id.schema, what, sh.upcast.in, at, orAccept, diff)
	case id.event == "":
		s.addf(sh.place(old), "the snapshot of %q has another shape (+) than schema %d in %s (-): write //sourced:snapshot schema=%d; %s%s",
			id.aggregate, id.schema, at, id.schema+1, orAccept, diff)
	case id.event == envelope.BaselineName:
		s.addf(sh.place(old), "the baseline of %q has another shape (+) than schema %d in %s (-): write //sourced:baseline schema=%d and //sourced:upcast %s from=%d above a func(Old) New; %s%s",
			id.aggregate, id.schema, at, id.schema+1, m.upcastName(id), id.schema, orAccept, diff)
	default:
		s.addf(sh.place(old), "event %q has another shape (+) than schema %d in %s (-): write schema=%d and //sourced:upcast %s from=%d above a func(Old) New; %s%s",
			id.event, id.schema, at, id.schema+1, m.upcastName(id), id.schema, orAccept, diff)
	}
}

// upcastName is what //sourced:upcast calls the event or the baseline of id.
func (m *model) upcastName(id lockID) string {
	owners := 0
	for _, a := range m.aggregates {
		if id.event == envelope.BaselineName && id.aggregate == a.durable {
			return m.baselineName(a)
		}
	}
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
		if id.event == envelope.BaselineName {
			s.list.Add(pos, fmt.Sprintf("the baseline of aggregate %q is not in the source any more, and truncated streams, which begin with one, could no longer be read: write //sourced:baseline schema=%d above its struct again; %s",
				id.aggregate, locked.newest()[id.series()], orAccept))
			continue
		}
		s.list.Add(pos, fmt.Sprintf("event %q of aggregate %q is not in the source any more, but records of it may be stored: write //sourced:event %s above its method again, or say by //sourced:rename, split or drop what became of it; %s",
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
