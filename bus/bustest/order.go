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

// keysAreHandledAtOnce: handlers that take 10 ms do four times as much for 16
// keys as for one, if anything is handled at once.
func keysAreHandledAtOnce(w *world) {
	b := w.connect("parallel")
	w.subscribed(b, "work.began")
	var mu sync.Mutex
	now, most := 0, 0
	var got seen
	handlers := bus.NewHandlers().OnEvent("work.began", func(ctx context.Context, m *envelope.Message) error {
		mu.Lock()
		now++
		most = max(most, now)
		mu.Unlock()
		time.Sleep(10 * time.Millisecond)
		mu.Lock()
		now--
		mu.Unlock()
		return got.handle(ctx, m)
	})
	run := w.run(b, handlers, bus.Idempotent())
	w.publish(b, w.event("work.began", "warm-up", 0))
	w.until("the consumer is there", func() bool { return got.len() == 1 }, run)

	measure := func(keys, each int, name string) float64 {
		before := len(got.ids())
		sent := counting(each, keys, func(key string, n int) envelope.Message { return w.event("work.began", name+key, n) })
		start := time.Now()
		w.publish(b, sent...)
		w.until("all are handled", func() bool { return len(got.ids()) == before+len(sent) }, run)
		return float64(len(sent)) / time.Since(start).Seconds()
	}
	oneKey := measure(1, 32, "one-")
	require.Equal(w, 1, most, "messages of one key are handled one after the other")
	manyKeys := measure(16, 16, "many-")
	run.stop()
	w.Logf("one key %.0f/s, 16 keys %.0f/s", oneKey, manyKeys)
	require.GreaterOrEqual(w, manyKeys, 4*oneKey, "at most %d at once", most)
}
