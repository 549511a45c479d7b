package journaltest

import (
	"fmt"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/internal/testenv"
	"github.com/troupe-go/troupe/journal"
)

// writerCases hold what several writers of the same data do to each other: two
// journals where the adapter allows it, else two goroutines.
var writerCases = []Case{
	{"TwoWritersOneWinner", func(w *world) {
		const streams = 50
		rounds := uint64(testenv.Count(1_000, 10_000) / streams)
		writers := []journal.Journal{w.j, w.second()}
		for v := range rounds {
			answers := make(chan []*pending, len(writers))
			for writer, j := range writers {
				go func() {
					var sent []*pending
					for i := range streams {
						s := stream(fmt.Sprint((i + writer*streams/2) % streams))
						b := newBatch(events(s, v, 1))
						b.Appends[0].Records[0].Name = fmt.Sprint("writer ", writer)
						sent = append(sent, send(j, b))
					}
					answers <- sent
				}()
			}
			winners := map[envelope.Stream]string{}
			for range writers {
				for _, p := range <-answers {
					a := &p.batch.Appends[0]
					if _, err := w.outcome(p); err != nil {
						w.conflict(err, a.Stream, v, v+1)
						continue
					}
					require.NotContains(w, winners, a.Stream, "two winners of version %d of %s", v+1, a.Stream)
					winners[a.Stream] = a.Records[0].Name
				}
			}
			require.Len(w, winners, streams, "winners of version %d", v+1)
			for i, j := range writers {
				s := stream(fmt.Sprint(v % streams))
				got := w.collect(j.Load(w.ctx, s, v))
				require.Len(w, got, 1, "records by writer %d", i)
				require.Equal(w, winners[s], got[0].Name, "writer %d does not see who won", i)
			}
		}
		w.inEveryLife(func() {
			for i := range streams {
				w.versions(stream(fmt.Sprint(i)), rounds)
			}
		})
	}},
	{"ForeignAppendBetweenQueuedOnes", func(w *world) {
		if w.harness.Second == nil {
			w.Skip("the data belongs to one journal at a time")
		}
		foreign := w.second()
		for round := range 40 {
			s := stream(fmt.Sprint(round))
			w.must(newBatch(events(s, 0, 6)))
			stranger := events(s, 6, 1)
			stranger.Records[0].Name = "stranger"
			// Ours were decided on 6: our 8 builds on our 7, which the stranger's supplants.
			ours := []*journal.Batch{newBatch(events(s, 6, 1)), newBatch(events(s, 7, 1)), w.widen(newBatch(events(s, 8, 1)), fmt.Sprint(round))}
			var first *pending
			if round%2 == 0 { // the stranger's is stored already
				_, err := journal.Commit(w.ctx, foreign, newBatch(stranger))
				require.NoError(w, err)
			} else { // it is anywhere among ours
				first = send(foreign, newBatch(stranger))
			}
			head := w.submit(ours[0])
			queued, crossed := []*pending{head}, false
			for _, b := range ours[1:] {
				p := w.submit(b)
				crossed = crossed || head.answered()
				queued = append(queued, p)
			}
			_, err := w.outcome(head)
			if err == nil {
				require.NotNil(w, first, "both are version 7")
				_, err := w.outcome(first)
				require.ErrorIs(w, err, journal.ErrConflict)
				for _, p := range queued {
					_, err := w.outcome(p)
					require.NoError(w, err)
				}
				w.versions(s, 9)
				continue
			}
			require.ErrorIs(w, err, journal.ErrConflict)
			for _, p := range queued {
				if _, err := w.outcome(p); !crossed {
					require.ErrorIs(w, err, journal.ErrConflict, "a successor of a conflict")
				}
			}
			if !crossed {
				w.versions(s, 7)
				require.Equal(w, "stranger", w.load(s, 6)[0].Name)
				w.notWidened(fmt.Sprint(round))
			}
		}
	}},
	{"UncommittedForeignAppend", func(w *world) {
		if w.harness.Hold == nil {
			w.Skip("no other connection can leave an append uncommitted")
		}
		for round, commit := range []bool{true, false, true, false} {
			s, other := stream(fmt.Sprint(round)), stream(fmt.Sprint("other", round))
			w.must(newBatch(events(s, 0, 5)))
			before := w.readAll(journal.Position{}, 0)
			release := w.harness.Hold(w.TB, newBatch(events(s, 5, 1)))
			ours := w.submit(newBatch(events(s, 5, 2)))
			beside := w.submit(newBatch(events(other, 0, 3)))
			select { // an adapter of one writer at a time answers after the release
			case <-beside.done:
			case <-time.After(50 * time.Millisecond):
			}
			require.False(w, ours.answered(), "nobody can know yet who is version 6")
			require.Len(w, w.load(s, 0), 5, "an uncommitted record was read")
			order := orderOf{}
			for _, rec := range w.collect(w.j.ReadAll(w.ctx, journal.Position{}, 0)) {
				order.next(w, rec)
			}
			require.LessOrEqual(w, order.heads[s], uint64(5))
			release(commit)
			_, err := w.outcome(beside)
			require.NoError(w, err)
			_, err = w.outcome(ours)
			head := uint64(7)
			if commit {
				w.conflict(err, s, 5, 6)
				head = 6
			} else {
				require.NoError(w, err)
			}
			w.versions(s, head)
			// Who read meanwhile goes on where it stopped, and misses nothing.
			total := len(before) + int(head) - 5 + 3
			seen := 0
			for _, n := range order.heads {
				seen += int(n)
			}
			for _, rec := range w.readAll(order.last, total-seen) {
				order.next(w, rec)
			}
			require.Equal(w, head, order.heads[s])
			require.Equal(w, uint64(3), order.heads[other])
		}
	}},
}

// second is one more journal on the same data, or the same journal where the
// adapter allows no other.
func (w *world) second() journal.Journal {
	w.Helper()
	if w.harness.Second == nil {
		return w.j
	}
	j := w.harness.Second(w.TB)
	w.Cleanup(func() {
		if err := j.Close(); err != nil {
			w.Errorf("close the second journal: %v", err)
		}
	})
	return j
}
