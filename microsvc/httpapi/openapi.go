package httpapi

import (
	"encoding"
	"encoding/json"
	"fmt"
	"net/url"
	"path"
	"reflect"
	"strings"
	"time"

	"github.com/troupe-go/troupe/microsvc"
)

// object is a JSON object; encoding/json writes its keys in order.
type object = map[string]any

// describe makes the OpenAPI 3.1 document of svc, from the Go types of inputs and
// replies as encoding/json sees them. No property is required: what an input
// needs is known to guards and models only.
func describe(svc *microsvc.Service, version string) []byte {
	s := schemas{names: map[reflect.Type]string{}, all: object{}}
	paths := object{}
	for _, name := range svc.Commands() {
		in, out := svc.Types(name)
		paths["/"+url.PathEscape(name)] = object{"post": object{
			"operationId": name,
			"parameters": []any{object{
				"name": HeaderIdempotencyKey, "in": "header", "schema": object{"type": "string"},
				"description": "Tells repeats: they have one effect and the same reply.",
			}},
			"requestBody": object{"required": true, "content": object{"application/json": object{"schema": s.of(in)}}},
			"responses": object{
				"200":     object{"description": "The reply.", "content": object{"application/json": object{"schema": s.of(out)}}},
				"default": object{"$ref": "#/components/responses/failure"},
			},
		}}
	}
	document := object{
		"openapi": "3.1.0",
		"info":    object{"title": svc.Name(), "version": version},
		"paths":   paths,
		"components": object{
			"schemas": s.all,
			"responses": object{"failure": object{"description": "What went wrong.", "content": object{
				"application/json": object{"schema": s.inline(reflect.TypeFor[failure]())},
				problemJSON:        object{"schema": s.inline(reflect.TypeFor[details]())},
			}}},
		},
	}
	data, _ := json.Marshal(document) // of maps, slices and strings there is no error
	return data
}

// schemas collects the named structs that a document speaks of.
type schemas struct {
	names map[reflect.Type]string
	all   object
}

var (
	timeType = reflect.TypeFor[time.Time]()
	rawType  = reflect.TypeFor[json.RawMessage]()
	jsonType = []reflect.Type{reflect.TypeFor[json.Marshaler](), reflect.TypeFor[json.Unmarshaler]()}
	textType = []reflect.Type{reflect.TypeFor[encoding.TextMarshaler](), reflect.TypeFor[encoding.TextUnmarshaler]()}
)

func implements(t reflect.Type, any []reflect.Type) bool {
	for _, i := range any {
		if t.Implements(i) || reflect.PointerTo(t).Implements(i) {
			return true
		}
	}
	return false
}

// of returns the schema of t.
func (s *schemas) of(t reflect.Type) object {
	switch {
	case t == nil, t == rawType, t.Kind() == reflect.Interface:
		return object{}
	case t == timeType:
		return object{"type": "string", "format": "date-time"}
	case t.Kind() == reflect.Pointer:
		return object{"anyOf": []any{s.of(t.Elem()), object{"type": "null"}}}
	case implements(t, jsonType): // it writes what it likes
		return object{}
	case implements(t, textType):
		return object{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return object{"type": "integer"}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return object{"type": "integer", "minimum": 0}
	case reflect.Float32, reflect.Float64:
		return object{"type": "number"}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Slice: // a nil one is null
		if t.Elem().Kind() == reflect.Uint8 {
			return object{"type": []string{"string", "null"}, "contentEncoding": "base64"}
		}
		return object{"type": []string{"array", "null"}, "items": s.of(t.Elem())}
	case reflect.Array:
		return object{"type": "array", "items": s.of(t.Elem()), "minItems": t.Len(), "maxItems": t.Len()}
	case reflect.Map:
		return object{"type": []string{"object", "null"}, "additionalProperties": s.of(t.Elem())}
	case reflect.Struct:
		if t.Name() == "" {
			return s.inline(t)
		}
		return object{"$ref": "#/components/schemas/" + s.name(t)}
	}
	return object{}
}

// name returns the name of a struct's schema, which it makes the first time.
func (s *schemas) name(t reflect.Type) string {
	if name, ok := s.names[t]; ok {
		return name
	}
	base := clean(t.Name())
	name := base
	for i := 1; s.all[name] != nil; i++ {
		name = fmt.Sprintf("%s.%s%d", clean(path.Base(t.PkgPath())), base, i)
	}
	s.names[t], s.all[name] = name, object{} // before its fields, which may be of t again
	s.all[name] = s.inline(t)
	return name
}

func clean(name string) string {
	return strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_' || r == '-' || r == '.' {
			return r
		}
		return '_'
	}, name)
}

// inline returns the schema of a struct itself.
func (s *schemas) inline(t reflect.Type) object {
	properties := object{}
	s.fields(t, properties, map[reflect.Type]bool{})
	return object{"type": "object", "properties": properties}
}

// fields adds the fields of t to properties, and those of embedded structs unless t
// has one of that name.
func (s *schemas) fields(t reflect.Type, properties object, inside map[reflect.Type]bool) {
	inside[t] = true
	var embedded []reflect.Type
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("json")
		name, options, _ := strings.Cut(tag, ",")
		typ := f.Type
		if typ.Kind() == reflect.Pointer && f.Anonymous {
			typ = typ.Elem()
		}
		switch {
		case tag == "-":
		case f.Anonymous && name == "" && typ.Kind() == reflect.Struct:
			embedded = append(embedded, typ)
		case !f.IsExported():
		default:
			if name == "" {
				name = f.Name
			}
			schema := s.of(f.Type)
			if strings.Contains(","+options+",", ",string,") {
				schema = object{"type": "string"}
			}
			if _, outer := properties[name]; !outer {
				properties[name] = schema
			}
		}
	}
	for _, e := range embedded {
		if !inside[e] {
			s.fields(e, properties, inside)
		}
	}
}
