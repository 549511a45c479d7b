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

// wellKnown are types of other packages whose JSON is known.
var wellKnown = map[typeRef]*knownType{
	{"time", "Time"}:                {jsonSchema{Type: jsonTypes{"string"}, Format: "date-time"}, true},
	{"time", "Duration"}:            {jsonSchema{Type: jsonTypes{"integer"}, Format: "int64", Description: "Nanoseconds."}, false},
	{"time", "Month"}:               {jsonSchema{Type: jsonTypes{"integer"}}, false},
	{"time", "Weekday"}:             {jsonSchema{Type: jsonTypes{"integer"}}, false},
	{"encoding/json", "RawMessage"}: {jsonSchema{}, true},
	{"encoding/json", "Number"}:     {jsonSchema{Type: jsonTypes{"number"}}, false},
	{"math/big", "Int"}:             {jsonSchema{Type: jsonTypes{"integer"}}, true},
	{"math/big", "Float"}:           {jsonSchema{Type: jsonTypes{"string"}}, true},
	{"math/big", "Rat"}:             {jsonSchema{Type: jsonTypes{"string"}}, true},
}

// knownType is the schema of a type, and whether a method writes its JSON.
type knownType struct {
	schema  jsonSchema
	marshal bool
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
		if key := basic(id.Name); key != nil && slices.Equal(key.Type, jsonTypes{"integer"}) && !in.marshalsText(x.Key) {
			s.PropertyNames = &jsonSchema{Pattern: "^-?[0-9]+$"}
		}
	}
	return s
}

// marshalsText reports whether keys of that type are written by a method.
func (in scope) marshalsText(key ast.Expr) bool {
	t, _ := in.lookup(key)
	return t != nil && in.pkg.methods[t.name]["MarshalText"] != 0
}

// object is the schema of a struct.
func (b *schemas) object(x *ast.StructType, in scope) *jsonSchema {
	fields, unknown := in.jsonFields(x)
	s := &jsonSchema{Type: jsonTypes{"object"}}
	for _, f := range fields {
		if s.Properties == nil {
			s.Properties = map[string]*jsonSchema{}
		}
		fs := b.of(f.expr, f.in)
		if f.quoted && f.quotes() {
			fs = &jsonSchema{Type: jsonTypes{"string"}}
			if _, pointer := f.expr.(*ast.StarExpr); pointer {
				fs = nullable(fs)
			}
		}
		s.Properties[f.name] = fs
		if !f.optional {
			s.Required = append(s.Required, f.name)
		}
	}
	if len(unknown) > 0 {
		s.Description = "With the fields of " + strings.Join(unknown, ", ") + "."
	}
	return s
}

// quotes reports whether the option string of f's tag counts: for booleans,
// numbers and strings.
func (f schemaField) quotes() bool {
	expr := f.expr
	if star, ok := expr.(*ast.StarExpr); ok {
		expr = star.X
	}
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
		if known := wellKnown[ref]; ok && known != nil && !known.marshal {
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
func (p *packageEntry) marshaled(t *declaredType) (*jsonSchema, string) {
	return p.marshaledBeside(t, map[*declaredType]bool{})
}

// marshaledBeside is marshaled for a type that others embed, which were asked:
// structs may embed each other by pointers.
func (p *packageEntry) marshaledBeside(t *declaredType, asked map[*declaredType]bool) (*jsonSchema, string) {
	if asked[t] {
		return nil, ""
	}
	asked[t] = true
	for _, name := range []string{"MarshalJSON", "MarshalText"} {
		fn := p.method(t.name, name)
		if fn == nil {
			continue
		}
		by := "as its method " + name + " writes it"
		// A method of the pointer is not called for every value.
		if _, pointer := fn.Recv.List[0].Type.(*ast.StarExpr); name == "MarshalText" && !pointer {
			return &jsonSchema{Type: jsonTypes{"string"}}, by
		}
		return &jsonSchema{Description: t.name + " is written " + by + "."}, by
	}
	in := t.scope(p)
	if next, _ := in.lookup(t.expr); t.alias && next != nil {
		return p.marshaledBeside(next, asked)
	}
	st, ok := t.expr.(*ast.StructType)
	if !ok {
		return nil, ""
	}
	var found *jsonSchema
	by := ""
	for _, f := range st.Fields.List {
		if len(f.Names) > 0 {
			continue
		}
		embedded := f.Type
		if star, ok := embedded.(*ast.StarExpr); ok {
			embedded = star.X
		}
		var s *jsonSchema
		if ref, ok := in.imported(embedded); ok {
			if known := wellKnown[ref]; known != nil && known.marshal {
				copied := known.schema
				s = &copied
			}
		} else if other, _ := in.lookup(embedded); other != nil {
			s, _ = p.marshaledBeside(other, asked)
		}
		if s != nil && found != nil { // the methods of two hide each other
			return nil, ""
		}
		if s != nil {
			found, by = s, "as the embedded "+in.text(embedded)+" is written"
		}
	}
	return found, by
}

// method finds the declaration of a method of p.
func (p *packageEntry) method(typ, name string) *ast.FuncDecl {
	if p.methods[typ][name] == 0 {
		return nil
	}
	for _, f := range p.files {
		for _, d := range f.syntax.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv != nil && fn.Name.Name == name && receiverType(fn) == typ {
				return fn
			}
		}
	}
	return nil
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
