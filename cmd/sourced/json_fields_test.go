package main

import (
	"encoding"
	"encoding/json"
	"go/ast"
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/cmd/sourced/testdata/jsonfields"
)

// What the syntax shows is what encoding/json does.
func TestJSONFields(t *testing.T) {
	t.Parallel()
	s, err := readSource("testdata/jsonfields")
	require.NoError(t, err)
	s.declareTypes(&model{})
	for _, v := range jsonfields.Values {
		name := reflect.TypeOf(v).Elem().Name()
		decl := s.declared[name]
		require.NotNil(t, decl, name)
		in := decl.scope(s)
		want := ""
		if _, ok := v.(encoding.TextMarshaler); ok {
			want = "MarshalText"
		}
		if _, ok := v.(json.Marshaler); ok {
			want = "MarshalJSON"
		}
		if e := in.encoder(decl); want == "" {
			require.Nil(t, e, name)
		} else {
			require.NotNil(t, e, name)
			require.Equal(t, want, e.method, name)
		}
		data, err := json.Marshal(v)
		require.NoError(t, err)
		if want != "" {
			continue
		}
		object := map[string]any{}
		require.NoError(t, json.Unmarshal(data, &object))
		st, at := in.kind(decl.expr)
		fields, _ := at.jsonFields(st.(*ast.StructType))
		var got []string
		for _, f := range fields {
			got = append(got, f.name)
		}
		require.ElementsMatch(t, slices.Collect(maps.Keys(object)), got, "%s: %s", name, data)
	}
}

// A slice of bytes is in base64, unless the bytes encode themselves, whatever
// name they go by.
func TestJSONBytes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	unpack(t, dir, `-- go.mod --
module example.com/todo
-- todo.go --
package todo

import "github.com/troupe-go/troupe/aggregate"

//sourced:aggregate todo
type Todo struct{ aggregate.Root }

//sourced:event listed
func (t *Todo) list(direct []own, other []alias, generic list[own], plain list[byte], key map[key]int) {}

type own byte
type alias = own
type list[T any] struct{ Items []T }
type number int
type key = number

func (own) MarshalText() ([]byte, error)    { panic(1) }
func (number) MarshalText() ([]byte, error) { panic(1) }
`)
	schemas := decoded(t, printed(t, "-format", "asyncapi", dir))["components"].(map[string]any)["schemas"].(map[string]any)
	properties := func(name string) map[string]any { return schemas[name].(map[string]any)["properties"].(map[string]any) }
	listed := properties("todo.TodoListed")
	for _, array := range []any{listed["direct"], listed["other"], properties("todo.list_own")["Items"]} {
		require.Equal(t, []any{"array", "null"}, array.(map[string]any)["type"])
	}
	require.Equal(t, "base64", properties("todo.list_byte")["Items"].(map[string]any)["contentEncoding"])
	require.NotContains(t, listed["key"], "propertyNames", "keys of a name that encodes itself are no numbers")
}
