package journaltest

import (
	"errors"
	"fmt"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// queueCases hold what batches in one queue, and in one group, do to each
// other.
var queueCases = []Case{
	{"SubmitOrderPerStreamKept", func(w *world) {
		// Nobody waits: each batch's version is assigned in advance.
		const streams, rounds = 10, 200
		var waiting []*pending
		for round := range uint64(rounds) {
			for i := range streams {
				waiting = append(waiting, w.submit(newBatch(events(stream(fmt.Sprint(i)), round, 1))))
			}
		}
		var last journal.Position
		for _, p := range waiting {
			res, err := w.outcome(p)
			require.NoError(w, err)
			require.False(w, res.Position.IsZero(), "a stored batch has a position")
			if p.batch.Appends[0].Stream == stream("0") {
				require.Equal(w, 1, res.Position.Compare(last), "positions of a stream rise")
				last = res.Position
			}
		}
		w.inEveryLife(func() {
			for i := range streams {
				w.versions(stream(fmt.Sprint(i)), rounds)
			}
		})
	}},
	{"DoneMaySubmitTheNext", func(w *world) {
		const n = 300
		s, end := stream("s"), make(chan struct{})
		var failed error
		var next func(v uint64)
		next = func(v uint64) {
			if v == n {
				close(end)
				return
			}
			w.j.Submit(newBatch(events(s, v, 1)), func(_ journal.Result, err error) {
				if err != nil {
					failed = err
					close(end)
					return
				}
				next(v + 1)
			})
		}
		next(0)
		w.await(end, "a chain of submits")
		require.NoError(w, failed)
		w.versions(s, n)
	}},
	{"DoneCalledExactlyOnce", func(w *world) {
		// The world counts the calls of every batch when the case is over.
		s := stream("s")
		w.fill(s, 3)
		w.must(newBatch(receipt(s, "id", 3)))
		invalid := newBatch(events(s, 3, 1))
		invalid.Appends[0].Records[0].Name = ""
		for _, refused := range []*journal.Batch{
			newBatch(events(s, 1, 1)), newBatch(events(s, 9, 1)), newBatch(receipt(s, "id", 3)), {}, invalid,
		} {
			_, err := w.commit(refused)
			require.Error(w, err)
		}
		for v := range uint64(100) {
			w.submit(newBatch(events(s, 3+v, 1)))
			w.submit(newBatch(events(s, 1, 1)))
		}
		require.NoError(w, w.j.Close()) // answers whatever is still on its way
		for _, p := range w.sent {
			require.Equal(w, int32(1), p.calls.Load(), "calls of done")
		}
	}},
	{"StrangerAheadOfQueuedBatchesConflicts", func(w *world) {
		// Ours were decided on 5: our 7 builds on our 6, which the stranger's
		// 6 supplants. Stored behind the stranger's, our 7 would be gapless
		// and a lie.
		for round := range 100 {
			s := stream(fmt.Sprint(round))
			w.must(newBatch(events(s, 0, 5)))
			stranger := events(s, 5, 1)
			stranger.Records[0].Name = "stranger"
			if !w.chainConflicts(newBatch(stranger),
				newBatch(events(s, 5, 1)), newBatch(events(s, 6, 1)), newBatch(events(s, 7, 2))) {
				continue
			}
			w.versions(s, 6)
			require.Equal(w, "stranger", w.load(s, 5)[0].Name)
		}
	}},
	{"QueuedSuccessorsOfAConflictConflict", func(w *world) {
		for round := range 100 {
			s, other := stream(fmt.Sprint(round)), stream(fmt.Sprint("other", round))
			w.must(newBatch(events(s, 0, 7)))
			if !w.chainConflicts(newBatch(events(other, 0, 1)),
				newBatch(events(s, 5, 2)), // stale
				newBatch(journal.Assert{Stream: s, Expected: 7}, receipt(s, "successor", 7)), // fits the head, not the decision
				newBatch(events(s, 7, 1), events(other, 1, 1))) {
				continue
			}
			w.versions(s, 7)
			w.versions(other, 1)
			_, found, err := w.j.Receipt(w.ctx, s, "successor")
			require.NoError(w, err)
			require.False(w, found, "a successor of a conflict left its receipt")
			w.must(newBatch(events(s, 7, 1))) // once the conflict is known, the stream serves again
		}
	}},
	{"UnrelatedBatchesSurviveAConflict", func(w *world) {
		// A refused batch that also wanted x must not have moved x for those
		// behind it in the group.
		for round := range 100 {
			x, y := stream(fmt.Sprint("x", round)), stream(fmt.Sprint("y", round))
			w.must(newBatch(events(x, 0, 2), events(y, 0, 2)))
			refused := w.submit(newBatch(events(x, 2, 1), events(y, 1, 1), receipt(x, "id", 3)))
			stored := w.submit(newBatch(events(x, 2, 1), receipt(x, "id", 3)))
			_, err := w.outcome(refused)
			w.conflict(err, y, 1, 2)
			_, err = w.outcome(stored)
			require.NoError(w, err)
			w.versions(x, 3)
			w.versions(y, 2)
		}
	}},
	{"OneBadMemberFailsAlone", func(w *world) {
		const members = 200
		bad := map[int]error{}
		taken, stale := stream("taken"), stream("stale")
		w.fill(stale, 4)
		w.must(newBatch(events(taken, 0, 1), receipt(taken, "id", 1)))
		var waiting []*pending
		for i := range members {
			b := newBatch(events(stream(fmt.Sprint(i)), 0, 2))
			switch i % 20 {
			case 3: // invalid
				b.Appends[0].Records[1].Data = make([]byte, envelope.MaxDataBytes+1)
				bad[i] = journal.ErrInvalid
			case 7: // conflict
				b.Appends = append(b.Appends, events(stale, 2, 1))
				bad[i] = journal.ErrConflict
			case 11: // duplicate
				b.Receipts = append(b.Receipts, receipt(taken, "id", 2))
				bad[i] = journal.ErrDuplicate
			case 13: // not supported, or else not there
				b.Fence = &journal.Fence{Shard: 1, Epoch: 99}
				bad[i] = journal.ErrUnsupported
				if w.j.Features().Fencing {
					bad[i] = journal.ErrFenced
				}
			}
			waiting = append(waiting, w.submit(b))
		}
		for i, p := range waiting {
			if _, err := w.outcome(p); bad[i] == nil {
				require.NoError(w, err, "member %d", i)
			} else {
				require.ErrorIs(w, err, bad[i], "member %d", i)
			}
		}
		w.inEveryLife(func() {
			for i := range members {
				want := uint64(2)
				if bad[i] != nil {
					want = 0
				}
				w.versions(stream(fmt.Sprint(i)), want)
			}
			w.versions(stale, 4)
			w.versions(taken, 1)
		})
	}},
	{"RetryingWritersAllGetThrough", func(w *world) {
		// Load, decide, append, again after a conflict: the loop that every
		// shared writer runs. It ends, and no event is lost.
		const writers, each = 4, 25
		s := stream("s")
		failures := make(chan error, writers)
		for range writers {
			go func() {
				failures <- func() error {
					for done := 0; done < each; {
						latest, err := w.j.LoadLatest(w.ctx, s)
						if err != nil {
							return err
						}
						_, err = journal.Commit(w.ctx, w.j, newBatch(events(s, latest.Version, 1)))
						switch {
						case err == nil:
							done++
						case !errors.Is(err, journal.ErrConflict):
							return err
						}
					}
					return nil
				}()
			}()
		}
		for range writers {
			require.NoError(w, <-failures)
		}
		w.inEveryLife(func() { w.versions(s, writers*each) })
	}},
}

// chainConflicts submits first, which is to be stored, and chain, whose members
// each build on the one before and are all to conflict. A member submitted
// after done told of the conflict is no queued successor, so the chain ends
// where the answer overtakes it. False says that the two crossed: then the
// last member's outcome, and the stream's, may be either.
func (w *world) chainConflicts(first *journal.Batch, chain ...*journal.Batch) bool {
	w.Helper()
	stored, head := w.submit(first), w.submit(chain[0])
	queued, crossed := []*pending{head}, false
	for _, b := range chain[1:] {
		if head.answered() {
			break
		}
		p := w.submit(b)
		if crossed = head.answered(); crossed {
			_, _ = w.outcome(p)
			break
		}
		queued = append(queued, p)
	}
	_, err := w.outcome(stored)
	require.NoError(w, err)
	for i, p := range queued {
		_, err := w.outcome(p)
		require.ErrorIs(w, err, journal.ErrConflict, "member %d of a chain behind a conflict", i)
	}
	return !crossed
}
