package journaltest

import (
	"errors"
	"fmt"
	"sync"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// closeCases hold how a journal ends.
var closeCases = []Case{
	{"ClosedJournalAnswers", func(w *world) {
		s := stream("s")
		w.fill(s, 3)
		f := w.j.Features()
		require.NoError(w, w.j.Close())
		for _, b := range []*journal.Batch{
			newBatch(events(s, 3, 1)), newBatch(receipt(s, "id", 3)), newBatch(journal.Assert{Stream: s, Expected: 9}),
			again(newBatch(events(s, 2, 1))),
		} {
			_, err := w.commit(b)
			require.ErrorIs(w, err, journal.ErrClosed)
			_, err = journal.Commit(w.ctx, w.j, b)
			require.ErrorIs(w, err, journal.ErrClosed)
		}
		records, err := drain(w.j.Load(w.ctx, s, 0))
		require.ErrorIs(w, err, journal.ErrClosed)
		require.Empty(w, records)
		_, err = w.j.LoadLatest(w.ctx, s)
		require.ErrorIs(w, err, journal.ErrClosed)
		_, err = w.j.LoadMany(w.ctx, []envelope.Stream{s})
		require.ErrorIs(w, err, journal.ErrClosed)
		_, _, err = w.j.Receipt(w.ctx, s, "id")
		require.ErrorIs(w, err, journal.ErrClosed)
		_, err = drain(w.j.ReadAll(w.ctx, journal.Position{}, 0))
		require.ErrorIs(w, err, journal.ErrClosed)
		require.True(w, w.j.Credit(1, 1<<30, func() {}), "credit after Close, so that Submit can say why")
		require.NotNil(w, w.j.Changed())
		require.Equal(w, f, w.j.Features())
		require.NoError(w, w.j.Close(), "the second Close")
		if w.harness.Reopen != nil {
			w.reopen()
			w.versions(s, 3)
		}
	}},
	{"CloseAnswersQueued", func(w *world) {
		for i := range 500 {
			w.submit(newBatch(events(stream(fmt.Sprint(i%10)), uint64(i/10), 1), receipt(stream("r"), fmt.Sprint(i), 0)))
		}
		require.NoError(w, w.j.Close())
		stored := map[envelope.Stream]uint64{}
		for i, p := range w.sent {
			require.True(w, p.answered(), "batch %d was not answered when Close returned", i)
			if p.err == nil {
				stored[p.batch.Appends[0].Stream]++
			} else { // not stored, and neither is what builds on it
				require.True(w, errors.Is(p.err, journal.ErrClosed) || errors.Is(p.err, journal.ErrConflict), "%v", p.err)
			}
		}
		if w.harness.Reopen != nil {
			w.reopen()
			for i := range 10 {
				w.versions(stream(fmt.Sprint(i)), stored[stream(fmt.Sprint(i))])
			}
		}
	}},
	{"CloseAmongWriters", func(w *world) {
		// What was acknowledged is stored, what was refused is not; several
		// may close at once.
		const writers = 4
		acked := make([]uint64, writers)
		begun := make(chan struct{}, writers)
		var all sync.WaitGroup
		for g := range writers {
			all.Go(func() {
				for v := uint64(0); ; v++ {
					p := send(w.j, newBatch(events(stream(fmt.Sprint(g)), v, 1)))
					<-p.done
					if p.err != nil {
						if !errors.Is(p.err, journal.ErrClosed) {
							w.Errorf("a batch beside Close: %v", p.err)
						}
						return
					}
					if acked[g] = v + 1; v == 20 {
						begun <- struct{}{}
					}
				}
			})
		}
		for range writers {
			<-begun
		}
		for range 3 {
			all.Go(func() {
				if err := w.j.Close(); err != nil {
					w.Errorf("close: %v", err)
				}
			})
		}
		ended := make(chan struct{})
		go func() { all.Wait(); close(ended) }()
		w.await(ended, "writers and closers")
		if w.harness.Reopen != nil {
			w.reopen()
			for g := range writers {
				w.versions(stream(fmt.Sprint(g)), acked[g])
			}
		}
	}},
	{"CloseReleasesWhoWaitsForCredit", func(w *world) {
		if w.harness.QueueBytes == 0 {
			w.Skip("nothing queues in this adapter")
		}
		size := w.harness.QueueBytes / 16
		ready := make(chan struct{})
		for i := 0; ; i++ {
			b := newBatch(events(stream(fmt.Sprint(i)), 0, 1))
			b.Appends[0].Records[0].Data = make([]byte, size)
			if !w.j.Credit(1, b.SizeBytes(), func() { close(ready) }) {
				break
			}
			require.Less(w, i, 10_000, "the queue was never full")
			send(w.j, b)
		}
		require.NoError(w, w.j.Close())
		w.await(ready, "the ready call of who waited when the journal was closed")
	}},
	{"CloseWithAnOpenIterator", func(w *world) {
		// A forgotten reader does not keep a journal from closing; it reads
		// what it has, or is told.
		s := stream("s")
		w.fill(s, 3000)
		latest, err := w.j.LoadLatest(w.ctx, s)
		require.NoError(w, err)
		n := 0
		for rec, err := range w.j.Load(w.ctx, s, 0) {
			if err != nil {
				require.ErrorIs(w, err, journal.ErrClosed)
				break
			}
			if n++; n == 5 {
				closed := make(chan struct{})
				go func() { _ = w.j.Close(); close(closed) }()
				w.await(closed, "Close beside an open iterator")
			}
			require.Equal(w, uint64(n), rec.Version)
		}
		if _, err := drain(latest.Records); err != nil {
			require.ErrorIs(w, err, journal.ErrClosed)
		}
	}},
	{"ReopenedJournalGoesOn", func(w *world) {
		if w.harness.Reopen == nil {
			w.Skip("this adapter is not durable")
		}
		s := stream("s")
		for v := uint64(0); v < 60; v += 3 {
			w.must(newBatch(events(s, v, 3), receipt(s, fmt.Sprint(v), v)))
			w.reopen()
			_, err := w.commit(newBatch(events(s, v, 1)))
			w.conflict(err, s, v, v+3)
			w.versions(s, v+3)
		}
		w.readAll(journal.Position{}, 60)
	}},
}
