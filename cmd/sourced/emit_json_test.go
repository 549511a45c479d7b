package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A payload gets JSON methods only where their code means what it says.
func TestJSONMethods(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		imports, param, more string
		want                 bool
	}{
		"plain":                         {param: "text string", want: true},
		"time":                          {imports: `"time"`, param: "at time.Time", want: true},
		"time by another name":          {imports: `clock "time"`, param: "at clock.Time", want: true},
		"a type over another one":       {param: "w Word", more: "type Word Text; type Text string", want: true},
		"a slice of such":               {param: "w Words", more: "type Words []Word; type Word string", want: true},
		"another package called time":   {imports: `"example.com/time"`, param: "at time.Time"},
		"a type over a time":            {imports: `"time"`, param: "at At", more: "type At time.Time"},
		"a name for time":               {imports: `"time"`, param: "at At", more: "type At = time.Time", want: true},
		"durations named elsewhere":     {imports: `"time"`, param: "d Delays", more: "type Delays []time.Duration"},
		"times named elsewhere":         {imports: `"time"`, param: "d Times", more: "type Times []time.Time", want: true},
		"json.Number":                   {imports: `"encoding/json"`, param: "n json.Number"},
		"type that encodes itself":      {param: "w Word", more: "type Word string\nfunc (w Word) MarshalText() ([]byte, error) { return nil, nil }"},
		"over one that encodes itself":  {param: "w []Word", more: "type Word string\nfunc (w *Word) UnmarshalJSON([]byte) error { return nil }"},
		"type parameters":               {param: "w Word[int]", more: "type Word[T any] string"},
		"a struct":                      {param: "w Word", more: "type Word struct{ Text string }"},
		"an interface":                  {param: "w any"},
		"a map":                         {param: "w map[string]string"},
		"an array":                      {param: "w [2]string"},
		"complex":                       {param: "c complex128"},
		"uintptr":                       {param: "p uintptr"},
		"two pointers":                  {param: "p **int"},
		"a pointer to bytes":            {param: "p *[]byte"},
		"a field called like a method":  {param: "decodeJSON string"},
		"a payload that encodes itself": {param: "text string", more: "func (*TodoTouched) MarshalJSON() ([]byte, error) { return nil, nil }"},
		"string is no string":           {param: "text string", more: "type string int"},
		"append is no append":           {param: "text string", more: "func append() {}"},
		"a type called like a variable": {param: "w enc", more: "type enc string"},
		"a package called like one":     {imports: `v "time"`, param: "w v.Duration"},
		"plainjson is declared":         {param: "text string", more: "var plainjson int"},
		"plainjson is another package":  {imports: `plainjson "time"`, param: "at plainjson.Time"},
		"unknown":                       {param: "w Word"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			unpack(t, dir, "-- todo.go --\npackage todo\n\nimport \"github.com/troupe-go/troupe/aggregate\"\n"+
				"//sourced:aggregate todo\ntype Todo struct{ aggregate.Root }\n\n")
			source := "package todo\n"
			if c.imports != "" {
				source += "import " + c.imports + "\n"
			}
			source += "//sourced:event touched\nfunc (t *Todo) touch(" + c.param + ") {}\n" + c.more + "\n"
			require.NoError(t, os.WriteFile(filepath.Join(dir, "touch.go"), []byte(source), 0o600))
			out, err := generate(dir, true)
			require.NoError(t, err)
			require.Equal(t, c.want, strings.Contains(string(out.files["todo_sourced.go"]), "AppendJSON"))
		})
	}
}
