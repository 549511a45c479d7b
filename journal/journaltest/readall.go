package journaltest

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// readAllCases hold that whoever reads by position misses nothing.
var readAllCases = []Case{
	{"ReadAllOfEmptyJournal", func(w *world) {
		w.inEveryLife(func() {
			require.Empty(w, w.collect(w.j.ReadAll(w.ctx, journal.Position{}, 0)))
			require.Empty(w, w.collect(w.j.ReadAll(w.ctx, journal.Position{Seq: 5}, 3)))
		})
	}},
	{"ReadAllKeepsEachStreamsOrder", func(w *world) {
		for v := range uint64(40) {
			for i := range 5 {
				w.submit(newBatch(events(stream(fmt.Sprint(i)), v*3, 3)))
			}
		}
		for _, p := range w.sent {
			_, err := w.outcome(p)
			require.NoError(w, err)
		}
		w.inEveryLife(func() {
			order := orderOf{}
			for _, rec := range w.readAll(journal.Position{}, 600) {
				order.next(w, rec)
				sameRecord(w, event(rec.Stream, rec.Version), rec)
			}
			require.Len(w, order.heads, 5)
		})
	}},
	{"ReadAllNeverSkips", func(w *world) {
		const writers, each = 4, 400
		for g := range writers {
			go func() {
				var last *pending
				for i := range each {
					s := stream(fmt.Sprint(g, "-", i%8))
					last = send(w.j, newBatch(events(s, uint64(i/8), 1)))
					if i%5 == 0 {
						<-last.done
					}
				}
			}()
		}
		var after journal.Position
		order := orderOf{}
		for n := 0; n < writers*each; {
			for _, rec := range w.readAll(after, 1) { // waits for more
				order.next(w, rec)
				after = rec.Position
				n++
			}
			for rec, err := range w.j.ReadAll(w.ctx, after, 0) {
				require.NoError(w, err)
				order.next(w, rec)
				after = rec.Position
				n++
			}
		}
		for g := range writers {
			for i := range 8 {
				require.Equal(w, uint64(each/8), order.heads[stream(fmt.Sprint(g, "-", i))])
			}
		}
		w.inEveryLife(func() { require.Empty(w, w.collect(w.j.ReadAll(w.ctx, after, 0))) })
	}},
	{"ReadAllLimit", func(w *world) {
		for i := range 7 {
			w.fill(stream(fmt.Sprint(i)), 500)
		}
		all := w.readAll(journal.Position{}, 3500)
		require.Len(w, all, 3500)
		w.inEveryLife(func() {
			for _, limit := range []int{1, 2, 999, 1000, 1001, 2500, 3499, 3500} {
				records := w.collect(w.j.ReadAll(w.ctx, journal.Position{}, limit))
				require.Len(w, records, limit)
				require.Equal(w, all[limit-1].Position, records[limit-1].Position)
			}
			for _, unlimited := range []int{0, -1, math.MinInt, 3501, math.MaxInt} {
				require.Len(w, w.collect(w.j.ReadAll(w.ctx, journal.Position{}, unlimited)), 3500, "limit %d", unlimited)
			}
		})
	}},
	{"ReadAllResumesByPosition", func(w *world) {
		for i := range 3 {
			w.fill(stream(fmt.Sprint(i)), 400)
			w.must(newBatch(receipt(stream("r"), fmt.Sprint(i), 0))) // no record, though perhaps a place
		}
		all := w.readAll(journal.Position{}, 1200)
		w.inEveryLife(func() {
			for i := 0; i < len(all); i += 37 {
				rest := w.collect(w.j.ReadAll(w.ctx, all[i].Position, 0))
				require.Len(w, rest, len(all)-i-1)
				for k := range rest {
					require.Equal(w, all[i+1+k].Position, rest[k].Position)
				}
			}
			var after journal.Position
			var paged []envelope.Record
			for {
				page := w.collect(w.j.ReadAll(w.ctx, after, 7))
				if len(page) == 0 {
					break
				}
				paged = append(paged, page...)
				after = page[len(page)-1].Position
			}
			require.True(w, slices.EqualFunc(all, paged, func(a, b envelope.Record) bool { return a.Position == b.Position }))
			end := all[len(all)-1].Position
			for _, beyond := range []journal.Position{end, {Epoch: end.Epoch, Seq: end.Seq + 1}, {Epoch: math.MaxUint64, Seq: math.MaxUint64}} {
				require.Empty(w, w.collect(w.j.ReadAll(w.ctx, beyond, 0)))
				require.Empty(w, w.collect(w.j.ReadAll(w.ctx, beyond, 5)))
			}
		})
		// A position outlives what came after it.
		end := all[len(all)-1].Position
		w.fill(stream("later"), 3)
		w.inEveryLife(func() { require.Len(w, w.readAll(end, 3), 3) })
	}},
	{"PositionsAreNeverHandedOutAgain", func(w *world) {
		s := stream("s")
		var last journal.Position
		for v := range uint64(20) {
			res := w.must(newBatch(events(s, v, 1)))
			require.Equal(w, 1, res.Position.Compare(last), "%s after %s", res.Position, last)
			last = res.Position
			_, err := w.commit(newBatch(events(s, v, 1)))
			require.ErrorIs(w, err, journal.ErrConflict)
			if w.harness.Reopen != nil && v%5 == 0 {
				w.reopen()
			}
		}
	}},
	{"ChangedFires", func(w *world) {
		s := stream("s")
		for v := range uint64(50) {
			one, other := w.j.Changed(), w.j.Changed()
			w.must(newBatch(events(s, v, 1)))
			w.await(one, "Changed")
			w.await(other, "the second listener's Changed")
		}
		if w.harness.Reopen != nil {
			w.reopen()
			changed := w.j.Changed()
			w.must(newBatch(events(s, 50, 1)))
			w.await(changed, "Changed after a reopening")
		}
	}},
	{"ChangedGivesAFreshChannel", func(w *world) {
		// One that is closed already would make a reader spin.
		s := stream("s")
		w.must(newBatch(events(s, 0, 1)))
		w.readAll(journal.Position{}, 1)
		closed := 0
		for range 1000 {
			select {
			case <-w.j.Changed():
				closed++
			default:
			}
		}
		require.Less(w, closed, 100, "channels that were closed when nothing changed")
	}},
	{"ChangedLosesNoWakeUp", func(w *world) {
		// The loop of every projection: take the channel, read, wait. Without
		// polling, it sees everything.
		const n = 1000
		s := stream("s")
		go func() {
			for v := range uint64(n) {
				<-send(w.j, newBatch(events(s, v, 1))).done
			}
		}()
		ctx, cancel := context.WithTimeout(w.ctx, patience)
		defer cancel()
		var after journal.Position
		for seen := 0; seen < n; {
			changed := w.j.Changed()
			before := seen
			for rec, err := range w.j.ReadAll(ctx, after, 0) {
				require.NoError(w, err)
				after = rec.Position
				seen++
			}
			if seen == before {
				w.await(changed, "Changed")
			}
		}
	}},
}

// orderOf checks records as they come by position.
type orderOf struct {
	last  journal.Position
	heads map[envelope.Stream]uint64
}

// next demands that rec lies behind the last one and is its stream's next.
func (o *orderOf) next(w *world, rec envelope.Record) {
	w.Helper()
	if o.heads == nil {
		o.heads = map[envelope.Stream]uint64{}
	}
	require.Equal(w, 1, rec.Position.Compare(o.last), "position %s after %s", rec.Position, o.last)
	o.last = rec.Position
	o.heads[rec.Stream]++
	require.Equal(w, o.heads[rec.Stream], rec.Version, "next version of %s by position", rec.Stream)
}
