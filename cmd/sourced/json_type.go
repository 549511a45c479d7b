package main

import (
	"go/ast"
	"slices"
	"strconv"
	"strings"
)

// jsonType is a field's type as the JSON methods see it.
type jsonType struct {
	shape jsonShape
	kind  string // of the scalar: the method of plainjson.Encoder and Decoder
	basic string // the type that the methods take and return
	bits  string // what the decoder's method takes
	typ   string // the scalar's own type
	conv  bool   // typ and basic differ
}

type jsonShape int

const (
	jsonScalar jsonShape = iota
	jsonPointer
	jsonSlice
)

// jsonScalars are the predeclared types that are plain.
var jsonScalars = map[string]jsonType{
	"string":  {kind: "String", basic: "string"},
	"bool":    {kind: "Bool", basic: "bool"},
	"int":     {kind: "Int", basic: "int64", bits: "0"},
	"int8":    {kind: "Int", basic: "int64", bits: "8"},
	"int16":   {kind: "Int", basic: "int64", bits: "16"},
	"int32":   {kind: "Int", basic: "int64", bits: "32"},
	"int64":   {kind: "Int", basic: "int64", bits: "64"},
	"rune":    {kind: "Int", basic: "int64", bits: "32"},
	"uint":    {kind: "Uint", basic: "uint64", bits: "0"},
	"uint8":   {kind: "Uint", basic: "uint64", bits: "8"},
	"uint16":  {kind: "Uint", basic: "uint64", bits: "16"},
	"uint32":  {kind: "Uint", basic: "uint64", bits: "32"},
	"uint64":  {kind: "Uint", basic: "uint64", bits: "64"},
	"byte":    {kind: "Uint", basic: "uint64", bits: "8"},
	"float32": {kind: "Float32", basic: "float32"},
	"float64": {kind: "Float64", basic: "float64"},
}

// jsonType says how a value of type t, as f writes it, looks in JSON. It is
// not ok for a type that is not plain.
func (g *emitter) jsonType(f *file, t ast.Expr) (_ jsonType, ok bool) {
	switch t := t.(type) {
	case *ast.StarExpr:
		elem, ok := g.jsonType(f, t.X)
		if elem.shape != jsonScalar || elem.kind == "Bytes" {
			return jsonType{}, false
		}
		elem.shape = jsonPointer
		return elem, ok
	case *ast.ArrayType:
		elem, ok := g.jsonType(f, t.Elt)
		if t.Len != nil || elem.shape != jsonScalar {
			return jsonType{}, false
		}
		if elem.kind == "Uint" && elem.bits == "8" { // bytes of a name of their own are no []byte to Go
			return jsonType{kind: "Bytes"}, elem.typ == "byte" || elem.typ == "uint8"
		}
		elem.shape = jsonSlice
		return elem, ok
	case *ast.SelectorExpr:
		return g.jsonTime(f, t)
	case *ast.Ident:
		if spec := g.im.types[t.Name]; spec != nil {
			return g.jsonNamed(spec)
		}
		scalar, ok := jsonScalars[t.Name]
		_, declared := g.im.names[t.Name]
		scalar.typ, scalar.conv = t.Name, t.Name != scalar.basic
		return scalar, ok && !declared
	}
	return jsonType{}, false
}

// jsonTime is jsonType for the types of package time.
func (g *emitter) jsonTime(f *file, sel *ast.SelectorExpr) (jsonType, bool) {
	x, ok := sel.X.(*ast.Ident)
	if !ok || !f.importsAs(x.Name, "time") || slices.Contains(jsonLocals, x.Name) {
		return jsonType{}, false
	}
	switch sel.Sel.Name {
	case "Time":
		return jsonType{kind: "Time"}, true
	case "Duration":
		t := jsonScalars["int64"]
		t.typ, t.conv = x.Name+".Duration", true
		return t, true
	}
	return jsonType{}, false
}

// jsonMethodNames are the methods that make a type's JSON its own, by any
// version of encoding/json.
var jsonMethodNames = []string{
	"MarshalJSON", "UnmarshalJSON", "MarshalText", "UnmarshalText", "AppendText",
	"MarshalJSONTo", "UnmarshalJSONFrom", "AppendJSON", "DecodeJSON",
}

// jsonNamed is jsonType for a type of the package.
func (g *emitter) jsonNamed(spec *ast.TypeSpec) (jsonType, bool) {
	name := spec.Name.Name
	if spec.TypeParams != nil || g.im.hasMethod(name, jsonMethodNames...) || slices.Contains(jsonLocals, name) {
		return jsonType{}, false
	}
	f := g.im.fileOf(spec.Pos())
	if f == nil || slices.Contains(g.jsonNames, name) { // a type may be made of itself
		return jsonType{}, false
	}
	g.jsonNames = append(g.jsonNames, name)
	t, ok := g.jsonType(f, spec.Type)
	g.jsonNames = g.jsonNames[:len(g.jsonNames)-1]
	switch {
	case t.shape == jsonPointer:
		return jsonType{}, false
	case t.shape == jsonSlice: // the elements keep their type, which must have the same name everywhere
		return t, ok && !strings.Contains(t.typ, ".")
	case t.kind == "Time": // a new type over a time has none of its methods
		return t, ok && spec.Assign.IsValid()
	case t.kind != "Bytes":
		t.typ, t.conv = name, true
	}
	return t, ok
}

// jsonLocals are the names that the JSON methods use. What the package declares
// by one of them stays out of their way.
var jsonLocals = strings.Fields("e enc dec v i x dst data plainjson append new nil error byte string bool int64 uint64 float32 float64")

// jsonAllowed reports whether the struct typ may have JSON methods, and their
// code means what it says.
func (g *emitter) jsonAllowed(typ string) bool {
	for _, name := range jsonLocals[slices.Index(jsonLocals, "plainjson"):] {
		if _, declared := g.im.names[name]; declared {
			return false
		}
	}
	return !g.im.hasMethod(typ, jsonMethodNames...) && !slices.ContainsFunc(g.im.files, func(f *file) bool {
		return slices.ContainsFunc(f.imports, func(spec *ast.ImportSpec) bool {
			return spec.Name != nil && spec.Name.Name == "plainjson"
		})
	})
}

// importsAs reports whether f imports the package path, of the standard
// library, under name.
func (f *file) importsAs(name, path string) bool {
	return slices.ContainsFunc(f.imports, func(spec *ast.ImportSpec) bool {
		if spec.Path.Value != strconv.Quote(path) {
			return false
		}
		return spec.Name == nil && name == path || spec.Name != nil && spec.Name.Name == name
	})
}
