package aggregatetest_test

import (
	"encoding/json"
	"errors"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/aggregate/aggregatetest"
)

// A box has every kind of field.
type box struct{ aggregate.Root }

type (
	packed struct {
		Text      string                  `json:"text"`
		Small     int8                    `json:"small"`
		Count     uint64                  `json:"count,string"`
		Share     float32                 `json:"share"`
		Done      bool                    `json:"done"`
		At        time.Time               `json:"at"`
		Took      time.Duration           `json:"took"`
		Due       *time.Time              `json:"due"`
		Bytes     []byte                  `json:"bytes"`
		Lines     []line                  `json:"lines"`
		Fixed     [2]int                  `json:"fixed"`
		ByName    map[string]line         `json:"by_name"`
		ByNumber  map[int][]string        `json:"by_number"`
		Nested    struct{ Inner *line }   `json:"nested"`
		Kind      kind                    `json:"kind"`
		Currency  currency                `json:"currency"`
		Sum       *big.Int                `json:"sum"`
		From      netip.Addr              `json:"from"`
		Raw       json.RawMessage         `json:"raw"`
		Number    json.Number             `json:"number"`
		Any       any                     `json:"any"`
		Tree      *tree                   `json:"tree"`
		Forest    map[string]*tree        `json:"forest"`
		ByAddress map[netip.Addr]currency `json:"by_address"`
		hidden
		Unseen func() `json:"-"`
	}
	line struct {
		Text string  `json:"text"`
		Cost float64 `json:"cost,omitempty"`
	}
	hidden   struct{ Deep string }
	kind     uint8
	currency string
	tree     struct {
		Name     string
		Left     *tree
		Children []tree
	}
	packedV1 struct {
		Text string `json:"text"`
	}
)

// A currency is three capitals.
func (c currency) MarshalText() ([]byte, error) { return []byte(c), nil }

func (c *currency) UnmarshalText(text []byte) error {
	if len(text) != 3 || strings.ToUpper(string(text)) != string(text) {
		return errors.New("no currency")
	}
	*c = currency(text)
	return nil
}

// boxSpec is like spec, but each test may define its own events.
func boxSpec(parts ...aggregate.Part[box]) *aggregate.Spec[box] {
	return aggregate.Define("Box.of", parts...)
}

func on[E any](name string) *aggregate.Event[box, E] {
	return aggregate.On(name, func(*box, E) {})
}

// payloads runs [aggregatetest.Payloads] and returns what it says.
func payloads(spec *aggregate.Spec[box], dir string) string {
	r := record(func(t testing.TB) { aggregatetest.Payloads(t, spec, dir) })
	return strings.Join(r.texts, "\n")
}

func put(t *testing.T, dir, name, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
}

func TestPayloadsWriteThenRead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "testdata", "payloads")
	spec := boxSpec(on[packed]("packed"), on[struct{}]("closed"))
	missing := payloads(spec, dir)
	require.Contains(t, missing, `event "packed" schema 1: there is no example `+filepath.Join(dir, "%42ox%2Eof.packed.1.json")+
		`: run TROUPE_WRITE_PAYLOADS=1 go test -run '^TestLamp$' . and commit the file`)
	require.NoDirExists(t, dir)

	t.Setenv("TROUPE_WRITE_PAYLOADS", "1")
	require.Empty(t, payloads(spec, dir))
	path := filepath.Join(dir, "%42ox%2Eof.packed.1.json")
	first, err := os.ReadFile(path)
	require.NoError(t, err)
	require.JSONEq(t, want, string(first))
	require.NoError(t, os.Remove(path))
	require.Empty(t, payloads(spec, dir))
	second, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(first), string(second), "an example is the same on each run")

	edited := strings.Replace(string(first), "text 1", "by hand", 1)
	put(t, dir, filepath.Base(path), edited)
	require.Empty(t, payloads(spec, dir))
	third, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, edited, string(third), "a file that exists is not written")

	require.NoError(t, os.Unsetenv("TROUPE_WRITE_PAYLOADS"))
	require.Empty(t, payloads(spec, dir))
}

const want = `{
	"text": "text 1", "small": 2, "count": "3", "share": 4.5, "done": true,
	"at": "2026-02-03T04:05:06.7Z", "took": 5, "due": "2026-02-03T04:05:06.7Z", "bytes": "Bg==",
	"lines": [{"text": "text 7", "cost": 8.5}], "fixed": [9, 10],
	"by_name": {"text 11": {"text": "text 12", "cost": 13.5}}, "by_number": {"14": ["text 15"]},
	"nested": {"Inner": {"text": "text 16", "cost": 17.5}}, "kind": 18, "currency": "EUR", "sum": 1,
	"from": "192.0.2.1", "raw": "example", "number": 21, "any": "text 22",
	"tree": {"Name": "text 23", "Left": {"Name": "text 24", "Left": null, "Children": null},
		"Children": [{"Name": "text 25", "Left": null, "Children": null}]},
	"forest": {"text 26": {"Name": "text 27", "Left": {"Name": "text 28", "Left": null, "Children": null},
		"Children": [{"Name": "text 29", "Left": null, "Children": null}]}},
	"by_address": {"192.0.2.1": "EUR"}, "Deep": "text 31"
}`

func TestPayloads(t *testing.T) {
	t.Parallel()
	upcast := func() aggregate.Part[box] {
		return aggregate.Upcast(on[line]("packed").Schema(2), 1, func(e packedV1) line {
			if e.Text == "" {
				panic("no text")
			}
			return line{Text: e.Text}
		})
	}
	const v1, v2 = "%42ox%2Eof.packed.1.json", "%42ox%2Eof.packed.2.json"
	good := map[string]string{v1: `{"text":"a"}`, v2: `{"cost":1.50,"text":"b"}`}
	for name, c := range map[string]struct {
		part  aggregate.Part[box]
		files map[string]string // besides good; an empty text removes
		want  string
	}{
		"Good":              {want: ""},
		"OldSchemaMissing":  {files: map[string]string{v1: ""}, want: `event "packed" schema 1: there is no example DIR/` + v1 + `: restore it from version control, or write it from a record of that schema`},
		"CurrentMissing":    {files: map[string]string{v2: ""}, want: `event "packed" schema 2: there is no example DIR/` + v2 + `: run TROUPE_WRITE_PAYLOADS=1 go test -run '^TestLamp$' . and commit the file`},
		"Undecodable":       {files: map[string]string{v2: `{"text":7}`}, want: `DIR/` + v2 + ` cannot be read any more: replay Box.of/example version 1, event "packed" schema 2: json: cannot unmarshal number`},
		"OldUndecodable":    {files: map[string]string{v1: `{`}, want: `DIR/` + v1 + ` cannot be read any more`},
		"UpcasterPanics":    {files: map[string]string{v1: `{}`}, want: `its upcaster panicked: no text`},
		"FieldLost":         {files: map[string]string{v2: `{"text":"b","cost":1,"city":"Rome"}`}, want: `DIR/` + v2 + `, read and written again, is not what it was: city is lost`},
		"FieldNew":          {files: map[string]string{v2: `{"cost":1}`}, want: `text is new`},
		"ValueChanged":      {files: map[string]string{v2: `{"text":"b","cost":0.00}`}, want: `cost is lost`},
		"SchemaUnknown":     {files: map[string]string{"%42ox%2Eof.packed.3.json": `{}`}, want: `event "packed" schema 3: unknown schema`},
		"EventUnknown":      {files: map[string]string{"%42ox%2Eof.sealed%20up.1.json": `{}`}, want: `event "sealed up" schema 1: unknown event`},
		"CodecUnknown":      {files: map[string]string{"%42ox%2Eof.packed.1.cbor": `x`}, want: `unknown codec "cbor"`},
		"NoName":            {files: map[string]string{"%42ox%2Eof.packed.json": `{}`}, want: `packed.json is no name of an example: it is written AGGREGATE.EVENT.SCHEMA.CODEC`},
		"OtherAggregate":    {files: map[string]string{"%42ox.of.1.json": `{`, "box.1.json": `{`, "README": "x"}, want: ""},
		"LossyDecode":       {part: on[lossy]("packed"), files: map[string]string{v1: `{"A":1}`, v2: ""}, want: `A was 1 and is 2`},
		"ListShorter":       {part: on[short]("packed"), files: map[string]string{v1: `{"Items":[1,2]}`, v2: ""}, want: `Items was [1,2] and is [1]`},
		"NumberOtherwise":   {part: on[line]("packed"), files: map[string]string{v1: `{"text":"a","cost":1e2}`, v2: ""}, want: ""},
		"BigNumberIsExact":  {part: on[struct{ N int64 }]("packed"), files: map[string]string{v1: `{"N":9007199254740993}`, v2: ""}, want: ""},
		"NullBecomesString": {part: on[packedV1]("packed"), files: map[string]string{v1: `{"text":null}`, v2: ""}, want: `text was null and is ""`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for _, files := range []map[string]string{good, c.files} {
				for file, text := range files {
					put(t, dir, file, text)
					if text == "" {
						require.NoError(t, os.Remove(filepath.Join(dir, file)))
					}
				}
			}
			if c.part == nil {
				c.part = upcast()
			}
			got := strings.ReplaceAll(payloads(boxSpec(c.part), dir), dir, "DIR")
			if c.want == "" {
				require.Empty(t, got)
			} else {
				require.Contains(t, got, c.want)
				require.NotContains(t, got, "\n", "one mistake, one message")
			}
		})
	}
}

type lossy struct{ A int }

func (l *lossy) UnmarshalJSON([]byte) error { l.A = 2; return nil }

type short struct{ Items [1]int }

// A file name is one that every system can have, and no two events share one.
func TestPayloadsFileNames(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TROUPE_WRITE_PAYLOADS", "1")
	long := strings.Repeat("x", 250)
	names := []string{"done", "Done", "a.b", "a/b", `a\b`, "größe", "a b", "..", "a%2Fb", "a:b*?", long + "1", long + "2"}
	var parts []aggregate.Part[box]
	for _, name := range names {
		parts = append(parts, on[line](name))
	}
	require.Empty(t, payloads(aggregate.Define("con", parts...), dir))
	require.Empty(t, payloads(aggregate.Define("con.a", on[line]("b")), dir))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, len(names)+1)
	for _, e := range entries {
		require.Regexp(t, `^%63on\.|^con%2Ea\.`, e.Name())
		require.Regexp(t, `^[a-z0-9._%A-F-]{1,200}$`, e.Name())
	}
	require.FileExists(t, filepath.Join(dir, "%63on.gr%C3%B6%C3%9Fe.1.json"))
}

// Where no example can be made, the test says so, and takes one by hand.
func TestPayloadsByHand(t *testing.T) {
	t.Setenv("TROUPE_WRITE_PAYLOADS", "1")
	for name, c := range map[string]struct {
		part aggregate.Part[box]
		hand string
		want string
	}{
		"Secret":   {on[struct{ S secret }]("made"), `{"S":"open sesame"}`, `.S: no value of aggregatetest_test.secret is known: write`},
		"Function": {on[struct{ F func() }]("made"), "", `json: unsupported type: func(): write`},
		"MapKey":   {on[struct{ M map[bool]int }]("made"), "", `unsupported type`},
		"ByValue":  {on[struct{ Sum big.Int }]("made"), "", `cannot be read any more`}, // its methods need a pointer
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			require.Contains(t, payloads(boxSpec(c.part), dir), c.want)
			if c.hand != "" {
				put(t, dir, "%42ox%2Eof.made.1.json", c.hand)
				r := record(func(tb testing.TB) {
					aggregatetest.Payloads(tb, boxSpec(on[struct{ S secret }]("made")), dir)
				})
				require.Empty(t, r.texts)
			}
		})
	}
}

// A secret reads one text only.
type secret struct{ text string }

func (s secret) MarshalText() ([]byte, error) {
	if s.text == "" {
		return nil, errors.New("no secret")
	}
	return []byte(s.text), nil
}

func (s *secret) UnmarshalText(text []byte) error {
	if string(text) != "open sesame" {
		return errors.New("wrong")
	}
	s.text = string(text)
	return nil
}

// Another codec names its files, must give the same bytes, and old JSON is read
// still.
func TestPayloadsOfAnotherCodec(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TROUPE_WRITE_PAYLOADS", "1")
	spec := func() *aggregate.Spec[box] { return boxSpec(on[line]("packed")) }
	require.Empty(t, payloads(spec(), dir))
	upper := func() *aggregate.Spec[box] { return spec().WithCodec(shout{}) }
	require.Empty(t, payloads(upper(), dir))
	path := filepath.Join(dir, "%42ox%2Eof.packed.1.%53hout")
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, `!{"text":"text 1","cost":2.5}`, string(data))
	put(t, dir, filepath.Base(path), `!{"cost":2.5,"text":"text 1"}`)
	require.Contains(t, payloads(upper(), dir), `is not what it was: got`)
}

type shout struct{}

func (shout) Name() string { return "Shout" }
func (shout) Encode(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	return append([]byte("!"), data...), err
}
func (shout) Decode(data []byte, v any) error { return json.Unmarshal(data[1:], v) }
