package baseline

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/memory"
)

var noon = time.Date(2026, 2, 3, 12, 0, 0, 0, time.UTC)

func repository[A any](t *testing.T, j journal.Journal, spec *aggregate.Spec[A]) *aggregate.Repository[A] {
	t.Helper()
	r, err := aggregate.NewRepository(j, spec, nil)
	require.NoError(t, err)
	return r
}

func open(t *testing.T) journal.Journal {
	t.Helper()
	j, err := memory.Open(nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, j.Close()) })
	return j
}

// stored are the records that an aggregate is replayed from.
func stored(t *testing.T, j journal.Journal, stream envelope.Stream) (all []envelope.Record) {
	t.Helper()
	for rec, err := range j.Load(t.Context(), stream, 0) {
		require.NoError(t, err)
		rec.Data = append([]byte(nil), rec.Data...)
		all = append(all, rec)
	}
	return all
}

func TestTruncatedMeterGoesOn(t *testing.T) {
	j := open(t)
	r := repository(t, j, MeterSpec)
	m := MeterSpec.New("1")
	m.cached = "never stored"
	for range 5 {
		require.NoError(t, m.Read(2, noon))
	}
	require.NoError(t, r.Commit(t.Context(), m))
	require.NoError(t, r.Truncate(t.Context(), "1"))
	deleted, err := j.Scavenge(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, 5, deleted)

	m, err = r.Load(t.Context(), "1")
	require.NoError(t, err)
	require.NoError(t, m.Read(3, noon))
	require.NoError(t, r.Commit(t.Context(), m))
	m, err = r.Load(t.Context(), "1")
	require.NoError(t, err)
	require.Equal(t, Meter{Root: m.Root, Total: 13, Last: noon}, *m)
	require.Equal(t, uint64(7), m.Version())

	all := stored(t, j, MeterSpec.Stream("1"))
	require.Len(t, all, 2)
	require.JSONEq(t, `{"total":10,"unit":"","last":"2026-02-03T12:00:00Z"}`, string(all[0].Data))
	event, err := DecodeMeterEvent(&all[0])
	require.NoError(t, err)
	require.Equal(t, MeterBaseline{Total: 10, Last: noon}, event)
}

func TestOldBaselineIsUpcast(t *testing.T) {
	for _, c := range []struct {
		schema uint32
		data   string
		want   MeterBaseline
	}{
		{1, `{"sum":7}`, MeterBaseline{Total: 7, Unit: "kWh"}},
		{2, `{"total":7,"unit":"l"}`, MeterBaseline{Total: 7, Unit: "l"}},
	} {
		rec := envelope.Record{
			Stream: MeterSpec.Stream("1"), Version: 9, Name: envelope.BaselineName, Schema: c.schema, Codec: "json", Data: []byte(c.data),
		}
		event, err := DecodeMeterEvent(&rec)
		require.NoError(t, err)
		require.Equal(t, c.want, event)
		m := MeterSpec.New("1")
		require.NoError(t, MeterSpec.Replay(m, &rec))
		require.Equal(t, Meter{Root: m.Root, Total: c.want.Total, Unit: c.want.Unit}, *m)
		require.Equal(t, uint64(9), m.Version())
	}
}

func TestTruncatedShelfGoesOn(t *testing.T) {
	j := open(t)
	r := repository(t, j, ShelfSpec)
	s := ShelfSpec.New("1")
	require.NoError(t, s.Store("cup", 2))
	require.NoError(t, r.Commit(t.Context(), s))
	require.NoError(t, r.Truncate(t.Context(), "1"))
	s, err := r.Load(t.Context(), "1")
	require.NoError(t, err)
	require.NoError(t, s.Store("cup", 1))
	require.NoError(t, r.Commit(t.Context(), s))
	s, err = r.Load(t.Context(), "1")
	require.NoError(t, err)
	require.Equal(t, Shelf{base: s.base, stock: map[string]int{"cup": 3}, Labels: []string{"cup", "cup"}}, *s)
	require.JSONEq(t, `{"stock":{"cup":2},"tags":["cup"]}`, string(stored(t, j, ShelfSpec.Stream("1"))[0].Data), "without the id")
}

// An event may be called baseline where no baseline is.
func TestEventOfThatName(t *testing.T) {
	rec := envelope.Record{
		Stream: ChartSpec.Stream("1"), Version: 1, Name: "baseline", Schema: 1, Codec: "json", Data: []byte(`{"Height":3}`),
	}
	event, err := DecodeChartEvent(&rec)
	require.NoError(t, err)
	require.Equal(t, ChartBaseline{Level: 3}, event)

	// A former one is not taken for the baseline.
	rec = envelope.Record{
		Stream: ShelfSpec.Stream("1"), Version: 1, Name: "baseline", Schema: 1, Codec: "json", Data: []byte(`{"name":"cup","n":2}`),
	}
	s := ShelfSpec.New("1")
	require.NoError(t, ShelfSpec.Replay(s, &rec))
	require.Equal(t, map[string]int{"cup": 2}, s.stock)
}
