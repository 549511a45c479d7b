package aggregate_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// A stored schema goes through every step to the current one.
func TestUpcastChain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rec  envelope.Record
		want opened
	}{
		"FromOne": {stored(1, "opened", 1, `{"name":"Ann"}`), opened{Owner: "Ann+1+2", Limit: 100}},
		"FromTwo": {stored(1, "opened", 2, `{"owner":"Ann"}`), opened{Owner: "Ann+2", Limit: 100}},
		"Current": {stored(1, "opened", 3, `{"id":"1","owner":"Ann","limit":7}`), opened{ID: "1", Owner: "Ann", Limit: 7}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := string(c.rec.Data)
			p := spec.New("1")
			require.NoError(t, spec.Replay(p, &c.rec))
			require.Equal(t, c.want.Owner, p.Owner)
			require.Equal(t, c.want.Limit, p.Sum)
			require.EqualValues(t, 1, p.Version())

			payload, err := spec.Decode(&c.rec)
			require.NoError(t, err)
			require.Equal(t, c.want, payload)
			require.Equal(t, before, string(c.rec.Data), "stored data is never changed")
		})
	}
}

// History stands, also when the rules would refuse it now.
func TestReplayAsksNoGuard(t *testing.T) {
	t.Parallel()
	p := spec.New("1")
	_, err := spec.ReplayAll(p, history(stored(1, "taken", 1, `{"Cents":99}`), stored(2, "taken", 1, `{"Cents":0}`)))
	require.NoError(t, err)
	require.Equal(t, -99, p.Sum)
	require.EqualValues(t, 2, p.Version())
	require.Empty(t, spec.Pending(p))
}

// What cannot be applied is a typed error that names stream, version, event
// and schema.
func TestReplayErrors(t *testing.T) {
	t.Parallel()
	strange := stored(1, "taken", 1, `{}`)
	strange.Codec = "cbor"
	for name, c := range map[string]struct {
		rec  envelope.Record
		is   error
		text string
	}{
		"UnknownEvent":  {stored(1, "stolen", 1, `{}`), aggregate.ErrUnknownEvent, `replay purse/1 version 1, event "stolen" schema 1: unknown event in aggregate type "purse"`},
		"UnknownSchema": {stored(1, "opened", 4, `{}`), aggregate.ErrUnknownSchema, `replay purse/1 version 1, event "opened" schema 4: unknown schema: the newest known is 3`},
		"SchemaZero":    {stored(1, "taken", 0, `{}`), aggregate.ErrUnknownSchema, `event "taken" schema 0`},
		"UnknownCodec":  {strange, envelope.ErrUnknownCodec, `replay purse/1 version 1, event "taken" schema 1: unknown codec "cbor"`},
		"BrokenPayload": {stored(1, "taken", 1, `{"Cents":`), nil, `replay purse/1 version 1, event "taken" schema 1: unexpected end of JSON input`},
		"BrokenOld":     {stored(1, "opened", 1, `[]`), nil, `replay purse/1 version 1, event "opened" schema 1: json: cannot unmarshal array`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check := func(err error) {
				t.Helper()
				require.ErrorIs(t, err, aggregate.ErrReplay)
				if c.is != nil {
					require.ErrorIs(t, err, c.is)
				}
				require.ErrorContains(t, err, c.text)
				var facts *aggregate.ReplayError
				require.ErrorAs(t, err, &facts)
				require.Equal(t, spec.Stream("1"), facts.Stream)
				require.EqualValues(t, 1, facts.Version)
				require.Equal(t, c.rec.Name, facts.Event)
				require.Equal(t, c.rec.Schema, facts.Schema)
				require.Equal(t, aggregate.CodeInternal, aggregate.CodeOf(err))
			}
			check(spec.Replay(spec.New("1"), &c.rec))
			n, err := spec.ReplayAll(spec.New("1"), history(c.rec))
			require.Zero(t, n)
			check(err)
			_, err = spec.Decode(&c.rec)
			check(err)
		})
	}
	t.Run("Gap", func(t *testing.T) {
		t.Parallel()
		rec := stored(2, "taken", 1, `{}`)
		err := spec.Replay(spec.New("1"), &rec)
		require.ErrorIs(t, err, journal.ErrCorrupt)
		require.ErrorContains(t, err, "it is the oldest record, and no baseline")
	})
	t.Run("JournalFails", func(t *testing.T) {
		t.Parallel()
		lost := errors.New("lost")
		n, err := spec.ReplayAll(spec.New("1"), func(yield func(envelope.Record, error) bool) {
			_ = yield(stored(1, "ticked", 1, `{}`), nil) && yield(envelope.Record{}, lost)
		})
		require.ErrorIs(t, err, lost)
		require.Equal(t, 1, n)
	})
	t.Run("MutatorPanics", func(t *testing.T) {
		t.Parallel()
		_, err := spec.ReplayAll(spec.New("1"), history(stored(1, "odd", 1, `{"F":"panic"}`)))
		require.ErrorIs(t, err, aggregate.ErrReplay)
		require.ErrorContains(t, err, `replay purse/1 version 1, event "odd" schema 1: its mutator panicked: odd`)
	})
}

// No bytes make replay panic.
func FuzzReplay(f *testing.F) {
	f.Add("opened", uint32(1), []byte(`{"name":"Ann"}`))
	f.Add("taken", uint32(1), []byte(`{"Cents":"x"}`))
	f.Fuzz(func(t *testing.T, name string, schema uint32, data []byte) {
		rec := stored(1, name, schema, string(data))
		p := spec.New("1")
		if _, err := spec.ReplayAll(p, history(rec)); err != nil {
			require.ErrorIs(t, err, aggregate.ErrReplay)
			return
		}
		require.True(t, json.Valid(data))
		require.EqualValues(t, 1, p.Version())
	})
}
