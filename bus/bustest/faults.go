package bustest

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
)

// longHandlers: a message stays with its handler beyond the broker's lease, if
// the transport's tests connect with a short one.
func longHandlers(w *world) {
	a, b := w.connect("slow"), w.connect("slow")
	w.listening(a, "work.do")
	source, err := a.Transport().Listen(w.ctx(), []string{"work.do"})
	require.NoError(w, err)
	lease := source.Lease()
	require.NoError(w, source.Close(w.ctx()))
	if lease == 0 || lease > 2*time.Second {
		lease = 100 * time.Millisecond // it never ends, or too late for a test
	}
	var began atomic.Int64
	handlers := bus.NewHandlers().OnCommand("work.do", func(context.Context, *envelope.Message) error {
		began.Add(1)
		time.Sleep(3 * lease)
		return nil
	})
	runA, runB := w.run(a, handlers, quick()), w.run(b, handlers, quick())
	w.publish(a, w.command("work.do", "k", 1))
	w.until("it is handled", func() bool {
		return runA.counters.Count(bus.Handled)+runB.counters.Count(bus.Handled) > 0
	}, runA, runB)
	runA.stop()
	runB.stop()
	require.EqualValues(w, 1, began.Load(), "once, by one of them")
}

func gracefulStop(w *world) {
	b := w.connect("polite")
	w.listening(b, "work.do")
	var got seen
	begun := make(chan struct{}, 100)
	goOn := make(chan struct{})
	opts := quick()
	opts.Concurrency = 4
	run := w.run(b, bus.NewHandlers().OnCommand("work.do", func(ctx context.Context, m *envelope.Message) error {
		begun <- struct{}{}
		<-goOn
		return got.handle(ctx, m)
	}), opts)
	var sent []envelope.Message
	for n := range 20 {
		sent = append(sent, w.command("work.do", fmt.Sprint("key-", n), n))
	}
	w.publish(b, sent...)
	for range 4 {
		<-begun
	}
	run.cancel()
	close(goOn)
	run.stop()
	handled := got.len()
	require.GreaterOrEqual(w, handled, 4, "what had begun is finished")
	require.EqualValues(w, handled, run.counters.Count(bus.Handled))

	again := w.run(w.connect("polite"), bus.NewHandlers().OnCommand("work.do", got.handle), quick())
	w.until("the others are handled", func() bool { return len(got.ids()) == len(sent) }, again)
	again.stop()
	require.Equal(w, idsOf(sent), idsOf(got.all()), "nothing twice")
}

// crashedReplica: what a replica had, and did not settle before it closed
// without a word, goes to another one.
func crashedReplica(w *world) {
	a, b := w.connect("group"), w.connect("group")
	w.listening(a, "work.do")
	source, err := a.Transport().Listen(w.ctx(), []string{"work.do"})
	require.NoError(w, err)
	var sent []envelope.Message
	for n := range 50 {
		sent = append(sent, w.command("work.do", fmt.Sprint("key-", n), n))
	}
	w.publish(a, sent...)
	taken := w.take(source, 20)
	require.NoError(w, taken[0].Ack(w.ctx()))
	var got seen
	run := w.run(b, bus.NewHandlers().OnCommand("work.do", got.handle), quick())
	require.NoError(w, source.Close(w.ctx()))
	w.until("all others are handled", func() bool { return len(got.ids()) >= len(sent)-1 }, run)
	run.stop()
	others := slices.DeleteFunc(idsOf(sent), func(id string) bool { return id == taken[0].Message().ID })
	require.Subset(w, got.ids(), others)
	require.Error(w, taken[1].Ack(w.ctx()), "what was given back cannot be settled")
}

// take receives at least n deliveries.
func (w *world) take(source bus.Source, n int) []bus.Delivery {
	w.Helper()
	var all []bus.Delivery
	ctx := w.ctx()
	for len(all) < n {
		some, err := source.Receive(ctx, n-len(all))
		require.NoError(w, err)
		all = append(all, some...)
	}
	return all
}

func closedBus(w *world) {
	b := w.connect("gone")
	w.subscribed(b, "thing.happened")
	require.NoError(w, b.Close())
	require.NoError(w, b.Close())
	require.ErrorIs(w, b.Publish(w.ctx(), "thing.happened", 1), bus.ErrClosed)
	require.ErrorIs(w, b.Subscribe(w.ctx(), bus.NewHandlers().OnEvent("thing.happened", (&seen{}).handle), quick()), bus.ErrClosed)
}

// restartedBroker: a broker that is killed with 1,000 messages unacknowledged
// delivers all of them again to a run that goes on by itself.
func restartedBroker(w *world) {
	const unacknowledged = 1000
	b := w.connect("survivor")
	w.subscribed(b, "thing.happened")
	var sent []envelope.Message
	for n := range unacknowledged + 200 {
		sent = append(sent, w.event("thing.happened", fmt.Sprint("key-", n), n))
	}
	w.publish(b, sent...)
	source, err := b.Transport().Subscribe(w.ctx(), []string{"thing.happened"})
	require.NoError(w, err)
	taken := w.take(source, unacknowledged)
	require.GreaterOrEqual(w, len(taken), unacknowledged)

	w.c.Restart(w)
	require.NoError(w, source.Close(w.ctx()))
	var got seen
	run := w.run(b, bus.NewHandlers().OnEvent("thing.happened", got.handle), quick())
	w.until("all are handled", func() bool { return len(got.ids()) == len(sent) }, run)

	w.c.Restart(w)
	w.untilPublished(b, w.event("thing.happened", "k", -1))
	w.until("the run goes on behind a second restart", func() bool { return len(got.ids()) == len(sent)+1 }, run)
	run.stop()
	require.Subset(w, got.ids(), idsOf(sent))
}

// untilPublished publishes m again while the broker is away.
func (w *world) untilPublished(b *bus.Bus, m envelope.Message) {
	w.Helper()
	w.until("the broker takes messages", func() bool {
		ctx, cancel := context.WithTimeout(w.Context(), 2*time.Second)
		defer cancel()
		err := b.PublishBatch(ctx, []envelope.Message{m})
		require.False(w, bus.IsPermanent(err), "%v", err)
		return err == nil
	})
}
