package journaltest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// scavengeCases hold how records that were let go are deleted.
var scavengeCases = []Case{
	{"TruncatedRecordsAreReadByPositionUntilScavenged", func(w *world) {
		if w.lacks(truncation) {
			return
		}
		s, other := stream("s"), stream("other")
		w.fill(s, 60)
		w.fill(other, 5)
		w.must(truncating(s, 60, envelope.BaselineName))
		w.fillFrom(other, 5, 8)
		all := w.readAll(journal.Position{}, 69)
		w.inEveryLife(func() {
			got := w.readAll(journal.Position{}, 69)
			require.Len(w, got, 69, "records that were let go, and not scavenged")
			for i := range got {
				require.Equal(w, all[i].Position, got[i].Position)
			}
		})
		n, err := w.j.Scavenge(w.ctx, nil)
		require.NoError(w, err)
		require.Equal(w, 60, n, "records scavenged")
		n, err = w.j.Scavenge(w.ctx, nil)
		require.NoError(w, err)
		require.Zero(w, n, "records scavenged twice")
		w.inEveryLife(func() {
			w.begins(s, 61, 61)
			w.versions(other, 8)
			var left []envelope.Record
			for _, rec := range all {
				if rec.Stream == other || rec.Version == 61 {
					left = append(left, rec)
				}
			}
			got := w.collect(w.j.ReadAll(w.ctx, journal.Position{}, 0))
			require.Len(w, got, len(left))
			for i := range left {
				sameRecord(w, left[i], got[i])
				require.Equal(w, left[i].Position, got[i].Position, "positions stay")
			}
			require.Len(w, w.collect(w.j.ReadAll(w.ctx, journal.Position{}, 3)), 3, "a limit counts what is yielded")
			behind := 0
			for _, rec := range left {
				if rec.Position.Compare(all[30].Position) > 0 {
					behind++
				}
			}
			require.Len(w, w.collect(w.j.ReadAll(w.ctx, all[30].Position, 0)), behind, "behind a position that is gone")
		})
	}},
	{"ScavengeArchivesBeforeItDeletes", func(w *world) {
		if w.lacks(truncation) {
			return
		}
		const n = 2300
		a, b := stream("a"), stream("b")
		w.fill(a, n)
		w.fill(b, 10)
		w.must(truncating(a, n, envelope.BaselineName))
		w.must(truncating(b, 10, envelope.TombstoneName))
		before := w.readAll(journal.Position{}, n+12)
		archived := map[envelope.Stream]uint64{}
		count, pages := 0, 0
		deleted, err := w.j.Scavenge(w.ctx, func(_ context.Context, page []envelope.Record) error {
			require.NotEmpty(w, page)
			require.LessOrEqual(w, len(page), 1000, "records of a page")
			pages++
			stored := map[journal.Position]bool{}
			for _, rec := range w.collect(w.j.ReadAll(w.ctx, journal.Position{}, 0)) { // the journal may be called
				stored[rec.Position] = true
			}
			for _, rec := range page {
				require.Equal(w, archived[rec.Stream]+1, rec.Version, "next version of %s in the archive", rec.Stream)
				archived[rec.Stream]++
				count++
				require.True(w, stored[rec.Position], "%s %d was deleted before it was archived", rec.Stream, rec.Version)
				sameRecord(w, event(rec.Stream, rec.Version), rec)
			}
			return nil
		})
		require.NoError(w, err)
		require.Equal(w, n+10, deleted)
		require.Equal(w, n+10, count)
		require.Greater(w, pages, 1)
		require.Equal(w, map[envelope.Stream]uint64{a: n, b: 10}, archived)
		w.inEveryLife(func() {
			w.begins(a, n+1, n+1)
			w.begins(b, 11, 11)
			got := w.collect(w.j.ReadAll(w.ctx, journal.Position{}, 0))
			require.Len(w, got, 2)
			require.Equal(w, before[n+11].Position, got[1].Position)
		})
	}},
	{"ScavengeErrorKeepsRecords", func(w *world) {
		if w.lacks(truncation) {
			return
		}
		const n = 2300
		s := stream("s")
		w.fill(s, n)
		w.must(truncating(s, n, envelope.BaselineName))
		full := errors.New("the archive is full")
		refuse := func(context.Context, []envelope.Record) error { return full }
		w.inEveryLife(func() {
			deleted, err := w.j.Scavenge(w.ctx, refuse)
			require.ErrorIs(w, err, full)
			require.Zero(w, deleted)
			require.Len(w, w.readAll(journal.Position{}, n+1), n+1)
		})
		// It goes on where it stopped, and what was archived is gone.
		var kept []envelope.Record
		archive := func(room int) func(context.Context, []envelope.Record) error {
			return func(_ context.Context, page []envelope.Record) error {
				if room--; room < 0 {
					return full
				}
				for _, rec := range page {
					rec.Data = bytes.Clone(rec.Data)
					kept = append(kept, rec)
				}
				return nil
			}
		}
		deleted, err := w.j.Scavenge(w.ctx, archive(1))
		require.ErrorIs(w, err, full)
		require.Len(w, kept, deleted)
		require.NotZero(w, deleted)
		w.inEveryLife(func() {
			require.Len(w, w.readAll(journal.Position{}, n+1-deleted), n+1-deleted)
			w.begins(s, n+1, n+1)
		})
		rest, err := w.j.Scavenge(w.ctx, archive(n))
		require.NoError(w, err)
		require.Equal(w, n, deleted+rest)
		require.Len(w, kept, n)
		for i, rec := range kept {
			require.Equal(w, uint64(i+1), rec.Version)
		}
		w.inEveryLife(func() { require.Len(w, w.readAll(journal.Position{}, 1), 1) })
	}},
	{"ScavengeKeepsReceiptsAndMessages", func(w *world) {
		if w.lacks(truncation) {
			return
		}
		// Whatever came with the records: it has a retention of its own.
		const n = 40
		s := stream("s")
		var ids []string
		for v := range uint64(n) {
			ids = append(ids, fmt.Sprint("id", v))
			w.must(w.widen(newBatch(events(s, v, 1), receipt(s, ids[v], v+1)), ids[v]))
		}
		w.must(truncating(s, n, envelope.TombstoneName))
		deleted, err := w.j.Scavenge(w.ctx, nil)
		require.NoError(w, err)
		require.Equal(w, n, deleted)
		w.inEveryLife(func() {
			w.begins(s, n+1, n+1)
			w.widened(ids...)
			for v, id := range ids {
				want := receipt(s, id, uint64(v+1))
				got, found, err := w.j.Receipt(w.ctx, s, id)
				require.NoError(w, err)
				require.True(w, found, "receipt %q", id)
				sameReceipt(w, want, got)
				_, err = w.commit(newBatch(events(s, n+1, 1), receipt(s, id, 99)))
				w.duplicates(err, want)
				if w.has(inbox) {
					_, err = w.commit(newBatch(events(s, n+1, 1), effect("mailer", id)))
					w.duplicates(err, effect("mailer", id))
				}
			}
		})
	}},
	{"PositionsNeverGoBackAfterScavenge", func(w *world) {
		if w.lacks(truncation) {
			return
		}
		s := stream("s")
		var last journal.Position
		head := uint64(0)
		for range 6 {
			w.must(newBatch(events(s, head, 4)))
			res := w.must(truncating(s, head+4, envelope.TombstoneName))
			require.Equal(w, 1, res.Position.Compare(last), "%s after %s", res.Position, last)
			last = res.Position
			_, err := w.j.Scavenge(w.ctx, nil)
			require.NoError(w, err)
			head += 5
			w.inEveryLife(func() {
				all := w.collect(w.j.ReadAll(w.ctx, journal.Position{}, 0))
				require.Len(w, all, 1)
				require.Equal(w, last, all[0].Position)
				require.Empty(w, w.collect(w.j.ReadAll(w.ctx, last, 0)))
			})
		}
		res := w.must(newBatch(events(stream("later"), 0, 1)))
		require.Equal(w, 1, res.Position.Compare(last), "%s after %s", res.Position, last)
		w.must(newBatch(events(s, head, 1)))
	}},
	{"ScavengeRunsBesideEverythingElse", func(w *world) {
		if w.lacks(truncation) {
			return
		}
		s, other := stream("s"), stream("other")
		w.fill(s, 2500)
		w.must(truncating(s, 2500, envelope.BaselineName))
		reader := func(yield func(int)) { // one that is in the middle
			n := 0
			for rec, err := range w.j.ReadAll(w.ctx, journal.Position{}, 0) {
				require.NoError(w, err)
				require.Equal(w, s, rec.Stream)
				if n++; n == 100 {
					yield(n)
				}
			}
			require.LessOrEqual(w, n, 2501)
			require.Greater(w, n, 100, "the newest record is never scavenged")
		}
		head := uint64(0)
		running, ended := make(chan struct{}), make(chan error, 1)
		hold := make(chan struct{})
		reader(func(int) {
			first := true
			go func() {
				_, err := w.j.Scavenge(w.ctx, func(context.Context, []envelope.Record) error {
					if first { // the first page waits: nobody else does
						first = false
						close(running)
						<-hold
					}
					return nil
				})
				ended <- err
			}()
			w.await(running, "the first page of Scavenge")
			for range 20 {
				w.must(newBatch(events(other, head, 1)))
				head++
			}
			w.versions(other, head)
			w.begins(s, 2501, 2501)
			// A second call waits for the first, or for its context.
			ctx, cancel := context.WithCancel(w.ctx)
			second := make(chan error, 1)
			go func() {
				_, err := w.j.Scavenge(ctx, nil)
				second <- err
			}()
			cancel()
			require.ErrorIs(w, <-second, context.Canceled)
			third := make(chan int, 1)
			go func() {
				n, _ := w.j.Scavenge(w.ctx, nil)
				third <- n
			}()
			select {
			case n := <-third:
				require.FailNow(w, "a second Scavenge ran beside the first", "%d records", n)
			case <-time.After(20 * time.Millisecond): // what must not happen gets the time to
			}
			close(hold)
			require.NoError(w, <-ended)
			require.Zero(w, <-third, "records that the first call left to the second")
		})
		w.begins(s, 2501, 2501)
		w.versions(other, head)
		ctx, cancel := context.WithCancel(w.ctx)
		cancel()
		_, err := w.j.Scavenge(ctx, nil)
		require.ErrorIs(w, err, context.Canceled)
		for i := range 30 { // many small ones
			small := stream(fmt.Sprint(i))
			w.fill(small, 2)
			w.must(truncating(small, 2, envelope.TombstoneName))
		}
		n, err := w.j.Scavenge(w.ctx, nil)
		require.NoError(w, err)
		require.Equal(w, 60, n)
	}},
}
