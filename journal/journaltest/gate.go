package journaltest

import (
	"fmt"
	"math"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// gateCases hold that the head of a stream is the only gate, and a closed one.
var gateCases = []Case{
	{"GaplessVersions", func(w *world) {
		a, b := stream("a"), stream("b")
		for v := range uint64(20) {
			w.must(newBatch(events(a, v, 1)))
			w.must(newBatch(events(b, 3*v, 3)))
		}
		w.inEveryLife(func() {
			w.versions(a, 20)
			w.versions(b, 60)
			w.versions(stream("absent"), 0)
		})
	}},
	{"StaleExpectedVersionWritesNothing", func(w *world) {
		s := stream("s")
		w.fill(s, 5)
		for stale := range uint64(5) {
			_, err := w.commit(newBatch(events(s, stale, 1)))
			w.conflict(err, s, stale, 5)
			_, err = w.commit(newBatch(events(s, stale, 9))) // reaches beyond the head
			w.conflict(err, s, stale, 5)
		}
		w.inEveryLife(func() { w.versions(s, 5) })
		w.must(newBatch(events(s, 5, 1)))
		w.versions(s, 6)
	}},
	{"TooHighExpectedVersionWritesNothing", func(w *world) {
		s, absent := stream("s"), stream("absent")
		w.fill(s, 5)
		for _, high := range []uint64{6, 7, 100, 1 << 40, math.MaxUint64 - 1} {
			_, err := w.commit(newBatch(events(s, high, 1)))
			w.conflict(err, s, high, 5)
			_, err = w.commit(newBatch(events(absent, high, 1)))
			w.conflict(err, absent, high, 0)
		}
		w.inEveryLife(func() {
			w.versions(s, 5)
			w.versions(absent, 0)
			require.Len(w, w.collect(w.j.ReadAll(w.ctx, journal.Position{}, 0)), 5)
		})
		w.must(newBatch(events(s, 5, 3)))
		w.must(newBatch(events(absent, 0, 1)))
		w.versions(s, 8)
		w.versions(absent, 1)
	}},
	{"ConflictNamesTheStreamThatMoved", func(w *world) {
		a, b, c := stream("a"), stream("b"), stream("c")
		w.fill(b, 2)
		_, err := w.commit(newBatch(events(a, 0, 1), events(b, 1, 1), events(c, 0, 1)))
		w.conflict(err, b, 1, 2)
		_, err = w.commit(newBatch(events(a, 0, 1), journal.Assert{Stream: b, Expected: 3}))
		w.conflict(err, b, 3, 2)
	}},
	{"BatchOfSeveralStreamsIsAllOrNothing", func(w *world) {
		a, b, c := stream("a"), stream("b"), stream("c")
		w.fill(b, 3)
		for _, wrong := range []journal.Append{events(b, 2, 1), events(b, 4, 1)} {
			for _, parts := range [][]any{
				{events(a, 0, 1), events(c, 0, 2), wrong},
				{wrong, events(a, 0, 1), events(c, 0, 2)},
			} {
				_, err := w.commit(newBatch(parts...))
				require.ErrorIs(w, err, journal.ErrConflict)
			}
		}
		w.inEveryLife(func() {
			w.versions(a, 0)
			w.versions(b, 3)
			w.versions(c, 0)
		})
		res := w.must(newBatch(events(c, 0, 2), events(a, 0, 1), events(b, 3, 4)))
		w.inEveryLife(func() {
			w.versions(a, 1)
			w.versions(b, 7)
			w.versions(c, 2)
			all := w.readAll(journal.Position{}, 10)
			require.Len(w, all, 10)
			require.Equal(w, all[9].Position, res.Position, "position of the batch's last record")
		})
	}},
	{"RefusedBatchLeavesNoPart", func(w *world) {
		s, other := stream("s"), stream("other")
		w.fill(s, 5)
		w.fill(other, 5)
		w.must(newBatch(snap(other, 2)))
		_, err := w.commit(newBatch(events(s, 4, 1), snap(s, 3), receipt(s, "id", 5), receipt(other, "id", 5), snap(other, 4)))
		w.conflict(err, s, 4, 5)
		_, err = w.commit(newBatch(events(s, 4, 1), other)) // would drop the snapshot
		w.conflict(err, s, 4, 5)
		w.inEveryLife(func() {
			for _, of := range []envelope.Stream{s, other} {
				_, found, err := w.j.Receipt(w.ctx, of, "id")
				require.NoError(w, err)
				require.False(w, found, "a refused batch left its receipt on %s", of)
			}
			latest, err := w.j.LoadLatest(w.ctx, s)
			require.NoError(w, err)
			require.Nil(w, latest.Snapshot, "a refused batch left its snapshot")
			latest, err = w.j.LoadLatest(w.ctx, other)
			require.NoError(w, err)
			sameSnapshot(w, snap(other, 2), latest.Snapshot)
		})
		w.must(newBatch(events(s, 5, 1), receipt(s, "id", 6))) // the refused receipt is in nobody's way
	}},
	{"AssertGates", func(w *world) {
		s, other := stream("s"), stream("other")
		w.fill(s, 5)
		w.must(newBatch(journal.Assert{Stream: s, Expected: 5}))
		for _, wrong := range []uint64{0, 4, 6, 1 << 40} {
			_, err := w.commit(newBatch(journal.Assert{Stream: s, Expected: wrong}))
			w.conflict(err, s, wrong, 5)
			_, err = w.commit(newBatch(events(other, 0, 1), journal.Assert{Stream: s, Expected: wrong}))
			w.conflict(err, s, wrong, 5)
		}
		w.inEveryLife(func() {
			w.versions(s, 5)
			w.versions(other, 0)
		})
		w.must(newBatch(events(other, 0, 1), journal.Assert{Stream: s, Expected: 5}))
		w.versions(other, 1)
		w.versions(s, 5)
	}},
	{"AssertOfAbsentStream", func(w *world) {
		absent, s := stream("absent"), stream("s")
		res := w.must(newBatch(journal.Assert{Stream: absent}))
		require.Zero(w, res.Position, "an assert writes no record")
		_, err := w.commit(newBatch(journal.Assert{Stream: absent, Expected: 1}))
		w.conflict(err, absent, 1, 0)
		w.must(newBatch(events(s, 0, 1), journal.Assert{Stream: absent}))
		w.inEveryLife(func() {
			w.versions(absent, 0)
			w.versions(s, 1)
		})
		w.must(newBatch(events(absent, 0, 1))) // an assert did not make it exist
		_, err = w.commit(newBatch(journal.Assert{Stream: absent}))
		w.conflict(err, absent, 0, 1)
	}},
	{"StreamNamesAreNotJoined", func(w *world) {
		alike := []envelope.Stream{
			{Type: "a", ID: "b/c"}, {Type: "a/b", ID: "c"}, {Type: "ab", ID: "/c"},
			{Type: "a", ID: "b"}, {Type: "b", ID: "a"}, {Type: "A", ID: "b"}, {Type: "a", ID: "B"}, {Type: "a", ID: "b "},
			{Type: "a:b", ID: "c"}, {Type: "a", ID: "b:c"}, {Type: "a-b", ID: "c"}, {Type: "a", ID: "b-c"},
			{Type: "ä", ID: "1"}, {Type: "a\u0308", ID: "1"},
		}
		for i, s := range alike {
			w.must(newBatch(events(s, 0, i+1), receipt(s, "id", uint64(i+1))))
		}
		for i, s := range alike {
			w.must(newBatch(snap(s, uint64(i+1))))
		}
		w.inEveryLife(func() {
			for i, s := range alike {
				w.versions(s, uint64(i+1))
				latest, err := w.j.LoadLatest(w.ctx, s)
				require.NoError(w, err)
				sameSnapshot(w, snap(s, uint64(i+1)), latest.Snapshot)
				got, found, err := w.j.Receipt(w.ctx, s, "id")
				require.NoError(w, err)
				require.True(w, found)
				sameReceipt(w, receipt(s, "id", uint64(i+1)), got)
			}
		})
	}},
	{"OneWinnerPerVersion", func(w *world) {
		const writers, rounds = 8, 50
		s := stream("s")
		for v := range uint64(rounds) {
			start, answers := make(chan struct{}), make(chan *pending, writers)
			for i := range writers {
				go func() {
					rec := event(s, v+1)
					rec.Data = fmt.Appendf(nil, `{"writer":%d}`, i)
					<-start
					answers <- send(w.j, newBatch(journal.Append{Stream: s, Expected: v, Records: []envelope.Record{rec}}))
				}()
			}
			close(start)
			var winner *pending
			for range writers {
				p := <-answers
				if _, err := w.outcome(p); err == nil {
					require.Nil(w, winner, "two winners of version %d", v+1)
					winner = p
				} else {
					require.ErrorIs(w, err, journal.ErrConflict)
				}
			}
			require.NotNil(w, winner, "no winner of version %d", v+1)
			sameRecord(w, winner.batch.Appends[0].Records[0], w.load(s, v)[0])
		}
		w.inEveryLife(func() { w.versions(s, rounds) })
	}},
}
