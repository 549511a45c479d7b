package aggregate_test

import (
	"bytes"
	"encoding/gob"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/internal/statediff"
)

// gobCodec is a second codec.
type gobCodec struct{}

func (gobCodec) Name() string { return "gob" }
func (gobCodec) Encode(v any) ([]byte, error) {
	var b bytes.Buffer
	err := gob.NewEncoder(&b).Encode(v)
	return b.Bytes(), err
}
func (gobCodec) Decode(data []byte, v any) error {
	return gob.NewDecoder(bytes.NewReader(data)).Decode(v)
}

func TestRecord(t *testing.T) {
	t.Parallel()
	p := spec.New("1")
	require.NoError(t, on.opened.Record(p, opened{ID: "1", Owner: "Ann", Limit: 50}))
	require.NoError(t, on.taken.Record(p, taken{20}))

	require.Equal(t, 30, p.Sum)
	require.EqualValues(t, 2, p.Version())
	require.EqualValues(t, 2, spec.Version(p))
	pending := spec.Pending(p)
	require.Len(t, pending, 2)
	require.Equal(t, envelope.Record{
		Stream: spec.Stream("1"), Version: 2, Name: "taken", Schema: 1, Codec: "json", Data: []byte(`{"Cents":20}`),
	}, pending[1])
	require.EqualValues(t, 3, pending[0].Schema)

	again := spec.New("1")
	n, err := spec.ReplayAll(again, history(pending...))
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.Empty(t, statediff.Diff(p, again))

	spec.Committed(p)
	require.Empty(t, spec.Pending(p))
	require.NoError(t, on.ticked.Record(p, ticked{}))
	require.EqualValues(t, 3, spec.Pending(p)[0].Version)
}

// A refused or unnecessary event leaves no trace, and so does one that cannot
// be encoded.
func TestRecordWithoutEffect(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		record func(p *purse) error
		is     error
		text   string
	}{
		"When":           {func(p *purse) error { return on.taken.Record(p, taken{0}) }, nil, ""},
		"Require":        {func(p *purse) error { return on.taken.Record(p, taken{99}) }, aggregate.ErrRejected, "not enough coins"},
		"RequireKeepsIt": {func(p *purse) error { return on.taken.Record(p, taken{99}) }, errFunds, ""},
		"Encode":         {func(p *purse) error { return on.odd.Record(p, odd{func() {}}) }, aggregate.ErrInvalid, `event "odd" of purse cannot be encoded`},
		"TooLarge":       {func(p *purse) error { return on.odd.Record(p, odd{strings.Repeat("x", envelope.MaxDataBytes)}) }, aggregate.ErrInvalid, `invalid event data "odd": has 1048`},
		"Undefined": {func(p *purse) error {
			return aggregate.On("stray", func(p *purse, _ ticked) { p.Sum = 0 }).Record(p, ticked{})
		}, aggregate.ErrInvalid, `is not part of an aggregate: pass it to aggregate.Define`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, untouched := spec.New("1"), spec.New("1")
			for _, p := range []*purse{p, untouched} {
				require.NoError(t, on.opened.Record(p, opened{ID: "1", Owner: "Ann", Limit: 50}))
			}
			err := c.record(p)
			require.ErrorIs(t, err, c.is)
			if c.text != "" {
				require.ErrorContains(t, err, c.text)
			}
			require.Empty(t, statediff.Diff(p, untouched))
			require.Equal(t, spec.Pending(untouched), spec.Pending(p))
			require.EqualValues(t, 1, p.Version())
		})
	}
}

// Require's error keeps a code of its own.
func TestRequireWithCode(t *testing.T) {
	t.Parallel()
	closed := aggregate.On("closed", func(*purse, ticked) {}).
		Require(func(*purse, ticked) error { return aggregate.Unauthorized("not your purse") })
	s := aggregate.Define("closed purse", closed)
	err := closed.Record(s.New("1"), ticked{})
	require.ErrorIs(t, err, aggregate.ErrUnauthorized)
	require.NotErrorIs(t, err, aggregate.ErrRejected)
}

// When is asked before Require: what is done already needs no permission.
func TestWhenIsAskedFirst(t *testing.T) {
	t.Parallel()
	done := aggregate.On("done", func(*purse, ticked) {}).
		When(func(*purse, ticked) bool { return false }).
		Require(func(*purse, ticked) error { return errors.New("asked") })
	s := aggregate.Define("done purse", done)
	require.NoError(t, done.Record(s.New("1"), ticked{}))
}

func TestMetadataIsInherited(t *testing.T) {
	t.Parallel()
	p := spec.New("1")
	require.Equal(t, envelope.Metadata{}, p.Metadata())
	m := envelope.Metadata{CorrelationID: "c", CausationID: "m", Keys: map[string]string{"tenant": "acme"}}
	p.SetMetadata(m)
	require.Equal(t, m, p.Metadata())
	require.NoError(t, on.ticked.Record(p, ticked{}))
	require.NoError(t, on.ticked.Record(p, ticked{}))
	for _, rec := range spec.Pending(p) {
		require.Equal(t, m, rec.Metadata)
	}
	spec.Committed(p)
	require.Equal(t, envelope.Metadata{}, p.Metadata(), "metadata is gone after the commit")
}

// A runtime lends its recorder for a turn.
func TestLend(t *testing.T) {
	t.Parallel()
	p := spec.New("1")
	var rec aggregate.Recorder
	spec.Lend(p, &rec)
	require.NoError(t, on.ticked.Record(p, ticked{}))
	require.Len(t, rec.Records, 1)
	spec.Lend(p, nil)
	require.Empty(t, spec.Pending(p))
}

func TestOtherCodec(t *testing.T) {
	t.Parallel()
	e := newEvents()
	s := aggregate.Define("gob purse", e.parts(aggregate.Snapshots(1, takeState, restoreState))...).WithCodec(gobCodec{})
	p := s.New("1")
	require.NoError(t, e.opened.Record(p, opened{Owner: "Ann", Limit: 5}))
	rec := s.Pending(p)[0]
	require.Equal(t, "gob", rec.Codec)

	again := s.New("1")
	require.NoError(t, s.Replay(again, &rec))
	json := stored(2, "taken", 1, `{"Cents":2}`)
	require.NoError(t, s.Replay(again, &json), "records written as JSON before are still read")
	require.Equal(t, 3, again.Sum)

	err := spec.Replay(spec.New("1"), &rec)
	require.ErrorIs(t, err, aggregate.ErrReplay)
	require.ErrorIs(t, err, envelope.ErrUnknownCodec)
}
