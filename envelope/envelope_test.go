package envelope_test

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
)

func TestPositionOrder(t *testing.T) {
	t.Parallel()
	ordered := []envelope.Position{{}, {Seq: 1}, {Seq: math.MaxUint64}, {Epoch: 1}, {Epoch: 1, Seq: 9}, {Epoch: 10, Seq: 2}}
	require.True(t, slices.IsSortedFunc(ordered, envelope.Position.Compare))
	require.True(t, ordered[0].IsZero())
	require.False(t, ordered[3].IsZero())
	require.Zero(t, ordered[4].Compare(ordered[4]))
	require.Equal(t, 1, ordered[4].Compare(ordered[3]))
}

func TestPositionText(t *testing.T) {
	t.Parallel()
	for _, p := range []envelope.Position{{}, {Seq: 7}, {Epoch: 3, Seq: 4}, {Epoch: math.MaxUint64, Seq: math.MaxUint64}} {
		q, err := envelope.ParsePosition(p.String())
		require.NoError(t, err)
		require.Equal(t, p, q)
		data, err := json.Marshal(p)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(data, &q))
		require.Equal(t, p, q)
	}
	for _, bad := range []string{"", "-", "1", "1-", "-1", "1--1", "1-2-3", "+1-2", "1-+2", "0x1-2", "1_0-2", " 1-2", "18446744073709551616-0"} {
		_, err := envelope.ParsePosition(bad)
		refused(t, err, "position")
	}
	var p envelope.Position
	require.ErrorIs(t, json.Unmarshal([]byte(`"x"`), &p), envelope.ErrInvalid)
}

func FuzzParsePosition(f *testing.F) {
	for _, seed := range []string{"0-0", "1-2", "18446744073709551615-1", "-", "01-2"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := envelope.ParsePosition(text)
		if err != nil {
			require.ErrorIs(t, err, envelope.ErrInvalid)
			return
		}
		q, err := envelope.ParsePosition(p.String())
		require.NoError(t, err)
		require.Equal(t, p, q)
	})
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	var m envelope.Metadata
	require.True(t, m.IsZero())
	require.Empty(t, m.Get("tenant"))
	for _, key := range []string{"tenant", "correlation_id", "causation_id", "command_id", "a"} {
		m.Set(key, "of "+key)
		require.Equal(t, "of "+key, m.Get(key))
	}
	require.False(t, m.IsZero())
	require.Equal(t, envelope.Metadata{
		CorrelationID: "of correlation_id", CausationID: "of causation_id", CommandID: "of command_id",
		Keys: map[string]string{"tenant": "of tenant", "a": "of a"},
	}, m)
	var order []string
	for key := range m.All() {
		order = append(order, key)
	}
	require.Equal(t, []string{"correlation_id", "causation_id", "command_id", "a", "tenant"}, order)
	for range m.All() {
		break
	}

	c := m.Clone()
	c.Set("tenant", "other")
	require.Equal(t, "of tenant", m.Get("tenant"), "a clone shares nothing")
}

func TestMetadataJSON(t *testing.T) {
	t.Parallel()
	m := envelope.Metadata{CorrelationID: "c1", Keys: map[string]string{"tenant": "acme", "a": ""}}
	data, err := json.Marshal(m)
	require.NoError(t, err)
	require.JSONEq(t, `{"correlation_id":"c1","tenant":"acme","a":""}`, string(data))
	back := envelope.Metadata{CommandID: "goes"}
	require.NoError(t, json.Unmarshal(data, &back))
	require.Equal(t, m, back)

	data, err = json.Marshal(envelope.Metadata{})
	require.NoError(t, err)
	require.Equal(t, "{}", string(data))
	for _, none := range []string{"{}", "null"} {
		require.NoError(t, json.Unmarshal([]byte(none), &back))
		require.True(t, back.IsZero())
	}
	for _, bad := range []string{`[]`, `"a"`, `{"a":1}`, `{"a":{}}`, `{`} {
		require.Error(t, json.Unmarshal([]byte(bad), &back), bad)
	}
}

func FuzzMetadataJSON(f *testing.F) {
	for _, seed := range []string{`{}`, `null`, `{"tenant":"acme","command_id":"1"}`, `{"command_id":"","":""}`, `{"a":"\ud800"}`, `{"z<\u00e4":"\"\\&\u2028\n","a":"é"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var m envelope.Metadata
		if json.Unmarshal(data, &m) != nil {
			return
		}
		again, err := json.Marshal(m)
		require.NoError(t, err)
		flat := map[string]string{}
		for key, value := range m.All() {
			flat[key] = value
		}
		want, err := json.Marshal(flat)
		require.NoError(t, err)
		require.Equal(t, string(want), string(m.AppendJSON(nil)), "as encoding/json writes the map")
		var back envelope.Metadata
		require.NoError(t, json.Unmarshal(again, &back))
		require.Equal(t, maps.Collect(m.All()), maps.Collect(back.All()))
	})
}

type namedCodec struct{ name string }

func (c namedCodec) Name() string               { return c.name }
func (namedCodec) Encode(any) ([]byte, error)   { return []byte("x"), nil }
func (namedCodec) Decode(_ []byte, _ any) error { return nil }

func TestCodecs(t *testing.T) {
	t.Parallel()
	set, err := envelope.NewCodecs(namedCodec{"msgpack"}, envelope.JSON)
	require.NoError(t, err)
	c, err := set.Lookup("msgpack")
	require.NoError(t, err)
	require.Equal(t, namedCodec{"msgpack"}, c)
	for _, set := range []*envelope.Codecs{nil, {}, set} {
		c, err := set.Lookup("json")
		require.NoError(t, err)
		require.Equal(t, envelope.JSON, c)
		_, err = set.Lookup("cbor")
		require.ErrorIs(t, err, envelope.ErrUnknownCodec)
		var facts *envelope.UnknownCodecError
		require.ErrorAs(t, err, &facts)
		require.Equal(t, "cbor", facts.Codec)
		require.EqualError(t, err, `unknown codec "cbor"`)
	}
	for _, bad := range [][]envelope.Codec{
		{namedCodec{""}}, {namedCodec{long(33)}}, {namedCodec{"a"}, namedCodec{"a"}}, {namedCodec{"json"}},
	} {
		_, err := envelope.NewCodecs(bad...)
		refused(t, err, "codec")
	}
}

func TestJSONCodec(t *testing.T) {
	t.Parallel()
	data, err := envelope.JSON.Encode(map[string]int{"a": 1})
	require.NoError(t, err)
	require.Equal(t, `{"a":1}`, string(data))
	var back map[string]int
	require.NoError(t, envelope.JSON.Decode(data, &back))
	require.Equal(t, map[string]int{"a": 1}, back)
	require.Error(t, envelope.JSON.Decode([]byte("{"), &back))
	_, err = envelope.JSON.Encode(func() {})
	require.Error(t, err)
}
