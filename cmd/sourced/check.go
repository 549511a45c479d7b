package main

import (
	"go/ast"
	"go/token"
	"maps"
	"slices"
	"strings"

	"github.com/troupe-go/troupe/envelope"
)

// rootMethods are the names of aggregate.Root that a command must not hide.
var rootMethods = []string{"ID", "SetID", "Version", "Metadata", "SetMetadata", "Enqueue", "AggregateRoot"}

// check reports what is wrong between declarations that are right alone.
func (s *source) check(m *model) {
	files := map[string]*aggregateType{}
	durable := map[string]*aggregateType{}
	made := map[string]string{} // generated package-level names, and what for
	for _, a := range m.aggregates {
		if other := durable[a.durable]; other != nil && a.durable != "" {
			s.addf(a.spec.Name.Pos(), "%s and %s are both aggregate %q: give each a name of its own", other.name, a.name, a.durable)
		}
		durable[a.durable] = a
		if other := files[a.outputName()]; other != nil {
			s.addf(a.spec.Name.Pos(), "%s and %s would both be written to %s: rename one", other.name, a.name, a.outputName())
		}
		files[a.outputName()] = a
		s.checkAggregate(m, a)
		for _, n := range generatedNames(m, a) {
			if pos, taken := s.names[n.name]; taken {
				s.addf(n.pos, "%s is declared at %s, and it is the name of %s: rename that", n.name, s.at(pos), n.what)
			} else if what, twice := made[n.name]; twice {
				s.addf(n.pos, "%s would be the name of %s and of %s: rename one", n.name, what, n.what)
			}
			made[n.name] = n.what
		}
	}
}

// checkAggregate reports what is wrong between the events of one aggregate.
func (s *source) checkAggregate(m *model, a *aggregateType) {
	if len(a.events) == 0 && len(s.list) == 0 {
		s.addf(a.spec.Name.Pos(), "aggregate %s has no event: %s, above a method of it", a.name, wantEvent)
	}
	fields := structFields(a.spec)
	byName := map[string]*event{}
	for _, e := range a.events {
		if other := byName[e.name]; other != nil {
			s.addf(e.pos, "event %q is recorded by %s already (%s): give it another name", e.name, other.fn.Name.Name, s.at(other.pos))
		}
		byName[e.name] = e
		if pos, taken := s.methods[a.name][e.command]; taken && e.command != e.fn.Name.Name {
			s.addf(e.fn.Name.Pos(), "%s has a method %s (%s), the name of the command generated for %s: rename one", a.name, e.command, s.at(pos), e.fn.Name.Name)
		}
		if pos, taken := fields[e.command]; taken {
			s.addf(e.fn.Name.Pos(), "%s has a field %s (%s), the name of the command generated for %s: rename one", a.name, e.command, s.at(pos), e.fn.Name.Name)
		}
		if slices.Contains(rootMethods, e.command) {
			s.addf(e.fn.Name.Pos(), "the command generated for %s would hide %s of aggregate.Root: rename the method", e.fn.Name.Name, e.command)
		}
		if !token.IsExported(e.command) {
			s.addf(e.fn.Name.Pos(), "%s has no exported form for the generated command: begin the name with a letter that has an upper case", e.fn.Name.Name)
		}
		if a.baseline != nil && e.payload == a.baselineType() {
			s.addf(e.pos, "event %q would have the payload %s, which is that of the baseline: give the event another name, and write //sourced:rename %s NAME above the struct", e.name, e.payload, e.name)
		}
		s.checkChain(eventChain(e.name, e.schema, e.upcasts), e.pos, e.payload)
	}
	for _, fm := range a.former {
		if fm.fn != nil {
			s.checkChain(eventChain(fm.name, fm.schema, fm.upcasts), fm.pos, s.text(fm.in))
		}
	}
	if b := a.baseline; b != nil {
		s.checkChain(m.baselineChain(a), b.pos, a.baselineType())
	}
	own := map[string]string{}
	if a.snapshot > 0 {
		own["Snapshot"], own["Restore"] = "snapshots", "snapshots"
	}
	if a.root != "" {
		own["AggregateRoot"] = "root=" + a.root
	}
	for _, name := range slices.Sorted(maps.Keys(own)) {
		if pos, taken := s.methods[a.name][name]; taken {
			s.addf(pos, "%s has a method %s, the name of a generated one for %s: rename it", a.name, name, own[name])
		}
		if pos, taken := fields[name]; taken {
			s.addf(pos, "%s has a field %s, the name of a generated method for %s: rename it", a.name, name, own[name])
		}
		for _, e := range a.events {
			if e.command == name {
				s.addf(e.fn.Name.Pos(), "the command generated for %s would be %s, the name of a generated method for %s: rename the method", e.fn.Name.Name, name, own[name])
			}
		}
	}
}

// checkChain reports schemas that no upcaster leads on from, and steps that do
// not meet. payload is the type of the newest one.
func (s *source) checkChain(e *chain, pos token.Pos, payload string) {
	for from := uint32(1); from < e.schema; from++ {
		up := e.upcasts[from]
		if up == nil {
			s.addf(pos, "%s is at schema %d but has no upcaster from=%d: write //sourced:upcast %s from=%d above a func(Old) New", e.what, e.schema, from, e.name, from)
			continue
		}
		want := payload
		if from+1 < e.schema {
			next := e.upcasts[from+1]
			if next == nil {
				continue // reported in the next round
			}
			want = next.in
		}
		if up.out != want {
			s.addf(up.fn.Type.Results.Pos(), "%s returns %s, but schema %d of %s is %s: return that", up.fn.Name.Name, up.out, from+1, e.what, want)
		}
	}
}

// checkFields reports fields of one generated struct that cannot be told
// apart or named.
func (s *source) checkFields(fields []field, typ, what string) {
	seen := map[string]field{}
	for _, f := range fields {
		if !token.IsExported(f.name) {
			s.addf(f.pos, "%s %s has no exported form for %s: begin its name with a letter that has an upper case", what, f.source, typ)
		}
		for _, key := range []string{f.name, "json " + f.tag} {
			if other, twice := seen[key]; twice && other.source != f.source {
				s.addf(f.pos, "%ss %s and %s would be the same field of %s: rename one", what, other.source, f.source, typ)
				break
			}
			seen[key] = f
		}
	}
}

// checkName reports a durable name that no journal would take.
func (s *source) checkName(w word, what string) {
	if err := envelope.ValidateName(what+" name", w.text, envelope.MaxNameBytes); err != nil {
		s.addf(w.pos, "%v: write a short name like created", err)
	} else if what == "event" && strings.HasPrefix(w.text, envelope.ReservedPrefix) {
		s.addf(w.pos, "event %q begins with %s, which is reserved: write a short name like created", w.text, envelope.ReservedPrefix)
	}
}

// structFields returns the names of the fields of a struct type.
func structFields(spec *ast.TypeSpec) map[string]token.Pos {
	names := map[string]token.Pos{}
	if st, ok := spec.Type.(*ast.StructType); ok {
		for _, f := range st.Fields.List {
			for _, n := range f.Names {
				names[n.Name] = n.Pos()
			}
		}
	}
	return names
}

// generatedName is a package-level name that a generated file declares.
type generatedName struct {
	name, what string
	pos        token.Pos
}

func generatedNames(m *model, a *aggregateType) []generatedName {
	at := a.spec.Name.Pos()
	all := []generatedName{
		{m.specName(a), "the Spec of " + a.name, at},
		{a.sealed, "the events' interface of " + a.name, at},
		{a.decoder(), "the events' decoder of " + a.name, at},
		{a.testFunc(), "the test of the payloads of " + a.name, at},
	}
	if a.snapshot > 0 {
		all = append(all, generatedName{a.prefix + "Snapshot", "the snapshot of " + a.name, at})
	}
	seen := map[string]bool{}
	if a.baseline != nil {
		all = append(all,
			generatedName{a.baselineType(), "the baseline of " + a.name, at},
			generatedName{a.baselineVar(), "the variable of the baseline of " + a.name, at})
	}
	for _, e := range a.events {
		if seen[e.name] || a.baseline != nil && e.payload == a.baselineType() {
			continue // reported already
		}
		seen[e.name] = true
		all = append(all,
			generatedName{e.payload, "the payload of event \"" + e.name + "\"", e.pos},
			generatedName{e.variable, "the variable of event \"" + e.name + "\"", e.pos})
	}
	return all
}

// specName is the variable of the Spec of a: plain Spec where there is one.
func (m *model) specName(a *aggregateType) string {
	if len(m.aggregates) == 1 {
		return "Spec"
	}
	return a.prefix + "Spec"
}
