package microsvc_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/actor"
	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/membus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/memory"
	"github.com/troupe-go/troupe/microsvc"
	"github.com/troupe-go/troupe/outbox"
)

// untilIdle is a run that ends by itself.
func untilIdle(observe func(bus.Settled)) bus.RunOptions {
	opts := bus.Idempotent()
	opts.UntilIdle = 50 * time.Millisecond
	opts.MinBackoff, opts.MaxBackoff = time.Millisecond, time.Millisecond
	opts.Observe = observe
	opts.Logger = slog.New(slog.DiscardHandler)
	return opts
}

var cmdSell = aggregate.NewCommand("seat.sell", func(c *aggregate.Context, s *seat, r reserve) (string, error) {
	c.Publish("seat.sold", word{r.Guest})
	return "sold", reserved.Record(s, seatReserved{Guest: r.Guest})
})

// A command that came over the bus leaves a message, which the service's own
// dispatcher publishes, and its handler gets.
func TestRunPublishesTheOutbox(t *testing.T) {
	t.Parallel()
	for name, with := range map[string]func(*microsvc.Service, journal.Journal, *bus.Bus) *microsvc.Service{
		"journal": func(s *microsvc.Service, j journal.Journal, _ *bus.Bus) *microsvc.Service {
			return s.WithOutbox(j, &outbox.Options{Logger: slog.New(slog.DiscardHandler)})
		},
		"dispatcher": func(s *microsvc.Service, j journal.Journal, b *bus.Bus) *microsvc.Service {
			d, err := outbox.New(j, b, nil)
			require.NoError(t, err)
			return s.WithDispatcher(d)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host, j := theatre(t)
			b := membus.New()
			sold := make(chan string, 2)
			svc := with(microsvc.New("s").WithBus(b), j, b).Register(
				microsvc.Expose(cmdSell, host),
				microsvc.OnEach([]string{"seat.sold", "seat.lost"}, func(c *microsvc.Context, in word) error {
					sold <- c.Name() + " to " + in.Text + " in " + c.Session().Get(microsvc.KeyCorrelationID)
					return nil
				}))
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- svc.Run(ctx, bus.Inbox(j)) }()
			require.NoError(t, b.Send(ctx, "seat.sell", reserve{"A1", "Ada"}, bus.WithID("order-1")))
			require.Equal(t, "seat.sold to Ada in order-1", <-sold)
			cancel()
			require.NoError(t, <-ended)
		})
	}
}

func TestRunOfADispatcherAlone(t *testing.T) {
	t.Parallel()
	host, j := theatre(t)
	_, err := cmdSell.Ask(t.Context(), host, reserve{"A1", "Ada"})
	require.NoError(t, err)
	b := membus.New()
	published := make(chan struct{}, 1)
	svc := microsvc.New("s").WithBus(b).WithOutbox(j, &outbox.Options{Archive: archive(published)})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- svc.Run(ctx, bus.Idempotent()) }()
	<-published
	cancel()
	require.NoError(t, <-ended)
}

// A message that comes twice has one effect without an inbox, too: its id is the
// command's.
func TestAMessageThatComesTwiceHasOneEffect(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]func(journal.Journal) bus.RunOptions{
		"idempotent": func(journal.Journal) bus.RunOptions { return bus.Idempotent() },
		"inbox":      bus.Inbox,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host, j := theatre(t)
			b := membus.New()
			svc := microsvc.New("s").WithOptions(quiet()).WithBus(b).Register(microsvc.Expose(cmdSell, host))
			long := fmt.Sprintf("order-%0200d", 1) // longer than a command id may be
			for range 2 {
				require.NoError(t, b.Send(t.Context(), "seat.sell", reserve{"A1", "Ada"}, bus.WithID(long)))
			}
			var counters bus.Counters
			opts := options(j)
			opts.UntilIdle, opts.Observe = 50*time.Millisecond, counters.Observe
			require.NoError(t, svc.Run(t.Context(), opts))
			require.EqualValues(t, 2, counters.Count(bus.Handled)+counters.Count(bus.Duplicate))
			require.Len(t, records(t, j, "A1"), 1)
		})
	}
}

// An inbox gives ids itself, and knows when nothing more may be asked.
func TestAnInboxGivesTheIDs(t *testing.T) {
	t.Parallel()
	_, j := theatre(t)
	for inbox, opts := range map[bool]bus.RunOptions{true: bus.Inbox(j), false: bus.Idempotent()} {
		b := membus.New()
		var id, key string
		svc := microsvc.New("s").WithBus(b).Register(call("a", func(c *microsvc.Context) error {
			id, key = c.CommandID(), c.IdempotencyKey()
			return nil
		}))
		require.NoError(t, b.Send(t.Context(), "a", 1, bus.WithID("m1")))
		opts.UntilIdle = 50 * time.Millisecond
		require.NoError(t, svc.Run(t.Context(), opts))
		require.Equal(t, "m1", key)
		require.Equal(t, inbox, id == "")
	}
}

func TestAnUnhandledMessage(t *testing.T) {
	t.Parallel()
	svc := microsvc.New("s").Register(echo("a"))
	m, err := bus.NewCommand("b", 1)
	require.NoError(t, err)
	require.ErrorIs(t, svc.Handle(t.Context(), &m), bus.ErrUnhandled)
	m, err = bus.NewEvent("a", 1)
	require.NoError(t, err)
	require.ErrorIs(t, svc.Handle(t.Context(), &m), bus.ErrUnhandled, "a command's name is not an event's")
}

// What a Rust outbox calls bytes is JSON; other codecs must be known.
func TestCodecsOfMessages(t *testing.T) {
	t.Parallel()
	var got string
	svc := microsvc.New("s").Register(microsvc.On("e", func(_ *microsvc.Context, in word) error {
		got = in.Text
		return nil
	}))
	for codec, ok := range map[string]bool{"": true, "json": true, "bytes": true, "bitcode": false} {
		m, err := bus.NewEvent("e", word{"from " + codec})
		require.NoError(t, err)
		m.Codec = codec
		err = svc.Handle(t.Context(), &m)
		require.Equal(t, ok, err == nil, "%s: %v", codec, err)
		require.Equal(t, !ok, bus.IsPermanent(err))
		if ok {
			require.Equal(t, "from "+codec, got)
		}
	}
}

// A run that fails ends the dispatcher, and a dispatcher that fails the run.
func TestRunEndsWhole(t *testing.T) {
	t.Parallel()
	j, err := memory.Open(nil)
	require.NoError(t, err)
	system, err := actor.NewSystem(j, nil)
	require.NoError(t, err)
	b := membus.New()
	var ran atomic.Int32
	svc := microsvc.New("s").WithBus(b).WithOutbox(j, nil).Register(call("a", func(*microsvc.Context) error {
		ran.Add(1)
		return aggregate.Reject("no")
	}))
	require.NoError(t, b.Send(t.Context(), "a", 1))
	opts := untilIdle(nil)
	opts.Observe, opts.UntilIdle, opts.Policy = func(bus.Settled) {}, 0, bus.PolicyStop
	require.ErrorIs(t, svc.Run(t.Context(), opts), bus.ErrStopped)
	require.EqualValues(t, 1, ran.Load())
	require.NoError(t, system.Stop(t.Context()))
	require.NoError(t, j.Close())
	opts.Policy = bus.PolicyDeadLetter
	require.ErrorIs(t, microsvc.New("s").WithBus(membus.New()).WithOutbox(j, nil).Register(echo("b")).Run(t.Context(), opts), journal.ErrClosed)
}

// archive tells that something was published.
func archive(published chan<- struct{}) func(context.Context, []envelope.StoredMessage) error {
	return func(context.Context, []envelope.StoredMessage) error {
		published <- struct{}{}
		return nil
	}
}
