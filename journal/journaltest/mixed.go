package journaltest

import (
	"cmp"
	"errors"
	"fmt"
	"sync"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/internal/testenv"
	"github.com/troupe-go/troupe/journal"
)

// mixedCases hold what wide batches, of several streams and parts, and narrow
// ones, of one stream's events, do to each other.
var mixedCases = []Case{
	{"WideAndNarrowBatchesOfOneStreamKeepOrder", func(w *world) {
		// Nobody waits: each batch's versions are assigned in advance.
		const n = 300
		s := stream("s")
		others := make([]uint64, 5)
		var waiting []*pending
		var ids []string
		for v := range uint64(n) {
			b := newBatch(events(s, v, 1))
			switch v % 4 {
			case 1: // wide by its parts
				ids = append(ids, fmt.Sprint(v))
				w.widen(b, fmt.Sprint(v))
			case 2: // wide by its streams
				other := v % 5
				b.Appends = append(b.Appends, events(stream(fmt.Sprint("other", other)), others[other], 2))
				others[other] += 2
			case 3: // wide by what it asserts
				b.Asserts = append(b.Asserts, journal.Assert{Stream: stream(fmt.Sprint("other", v%5)), Expected: others[v%5]})
			}
			waiting = append(waiting, w.submit(b))
		}
		var last journal.Position
		for i, p := range waiting {
			res, err := w.outcome(p)
			require.NoError(w, err, "batch %d", i)
			require.Equal(w, 1, res.Position.Compare(last), "positions of a stream rise")
			last = res.Position
		}
		w.inEveryLife(func() {
			w.versions(s, n)
			for i, head := range others {
				w.versions(stream(fmt.Sprint("other", i)), head)
			}
			w.widened(ids...)
		})
	}},
	{"QueuedSuccessorsOfAnyRefusalConflict", func(w *world) {
		// A batch that was refused for its receipt, message or row made no
		// version either: what builds on it must not be stored behind another's.
		for _, reason := range newWhole(w).reasons() {
			if errors.Is(reason.want, journal.ErrConflict) {
				continue // QueuedSuccessorsOfAConflictConflict
			}
			for round := range 30 {
				s := stream(fmt.Sprint(reason.name, round))
				w.must(newBatch(events(s, 0, 7)))
				refused := newBatch(events(s, 7, 1))
				reason.spoil(refused)
				head := w.submit(refused)
				other := w.submit(newBatch(events(s, 7, 1))) // fits, whoever it is of
				successor := w.submit(newBatch(events(s, 8, 1)))
				crossed := head.answered()
				_, err := w.outcome(head)
				require.ErrorIs(w, err, reason.want, reason.name)
				_, err = w.outcome(other)
				require.NoError(w, err)
				if _, err = w.outcome(successor); crossed {
					continue // it was submitted by who knew
				}
				require.ErrorIs(w, err, journal.ErrConflict, "a successor of a batch refused for its %s", reason.name)
				w.versions(s, 8)
			}
		}
	}},
	{"OnlyStaleMembersFail", func(w *world) {
		// Very many callers at once, narrow and wide, one batch in twenty
		// stale, and a stream that both kinds write to.
		const each = 4
		callers := testenv.Count(100, 1_000)
		shared := stream("shared")
		w.has(rows) // makes the tables before the callers start
		caller := func(i int) error {
			for v := range uint64(each) {
				b := newBatch(events(stream(fmt.Sprint(i)), v, 1))
				if i%2 == 1 {
					b.Appends = append(b.Appends, events(stream(fmt.Sprint(i, " too")), v, 1))
					w.widen(b, fmt.Sprint(i, ".", v))
				}
				if err := w.commitAmongMany(b); err != nil {
					return fmt.Errorf("caller %d: %w", i, err)
				}
				if i%5 == 0 && v == 1 { // one in twenty
					stale := w.widen(newBatch(events(stream(fmt.Sprint(i, " partial")), 0, 1), events(stream(fmt.Sprint(i)), v+77, 1)), fmt.Sprint(i, " stale"))
					if i%2 == 0 {
						stale = newBatch(events(stream(fmt.Sprint(i)), v, 1))
					}
					if err := w.commitAmongMany(stale); !errors.Is(err, journal.ErrConflict) {
						return fmt.Errorf("stale batch of caller %d: %w", i, cmp.Or(err, errStored))
					}
				}
			}
			return nil
		}
		failures := make(chan error, callers)
		var all sync.WaitGroup
		for i := range callers {
			all.Go(func() { failures <- caller(i) })
		}
		var sharing []*pending
		for v := range uint64(callers) {
			b := newBatch(events(shared, v, 1))
			if v%2 == 1 {
				b = w.widen(newBatch(events(shared, v, 1), events(stream("shared too"), v/2, 1)), fmt.Sprint("shared", v))
			}
			sharing = append(sharing, w.submit(b))
		}
		for _, p := range sharing {
			_, err := w.outcome(p)
			require.NoError(w, err, "a batch of the shared stream")
		}
		for range callers {
			require.NoError(w, <-failures)
		}
		all.Wait()
		w.inEveryLife(func() {
			w.versions(shared, uint64(callers))
			w.versions(stream("shared too"), uint64(callers/2))
			for i := range callers {
				w.versions(stream(fmt.Sprint(i)), each)
				w.versions(stream(fmt.Sprint(i, " partial")), 0)
				if i%2 == 1 {
					w.versions(stream(fmt.Sprint(i, " too")), each)
				}
			}
			w.widenedByCallers(callers, each)
		})
	}},
}

var errStored = errors.New("it was stored")

// commitAmongMany is a commit for one of more callers than the queue has room
// for: Credit reserves nothing, so several may overshoot.
func (w *world) commitAmongMany(b *journal.Batch) error {
	for {
		if _, err := journal.Commit(w.ctx, w.j, b); !errors.Is(err, journal.ErrOverloaded) {
			return err
		}
	}
}

// widenedByCallers demands every part of the batches that were stored, and
// none of the others.
func (w *world) widenedByCallers(callers, each int) {
	w.Helper()
	want := map[string]bool{}
	for i := range callers {
		if i%2 == 1 {
			want[fmt.Sprint("shared", i)] = true
			for v := range each {
				want[fmt.Sprint(i, ".", v)] = true
			}
		}
	}
	if w.has(messages) {
		got := w.outbox(0, 0)
		require.Len(w, got, len(want))
		for _, m := range got {
			require.True(w, want[m.ID], "message %q of a refused batch", m.ID)
		}
	}
	for id := range want {
		if w.has(rows) {
			w.rowIs(todo(0, id), 1, col("task", id))
		}
		if w.has(inbox) {
			w.effectIs(effect("mailer", id))
		}
	}
	for i := range callers {
		stale := fmt.Sprint(i, " stale")
		if w.has(rows) {
			w.noRow(todo(envelope.RowInsert, stale))
		}
		if w.has(inbox) {
			w.noEffect("mailer", stale)
		}
	}
}
