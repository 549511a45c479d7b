package envelope_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
)

func TestRecordJSON(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 8, 30, 0, 5_000, time.UTC)
	full := envelope.Record{
		Stream: envelope.Stream{Type: "todo", ID: "7"}, Version: 3, Position: envelope.Position{Epoch: 1, Seq: 12}, Time: at,
		Name: "renamed", Schema: 2, Codec: envelope.CodecJSON, Data: []byte(`{"task":"tea"}`),
		Metadata: envelope.Metadata{CorrelationID: "c1", Keys: map[string]string{"tenant": "acme"}},
	}
	for _, c := range []struct {
		name string
		rec  envelope.Record
		want string
	}{
		{"full", full, `{"type":"todo","id":"7","version":3,"position":"1-12","time":"2026-11-23T08:30:00.000005Z","name":"renamed","schema":2,"data":{"task":"tea"},"metadata":{"correlation_id":"c1","tenant":"acme"}}`},
		{"short", envelope.Record{Stream: full.Stream, Version: 1, Name: "done", Schema: 1, Codec: envelope.CodecJSON, Data: []byte(`{}`)},
			`{"type":"todo","id":"7","version":1,"name":"done","data":{}}`},
		{"another codec", envelope.Record{Stream: full.Stream, Version: 1, Name: "done", Schema: 1, Codec: "gob", Data: []byte{0, 255}},
			`{"type":"todo","id":"7","version":1,"name":"done","codec":"gob","bytes":"AP8="}`},
	} {
		data, err := json.Marshal(c.rec)
		require.NoError(t, err, c.name)
		require.JSONEq(t, c.want, string(data), c.name)
		var back envelope.Record
		require.NoError(t, json.Unmarshal(data, &back), c.name)
		require.Equal(t, c.rec, back, c.name)
	}
}

// Records that were written before there were schemas and metadata.
func TestOldRecordsReadAsSchemaOneWithoutMetadata(t *testing.T) {
	t.Parallel()
	var rec envelope.Record
	require.NoError(t, json.Unmarshal([]byte(`{"type":"todo","id":"7","version":1,"name":"done","data":{"by":"me"}}`), &rec))
	require.EqualValues(t, 1, rec.Schema)
	require.Equal(t, envelope.CodecJSON, rec.Codec)
	require.True(t, rec.Metadata.IsZero())
	require.JSONEq(t, `{"by":"me"}`, string(rec.Data))
	require.Error(t, json.Unmarshal([]byte(`{"version":"one"}`), &rec))
	require.ErrorIs(t, json.Unmarshal([]byte(`{"position":"x"}`), &rec), envelope.ErrInvalid)
}

func TestFollow(t *testing.T) {
	t.Parallel()
	rec := envelope.Record{Stream: envelope.Stream{Type: "todo", ID: "7"}, Version: 3, Name: "done"}
	require.Equal(t, "7:done:3", rec.MessageID())
	require.Equal(t, envelope.Metadata{CorrelationID: "7:done:3", CausationID: "7:done:3"}, rec.Follow(), "begins a conversation")

	rec.Metadata = envelope.Metadata{CorrelationID: "c1", CausationID: "m1", CommandID: "cmd1", Keys: map[string]string{"tenant": "acme"}}
	next := rec.Follow()
	require.Equal(t, envelope.Metadata{CorrelationID: "c1", CausationID: "7:done:3", Keys: map[string]string{"tenant": "acme"}}, next)
	next.Keys["tenant"] = "other"
	require.Equal(t, "acme", rec.Meta("tenant"), "nothing is shared")
	require.Equal(t, "cmd1", rec.Meta(envelope.KeyCommandID))
	require.Empty(t, rec.Meta("none"))

	msg := envelope.Message{ID: "m9", Metadata: envelope.Metadata{CorrelationID: "c1"}}
	require.Equal(t, envelope.Metadata{CorrelationID: "c1", CausationID: "m9"}, msg.Follow())
	require.Equal(t, "c1", msg.Meta(envelope.KeyCorrelationID))
}
