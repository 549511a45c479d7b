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
	events  []*event

	snapshot    uint32    // schema; 0 without snapshots
	snapshotPos token.Pos // of the schema in the directive
	fields      []field
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

// field is one field of a payload or a snapshot.
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
func (m *model) retired(_, _ string) bool { return false }
