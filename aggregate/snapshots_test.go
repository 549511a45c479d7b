package aggregate_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/internal/statediff"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/snapshot"
)

func TestSnapshotAndRestore(t *testing.T) {
	t.Parallel()
	p := spec.New("1")
	require.NoError(t, on.opened.Record(p, opened{ID: "1", Owner: "Ann", Limit: 50}))
	p.Coins = map[string]int{"cent": 3}
	now := time.Now()
	snap, err := spec.Snapshot(p, now)
	require.NoError(t, err)
	require.NoError(t, snap.Validate())
	require.EqualValues(t, 1, snap.Version)
	require.Equal(t, now, snap.Time)

	again := spec.New("1")
	require.NoError(t, spec.Restore(again, &snap))
	require.Empty(t, statediff.Diff(p, again))
	require.EqualValues(t, 1, again.Version())
	require.EqualValues(t, 1, spec.SnapshotVersion(again))
	spec.SetSnapshotVersion(again, 5)
	require.EqualValues(t, 5, spec.SnapshotVersion(again))
}

func TestSnapshotErrors(t *testing.T) {
	t.Parallel()
	_, err := aggregate.Define[purse]("plain").Snapshot(new(purse), time.Now())
	require.ErrorIs(t, err, aggregate.ErrInvalid)
	require.ErrorContains(t, err, "aggregate plain defines no snapshots")

	bad := aggregate.Define("bad", aggregate.Snapshots(1, func(*purse) func() { return nil }, func(*purse, func()) {}))
	_, err = bad.Snapshot(bad.New("1"), time.Now())
	require.ErrorIs(t, err, aggregate.ErrInvalid)
	require.ErrorContains(t, err, "snapshot of bad/1 cannot be encoded")

	large := aggregate.Define("large", aggregate.Snapshots(1,
		func(*purse) string { return strings.Repeat("x", snapshot.MaxDataBytes) }, func(*purse, string) {}))
	p := large.New("1")
	large.SetSnapshotVersion(p, 1)
	_, err = large.Snapshot(p, time.Now())
	require.ErrorIs(t, err, aggregate.ErrInvalid)
}

// A snapshot that the program cannot use is ignored: replay gives the state.
func TestUnfitSnapshotFallsBackToReplay(t *testing.T) {
	t.Parallel()
	type other struct{ Owner, Colour string }
	otherShape := aggregate.Define("purse", newEvents().parts(aggregate.Snapshots(1,
		func(*purse) other { return other{} }, func(*purse, other) {}))...)
	for name, c := range map[string]struct {
		spoil func(s *snapshot.Snapshot)
		want  string
	}{
		"Schema":         {func(s *snapshot.Snapshot) { s.Schema = 2 }, "schema 2, this program has 1"},
		"Shape":          {func(s *snapshot.Snapshot) { *s = must(otherShape.Snapshot(otherShape.New("1"), s.Time)); s.Version = 2 }, "schema 1 has another shape than in this program"},
		"Codec":          {func(s *snapshot.Snapshot) { s.Codec = "cbor" }, `unknown codec "cbor"`},
		"Garbage":        {func(s *snapshot.Snapshot) { s.Data = []byte("\x00") }, "invalid character"},
		"PanicInRestore": {func(s *snapshot.Snapshot) { s.Data = []byte(`{"Owner":"panic"}`) }, "restoring it panicked: restore"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := setup(t, &aggregate.RepositoryOptions{Snapshots: snapshot.Policy{Every: 2}})
			w.ask(open, input{"1", 10})
			w.ask(tick, input{ID: "1"})
			latest, err := w.j.LoadLatest(w.ctx, spec.Stream("1"))
			require.NoError(t, err)
			require.NotNil(t, latest.Snapshot)

			spoilt := *latest.Snapshot
			c.spoil(&spoilt)
			latest.Snapshot = &spoilt
			p, how, err := spec.Rebuild(w.ctx, w.j, latest)
			require.NoError(t, err)
			require.Equal(t, 2, how.Replayed)
			require.ErrorIs(t, how.SnapshotIgnored, aggregate.ErrSnapshotUnfit)
			require.ErrorContains(t, how.SnapshotIgnored, c.want)
			require.Equal(t, 11, p.Sum)
			require.Zero(t, spec.SnapshotVersion(p), "so that the next commit replaces it")
		})
	}
	t.Run("NoneDefined", func(t *testing.T) {
		t.Parallel()
		plain := aggregate.Define[purse]("plain")
		err := plain.Restore(plain.New("1"), &snapshot.Snapshot{Schema: 1})
		require.ErrorIs(t, err, aggregate.ErrSnapshotUnfit)
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Whoever asked for an id gets an aggregate of that id, whatever its events say.
func TestRebuildKeepsTheID(t *testing.T) {
	t.Parallel()
	renamed := aggregate.On("renamed", func(p *purse, _ ticked) { p.SetID("else") })
	s := aggregate.Define("renamed purse", renamed)
	p, _, err := s.Rebuild(t.Context(), nil, journal.Latest{
		Stream: s.Stream("1"), Version: 1,
		Records: history(envelope.Record{Stream: s.Stream("1"), Version: 1, Name: "renamed", Schema: 1, Codec: "json", Data: []byte("{}")}),
	})
	require.NoError(t, err)
	require.Equal(t, "1", s.ID(p))
}
