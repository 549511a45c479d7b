package main

import (
	"go/ast"
	"go/token"
)

// model is a package as the directives describe it.
type model struct {
	name       string // of the package
	aggregates []*aggregateType
}

// aggregateType is one struct with //sourced:aggregate.
type aggregateType struct {
	file    *file
	spec    *ast.TypeSpec
	name    string // of the Go type
	prefix  string // what the names of generated types begin with: name, exported
	durable string // the stream type
	rootPkg string // how its file calls package aggregate
	root    string // the field that is its Root; empty when it is embedded
	sealed  string // the interface of its events
	enqueue bool
	emitter string // the field with an emitter of its own; empty for none
	events  []*event
	former  []*former

	snapshot    uint32    // schema; 0 without snapshots
	snapshotPos token.Pos // of the schema in the directive
	fields      []field   // of the snapshot and of the baseline
	id          *field    // the snapshot's field that holds the id; nil for none
	baseline    *baseline // nil without one
}

// baseline is //sourced:baseline of an aggregate.
type baseline struct {
	pos     token.Pos // of the schema in the directive
	schema  uint32
	upcasts map[uint32]*upcast
}

// former is an event that is no longer recorded.
type former struct {
	directive string // rename, split or drop
	file      *file
	pos       token.Pos // of its name in the directive
	name      string    // durable
	to        *event    // of a rename
	schema    uint32    // 1 without a function
	fn        *ast.FuncDecl
	in        ast.Expr // the payload's type; nil without a function
	upcasts   map[uint32]*upcast
}

// event is one mutator with //sourced:event.
type event struct {
	file     *file
	fn       *ast.FuncDecl
	pos      token.Pos // of its name in the directive
	name     string    // durable
	schema   uint32
	payload  string // Go type
	variable string // of the *aggregate.Event
	command  string // exported method
	recv     string // name of the receiver
	params   []param
	when     clause
	require  clause
	upcasts  map[uint32]*upcast
}

// clause is the expression behind when or require; without, its text is empty.
type clause struct {
	text string
	expr ast.Expr
	pos  token.Pos
}

// param is a group of a mutator's parameters that share a type.
type param struct {
	fields []field
	typ    string
}

// field is one field of a payload, a snapshot or a baseline.
type field struct {
	pos    token.Pos
	source string // the parameter or the aggregate's field
	name   string // exported
	typ    string
	tag    string // json name
	expr   ast.Expr
}

// upcast is one function with //sourced:upcast.
type upcast struct {
	file    *file
	fn      *ast.FuncDecl
	pos     token.Pos
	in, out string // types, as written
}

// splits reports whether a record of a may be read as none or several events.
func (a *aggregateType) splits() bool {
	for _, f := range a.former {
		if f.directive != "rename" {
			return true
		}
	}
	return false
}

// formerly returns the earlier names of e, whose records are read as they are.
func (a *aggregateType) formerly(e *event) []string {
	var names []string
	for _, f := range a.former {
		if f.to == e && f.fn == nil {
			names = append(names, f.name)
		}
	}
	return names
}

// eventFields returns the payload's fields in order.
func (e *event) eventFields() []field {
	var all []field
	for _, p := range e.params {
		all = append(all, p.fields...)
	}
	return all
}

// retired reports whether the source says that the event is recorded no more,
// and how the records that are stored are read. The lock keeps its schemas.
func (m *model) retired(aggregate, event string) bool {
	for _, a := range m.aggregates {
		for _, fm := range a.former {
			if a.durable == aggregate && fm.name == event {
				return true
			}
		}
	}
	return false
}

// addBaseline gives the aggregate a baseline, whose schema stands at pos.
func (a *aggregateType) addBaseline(pos token.Pos, schema uint32) {
	a.baseline = &baseline{pos: pos, schema: schema, upcasts: map[uint32]*upcast{}}
}

// baselineType is the payload of the baseline of a.
func (a *aggregateType) baselineType() string { return a.prefix + "Baseline" }

// baselineVar is the variable of the baseline of a.
func (a *aggregateType) baselineVar() string { return unexported(a.baselineType()) }

// snapshotFields are the fields of the snapshot's payload.
func (a *aggregateType) snapshotFields() []field {
	if a.id == nil {
		return a.fields
	}
	return append([]field{*a.id}, a.fields...)
}
