package bustest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
)

// counting is n messages of each of some keys, whose payloads count up.
func counting(n, keys int, message func(key string, n int) envelope.Message) []envelope.Message {
	var all []envelope.Message
	for i := range n {
		for key := range keys {
			all = append(all, message(fmt.Sprint("key-", key), i))
		}
	}
	return all
}

// slow is a handler that takes a random while, and notes what it saw.
func (s *seen) slow(_ context.Context, m *envelope.Message) error {
	time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond)
	s.add(m)
	return nil
}

func commandOrderPerKey(w *world) {
	a, b := w.connect("workers"), w.connect("workers")
	w.listening(a, "count.up")
	var got seen
	handlers := bus.NewHandlers().OnCommand("count.up", got.slow)
	runA, runB := w.run(a, handlers, bus.Idempotent()), w.run(b, handlers, bus.Idempotent())
	sent := counting(30, 10, func(key string, n int) envelope.Message { return w.command("count.up", key, n) })
	w.publish(a, sent...)
	w.until("all are handled", func() bool { return len(got.ids()) == len(sent) }, runA, runB)
	runA.stop()
	runB.stop()
	inOrder(w, got.all())
}

func eventOrderPerKey(w *world) {
	a, b := w.connect("workers"), w.connect("workers")
	w.subscribed(a, "counted.up")
	var got seen
	handlers := bus.NewHandlers().OnEvent("counted.up", got.slow)
	runA := w.run(a, handlers, bus.Idempotent())
	sent := counting(30, 10, func(key string, n int) envelope.Message { return w.event("counted.up", key, n) })
	w.publish(a, sent[:len(sent)/2]...)
	w.until("some are handled", func() bool { return len(got.ids()) > len(sent)/8 }, runA)
	runB := w.run(b, handlers, bus.Idempotent()) // a replica comes, and the other goes
	w.publish(a, sent[len(sent)/2:]...)
	w.until("more are handled", func() bool { return len(got.ids()) > len(sent)/4*3 }, runA, runB)
	runA.stop()
	w.until("all are handled", func() bool { return len(got.ids()) == len(sent) }, runB)
	runB.stop()
	inOrder(w, got.all())
}

func eventOrderThroughRetries(w *world) {
	b := w.connect("workers")
	w.subscribed(b, "counted.up")
	var got seen
	handlers := bus.NewHandlers().OnEvent("counted.up", func(ctx context.Context, m *envelope.Message) error {
		if rand.IntN(10) == 0 {
			return errForNow
		}
		return got.handle(ctx, m)
	})
	opts := bus.Idempotent()
	opts.MinBackoff, opts.MaxBackoff, opts.HoldFor = time.Millisecond, 20*time.Millisecond, 10*time.Millisecond
	run := w.run(b, handlers, opts)
	sent := counting(30, 10, func(key string, n int) envelope.Message { return w.event("counted.up", key, n) })
	w.publish(b, sent...)
	w.until("all are handled", func() bool { return len(got.ids()) == len(sent) }, run)
	run.stop()
	inOrder(w, got.all())
	require.Positive(w, run.counters.Count(bus.Retried))
}

// keysAreHandledAtOnce: messages of one key are handled one after the other, and
// those of as many keys as a run has workers all at once: the first of each key
// waits in its handler for the others.
func keysAreHandledAtOnce(w *world) {
	const keys = 16 // as the default of RunOptions.Concurrency
	b := w.connect("parallel")
	w.subscribed(b, "work.began", "work.shared")
	var mu sync.Mutex
	now, most, here := 0, 0, 0
	all := make(chan struct{})
	var got seen
	handlers := bus.NewHandlers().OnEvent("work.began", func(ctx context.Context, m *envelope.Message) error {
		mu.Lock()
		now++
		most = max(most, now)
		mu.Unlock()
		time.Sleep(time.Millisecond) // the work
		mu.Lock()
		now--
		mu.Unlock()
		return got.handle(ctx, m)
	}).OnEvent("work.shared", func(ctx context.Context, m *envelope.Message) error {
		mu.Lock()
		if here++; here == keys {
			close(all)
		}
		mu.Unlock()
		select {
		case <-all:
		case <-ctx.Done():
			return ctx.Err()
		}
		return got.handle(ctx, m)
	})
	opts := bus.Idempotent()
	opts.DrainTimeout = time.Second // if the others do not come
	run := w.run(b, handlers, opts)
	one := counting(32, 1, func(key string, n int) envelope.Message { return w.event("work.began", key, n) })
	w.publish(b, one...)
	w.until("one key is handled", func() bool { return len(got.ids()) == len(one) }, run)
	mu.Lock()
	require.Equal(w, 1, most, "messages of one key are handled one after the other")
	mu.Unlock()
	many := counting(4, keys, func(key string, n int) envelope.Message { return w.event("work.shared", key, n) })
	w.publish(b, many...)
	w.until("all keys are handled at once", func() bool { return len(got.ids()) == len(one)+len(many) }, run)
	run.stop()
}
