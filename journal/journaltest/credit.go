package journaltest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/journal"
)

// creditCases hold that a queue is bounded, and that whoever asks first gets
// its turn.
var creditCases = []Case{
	{"CreditWithoutPressure", func(w *world) {
		s := stream("s")
		for v := range uint64(50) {
			b := newBatch(events(s, v, 1))
			require.True(w, w.j.Credit(1, b.SizeBytes(), func() { w.Error("ready was called although Credit said yes") }))
			w.must(b)
		}
	}},
	{"CreditBoundsTheQueue", func(w *world) {
		if w.harness.QueueBytes == 0 {
			w.Skip("nothing queues in this adapter")
		}
		var outstanding, most atomic.Int64
		var all []*pending
		full := 0
		size := w.harness.QueueBytes / 64
		for i, sent := 0, 0; sent < 16*w.harness.QueueBytes; i++ {
			b := newBatch(events(stream(fmt.Sprint(i)), 0, 1))
			b.Appends[0].Records[0].Data = make([]byte, size)
			ready := make(chan struct{})
			if !w.j.Credit(1, b.SizeBytes(), nil) && !w.j.Credit(1, b.SizeBytes(), func() { close(ready) }) {
				full++
				w.await(ready, "credit, which a ready call is")
			}
			n := int64(b.SizeBytes())
			most.Store(max(most.Load(), outstanding.Add(n)))
			p := &pending{batch: b, done: make(chan struct{})}
			w.j.Submit(b, func(res journal.Result, err error) {
				outstanding.Add(-n)
				p.calls.Add(1)
				p.res, p.err = res, err
				close(p.done)
			})
			all = append(all, p)
			sent += int(n)
		}
		for _, p := range all {
			_, err := w.outcome(p)
			require.NoError(w, err, "a batch with credit")
		}
		require.NotZero(w, full, "the queue was never full: Credit bounds nothing")
		// One group may be with the store while the next one fills the queue.
		require.LessOrEqual(w, most.Load(), int64(3*w.harness.QueueBytes), "bytes on their way at once")
	}},
	{"EveryWaiterGetsThrough", func(w *world) {
		size := max(w.harness.QueueBytes/8, 1<<10)
		var writers sync.WaitGroup
		for i := range 40 {
			writers.Go(func() {
				for v := range uint64(5) {
					b := newBatch(events(stream(fmt.Sprint(i)), v, 1))
					b.Appends[0].Records[0].Data = make([]byte, size)
					if _, err := journal.Commit(context.Background(), w.j, b); err != nil {
						w.Errorf("writer %d: %v", i, err)
						return
					}
				}
			})
		}
		through := make(chan struct{})
		go func() { writers.Wait(); close(through) }()
		w.await(through, "200 batches through a queue for 8")
	}},
	{"ReadyCallsComeFirstAskedFirst", func(w *world) {
		if w.harness.QueueBytes == 0 {
			w.Skip("nothing queues in this adapter")
		}
		var mu sync.Mutex
		var order []int
		var calls sync.WaitGroup
		asked := 0
		for i, size := 0, w.harness.QueueBytes/16; i < 4000 && asked < 200; i++ {
			b := newBatch(events(stream(fmt.Sprint(i)), 0, 1))
			b.Appends[0].Records[0].Data = make([]byte, size)
			n := asked
			calls.Add(1)
			if w.j.Credit(1, b.SizeBytes(), func() {
				mu.Lock()
				order = append(order, n)
				mu.Unlock()
				calls.Done()
			}) {
				calls.Done()
				send(w.j, b)
				continue
			}
			asked++
		}
		require.NotZero(w, asked, "the queue was never full")
		called := make(chan struct{})
		go func() { calls.Wait(); close(called) }()
		w.await(called, "every ready call, also those behind callers that asked and sent nothing")
		require.True(w, slices.IsSorted(order), "ready calls out of order: %v", order)
	}},
	{"SubmitWithoutCreditIsAnswered", func(w *world) {
		// Stored or refused, never dropped; and what was refused left nothing.
		size := max(w.harness.QueueBytes/16, 1024)
		var all []*pending
		for i := range 256 {
			b := newBatch(events(stream(fmt.Sprint(i)), 0, 1))
			b.Appends[0].Records[0].Data = make([]byte, size)
			all = append(all, send(w.j, b))
		}
		for i, p := range all {
			want := uint64(1)
			if _, err := w.outcome(p); err != nil {
				require.ErrorIs(w, err, journal.ErrOverloaded)
				want = 0
			}
			w.versions(stream(fmt.Sprint(i)), want)
		}
	}},
	{"CommitWaitsForCredit", func(w *world) {
		// Many blocking writers, more than the queue holds: all get through.
		const writers, each = 8, 40
		failures := make(chan error, writers)
		size := max(w.harness.QueueBytes/4, 1024)
		for g := range writers {
			go func() {
				var failed error
				for v := range uint64(each) {
					b := newBatch(events(stream(fmt.Sprint(g)), v, 1))
					b.Appends[0].Records[0].Data = make([]byte, size)
					for {
						// Credit reserves nothing, so several may overshoot.
						_, err := journal.Commit(w.ctx, w.j, b)
						if err == nil || !errors.Is(err, journal.ErrOverloaded) {
							failed = errors.Join(failed, err)
							break
						}
					}
				}
				failures <- failed
			}()
		}
		for range writers {
			require.NoError(w, <-failures)
		}
		for g := range writers {
			w.versions(stream(fmt.Sprint(g)), each)
		}
	}},
}
