//go:build unix

package rabbitbus_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/bustest"
	"github.com/troupe-go/troupe/bus/rabbitbus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/internal/testenv"
	"github.com/troupe-go/troupe/internal/testenv/buskit"
)

// TestSuiteOnARestartedServer: the whole suite with a server that it may kill.
// It is not parallel, as TestSuite.
func TestSuiteOnARestartedServer(t *testing.T) {
	s := startServer(t)
	for name, opts := range modes {
		t.Run(name, func(t *testing.T) {
			bustest.Run(t, bustest.Config{
				Connect: func(t testing.TB, namespace, group string) *bus.Bus {
					opts := opts
					opts.Namespace, opts.Group = namespace, group
					return connect(t, s.url(), opts)
				},
				Restart:  func(testing.TB) { s.restart() },
				Patience: buskit.Patience,
			})
		})
	}
}

// TestFullQueue: a broker that does not store a message says so for that one.
func TestFullQueue(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.policy(`\.cmd\.full$`, map[string]any{"max-length": 3, "overflow": "reject-publish"})
	for name, opts := range modes {
		t.Run(name, func(t *testing.T) {
			opts.Group, opts.Namespace = "g", buskit.Namespace()
			b := connect(t, s.url(), opts)
			source := buskit.Listen(t, b, "full", "free")
			refused := 0
			for n := range 20 {
				err := b.PublishBatch(buskit.Ctx(t), []envelope.Message{buskit.Command(t, "full", n)})
				if err != nil {
					require.ErrorIs(t, err, bus.ErrUnavailable)
					refused++
				}
			}
			require.GreaterOrEqual(t, refused, 10) // a quorum queue refuses a little late
			require.NoError(t, b.PublishBatch(buskit.Ctx(t), []envelope.Message{buskit.Command(t, "free", 1)}))
			for _, d := range buskit.Take(t, source, 20-refused+1) {
				require.NoError(t, d.Ack(t.Context()))
			}
			buskit.PublishUntil(t, b, buskit.Command(t, "full", 21))
		})
	}
}

// TestBlockedConnection: while the broker's memory is low, publishing fails
// fast; consuming goes on.
func TestBlockedConnection(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	b := connect(t, s.url(), rabbitbus.Options{Group: "g", Namespace: "app"})
	source := buskit.Listen(t, b, "thing.do")
	require.NoError(t, b.PublishBatch(buskit.Ctx(t), []envelope.Message{buskit.Command(t, "thing.do", 1), buskit.Command(t, "thing.do", 2)}))
	held := buskit.Take(t, source, 2)

	s.ctl("set_vm_memory_high_watermark", "absolute", "1MB")
	begin := time.Now()
	err := b.PublishBatch(buskit.Ctx(t), []envelope.Message{buskit.Command(t, "thing.do", 3)})
	require.ErrorIs(t, err, bus.ErrUnavailable)
	require.Contains(t, err.Error(), "memory")
	require.Less(t, time.Since(begin), 10*time.Second, "long before the caller's deadline")
	require.NoError(t, held[0].Ack(t.Context()), "acknowledging is not blocked")
	require.NoError(t, held[1].Retry(t.Context(), 100*time.Millisecond), "it waits here")
	again := buskit.Take(t, source, 1)
	require.Equal(t, held[1].Message().ID, again[0].Message().ID)
	require.NoError(t, again[0].Ack(t.Context()))

	s.ctl("set_vm_memory_high_watermark", "absolute", "1GB")
	buskit.PublishUntil(t, b, buskit.Command(t, "thing.do", 4))
	for { // number 3 may have arrived
		d := buskit.Take(t, source, 1)[0]
		require.NoError(t, d.Ack(t.Context()))
		if d.Message().ID == "thing.do-4" {
			break
		}
	}
}

// TestFrozenBroker: one that hangs costs no more than the caller's deadline,
// and everything goes on behind.
func TestFrozenBroker(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	b := connect(t, s.url(), rabbitbus.Options{Group: "g", Namespace: "app", Heartbeat: 2 * time.Second, ConnectTimeout: time.Second})
	source := buskit.Subscribe(t, b, "thing.happened")
	require.NoError(t, b.PublishBatch(buskit.Ctx(t), []envelope.Message{buskit.Event(t, "thing.happened", 1)}))
	d := buskit.Take(t, source, 1)[0]
	other := connect(t, s.url(), rabbitbus.Options{Group: "other", Namespace: "app"})
	buskit.Take(t, subscribeAndPublish(t, other, "other.happened"), 1)
	s.freeze()
	begin := time.Now()
	err := b.PublishBatch(buskit.Within(t, 500*time.Millisecond), []envelope.Message{buskit.Event(t, "thing.happened", 2)})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	for range b.DeadLetters().List(buskit.Within(t, 500*time.Millisecond), bus.DeadLetterFilter{}) {
	}
	require.Less(t, time.Since(begin), 5*time.Second)
	begin = time.Now()
	require.NoError(t, other.Close())
	require.Less(t, time.Since(begin), 15*time.Second, "closing waits for no answer")
	_, err = source.Receive(buskit.Ctx(t), 1)
	require.ErrorIs(t, err, bus.ErrUnavailable, "the connection is taken for dead")
	require.ErrorIs(t, d.Ack(t.Context()), bus.ErrUnavailable, "a channel that is gone")
	s.thaw()
	buskit.PublishUntil(t, b, buskit.Event(t, "thing.happened", 3))
	ids := map[string]bool{}
	for !ids["thing.happened-1"] || !ids["thing.happened-3"] {
		d := buskit.Take(t, source, 1)[0]
		ids[d.Message().ID] = true
		require.NoError(t, d.Ack(t.Context()))
	}
}

// subscribeAndPublish gives other work of its own.
func subscribeAndPublish(t testing.TB, b *bus.Bus, name string) bus.Source {
	t.Helper()
	source := buskit.Subscribe(t, b, name)
	buskit.PublishUntil(t, b, buskit.Event(t, name, 1))
	return source
}

// TestCutConnections: connections that are cut again and again lose nothing,
// and no acknowledgement goes to a message of another channel.
func TestCutConnections(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	for name, opts := range modes {
		t.Run(name, func(t *testing.T) {
			proxy := testenv.StartProxy(t, s.addr())
			opts.Group, opts.Namespace = "g", buskit.Namespace()
			sender := connect(t, s.urlOf("guest:guest", proxy.Addr(), ""), opts)
			receiver := connect(t, s.urlOf("guest:guest", proxy.Addr(), ""), opts)
			var mu sync.Mutex
			handled := map[string]int{}
			var failures atomic.Int64
			runs := bus.Idempotent()
			runs.Logger, runs.MinBackoff, runs.MaxBackoff = quiet, 10*time.Millisecond, 100*time.Millisecond
			handlers := bus.NewHandlers().OnEvent("thing.happened", func(_ context.Context, m *envelope.Message) error {
				mu.Lock()
				defer mu.Unlock()
				handled[m.ID]++
				if handled[m.ID] == 1 && len(handled)%7 == 0 {
					failures.Add(1)
					return errors.New("for now")
				}
				return nil
			})
			buskit.Subscribe(t, receiver, "thing.happened")
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- receiver.Run(ctx, handlers, runs) }()
			const messages = 400
			cuts := make(chan struct{})
			go func() {
				defer close(cuts)
				for range 8 {
					time.Sleep(100 * time.Millisecond) // the fault's rhythm
					proxy.CutAll()
				}
			}()
			for n := range messages {
				buskit.PublishUntil(t, sender, buskit.Event(t, "thing.happened", n))
			}
			<-cuts
			require.Eventually(t, func() bool {
				mu.Lock()
				defer mu.Unlock()
				for n := range messages {
					if handled[fmt.Sprint("thing.happened-", n)] == 0 {
						return false
					}
				}
				return true
			}, buskit.Patience, 10*time.Millisecond)
			cancel()
			require.NoError(t, <-ended)
			require.Positive(t, failures.Load())
		})
	}
}

// TestRetriesSurviveARestart: what waits is still there behind a kill -9, and
// does not come too early.
func TestRetriesSurviveARestart(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	for _, name := range []string{"quorum", "compat"} {
		t.Run(name, func(t *testing.T) {
			opts := modes[name]
			opts.Group, opts.Namespace = "g", buskit.Namespace()
			b := connect(t, s.url(), opts)
			events, commands := buskit.Subscribe(t, b, "thing.happened"), buskit.Listen(t, b, "thing.do")
			require.NoError(t, b.PublishBatch(buskit.Ctx(t), []envelope.Message{buskit.Event(t, "thing.happened", 1), buskit.Command(t, "thing.do", 1)}))
			const delay = 3 * time.Second
			begin := time.Now()
			for _, source := range []bus.Source{events, commands} {
				d := buskit.Take(t, source, 1)[0]
				require.Equal(t, 1, d.Attempt())
				require.NoError(t, d.Retry(t.Context(), delay))
			}
			s.restart()
			for _, source := range []bus.Source{events, commands} {
				for waited := false; !waited; {
					d := buskit.Take(t, source, 1)[0]
					waited = time.Since(begin) >= delay // before, the broker forgot that the first delivery was acknowledged
					require.Equal(t, 2, d.Attempt())
					require.Equal(t, "thing.", d.Message().Name[:6], "its name is that of the first time")
					require.NoError(t, d.Malformed())
					require.NoError(t, d.Ack(t.Context()))
				}
			}
		})
	}
}

// TestLostChannel: what belongs to a channel that is gone can be settled no
// more, and comes again.
func TestLostChannel(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	proxy := testenv.StartProxy(t, s.addr())
	b := connect(t, s.urlOf("guest:guest", proxy.Addr(), ""), rabbitbus.Options{Group: "g", Namespace: "app"})
	source := buskit.Listen(t, b, "thing.do")
	for n := range 10 {
		buskit.PublishUntil(t, b, buskit.Command(t, "thing.do", n))
	}
	old := buskit.Take(t, source, 10)
	proxy.CutAll()
	fresh := buskit.Take(t, source, 10)
	for _, d := range old {
		require.ErrorIs(t, d.Ack(t.Context()), bus.ErrUnavailable)
		require.ErrorIs(t, d.Ack(t.Context()), bus.ErrClosed, "once")
	}
	require.NoError(t, source.Close(t.Context()))
	for _, d := range fresh {
		require.ErrorIs(t, d.Ack(t.Context()), bus.ErrClosed)
	}
	again := buskit.Take(t, buskit.Listen(t, b, "thing.do"), 10)
	require.Len(t, again, 10)
	require.Equal(t, 3, again[0].Attempt())
}
