package main

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/cmd/sourced/testdata/catalogue/order"
	"github.com/troupe-go/troupe/cmd/sourced/testdata/catalogue/shipping"
	"github.com/troupe-go/troupe/examples/bank/account"
)

// asyncSchema is the published schema of AsyncAPI documents.
func asyncSchema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	text, err := os.ReadFile("testdata/asyncapi/3.0.0.json")
	require.NoError(t, err)
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	require.NoError(t, err)
	const id = "http://asyncapi.com/definitions/3.0.0/asyncapi.json"
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	require.NoError(t, c.AddResource(id, doc))
	schema, err := c.Compile(id)
	require.NoError(t, err)
	return schema
}

func decoded(t testing.TB, text string) map[string]any {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	require.NoError(t, err)
	return doc.(map[string]any)
}

func TestAsyncAPIIsValid(t *testing.T) {
	t.Parallel()
	schema := asyncSchema(t)
	for name, dirs := range catalogues {
		text := printed(t, append([]string{"-format", "asyncapi"}, dirs...)...)
		require.NoError(t, schema.Validate(decoded(t, text)), name)
		checkRefs(t, decoded(t, text))
	}
}

// checkRefs follows each reference of a document, which the schema does not.
func checkRefs(t testing.TB, doc map[string]any) {
	t.Helper()
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				var at any = doc
				for part := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
					require.Contains(t, at, part, ref)
					at = at.(map[string]any)[part]
				}
			}
			for _, e := range v {
				walk(e)
			}
		}
	}
	walk(doc)
}

// A document with a mistake is refused, so that a valid one says something.
func TestAsyncAPISchemaBites(t *testing.T) {
	t.Parallel()
	schema := asyncSchema(t)
	text := printed(t, append([]string{"-format", "asyncapi"}, catalogues["shop"]...)...)
	for name, breaks := range map[string]func(doc, channel, operation, component map[string]any){
		"NoTitle":              func(doc, _, _, _ map[string]any) { delete(doc["info"].(map[string]any), "title") },
		"OtherVersion":         func(doc, _, _, _ map[string]any) { doc["asyncapi"] = "2.6.0" },
		"UnknownField":         func(doc, _, _, _ map[string]any) { doc["topics"] = map[string]any{} },
		"UnknownAction":        func(_, _, operation, _ map[string]any) { operation["action"] = "publish" },
		"OperationOfNoChannel": func(_, _, operation, _ map[string]any) { delete(operation, "channel") },
		"NumberAsAddress":      func(_, channel, _, _ map[string]any) { channel["address"] = 1 },
		"UnknownType":          func(_, _, _, component map[string]any) { component["type"] = "money" },
		"RequiredAsText":       func(_, _, _, component map[string]any) { component["required"] = "name" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			doc := decoded(t, text)
			part := func(section, key string) map[string]any {
				return doc[section].(map[string]any)[key].(map[string]any)
			}
			component := part("components", "schemas")["order.Item"].(map[string]any)
			breaks(doc, part("channels", "order.placed"), part("operations", "send.order.placed"), component)
			require.Error(t, schema.Validate(doc))
		})
	}
}

// payloadSchemas compiles the component of a document by name.
func payloadSchemas(t *testing.T, text string) func(name string) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft7)
	c.AssertFormat()
	c.AssertContent()
	require.NoError(t, c.AddResource("http://example.com/doc.json", decoded(t, text)))
	return func(name string) *jsonschema.Schema {
		schema, err := c.Compile("http://example.com/doc.json#/components/schemas/" + name)
		require.NoError(t, err)
		return schema
	}
}

// What the model really writes is what the document describes: full values, and
// zero ones, whose slices, maps and pointers are null.
func TestAsyncAPIDescribesWhatIsWritten(t *testing.T) {
	t.Parallel()
	shop := payloadSchemas(t, printed(t, append([]string{"-format", "asyncapi"}, catalogues["shop"]...)...))
	bank := payloadSchemas(t, printed(t, append([]string{"-format", "asyncapi"}, catalogues["bank"]...)...))
	now := time.Now()
	item := order.Item{Base: &order.Base{SKU: "s"}, Price: order.Price{Cents: 1, Currency: "EUR"}, Name: "n", Amount: 2, Weight: 3, Dash: "-"}
	text := "x"
	for _, c := range []struct {
		schemas func(string) *jsonschema.Schema
		name    string
		values  []any
	}{
		{bank, "account.AccountOpened", []any{account.AccountOpened{ID: "a", Owner: "Ann", At: now}, account.AccountOpened{}}},
		{bank, "account.AccountClosed", []any{account.AccountClosed{}}},
		{bank, "account.Entry", []any{account.Entry{ID: "a", Action: account.ActionDeposit, Cents: 1}}},
		{bank, "account.Booked", []any{account.Booked{At: now}}},
		{shop, "order.OrderPlaced", []any{order.OrderPlaced{}, order.OrderPlaced{Customer: "c", Items: []order.Item{item, {}}}}},
		{shop, "order.OrderSnapshot", []any{order.OrderSnapshot{}, order.OrderSnapshot{Number: "1", Items: []order.Item{item}}}},
		{shop, "order.Number", []any{order.Number("1")}},
		{shop, "order.NotePlain", []any{order.NotePlain{}, order.NotePlain{I8: -128, I16: -32768, I32: -1 << 31, I64: -1 << 63, U8: 255, U16: 65535, U32: 1<<32 - 1, U64: 1<<64 - 1, F32: 0.5, F64: 1e300, R: 'ö', B: 1}}},
		{shop, "order.NoteLists", []any{order.NoteLists{}, order.NoteLists{
			Pairs: [2]string{"a", "b"}, Bytes: []byte{0, 255}, Sum: [2]byte{1, 2}, Tags: []string{"t"},
			Deep: map[string]map[int][]*order.Item{"a": {-7: {&item, nil}}, "b": nil},
		}}},
		{shop, "order.NoteNamed", []any{order.NoteNamed{}, order.NoteNamed{
			When: now, Takes: time.Minute, Month: time.May, Colour: "red", Level: 3,
			Pair: order.Pair[string, []order.Item]{First: "a", Second: []order.Item{item}}, Alias: item, Hex: []byte{1, 254},
		}}},
		{shop, "order.NotePointed", []any{order.NotePointed{}, order.NotePointed{Item: &item, Big: big.NewInt(1).Lsh(big.NewInt(1), 100), Maybe: &text, When: &now}}},
		{shop, "order.NoteLooseX", []any{order.NoteLooseX{}, order.NoteLooseX{Raw: json.RawMessage(`[1]`), Anything: 1.5, Address: url.URL{Host: "h"}}}},
		{shop, "shipping.ParcelPacked", []any{shipping.ParcelPacked{Order: "1", Weight: 5}}},
		{shop, "shipping.Pack", []any{shipping.Pack{ID: "1"}}},
	} {
		schema := c.schemas(c.name)
		for _, v := range c.values {
			data, err := json.Marshal(v)
			require.NoError(t, err)
			doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
			require.NoError(t, err)
			require.NoError(t, schema.Validate(doc), "%s: %s", c.name, data)
			object, ok := doc.(map[string]any)
			if !ok {
				continue
			}
			for key := range object {
				require.Contains(t, schema.Properties, key, "%s: a key that is not described", c.name)
			}
			for _, key := range schema.Required {
				without := maps.Clone(object)
				delete(without, key)
				require.Error(t, schema.Validate(without), "%s without %s", c.name, key)
			}
			require.Error(t, schema.Validate("text"), c.name)
		}
	}
}

// Whatever a package holds, its document is valid, and no form panics.
func FuzzCatalogue(f *testing.F) {
	schema := asyncSchema(f)
	for _, path := range []string{
		"testdata/catalogue/order/order.go", "testdata/catalogue/order/types.go", "testdata/catalogue/order/commands.go",
		"testdata/catalogue/shipping/shipping.go", "testdata/written/shapes/shapes.go", "testdata/written/former/box.go",
	} {
		text, err := os.ReadFile(path)
		require.NoError(f, err)
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "fuzz.go"), text, 0o600))
		c, errs := readCatalogue([]string{dir})
		if errs != nil {
			return
		}
		require.NoError(t, printText(io.Discard, c))
		require.NoError(t, printMermaid(io.Discard, c))
		var b bytes.Buffer
		require.NoError(t, printAsyncAPI(&b, c))
		doc := decoded(t, b.String())
		require.NoError(t, schema.Validate(doc))
		checkRefs(t, doc)
	})
}
