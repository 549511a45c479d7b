package httpapi_test

import (
	"encoding/json"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/microsvc"
	"github.com/troupe-go/troupe/microsvc/httpapi"
)

type common struct {
	ID     string `json:"id"`
	Hidden string `json:"-"`
}

type node struct {
	common
	ID       int              `json:"id"` // wins over the embedded one
	Name     string           `json:"name,omitempty"`
	When     time.Time        `json:"when"`
	Addr     netip.Addr       `json:"addr"`
	Blob     []byte           `json:"blob"`
	Pair     [2]float64       `json:"pair"`
	Labels   map[string]uint  `json:"labels"`
	Children []node           `json:"children"`
	Parent   *node            `json:"parent"`
	Raw      json.RawMessage  `json:"raw"`
	Any      any              `json:"any"`
	Big      int64            `json:"big,string"`
	Inner    struct{ A bool } `json:"inner"`
	Plain    bool
	secret   string
}

// described is the document of a service, ready to validate against.
func described(t *testing.T, more ...microsvc.Handler) (document string, at func(pointer string) *jsonschema.Schema) {
	t.Helper()
	got := send(t, newWorld(t, more...).serve(&httpapi.Options{Version: "7"}), "GET", "/openapi.json", "")
	require.Equal(t, 200, got.status)
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(got.body))
	require.NoError(t, err)
	compiler := jsonschema.NewCompiler()
	require.NoError(t, compiler.AddResource("https://example.org/openapi.json", doc))
	return got.body, func(pointer string) *jsonschema.Schema {
		schema, err := compiler.Compile("https://example.org/openapi.json#" + pointer)
		require.NoError(t, err)
		return schema
	}
}

func validate(t *testing.T, schema *jsonschema.Schema, data string) error {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(data))
	require.NoError(t, err)
	return schema.Validate(v)
}

// The document says of inputs and replies what encoding/json does.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	document, at := described(t, microsvc.Handle("tree/grow", func(_ *microsvc.Context, n node) (node, error) { return n, nil }))
	var head struct {
		OpenAPI string `json:"openapi"`
		Info    struct{ Title, Version string }
		Paths   map[string]any
	}
	require.NoError(t, json.Unmarshal([]byte(document), &head))
	require.Equal(t, "3.1.0", head.OpenAPI)
	require.Equal(t, "purses", head.Info.Title)
	require.Equal(t, "7", head.Info.Version)
	require.Len(t, head.Paths, 6)

	in := at("/paths/~1purse.put/post/requestBody/content/application~1json/schema")
	require.NoError(t, validate(t, in, `{"id":"1","n":3}`))
	require.Error(t, validate(t, in, `{"id":"1","n":"3"}`))
	require.Error(t, validate(t, in, `[]`))
	out := at("/paths/~1purse.put/post/responses/200/content/application~1json/schema")
	require.NoError(t, validate(t, out, `{"coins":8}`))
	require.Error(t, validate(t, out, `{"coins":1.5}`))

	tree := at("/paths/" + url.PathEscape("~1tree%2Fgrow") + "/post/responses/200/content/application~1json/schema")
	full := node{ID: 1, When: time.Unix(1, 0), Pair: [2]float64{1, 2}, Children: []node{{Raw: json.RawMessage("1")}}, Parent: &node{}, Blob: []byte("x"), Labels: map[string]uint{"a": 1}, Raw: json.RawMessage(`{"x":1}`), Any: 3, secret: "s"}
	for _, n := range []node{{}, full} {
		data, err := json.Marshal(n)
		require.NoError(t, err)
		require.NoError(t, validate(t, tree, string(data)), "%s", data)
	}
	for _, wrong := range []string{`{"id":"x"}`, `{"labels":{"a":-1}}`, `{"children":[{"name":1}]}`, `{"pair":[1]}`, `{"big":1}`, `{"inner":{"A":1}}`, `{"Plain":"x"}`, `{"when":1}`, `{"addr":1}`, `{"blob":1}`, `{"parent":1}`} {
		require.Error(t, validate(t, tree, wrong), wrong)
	}
	require.NotContains(t, document, "Hidden")
	require.NotContains(t, document, "secret")

	failed := at("/components/responses/failure/content/application~1json/schema")
	require.NoError(t, validate(t, failed, send(t, newWorld(t).serve(nil), "POST", "/purse.put", "{").body))
	require.Error(t, validate(t, failed, `{"error":1}`))
}
