package aggregate_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/snapshot"
)

// A lamp's event had three layouts.
type lamp struct {
	aggregate.Root
	Watts []int
}

type (
	lampV1 struct{ Bulb string }
	lampV2 struct{ Watt string }
	lampV3 struct{ Watts int }
)

// lampSpec counts the upcaster's calls in from1.
func lampSpec(from1 *atomic.Int64) *aggregate.Spec[lamp] {
	lit := aggregate.On("lit", func(l *lamp, e lampV3) { l.Watts = append(l.Watts, e.Watts) }).Schema(3)
	aggregate.Upcast(lit, 1, func(old lampV1) lampV2 {
		from1.Add(1)
		return lampV2{Watt: old.Bulb + "0"}
	})
	aggregate.Upcast(lit, 2, func(old lampV2) lampV3 { return lampV3{Watts: len(old.Watt)} })
	return aggregate.Define("lamp", lit, aggregate.Snapshots(1,
		func(l *lamp) []int { return append([]int(nil), l.Watts...) }, func(l *lamp, watts []int) { l.Watts = watts }))
}

func lampRecord(version uint64, schema uint32, data string) envelope.Record {
	return envelope.Record{Stream: envelope.Stream{Type: "lamp", ID: "1"}, Version: version, Name: "lit", Schema: schema, Codec: "json", Data: []byte(data)}
}

// Records of all schemas in one stream load through the chain, the stored bytes
// stay, and behind a snapshot only newer records are upcast.
func TestThreeSchemasInOneStream(t *testing.T) {
	t.Parallel()
	j := openMemory(t)
	records := []envelope.Record{
		lampRecord(1, 3, `{"Watts":40}`), lampRecord(2, 1, `{"Bulb":"ab"}`), lampRecord(3, 2, `{"Watt":"x"}`), lampRecord(4, 1, `{"Bulb":""}`),
	}
	_, err := journal.Commit(t.Context(), j, &journal.Batch{ID: journal.NewBatchID(), Appends: []journal.Append{{Stream: records[0].Stream, Records: records}}})
	require.NoError(t, err)

	var upcast atomic.Int64
	spec := lampSpec(&upcast)
	repo, err := aggregate.NewRepository(j, spec, &aggregate.RepositoryOptions{Snapshots: snapshot.Policy{Every: 1}})
	require.NoError(t, err)
	l, err := repo.Load(t.Context(), "1")
	require.NoError(t, err)
	require.Equal(t, []int{40, 3, 1, 1}, l.Watts)
	require.EqualValues(t, 2, upcast.Load())
	read := 0
	for rec, err := range j.Load(t.Context(), spec.Stream("1"), 0) {
		require.NoError(t, err)
		require.Equal(t, string(records[read].Data), string(rec.Data))
		require.Equal(t, records[read].Schema, rec.Schema)
		read++
	}
	require.Equal(t, 4, read)

	snap, err := spec.Snapshot(l, time.Now())
	require.NoError(t, err)
	_, err = journal.Commit(t.Context(), j, &journal.Batch{
		ID: journal.NewBatchID(), Snapshots: []snapshot.Snapshot{snap},
		Appends: []journal.Append{{Stream: snap.Stream, Expected: 4, Records: []envelope.Record{lampRecord(5, 1, `{"Bulb":"xyz"}`)}}},
	})
	require.NoError(t, err)
	upcast.Store(0)
	l, err = repo.Load(t.Context(), "1")
	require.NoError(t, err)
	require.Equal(t, []int{40, 3, 1, 1, 4}, l.Watts)
	require.EqualValues(t, 1, upcast.Load(), "only the record behind the snapshot")
}

// A program with other rules reads the same history as the same state.
func TestChangedGuardDoesNotChangeAReplayedStream(t *testing.T) {
	t.Parallel()
	model := func(limit int) (*aggregate.Spec[purse], *aggregate.Event[purse, taken]) {
		e := aggregate.On("taken", func(p *purse, e taken) { p.Sum -= e.Cents }).
			When(func(_ *purse, e taken) bool { return e.Cents > limit/10 }).
			Require(func(_ *purse, e taken) error {
				if e.Cents > limit {
					return errFunds
				}
				return nil
			})
		return aggregate.Define("purse", e), e
	}
	j := openMemory(t)
	before, event := model(100)
	repo, err := aggregate.NewRepository(j, before, nil)
	require.NoError(t, err)
	p := before.New("1")
	for _, cents := range []int{11, 100, 5} {
		require.NoError(t, event.Record(p, taken{cents}))
	}
	require.ErrorIs(t, event.Record(p, taken{101}), errFunds)
	require.NoError(t, repo.Commit(t.Context(), p))

	for _, limit := range []int{0, 1, 50, 1000, 10_000} {
		after, _ := model(limit)
		repo, err := aggregate.NewRepository(j, after, nil)
		require.NoError(t, err)
		q, err := repo.Load(t.Context(), "1")
		require.NoError(t, err)
		require.Equal(t, -111, q.Sum, "limit %d", limit)
		require.EqualValues(t, 2, q.Version(), "limit %d", limit)
	}
}

// A command that refuses, errs or records what cannot be encoded leaves neither
// event nor state, in memory and in the journal.
func TestFailedCommandLeavesNeitherEventNorState(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	_, err := open.Ask(t.Context(), w.r, input{"1", 50})
	require.NoError(t, err)
	for name, c := range map[string]struct {
		last func(p *purse) error
		is   error
	}{
		"refuses":           {func(p *purse) error { return on.taken.Record(p, taken{99}) }, errFunds},
		"errs":              {func(*purse) error { return errFunds }, errFunds},
		"cannot be encoded": {func(p *purse) error { return on.odd.Record(p, odd{func() {}}) }, aggregate.ErrInvalid},
	} {
		cmd := aggregate.NewCommand("fail", func(_ *aggregate.Context, p *purse, _ input) (sum, error) {
			if err := on.ticked.Record(p, ticked{}); err != nil {
				return sum{}, err
			}
			return sum{p.Sum}, c.last(p)
		})
		_, err := cmd.Ask(t.Context(), w.r, input{ID: "1"})
		require.ErrorIs(t, err, c.is, name)
		p, err := w.r.Load(t.Context(), "1")
		require.NoError(t, err)
		require.EqualValues(t, 1, p.Version(), name)
		require.Equal(t, 50, p.Sum, name)
	}
}
