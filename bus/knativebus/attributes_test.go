package knativebus_test

import (
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/knativebus"
	"github.com/troupe-go/troupe/envelope"
)

// TestEveryHeaderHasAnAttribute: of all that a message can have, each has one
// of its own that leads back to it.
func TestEveryHeaderHasAnAttribute(t *testing.T) {
	t.Parallel()
	m := full()
	m.Metadata.Keys = nil
	seen := map[string]bool{}
	keys := []string{bus.HeaderID, bus.HeaderKind, bus.HeaderContentType}
	for key := range bus.Headers(&m) {
		keys = append(keys, key)
	}
	for _, key := range keys {
		name, ok := knativebus.AttributeName(key)
		require.True(t, ok, key)
		require.False(t, seen[name], name)
		seen[name] = true
		require.LessOrEqual(t, len(name), 20)
		require.Empty(t, strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789"))
		back, ok := knativebus.MetadataKey(name)
		require.True(t, ok)
		require.Equal(t, key, back)
	}
}

func TestStrangersEvents(t *testing.T) {
	t.Parallel()
	when := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	m := envelope.Message{Kind: envelope.KindEvent}
	require.NoError(t, knativebus.SetAttributes(&m, map[string]string{
		"specversion": "1.0", "ID": "1", "type": "t", "source": "/s", "subject": "x", "dataschema": "y", "time": "2026-01-02T04:04:05+01:00",
		"partitionkey": "k", "traceparent": "00-1", "knativearrivaltime": "now", "sourcedfuture": "z", "tenant_id": "acme", "correlation_id": "c", "bad": "a\nb",
	}))
	require.True(t, when.Equal(m.Time))
	m.Time = time.Time{}
	require.Equal(t, envelope.Message{
		ID: "1", Kind: envelope.KindEvent, Name: "t", Key: "k",
		Metadata: envelope.Metadata{CorrelationID: "c", Keys: map[string]string{"traceparent": "00-1", "tenant_id": "acme"}},
	}, m)
	for name, value := range map[string]string{
		"specversion": "0.3", "time": "yesterday", "sourcedkind": "query", "sourcedsourceseq": "-1",
		"sourcedmeta": `{"a":1}`, "SourcedMeta": `{"correlation_id":"c"}`, "SOURCEDMETA": `{"x-sourced-key":"k"}`,
	} {
		m := envelope.Message{}
		attributes := map[string]string{"specversion": "1.0", "id": "1"}
		attributes[name] = value
		require.ErrorIs(t, knativebus.SetAttributes(&m, attributes), bus.ErrMalformed, name)
		require.Equal(t, "1", m.ID, "the rest is there")
	}
}

func TestHeaderValues(t *testing.T) {
	t.Parallel()
	// The binding's own example, and what lenient peers send.
	require.Equal(t, "Euro%20%E2%82%AC%20%F0%9F%98%80", knativebus.HeaderValue("Euro € 😀"))
	for text, want := range map[string]string{
		"Euro%20%E2%82%AC%20%F0%9F%98%80": "Euro € 😀", "%e2%82%ac": "€", `"a \"b\" c"`: `a "b" c`, "100%": "100%", "%4": "%4", "%zz": "%zz", `"`: `"`, `a\b`: `a\b`,
	} {
		require.Equal(t, want, knativebus.ParseHeaderValue(text))
	}
}

// FuzzMetadataRoundTrip: what a message may have comes back as it was, through
// headers of HTTP, or is refused.
func FuzzMetadataRoundTrip(f *testing.F) {
	for key, value := range full().Metadata.Keys {
		f.Add(key, value, "c", "id", "k", "s")
	}
	f.Add("tenant", "v", "", "s", "", "s")
	f.Add("knativex", `"%41"`, "ü", "%", "s", "s")
	f.Fuzz(func(t *testing.T, key, value, correlation, id, ordering, source string) {
		want := envelope.Message{
			ID: id, Kind: envelope.KindCommand, Name: "do", Key: ordering, Codec: "json", Data: []byte{}, Source: envelope.Stream{Type: "t", ID: source}, SourceVersion: 1,
			Metadata: envelope.Metadata{CorrelationID: correlation, Keys: map[string]string{key: value, "other": value}},
		}
		if want.Validate() != nil {
			t.Skip()
		}
		attributes, err := knativebus.Attributes(&want, "orders")
		if err != nil {
			require.ErrorIs(t, err, bus.ErrRefused)
			return
		}
		h := http.Header{}
		for name, attribute := range attributes {
			require.Empty(t, strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789"))
			require.LessOrEqual(t, len(name), 20)
			encoded := knativebus.HeaderValue(attribute)
			require.False(t, strings.ContainsFunc(encoded, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' }), encoded)
			h.Set("ce-"+name, encoded)
		}
		got := envelope.Message{Data: []byte{}}
		back := knativebus.HeaderAttributes(h)
		require.Equal(t, attributes, back)
		require.NoError(t, knativebus.SetAttributes(&got, maps.Clone(back)))
		require.Equal(t, want, got)
	})
}

// FuzzAttributeNames: no two keys have one name, as each name leads back.
func FuzzAttributeNames(f *testing.F) {
	for _, key := range []string{"tenant", "correlation_id", "correlationid", bus.HeaderKey, "sourcedkey", "partitionkey", "Tenant", "data", ""} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if name, ok := knativebus.AttributeName(key); ok {
			back, ok := knativebus.MetadataKey(name)
			require.True(t, ok)
			require.Equal(t, key, back)
		}
		if back, ok := knativebus.MetadataKey(key); ok {
			name, ok := knativebus.AttributeName(back)
			require.True(t, ok)
			require.Equal(t, key, name)
		}
	})
}

// FuzzSetAttributes: nothing that arrives makes it panic or metadata invalid.
func FuzzSetAttributes(f *testing.F) {
	f.Add("sourcedmeta", `{"a":"b"}`)
	f.Add("time", "x")
	f.Add("tenant", "%ff")
	f.Fuzz(func(t *testing.T, name, value string) {
		var m envelope.Message
		_ = knativebus.SetAttributes(&m, map[string]string{"specversion": "1.0", name: knativebus.ParseHeaderValue(value)})
		require.NoError(t, m.Metadata.Validate())
	})
}
