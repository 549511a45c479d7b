package aggregate_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// meter counts, and its baseline has had two schemas.
type meter struct {
	aggregate.Root
	Sum  int
	Unit string
}

type meterRead struct {
	N int `json:"n"`
}

type (
	meterV1 struct {
		Sum int `json:"sum"`
	}
	meterV2 struct {
		Total int    `json:"total"`
		Unit  string `json:"unit"`
	}
)

func meterEvent() *aggregate.Event[meter, meterRead] {
	return aggregate.On("read", func(m *meter, e meterRead) { m.Sum += e.N })
}

func meterBaselineV1() *aggregate.Event[meter, meterV1] {
	return aggregate.Baseline(func(m *meter) meterV1 { return meterV1{m.Sum} }, func(m *meter, s meterV1) { m.Sum = s.Sum })
}

func meterBaselineV2() *aggregate.Event[meter, meterV2] {
	return aggregate.Baseline(
		func(m *meter) meterV2 { return meterV2{m.Sum, m.Unit} },
		func(m *meter, s meterV2) { m.Sum, m.Unit = s.Total, s.Unit }).Schema(2)
}

func repositoryOf[A any](t *testing.T, j journal.Journal, spec *aggregate.Spec[A]) *aggregate.Repository[A] {
	t.Helper()
	r, err := aggregate.NewRepository(j, spec, nil)
	require.NoError(t, err)
	return r
}

// readMeter records n reads of 1.
func readMeter(t *testing.T, r *aggregate.Repository[meter], e *aggregate.Event[meter, meterRead], m *meter, n int) {
	t.Helper()
	for range n {
		require.NoError(t, e.Record(m, meterRead{1}))
	}
	require.NoError(t, r.Commit(t.Context(), m))
}

func TestTruncatedAggregateIsTheSame(t *testing.T) {
	t.Parallel()
	j := openMemory(t)
	e := meterEvent()
	spec := aggregate.Define("meter", e, meterBaselineV1(),
		aggregate.Snapshots(1, func(m *meter) meterV1 { return meterV1{m.Sum} }, func(m *meter, s meterV1) { m.Sum = s.Sum }))
	r := repositoryOf(t, j, spec)
	readMeter(t, r, e, spec.New("m"), 150) // with a snapshot
	require.NoError(t, r.Truncate(t.Context(), "m"))
	m, err := r.Load(t.Context(), "m")
	require.NoError(t, err)
	require.Equal(t, 150, m.Sum)
	require.Equal(t, uint64(151), m.Version())
	readMeter(t, r, e, m, 3)
	m, err = r.Load(t.Context(), "m")
	require.NoError(t, err)
	require.Equal(t, 153, m.Sum)
	require.Equal(t, uint64(154), m.Version())

	n := 0
	for rec, err := range j.Load(t.Context(), spec.Stream("m"), 0) {
		require.NoError(t, err)
		require.GreaterOrEqual(t, rec.Version, uint64(151))
		n++
	}
	require.Equal(t, 4, n)
	deleted, err := j.Scavenge(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, 150, deleted)
	require.NoError(t, r.Truncate(t.Context(), "m"), "again")
	m, err = r.Load(t.Context(), "m")
	require.NoError(t, err)
	require.Equal(t, 153, m.Sum)
	require.ErrorIs(t, r.Truncate(t.Context(), "absent"), aggregate.ErrNotFound)
}

func TestDeletedAggregateDoesNotExistAndCountsOn(t *testing.T) {
	t.Parallel()
	j := openMemory(t)
	e := meterEvent()
	spec := aggregate.Define("meter", e)
	r := repositoryOf(t, j, spec)
	readMeter(t, r, e, spec.New("m"), 5)
	require.ErrorIs(t, r.Truncate(t.Context(), "m"), aggregate.ErrInvalid, "no baseline is defined")
	require.NoError(t, r.Delete(t.Context(), "m"))
	_, err := r.Load(t.Context(), "m")
	require.ErrorIs(t, err, aggregate.ErrNotFound)
	require.ErrorIs(t, r.Delete(t.Context(), "m"), aggregate.ErrNotFound, "twice")

	read := aggregate.NewCommand("meter.read", func(_ *aggregate.Context, m *meter, in readIn) (int, error) {
		err := e.Record(m, meterRead{in.N})
		return m.Sum, err
	})
	must := aggregate.NewCommand("meter.must", func(_ *aggregate.Context, m *meter, _ readIn) (int, error) { return m.Sum, nil }, aggregate.MustExist())
	_, err = must.Ask(t.Context(), r, readIn{"m", 0})
	require.ErrorIs(t, err, aggregate.ErrNotFound)
	sum, err := read.Ask(t.Context(), r, readIn{"m", 7})
	require.NoError(t, err)
	require.Equal(t, 7, sum, "of the new life alone")
	m, err := r.Load(t.Context(), "m")
	require.NoError(t, err)
	require.Equal(t, uint64(7), m.Version(), "five, the tombstone, and one more")
	require.True(t, m.Exists())
}

type readIn struct {
	ID string
	N  int
}

func (c readIn) AggregateID() string { return c.ID }

// TestBaselineIsUpcastOrRefused: a baseline is the truth; what cannot be read
// is never an empty aggregate.
func TestBaselineIsUpcastOrRefused(t *testing.T) {
	t.Parallel()
	j := openMemory(t)
	e := meterEvent()
	old := aggregate.Define("meter", e, meterBaselineV1())
	r := repositoryOf(t, j, old)
	readMeter(t, r, e, old.New("m"), 5)
	require.NoError(t, r.Truncate(t.Context(), "m"))

	upcast := aggregate.Define("meter", meterEvent(),
		aggregate.Upcast(meterBaselineV2(), 1, func(v meterV1) meterV2 { return meterV2{Total: v.Sum, Unit: "kWh"} }))
	m, err := repositoryOf(t, j, upcast).Load(t.Context(), "m")
	require.NoError(t, err)
	require.Equal(t, meter{Root: m.Root, Sum: 5, Unit: "kWh"}, *m)

	require.Panics(t, func() { aggregate.Define("meter", meterEvent(), meterBaselineV2()) }, "no upcaster from 1")
	none := aggregate.Define("meter", meterEvent())
	_, err = repositoryOf(t, j, none).Load(t.Context(), "m")
	require.ErrorIs(t, err, journal.ErrHistoryGone)
	require.ErrorIs(t, err, aggregate.ErrReplay)

	// A broken one, and one that is not there.
	for _, rec := range []envelope.Record{
		{Name: envelope.BaselineName, Schema: 1, Codec: envelope.CodecJSON, Data: []byte("{"), Version: 9},
		{Name: "read", Schema: 1, Codec: envelope.CodecJSON, Data: []byte("{}"), Version: 9},
	} {
		rec.Stream = old.Stream("m")
		_, _, err = old.Rebuild(t.Context(), j, journal.Latest{
			Stream: old.Stream("m"), Version: 9, First: 9,
			Records: func(yield func(envelope.Record, error) bool) { yield(rec, nil) },
		})
		require.ErrorIs(t, err, journal.ErrHistoryGone, rec.Name)
	}
}

func TestReservedNamesAreNotForEvents(t *testing.T) {
	t.Parallel()
	require.Panics(t, func() {
		aggregate.Define("meter", aggregate.On("x-sourced-read", func(*meter, meterRead) {}))
	})
	require.Panics(t, func() {
		aggregate.Define("meter", meterBaselineV1(), aggregate.On(envelope.BaselineName, func(*meter, meterRead) {}))
	})
}

func TestRebuildEndsWithItsContext(t *testing.T) {
	t.Parallel()
	j := openMemory(t)
	e := meterEvent()
	spec := aggregate.Define("meter", e, meterBaselineV1())
	r := repositoryOf(t, j, spec)
	readMeter(t, r, e, spec.New("m"), 2)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, r.Truncate(ctx, "m"), context.Canceled)
}
