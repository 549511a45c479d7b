package envelope_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
)

func long(n int) string { return strings.Repeat("x", n) }

// refused demands an InvalidError of one field.
func refused(t *testing.T, err error, field string) {
	t.Helper()
	require.ErrorIs(t, err, envelope.ErrInvalid)
	var facts *envelope.InvalidError
	require.ErrorAs(t, err, &facts)
	require.Equal(t, field, facts.Field)
	require.LessOrEqual(t, len(facts.Value), 64+len("…"), "the value is shortened")
}

func TestNames(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"a", " a ", "ä", "日本語", "a/b", "🎭", "\ufffd", "a\u00a0b", long(255), strings.Repeat("ä", 127)} {
		require.NoError(t, envelope.ValidateName("name", good, 255), "%q", good)
	}
	for _, bad := range []struct{ value, reason string }{
		{"", "is blank"}, {"   ", "is blank"}, {"\u3000\u00a0\u2003\u2028", "is blank"},
		{"a\x00", "has a control character"}, {"\x1f", "has a control character"}, {"a\tb", "has a control character"},
		{"a\x7f", "has a control character"}, {"a\u0080", "has a control character"}, {"a\u009f", "has a control character"},
		{"\xff", "is not valid UTF-8"}, {"a\xc3", "is not valid UTF-8"}, {"\xed\xa0\x80", "is not valid UTF-8"},
		{long(256), "has 256 bytes, at most 255 are allowed"}, {strings.Repeat("ä", 128), "has 256 bytes, at most 255 are allowed"},
	} {
		err := envelope.ValidateName("name", bad.value, 255)
		refused(t, err, "name")
		require.ErrorContains(t, err, bad.reason, "%q", bad.value)
	}
}

func TestInvalidShortensBetweenRunes(t *testing.T) {
	t.Parallel()
	err := envelope.Invalid("field", long(63)+"äää", "is wrong")
	require.EqualError(t, err, `invalid field "`+long(63)+`…": is wrong`)
}

func TestStream(t *testing.T) {
	t.Parallel()
	s, err := envelope.NewStream("todo", "42")
	require.NoError(t, err)
	require.Equal(t, "todo/42", s.String())
	_, err = envelope.NewStream("", "42")
	refused(t, err, "stream type")
	_, err = envelope.NewStream("todo", "a\x00")
	refused(t, err, "stream id")

	ordered := []envelope.Stream{{Type: "a", ID: "b"}, {Type: "a", ID: "c"}, {Type: "b", ID: "a"}}
	for i, a := range ordered {
		for k, b := range ordered {
			want := 0
			if i < k {
				want = -1
			} else if i > k {
				want = 1
			}
			require.Equal(t, want, a.Compare(b), "%s and %s", a, b)
		}
	}
}

func TestRecord(t *testing.T) {
	t.Parallel()
	good := func() envelope.Record {
		return envelope.Record{
			Stream: envelope.Stream{Type: "todo", ID: "1"}, Version: 1, Name: "happened", Schema: 1,
			Codec: "json", Data: make([]byte, envelope.MaxDataBytes),
		}
	}
	rec := good()
	require.NoError(t, rec.Validate())
	require.Greater(t, rec.SizeBytes(), envelope.MaxDataBytes)
	for field, spoil := range map[string]func(r *envelope.Record){
		"stream type":    func(r *envelope.Record) { r.Stream.Type = "" },
		"stream id":      func(r *envelope.Record) { r.Stream.ID = long(256) },
		"record version": func(r *envelope.Record) { r.Version = 0 },
		"event name":     func(r *envelope.Record) { r.Name = " " },
		"event schema":   func(r *envelope.Record) { r.Schema = 0 },
		"codec":          func(r *envelope.Record) { r.Codec = long(33) },
		"event data":     func(r *envelope.Record) { r.Data = make([]byte, envelope.MaxDataBytes+1) },
		"metadata key":   func(r *envelope.Record) { r.Metadata.Keys = map[string]string{"": "v"} },
	} {
		rec := good()
		spoil(&rec)
		refused(t, rec.Validate(), field)
	}
}

func TestMessage(t *testing.T) {
	t.Parallel()
	good := func() envelope.Message {
		return envelope.Message{
			ID: "m1", Kind: envelope.KindCommand, Name: "order.ship", Destination: "orders", Key: "k",
			ContentType: "application/json", Codec: "json", Data: []byte("{}"), Source: envelope.Stream{Type: "todo", ID: "1"},
		}
	}
	m := good()
	require.NoError(t, m.Validate())
	require.Positive(t, m.SizeBytes())
	least := envelope.Message{ID: "m1", Kind: envelope.KindEvent, Name: "n"}
	require.NoError(t, least.Validate())
	for field, spoil := range map[string]func(m *envelope.Message){
		"message id":              func(m *envelope.Message) { m.ID = long(513) },
		"message kind":            func(m *envelope.Message) { m.Kind = 0 },
		"message name":            func(m *envelope.Message) { m.Name = "" },
		"message destination":     func(m *envelope.Message) { m.Destination = "a\n" },
		"message key":             func(m *envelope.Message) { m.Key = long(513) },
		"message content type":    func(m *envelope.Message) { m.ContentType = long(256) },
		"codec":                   func(m *envelope.Message) { m.Codec = " " },
		"message data":            func(m *envelope.Message) { m.Data = make([]byte, envelope.MaxDataBytes+1) },
		"message not before":      func(m *envelope.Message) { m.NotBefore = time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"stream id":               func(m *envelope.Message) { m.Source.ID = "" },
		"metadata causation_id":   func(m *envelope.Message) { m.Metadata.CausationID = "a\x00" },
		"metadata correlation_id": func(m *envelope.Message) { m.Metadata.CorrelationID = " " },
	} {
		m := good()
		spoil(&m)
		refused(t, m.Validate(), field)
	}
	require.Equal(t, []string{"event", "command", "kind 9"},
		[]string{envelope.KindEvent.String(), envelope.KindCommand.String(), envelope.Kind(9).String()})
}

func TestReceipt(t *testing.T) {
	t.Parallel()
	s := envelope.Stream{Type: "todo", ID: "1"}
	for _, good := range []envelope.Receipt{
		{Stream: s, ID: "c1"}, {Stream: s, ID: long(128), Reply: make([]byte, envelope.MaxReplyBytes), Codec: "json"},
		{Consumer: "mailer", ID: long(512)},
	} {
		require.NoError(t, good.Validate())
		require.Equal(t, good.Consumer != "", good.IsMessage())
		require.GreaterOrEqual(t, good.SizeBytes(), len(good.ID)+len(good.Reply))
	}
	for _, bad := range []struct {
		field   string
		receipt envelope.Receipt
	}{
		{"receipt", envelope.Receipt{Stream: s, Consumer: "mailer", ID: "1"}},
		{"consumer", envelope.Receipt{Consumer: " ", ID: "1"}},
		{"message id", envelope.Receipt{Consumer: "mailer", ID: long(513)}},
		{"stream type", envelope.Receipt{ID: "1"}},
		{"command id", envelope.Receipt{Stream: s}},
		{"command id", envelope.Receipt{Stream: s, ID: long(129)}},
		{"codec", envelope.Receipt{Stream: s, ID: "1", Codec: long(33)}},
		{"reply", envelope.Receipt{Stream: s, ID: "1", Reply: make([]byte, envelope.MaxReplyBytes+1)}},
	} {
		refused(t, bad.receipt.Validate(), bad.field)
	}
}

func TestRow(t *testing.T) {
	t.Parallel()
	key := []envelope.Column{{Name: "id", Value: "1"}}
	good := envelope.Row{Table: "todos", Op: envelope.RowUpsert, Key: key, Columns: []envelope.Column{
		{Name: "a", Value: nil}, {Name: "b", Value: true}, {Name: "c", Value: int64(1)}, {Name: "d", Value: uint64(1)},
		{Name: "e", Value: 1.5}, {Name: "f", Value: "s"}, {Name: "g", Value: []byte{0}}, {Name: "h", Value: time.Now()},
		{Name: "i", Value: json.RawMessage("{}")},
	}}
	require.NoError(t, good.Validate())
	require.NoError(t, (&envelope.Row{Table: "todos", Op: envelope.RowDelete, Key: key}).Validate())
	many := make([]envelope.Column, envelope.MaxRowColumns)
	for i := range many {
		many[i] = envelope.Column{Name: fmt.Sprint("c", i)}
	}
	for _, bad := range []struct {
		field string
		row   envelope.Row
	}{
		{"row table", envelope.Row{Op: envelope.RowInsert, Key: key}},
		{"row operation", envelope.Row{Table: "t", Key: key}},
		{"row operation", envelope.Row{Table: "t", Op: 5, Key: key}},
		{"row key", envelope.Row{Table: "t", Op: envelope.RowInsert}},
		{"row columns", envelope.Row{Table: "t", Op: envelope.RowInsert, Key: key, Columns: many}},
		{"row columns", envelope.Row{Table: "t", Op: envelope.RowDelete, Key: key, Columns: many[:1]}},
		{"row column", envelope.Row{Table: "t", Op: envelope.RowPatch, Key: key, Columns: key}},
		{"row column", envelope.Row{Table: "t", Op: envelope.RowPatch, Key: key, Columns: []envelope.Column{{Name: ""}}}},
		{"row column", envelope.Row{Table: "t", Op: envelope.RowPatch, Key: key, Columns: []envelope.Column{{Name: "n", Value: 1}}}},
		{"row column", envelope.Row{Table: "t", Op: envelope.RowPatch, Key: key, Columns: []envelope.Column{{Name: "n", Value: long(envelope.MaxDataBytes + 1)}}}},
	} {
		refused(t, bad.row.Validate(), bad.field)
	}
	for op, name := range []string{"row op 0", "insert", "upsert", "patch", "delete", "row op 5"} {
		require.Equal(t, name, envelope.RowOp(op).String())
	}
}

func TestMetadataLimits(t *testing.T) {
	t.Parallel()
	keys := func(n int, value string) map[string]string {
		m := map[string]string{}
		for i := range n {
			m[fmt.Sprintf("k%03d", i)] = value
		}
		return m
	}
	for _, good := range []envelope.Metadata{
		{}, {CorrelationID: long(4096)}, {CommandID: long(128)}, {Keys: keys(64, "v")},
		{Keys: map[string]string{"k": "a\ttab \ufffd " + long(4000), long(128): ""}},
		{Keys: keys(4, long(4092))}, {Keys: map[string]string{"sourced": "", "x-source": ""}},
	} {
		require.NoError(t, good.Validate())
	}
	for _, bad := range []struct {
		field string
		m     envelope.Metadata
	}{
		{"command id", envelope.Metadata{CommandID: long(129)}},
		{"metadata command_id", envelope.Metadata{CommandID: " "}},
		{"metadata correlation_id", envelope.Metadata{CorrelationID: long(4097)}},
		{"metadata", envelope.Metadata{Keys: keys(65, "v")}},
		{"metadata", envelope.Metadata{Keys: keys(4, long(4093))}},
		{"metadata key", envelope.Metadata{Keys: map[string]string{long(129): "v"}}},
		{"metadata key", envelope.Metadata{Keys: map[string]string{"x-sourced-": "v"}}},
		{"metadata key", envelope.Metadata{Keys: map[string]string{"X-SOURCED-kind": "v"}}},
		{"metadata key", envelope.Metadata{Keys: map[string]string{"command_id": "v"}}},
		{"metadata key", envelope.Metadata{Keys: map[string]string{"a:b": "v"}}},
		{"metadata key", envelope.Metadata{Keys: map[string]string{"a b": "v"}}},
		{"metadata key", envelope.Metadata{Keys: map[string]string{"ü": "v"}}},
		{"metadata k", envelope.Metadata{Keys: map[string]string{"k": "a\x00"}}},
		{"metadata k", envelope.Metadata{Keys: map[string]string{"k": "a\r\nX-Header: b"}}},
		{"metadata k", envelope.Metadata{Keys: map[string]string{"k": "a\u0085"}}},
		{"metadata k", envelope.Metadata{Keys: map[string]string{"k": "a\xff"}}},
		{"metadata k", envelope.Metadata{Keys: map[string]string{"k": long(4097)}}},
	} {
		refused(t, bad.m.Validate(), bad.field)
	}
}
