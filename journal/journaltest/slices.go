package journaltest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// sliceCases hold how several readers share the work, and how far they are behind.
var sliceCases = []Case{
	{"SlicesPartitionAllStreams", func(w *world) {
		for i := range 200 {
			w.submit(newBatch(events(stream(fmt.Sprint(i)), 0, 3)))
		}
		for _, p := range w.sent {
			_, err := w.outcome(p)
			require.NoError(w, err)
		}
		all := w.readAll(journal.Position{}, 600)
		w.inEveryLife(func() {
			for _, parts := range []int{1, 2, 7, 16} {
				seen := 0
				for part := range parts {
					r := journal.SliceRange{From: part * envelope.Slices / parts, To: (part + 1) * envelope.Slices / parts}
					order := orderOf{}
					for _, rec := range w.slice(r, journal.Position{}, 0) {
						require.True(w, r.Has(rec.Stream), "%s in slices [%d,%d)", rec.Stream, r.From, r.To)
						order.next(w, rec)
						seen++
					}
				}
				require.Equal(w, len(all), seen, "records of %d readers", parts)
			}
			for _, whole := range []journal.SliceRange{{}, journal.AllSlices} {
				got := w.slice(whole, journal.Position{}, 0)
				require.Len(w, got, len(all))
				for i := range all {
					require.Equal(w, all[i].Position, got[i].Position)
					sameRecord(w, all[i], got[i])
				}
			}
		})
	}},
	{"SliceLimitCountsWhatIsYielded", func(w *world) {
		w.fill(stream("noise"), 1200)
		w.fill(stream("s"), 1200)
		slice := stream("s").Slice()
		require.NotEqual(w, slice, stream("noise").Slice())
		one := journal.SliceRange{From: slice, To: slice + 1}
		w.inEveryLife(func() {
			all := w.slice(one, journal.Position{}, 0)
			require.Len(w, all, 1200)
			for _, limit := range []int{1, 999, 1000, 1001, 1200, 1201, -1, math.MaxInt} {
				want := 1200
				if limit > 0 {
					want = min(limit, want)
				}
				require.Len(w, w.slice(one, journal.Position{}, limit), want, "limit %d", limit)
			}
			after := all[599].Position
			rest := w.slice(one, after, 10)
			require.Len(w, rest, 10)
			require.Equal(w, uint64(601), rest[0].Version)
			require.Empty(w, w.slice(one, all[1199].Position, 0))
			other := journal.SliceRange{From: 0, To: 1}
			if slice == 0 || stream("noise").Slice() == 0 {
				other = journal.SliceRange{From: envelope.Slices - 1, To: envelope.Slices}
			}
			require.Empty(w, w.slice(other, journal.Position{}, 1))
		})
	}},
	{"SliceRangeOutsideIsInvalid", func(w *world) {
		w.fill(stream("s"), 2)
		for _, bad := range []journal.SliceRange{{From: -1, To: 5}, {From: 5, To: 5}, {From: 7, To: 3}, {From: 0, To: envelope.Slices + 1}, {From: envelope.Slices, To: envelope.Slices}} {
			got, err := drain(w.j.ReadSlices(w.ctx, bad, journal.Position{}, 0))
			require.ErrorIs(w, err, journal.ErrInvalid, "%+v", bad)
			require.Empty(w, got)
		}
	}},
	{"LagCountsWhatIsBehind", func(w *world) {
		if lag, ok := w.lag(journal.Position{}); !ok {
			return
		} else {
			require.Equal(w, journal.Lag{}, lag, "of an empty journal")
		}
		old := events(stream("s"), 0, 3)
		for i := range old.Records {
			old.Records[i].Time = time.Now().Add(-time.Duration(3-i) * time.Hour)
		}
		w.must(newBatch(old))
		w.fill(stream("other"), 20)
		all := w.readAll(journal.Position{}, 23)
		w.inEveryLife(func() {
			for i := range 24 {
				after := journal.Position{}
				if i > 0 {
					after = all[i-1].Position
				}
				lag, _ := w.lag(after)
				require.Equal(w, all[22].Position, lag.Newest)
				require.Zero(w, lag.Withheld, "nobody writes")
				require.Zero(w, lag.BlockedBy, "nobody writes")
				if i == 23 {
					require.Zero(w, lag.Records, "records behind the newest")
					require.Zero(w, lag.Age, "age without any records")
					continue
				}
				require.GreaterOrEqual(w, lag.Records, uint64(23-i), "records behind the first %d", i)
				if i < 3 {
					require.InDelta(w, float64(3-i), lag.Age.Hours(), 0.5, "age behind the first %d", i)
				}
			}
			lag, _ := w.lag(journal.Position{Epoch: math.MaxUint64, Seq: math.MaxUint64})
			require.Zero(w, lag.Records)
			require.Zero(w, lag.Age)
		})
		// A reader whose slices had nothing goes on behind the newest.
		lag, _ := w.lag(journal.Position{})
		w.fill(stream("later"), 2)
		require.Len(w, w.readAll(lag.Newest, 2), 2)
	}},
}

// slice reads some slices and demands that no error is among the records.
func (w *world) slice(r journal.SliceRange, after journal.Position, limit int) []envelope.Record {
	w.Helper()
	return w.collect(w.j.ReadSlices(w.ctx, r, after, limit))
}

// lag asks for the lag behind a position. False says that the adapter does not
// tell; its answer is typed then.
func (w *world) lag(after journal.Position) (journal.Lag, bool) {
	w.Helper()
	lag, err := w.j.Lag(w.ctx, after)
	if errors.Is(err, journal.ErrUnsupported) {
		w.unsupported(err, "lag")
		return journal.Lag{}, false
	}
	require.NoError(w, err)
	return lag, true
}

// endedCases hold what every reading method answers when it is over.
var endedCases = []Case{
	{"ClosedJournalAnswersEveryRead", func(w *world) {
		reads := everyRead(w)
		require.NoError(w, w.j.Close())
		for name, read := range reads {
			require.ErrorIs(w, read(w.ctx), journal.ErrClosed, name)
		}
	}},
	{"EndedContextEndsEveryRead", func(w *world) {
		ctx, cancel := context.WithCancelCause(w.ctx)
		reason := errors.New("the reason")
		reads := everyRead(w)
		for name, read := range reads {
			require.NoError(w, read(ctx), name)
		}
		cancel(reason)
		for name, read := range reads {
			err := read(ctx)
			require.True(w, errors.Is(err, reason) || errors.Is(err, context.Canceled), "%s: %v", name, err)
		}
		for name, read := range reads {
			require.NoError(w, read(w.ctx), name)
		}
	}},
}

// everyRead lists the reading methods that the adapter takes, on a journal
// that has something to read.
func everyRead(w *world) map[string]func(ctx context.Context) error {
	w.Helper()
	s := stream("s")
	w.must(w.widen(newBatch(events(s, 0, 3)), "id"))
	reads := map[string]func(ctx context.Context) error{
		"ReadSlices": func(ctx context.Context) error {
			_, err := drain(w.j.ReadSlices(ctx, journal.AllSlices, journal.Position{}, 0))
			return err
		},
	}
	if _, ok := w.lag(journal.Position{}); ok {
		reads["Lag"] = func(ctx context.Context) error {
			_, err := w.j.Lag(ctx, journal.Position{})
			return err
		}
	}
	if w.has(messages) {
		reads["Messages"] = func(ctx context.Context) error {
			_, err := drainMessages(w.j.Messages(ctx, 0, 0))
			return err
		}
	}
	if w.has(rows) {
		reads["Row"] = func(ctx context.Context) error {
			_, _, err := w.j.Row(ctx, "todos", todo(0, "id").Key)
			return err
		}
	}
	if w.has(inbox) {
		reads["MessageReceipt"] = func(ctx context.Context) error {
			_, _, err := w.j.MessageReceipt(ctx, "mailer", "id")
			return err
		}
	}
	if w.has(truncation) {
		reads["Scavenge"] = func(ctx context.Context) error {
			_, err := w.j.Scavenge(ctx, nil)
			return err
		}
	}
	return reads
}
