package main

import (
	"cmp"
	"encoding/json"
	"go/ast"
	"math"
	"slices"
	"strings"
)

// jsonSchema describes a value in JSON. The zero one admits every value.
type jsonSchema struct {
	Ref                  string                 `json:"$ref,omitempty"`
	Title                string                 `json:"title,omitempty"`
	Description          string                 `json:"description,omitempty"`
	Type                 jsonTypes              `json:"type,omitempty"`
	Format               string                 `json:"format,omitempty"`
	Minimum              *int64                 `json:"minimum,omitempty"`
	Maximum              *uint64                `json:"maximum,omitempty"`
	ContentEncoding      string                 `json:"contentEncoding,omitempty"`
	Items                *jsonSchema            `json:"items,omitempty"`
	MinItems             *int                   `json:"minItems,omitempty"`
	MaxItems             *int                   `json:"maxItems,omitempty"`
	PropertyNames        *jsonSchema            `json:"propertyNames,omitempty"`
	Pattern              string                 `json:"pattern,omitempty"`
	AdditionalProperties *jsonSchema            `json:"additionalProperties,omitempty"`
	Properties           map[string]*jsonSchema `json:"properties,omitempty"`
	Required             []string               `json:"required,omitempty"`
	AllOf                []*jsonSchema          `json:"allOf,omitempty"`
	AnyOf                []*jsonSchema          `json:"anyOf,omitempty"`
}

// jsonTypes is one type or several.
type jsonTypes []string

// MarshalJSON writes one type as a string.
func (t jsonTypes) MarshalJSON() ([]byte, error) {
	if len(t) == 1 {
		return json.Marshal(t[0])
	}
	return json.Marshal([]string(t))
}

// knownType is a type of another package whose JSON is known.
type knownType struct {
	schema   jsonSchema
	methods  []string // by which it encodes itself
	isStruct bool     // without fields that others see
}

// wellKnown are types of other packages whose JSON is known.
var wellKnown = map[typeRef]*knownType{
	{"time", "Time"}:                {jsonSchema{Type: jsonTypes{"string"}, Format: "date-time"}, []string{"MarshalJSON", "MarshalText"}, true},
	{"time", "Duration"}:            {schema: jsonSchema{Type: jsonTypes{"integer"}, Format: "int64", Description: "Nanoseconds."}},
	{"time", "Month"}:               {schema: jsonSchema{Type: jsonTypes{"integer"}}},
	{"time", "Weekday"}:             {schema: jsonSchema{Type: jsonTypes{"integer"}}},
	{"encoding/json", "RawMessage"}: {schema: jsonSchema{}, methods: []string{"MarshalJSON"}},
	{"encoding/json", "Number"}:     {schema: jsonSchema{Type: jsonTypes{"number"}}},
	{"math/big", "Int"}:             {jsonSchema{Type: jsonTypes{"integer"}}, []string{"MarshalJSON", "MarshalText"}, true},
	{"math/big", "Float"}:           {jsonSchema{Type: jsonTypes{"string"}}, []string{"MarshalText"}, true},
	{"math/big", "Rat"}:             {jsonSchema{Type: jsonTypes{"string"}}, []string{"MarshalText"}, true},
}

// schemas are the components of an AsyncAPI document: one schema for each
// declared type.
type schemas struct {
	all    map[string]*jsonSchema // by key
	keys   map[string]string      // by package and type
	unique unique
	open   map[string]bool // aliases that are being followed
}

// of returns the schema of a type.
func (b *schemas) of(expr ast.Expr, in scope) *jsonSchema {
	switch x := expr.(type) {
	case *ast.ParenExpr:
		return b.of(x.X, in)
	case *ast.StarExpr:
		return nullable(b.of(x.X, in))
	case *ast.ArrayType:
		return b.array(x, in)
	case *ast.MapType:
		return b.mapping(x, in)
	case *ast.StructType:
		return b.object(x, in)
	case *ast.InterfaceType:
		return &jsonSchema{}
	case *ast.SelectorExpr:
		if ref, ok := in.imported(x); ok {
			if known := wellKnown[ref]; known != nil {
				s := known.schema
				return &s
			}
			return &jsonSchema{Description: "The Go type " + ref.path + "." + ref.name + "."}
		}
	case *ast.Ident:
		if arg, ok := in.args[x.Name]; ok {
			if arg.in.pkg == nil {
				return &jsonSchema{}
			}
			return b.of(arg.expr, arg.in)
		}
		if t, inner := in.lookup(x); t != nil {
			return b.declared(x, t, in, inner)
		}
		if s := basic(x.Name); s != nil {
			return s
		}
	case *ast.IndexExpr, *ast.IndexListExpr:
		if t, inner := in.lookup(expr); t != nil {
			return b.declared(expr, t, in, inner)
		}
	}
	return &jsonSchema{Description: "The Go type " + in.text(expr) + "."}
}

// basic is the schema of a predeclared type, and nil for no such.
func basic(name string) *jsonSchema {
	whole := func(low int64, high uint64) *jsonSchema {
		return &jsonSchema{Type: jsonTypes{"integer"}, Minimum: &low, Maximum: &high}
	}
	switch name {
	case "string":
		return &jsonSchema{Type: jsonTypes{"string"}}
	case "bool":
		return &jsonSchema{Type: jsonTypes{"boolean"}}
	case "int", "int64":
		return &jsonSchema{Type: jsonTypes{"integer"}, Format: "int64"}
	case "int32", "rune":
		return &jsonSchema{Type: jsonTypes{"integer"}, Format: "int32"}
	case "int16":
		return whole(math.MinInt16, math.MaxInt16)
	case "int8":
		return whole(math.MinInt8, math.MaxInt8)
	case "uint", "uint64", "uintptr":
		return whole(0, math.MaxUint64)
	case "uint32":
		return whole(0, math.MaxUint32)
	case "uint16":
		return whole(0, math.MaxUint16)
	case "uint8", "byte":
		return whole(0, math.MaxUint8)
	case "float32":
		return &jsonSchema{Type: jsonTypes{"number"}, Format: "float"}
	case "float64":
		return &jsonSchema{Type: jsonTypes{"number"}, Format: "double"}
	case "any":
		return &jsonSchema{}
	}
	return nil
}

// nullable is s or null.
func nullable(s *jsonSchema) *jsonSchema {
	switch {
	case s.Ref != "":
		return &jsonSchema{AnyOf: []*jsonSchema{s, {Type: jsonTypes{"null"}}}}
	case len(s.Type) == 0 || slices.Contains(s.Type, "null"):
		return s // null is allowed already
	}
	with := *s
	with.Type = append(slices.Clone(s.Type), "null")
	return &with
}

// array is the schema of a slice or an array. A nil slice is null.
func (b *schemas) array(x *ast.ArrayType, in scope) *jsonSchema {
	if x.Len == nil && in.isByte(x.Elt) {
		return &jsonSchema{Type: jsonTypes{"string", "null"}, ContentEncoding: "base64"}
	}
	s := &jsonSchema{Type: jsonTypes{"array"}, Items: b.of(x.Elt, in)}
	if x.Len == nil {
		return nullable(s)
	}
	if n, ok := intLiteral(in.pkg.constantValue(x.Len)); ok {
		s.MinItems, s.MaxItems = &n, &n
	}
	return s
}

// mapping is the schema of a map. A nil map is null.
func (b *schemas) mapping(x *ast.MapType, in scope) *jsonSchema {
	s := &jsonSchema{Type: jsonTypes{"object", "null"}, AdditionalProperties: b.of(x.Value, in)}
	kind, _ := in.kind(x.Key)
	if id, ok := kind.(*ast.Ident); ok {
		if key := basic(id.Name); key != nil && slices.Equal(key.Type, jsonTypes{"integer"}) && !in.encodes(x.Key, "MarshalText") {
			s.PropertyNames = &jsonSchema{Pattern: "^-?[0-9]+$"}
		}
	}
	return s
}

// object is the schema of a struct.
func (b *schemas) object(x *ast.StructType, in scope) *jsonSchema {
	fields, foreign := in.jsonFields(x)
	s := &jsonSchema{Type: jsonTypes{"object"}}
	for _, f := range fields {
		if s.Properties == nil {
			s.Properties = map[string]*jsonSchema{}
		}
		fs := b.of(f.expr, f.in)
		if f.has("string") && f.quotes() {
			fs = &jsonSchema{Type: jsonTypes{"string"}}
			if _, pointer := pointee(f.expr); pointer {
				fs = nullable(fs)
			}
		}
		s.Properties[f.name] = fs
		if !f.optional() {
			s.Required = append(s.Required, f.name)
		}
	}
	if names := foreignNames(foreign); names != nil {
		s.Description = "With the fields of " + strings.Join(names, ", ") + "."
	}
	return s
}

// quotes reports whether the option string of f's tag counts: for booleans,
// numbers and strings.
func (f jsonField) quotes() bool {
	expr, _ := pointee(f.expr)
	kind, at := f.in.kind(expr)
	id, ok := kind.(*ast.Ident)
	return ok && id.Name != "any" && at.pkg.declared[id.Name] == nil && basic(id.Name) != nil
}

// declared returns a reference to the schema of t, which it makes first.
func (b *schemas) declared(expr ast.Expr, t *declaredType, in, inner scope) *jsonSchema {
	name := in.text(expr)
	if len(name) > maxTypeText {
		return &jsonSchema{}
	}
	id := in.pkg.path + "." + name
	if t.alias {
		if b.open[id] { // aliases that do not compile may form a ring
			return &jsonSchema{}
		}
		b.open[id] = true
		defer delete(b.open, id)
		return b.of(t.expr, inner)
	}
	key, known := b.keys[id]
	if !known {
		key = b.unique.name(componentKey(in.pkg.label+"."+name), "-")
		b.keys[id] = key
		b.all[key] = &jsonSchema{} // for a type that contains itself
		s, _ := in.pkg.marshaled(t)
		if t.sealed != nil {
			s = &jsonSchema{Description: "An event of " + t.sealed.durable + "."}
		}
		if s == nil {
			s = b.below(t.expr, inner)
		}
		// The key of a component is ASCII; the title is the type's name.
		s.Title = name
		if s.Description == "" {
			s.Description = t.doc
		}
		*b.all[key] = *s
	}
	return &jsonSchema{Ref: "#/components/schemas/" + key}
}

// below is the schema of what a type is defined as. Its methods are not those
// of a type that it is defined from.
func (b *schemas) below(expr ast.Expr, in scope) *jsonSchema {
	kind, at := in.kind(expr)
	if _, named := kind.(*ast.SelectorExpr); named {
		ref, ok := at.imported(kind)
		if known := wellKnown[ref]; ok && known != nil && known.methods == nil {
			s := known.schema
			return &s
		}
		return &jsonSchema{Description: "The Go type " + at.text(kind) + "."}
	}
	if t, _ := at.lookup(kind); t != nil {
		return &jsonSchema{} // defined by itself, which does not compile
	}
	s := *b.of(kind, at)
	return &s
}

// marshaled is the schema of a type whose JSON a method writes, its own or one
// of an embedded type, and how that is said. It is nil for other types.
func (s *source) marshaled(t *declaredType) (*jsonSchema, string) {
	e := t.scope(s).encoder(t)
	if e == nil {
		return nil, ""
	}
	var schema jsonSchema
	by := "as its method " + e.method + " writes it"
	switch {
	case e.known != nil:
		schema = e.known.schema
	case e.method == "MarshalText" && !s.onPointer(e.by.name, e.method):
		schema.Type = jsonTypes{"string"}
	default:
		schema.Description = e.by.name + " is written " + by + "."
	}
	if e.embedded.expr != nil {
		by = "as the embedded " + e.embedded.in.text(e.embedded.expr) + " is written"
	}
	return &schema, by
}

// onPointer reports whether a method has a pointer as its receiver. It is not
// called for every value.
func (s *source) onPointer(typ, method string) bool {
	for _, f := range s.files {
		for _, d := range f.syntax.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv != nil && fn.Name.Name == method && receiverType(fn) == typ {
				_, pointer := fn.Recv.List[0].Type.(*ast.StarExpr)
				return pointer
			}
		}
	}
	return false
}

// componentKey makes name a key of components.
func componentKey(name string) string {
	key := strings.Trim(strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '-', r == '_':
			return r
		}
		return '_'
	}, name), "_")
	return cmp.Or(key, "_")
}
