package rabbitbus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/rabbitbus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/internal/testenv/buskit"
)

// TestManyRedeliveries: a quorum queue does not let go of a message that is
// given back more often than RabbitMQ 4 would allow by itself.
func TestManyRedeliveries(t *testing.T) {
	t.Parallel()
	b := connect(t, rabbitURL(t), rabbitbus.Options{Group: "g", Namespace: buskit.Namespace()})
	source := buskit.Listen(t, b, "thing.do")
	require.NoError(t, b.PublishBatch(buskit.Ctx(t), []envelope.Message{buskit.Command(t, "thing.do", 1)}))
	for n := range 100 {
		d := buskit.Take(t, source, 1)[0]
		require.Equal(t, n+1, d.Attempt())
		require.NoError(t, d.Retry(t.Context(), 0))
	}
	require.NoError(t, buskit.Take(t, source, 1)[0].Ack(t.Context()))
}

// TestOtherArguments: a queue that a service of the other mode declared.
func TestOtherArguments(t *testing.T) {
	t.Parallel()
	url := rabbitURL(t)
	ns := buskit.Namespace()
	buskit.Listen(t, connect(t, url, rabbitbus.Options{Group: "g", Namespace: ns, Compat: true}), "thing.do")
	_, err := connect(t, url, rabbitbus.Options{Group: "g", Namespace: ns}).Transport().Listen(buskit.Ctx(t), []string{"thing.do"})
	require.ErrorIs(t, err, rabbitbus.ErrArguments)
	require.ErrorIs(t, err, bus.ErrInvalid)
	require.True(t, bus.IsPermanent(err))
	var facts *rabbitbus.ArgumentsError
	require.ErrorAs(t, err, &facts)
	require.Equal(t, "queue", facts.What)
	require.Equal(t, ns+".cmd.thing.do", facts.Name)
	require.Contains(t, err.Error(), "Compat")

	ch := channel(t, url)
	other := buskit.Namespace()
	require.NoError(t, ch.ExchangeDeclare(other+".events", "direct", true, false, false, false, nil))
	_, err = rabbitbus.Connect(buskit.Ctx(t), url, rabbitbus.Options{Group: "g", Namespace: other, Logger: quiet})
	require.ErrorAs(t, err, &facts)
	require.Equal(t, "exchange", facts.What)
}

// TestUnroutable: a command that nobody listens to is an error, although the
// broker confirms it; an event is counted.
func TestUnroutable(t *testing.T) {
	t.Parallel()
	for name, opts := range modes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts.Group, opts.Namespace = "g", buskit.Namespace()
			b := connect(t, rabbitURL(t), opts)
			buskit.Listen(t, b, "known")
			var messages []envelope.Message
			for n := range 200 {
				m := buskit.Command(t, "known", n)
				switch n % 4 {
				case 1:
					m = buskit.Command(t, "unknown", n)
				case 2:
					m = buskit.Event(t, "unheard.of", n)
				}
				messages = append(messages, m)
			}
			for n, err := range bus.PublishErrors(b.PublishBatch(buskit.Ctx(t), messages), len(messages)) {
				if n%4 == 1 {
					require.ErrorIs(t, err, bus.ErrUnroutable, "message %d", n)
					require.False(t, bus.IsPermanent(err), "it is published again once somebody listens")
				} else {
					require.NoError(t, err, "message %d", n)
				}
			}
			require.EqualValues(t, 50, rabbitbus.Unrouted(b))
		})
	}
}

// TestDeletedBehindOurBack: queues and exchanges that somebody deletes are
// made again.
func TestDeletedBehindOurBack(t *testing.T) {
	t.Parallel()
	url, ns := rabbitURL(t), buskit.Namespace()
	b := connect(t, url, rabbitbus.Options{Group: "g", Namespace: ns})
	source := buskit.Subscribe(t, b, "thing.happened")
	buskit.PublishUntil(t, b, buskit.Event(t, "thing.happened", 1))
	require.NoError(t, buskit.Take(t, source, 1)[0].Ack(t.Context()))
	ch := channel(t, url)
	_, err := ch.QueueDelete(ns+".evt.g", false, false, false)
	require.NoError(t, err)
	_, err = source.Receive(buskit.Ctx(t), 1)
	require.ErrorIs(t, err, bus.ErrUnavailable)
	_, err = source.Receive(buskit.Within(t, 2*time.Second), 1)
	require.ErrorIs(t, err, context.DeadlineExceeded, "it is there again")
	buskit.PublishUntil(t, b, buskit.Event(t, "thing.happened", 2))
	d := buskit.Take(t, source, 1)[0]
	require.Equal(t, "thing.happened-2", d.Message().ID)

	_, err = ch.QueueDelete(ns+".dead", false, false, false)
	require.NoError(t, err)
	require.NoError(t, d.DeadLetter(buskit.Ctx(t), bus.Failure{Reason: "r", Attempts: 1, Time: time.Now()}))
	require.Len(t, buskit.Letters(t, b), 1)

	require.NoError(t, ch.ExchangeDelete(ns+".events", false, false))
	buskit.PublishUntil(t, b, buskit.Event(t, "thing.happened", 3))
}

// TestBrowsersTogether: several look at the dead letters, send some again,
// discard some and add some, all at once; nothing is lost or out of order.
func TestBrowsersTogether(t *testing.T) {
	t.Parallel()
	url, opts := rabbitURL(t), rabbitbus.Options{Group: "g", Namespace: buskit.Namespace()}
	first := connect(t, url, opts)
	source := buskit.Listen(t, first, "thing.do")
	const all = 120
	for n := range all {
		buskit.PublishUntil(t, first, buskit.Command(t, "thing.do", n))
		require.NoError(t, buskit.Take(t, source, 1)[0].DeadLetter(t.Context(), bus.Failure{Reason: fmt.Sprint(n), Attempts: 1, Time: time.Now()}))
	}
	var browsers sync.WaitGroup
	var mu sync.Mutex
	var removed []string
	for k := range 3 {
		b := connect(t, url, opts)
		browsers.Go(func() {
			for round := range 5 {
				var reasons []int
				var ids []string
				for l, err := range b.DeadLetters().List(buskit.Ctx(t), bus.DeadLetterFilter{}) {
					if err != nil {
						t.Errorf("list: %v", err)
						return
					}
					var n int
					_, _ = fmt.Sscan(l.Reason, &n)
					reasons, ids = append(reasons, n), append(ids, l.ID)
				}
				if !slices.IsSorted(reasons) {
					t.Errorf("out of order: %v", reasons)
				}
				id := ids[(k*31+round*7)%len(ids)]
				switch err := b.DeadLetters().Discard(buskit.Ctx(t), id); {
				case err == nil:
					mu.Lock()
					removed = append(removed, id)
					mu.Unlock()
				case !errors.Is(err, bus.ErrNotFound):
					t.Errorf("discard: %v", err)
				}
			}
		})
	}
	browsers.Wait()
	left := buskit.Letters(t, first)
	require.Len(t, left, all-len(removed))
	n, err := first.DeadLetters().ResendAll(buskit.Ctx(t), bus.DeadLetterFilter{})
	require.NoError(t, err)
	require.Equal(t, len(left), n)
	var want, got []string
	for _, l := range left {
		want = append(want, l.Message.ID)
	}
	for _, d := range buskit.Take(t, source, len(left)) {
		require.True(t, d.Resent())
		require.Equal(t, 1, d.Attempt(), "counted anew")
		got = append(got, d.Message().ID)
		require.NoError(t, d.Ack(t.Context()))
	}
	require.Equal(t, want, got, "oldest first")
	require.Empty(t, buskit.Letters(t, first))
}

// TestMoreIsAskedFor: a source that was first asked for little gives more when
// more is asked for, and loses nothing on the way.
func TestMoreIsAskedFor(t *testing.T) {
	t.Parallel()
	for name, opts := range modes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts.Group, opts.Namespace = "g", buskit.Namespace()
			b := connect(t, rabbitURL(t), opts)
			source := buskit.Listen(t, b, "thing.do", "other.do")
			var messages []envelope.Message
			for n := range 300 {
				messages = append(messages, buskit.Command(t, []string{"thing.do", "other.do"}[n%2], n))
			}
			require.NoError(t, b.PublishBatch(buskit.Ctx(t), messages))
			held := buskit.Take(t, source, 2)
			held = append(held, buskit.Take(t, source, 298)...) // none of them settled
			names := map[string]int{}
			for _, d := range held {
				names[d.Message().Name]++
				require.Equal(t, 1, d.Attempt())
				require.NoError(t, d.Ack(t.Context()))
			}
			require.Equal(t, map[string]int{"thing.do": 150, "other.do": 150}, names)
		})
	}
}
