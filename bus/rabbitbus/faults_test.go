//go:build unix

package rabbitbus_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
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
)

func namespace() string { return "t" + strings.ToLower(rand.Text()[:10]) }

func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// patience is how long a test waits for what must happen.
const patience = time.Minute

func event(t testing.TB, name string, n int) envelope.Message {
	t.Helper()
	m, err := bus.NewEvent(name, n, bus.WithID(fmt.Sprintf("%s-%d", name, n)), bus.WithKey(fmt.Sprint("key-", n)))
	require.NoError(t, err)
	return m
}

func command(t testing.TB, name string, n int) envelope.Message {
	t.Helper()
	m := event(t, name, n)
	m.Kind = envelope.KindCommand
	return m
}

// subscribe opens a source, which is closed at the end.
func subscribe(t testing.TB, b *bus.Bus, names ...string) bus.Source {
	t.Helper()
	s, err := b.Transport().Subscribe(within(t, patience), names)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close(context.Background()) }) // the broker may be away
	return s
}

func listen(t testing.TB, b *bus.Bus, names ...string) bus.Source {
	t.Helper()
	s, err := b.Transport().Listen(within(t, patience), names)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close(context.Background()) }) // the broker may be away
	return s
}

// take receives n deliveries, however often the broker is away meanwhile.
func take(t testing.TB, s bus.Source, n int) []bus.Delivery {
	t.Helper()
	ctx := within(t, patience)
	var all []bus.Delivery
	for len(all) < n {
		some, err := s.Receive(ctx, n-len(all))
		if errors.Is(err, bus.ErrUnavailable) {
			time.Sleep(20 * time.Millisecond) // as a run does
			continue
		}
		require.NoError(t, err)
		all = append(all, some...)
	}
	return all
}

// publishUntil publishes until the broker takes it.
func publishUntil(t testing.TB, b *bus.Bus, messages ...envelope.Message) {
	t.Helper()
	require.Eventually(t, func() bool {
		err := b.PublishBatch(within(t, 5*time.Second), messages)
		require.False(t, bus.IsPermanent(err), "%v", err)
		return err == nil
	}, patience, 20*time.Millisecond)
}

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
				Patience: patience,
			})
		})
	}
}

// TestConnectErrors: what a wrong address, password, virtual host or permission
// is at the start.
func TestConnectErrors(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.ctl("add_vhost", "closed")
	s.ctl("add_user", "reader", "secret")
	s.ctl("set_permissions", "reader", "^nothing$", ".*", ".*")
	s.ctl("add_user", "listener", "secret")
	s.ctl("set_permissions", "listener", `^app\.events$`, ".*", ".*")
	open := func(url string) error {
		b, err := rabbitbus.Connect(within(t, patience), url, rabbitbus.Options{Group: "g", Namespace: "app", Logger: quiet})
		if err == nil {
			require.NoError(t, b.Close())
		}
		return err
	}
	require.NoError(t, open(s.url()))

	err := open(s.urlOf("guest:wrong", s.addr(), ""))
	require.ErrorIs(t, err, bus.ErrUnauthorized)
	require.NotContains(t, err.Error(), "wrong", "the password")

	err = open(s.urlOf("guest:guest", fmt.Sprint("127.0.0.1:", testenv.FreePort(t)), ""))
	require.ErrorIs(t, err, bus.ErrUnavailable)

	err = open(s.urlOf("guest:guest", s.addr(), "missing"))
	require.ErrorIs(t, err, rabbitbus.ErrVhost)
	require.ErrorIs(t, err, bus.ErrInvalid)

	require.ErrorIs(t, open(s.urlOf("reader:secret", s.addr(), "closed")), bus.ErrUnauthorized, "no access to the virtual host")
	require.ErrorIs(t, open(s.urlOf("reader:secret", s.addr(), "")), bus.ErrUnauthorized, "no permission to declare")

	for _, url := range []string{"http://127.0.0.1", "amqp://guest:se cret@127.0.0.1", "amqp://guest:secret%zz@127.0.0.1/", "amqp://127.0.0.1/?auth_mechanism=magic"} {
		err := open(url)
		require.ErrorIs(t, err, bus.ErrInvalid, url)
		require.NotContains(t, err.Error(), "secret", "the password")
	}

	b := connect(t, s.urlOf("listener:secret", s.addr(), ""), rabbitbus.Options{Group: "g", Namespace: "app"})
	_, err = b.Transport().Subscribe(within(t, patience), []string{"thing.happened"})
	require.ErrorIs(t, err, bus.ErrUnauthorized)
	require.Contains(t, err.Error(), "app.evt.g", "it says which queue")
	_, err = b.Transport().Listen(within(t, patience), []string{"thing.do"})
	require.ErrorIs(t, err, bus.ErrUnauthorized)
}

// TestLeastPermissions: what Connect says that a user needs is enough for
// everything.
func TestLeastPermissions(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.ctl("add_user", "app", "secret")
	s.ctl("set_permissions", "app", `^app\.`, `^(app\..*|amq\.default)$`, `^app\.`)
	for _, name := range []string{"quorum", "compat"} {
		opts := modes[name]
		opts.Group, opts.Namespace = "g", "app."+name
		b := connect(t, s.urlOf("app:secret", s.addr(), ""), opts)
		for _, source := range []bus.Source{listen(t, b, "thing.do"), subscribe(t, b, "thing.happened")} {
			publishUntil(t, b, event(t, "thing.happened", 1), command(t, "thing.do", 1))
			require.NoError(t, take(t, source, 1)[0].Retry(t.Context(), time.Millisecond))
			require.NoError(t, take(t, source, 1)[0].DeadLetter(t.Context(), bus.Failure{Reason: "r", Attempts: 2, Time: time.Now()}))
			n, err := b.DeadLetters().ResendAll(within(t, patience), bus.DeadLetterFilter{})
			require.NoError(t, err)
			require.Equal(t, 1, n)
			require.NoError(t, take(t, source, 1)[0].Ack(t.Context()))
		}
	}
}

// TestNoPermissionToWrite: a message that the broker does not let us publish
// ends the channel; the others on their way arrive all the same.
func TestNoPermissionToWrite(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.ctl("add_user", "writer", "secret")
	s.ctl("set_permissions", "writer", ".*", `^amq\.default$`, ".*") // no events
	ns := namespace()
	b := connect(t, s.urlOf("writer:secret", s.addr(), ""), rabbitbus.Options{Group: "g", Namespace: ns})
	source := listen(t, b, "thing.do")
	var messages []envelope.Message
	for n := range 20 {
		messages = append(messages, command(t, "thing.do", n))
	}
	messages[7] = event(t, "thing.happened", 7)
	errs := bus.PublishErrors(b.PublishBatch(within(t, patience), messages), len(messages))
	for n, err := range errs {
		if n == 7 {
			require.ErrorIs(t, err, bus.ErrRefused)
			require.True(t, bus.IsPermanent(err))
		} else {
			require.NoError(t, err, "command %d", n)
		}
	}
	ids := map[string]bool{}
	for len(ids) < 19 { // some may come twice
		for _, d := range take(t, source, 1) {
			ids[d.Message().ID] = true
			require.NoError(t, d.Ack(t.Context()))
		}
	}
}

// TestFullQueue: a broker that does not store a message says so for that one.
func TestFullQueue(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.policy(`\.cmd\.full$`, map[string]any{"max-length": 3, "overflow": "reject-publish"})
	for name, opts := range modes {
		t.Run(name, func(t *testing.T) {
			opts.Group, opts.Namespace = "g", namespace()
			b := connect(t, s.url(), opts)
			source := listen(t, b, "full", "free")
			refused := 0
			for n := range 20 {
				err := b.PublishBatch(within(t, patience), []envelope.Message{command(t, "full", n)})
				if err != nil {
					require.ErrorIs(t, err, bus.ErrUnavailable)
					refused++
				}
			}
			require.GreaterOrEqual(t, refused, 10) // a quorum queue refuses a little late
			require.NoError(t, b.PublishBatch(within(t, patience), []envelope.Message{command(t, "free", 1)}))
			for _, d := range take(t, source, 20-refused+1) {
				require.NoError(t, d.Ack(t.Context()))
			}
			publishUntil(t, b, command(t, "full", 21))
		})
	}
}

// TestBlockedConnection: while the broker's memory is low, publishing fails
// fast; consuming goes on.
func TestBlockedConnection(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	b := connect(t, s.url(), rabbitbus.Options{Group: "g", Namespace: "app"})
	source := listen(t, b, "thing.do")
	require.NoError(t, b.PublishBatch(within(t, patience), []envelope.Message{command(t, "thing.do", 1), command(t, "thing.do", 2)}))
	held := take(t, source, 2)

	s.ctl("set_vm_memory_high_watermark", "absolute", "1MB")
	begin := time.Now()
	err := b.PublishBatch(within(t, patience), []envelope.Message{command(t, "thing.do", 3)})
	require.ErrorIs(t, err, bus.ErrUnavailable)
	require.Contains(t, err.Error(), "memory")
	require.Less(t, time.Since(begin), 10*time.Second, "long before the caller's deadline")
	require.NoError(t, held[0].Ack(t.Context()), "acknowledging is not blocked")
	require.NoError(t, held[1].Retry(t.Context(), 100*time.Millisecond), "it waits here")
	again := take(t, source, 1)
	require.Equal(t, held[1].Message().ID, again[0].Message().ID)
	require.NoError(t, again[0].Ack(t.Context()))

	s.ctl("set_vm_memory_high_watermark", "absolute", "1GB")
	publishUntil(t, b, command(t, "thing.do", 4))
	for { // number 3 may have arrived
		d := take(t, source, 1)[0]
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
	source := subscribe(t, b, "thing.happened")
	require.NoError(t, b.PublishBatch(within(t, patience), []envelope.Message{event(t, "thing.happened", 1)}))
	d := take(t, source, 1)[0]
	other := connect(t, s.url(), rabbitbus.Options{Group: "other", Namespace: "app"})
	take(t, subscribeAndPublish(t, other, "other.happened"), 1)
	s.freeze()
	begin := time.Now()
	err := b.PublishBatch(within(t, 500*time.Millisecond), []envelope.Message{event(t, "thing.happened", 2)})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	for range b.DeadLetters().List(within(t, 500*time.Millisecond), bus.DeadLetterFilter{}) {
	}
	require.Less(t, time.Since(begin), 5*time.Second)
	begin = time.Now()
	require.NoError(t, other.Close())
	require.Less(t, time.Since(begin), 15*time.Second, "closing waits for no answer")
	_, err = source.Receive(within(t, patience), 1)
	require.ErrorIs(t, err, bus.ErrUnavailable, "the connection is taken for dead")
	require.ErrorIs(t, d.Ack(t.Context()), bus.ErrUnavailable, "a channel that is gone")
	s.thaw()
	publishUntil(t, b, event(t, "thing.happened", 3))
	ids := map[string]bool{}
	for !ids["thing.happened-1"] || !ids["thing.happened-3"] {
		d := take(t, source, 1)[0]
		ids[d.Message().ID] = true
		require.NoError(t, d.Ack(t.Context()))
	}
}

// subscribeAndPublish gives other work of its own.
func subscribeAndPublish(t testing.TB, b *bus.Bus, name string) bus.Source {
	t.Helper()
	source := subscribe(t, b, name)
	publishUntil(t, b, event(t, name, 1))
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
			opts.Group, opts.Namespace = "g", namespace()
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
			subscribe(t, receiver, "thing.happened")
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
				publishUntil(t, sender, event(t, "thing.happened", n))
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
			}, patience, 10*time.Millisecond)
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
			opts.Group, opts.Namespace = "g", namespace()
			b := connect(t, s.url(), opts)
			events, commands := subscribe(t, b, "thing.happened"), listen(t, b, "thing.do")
			require.NoError(t, b.PublishBatch(within(t, patience), []envelope.Message{event(t, "thing.happened", 1), command(t, "thing.do", 1)}))
			const delay = 3 * time.Second
			begin := time.Now()
			for _, source := range []bus.Source{events, commands} {
				d := take(t, source, 1)[0]
				require.Equal(t, 1, d.Attempt())
				require.NoError(t, d.Retry(t.Context(), delay))
			}
			s.restart()
			for _, source := range []bus.Source{events, commands} {
				for waited := false; !waited; {
					d := take(t, source, 1)[0]
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

// TestManyRedeliveries: a quorum queue does not let go of a message that is
// given back more often than RabbitMQ 4 would allow by itself.
func TestManyRedeliveries(t *testing.T) {
	t.Parallel()
	b := connect(t, rabbitURL(t), rabbitbus.Options{Group: "g", Namespace: namespace()})
	source := listen(t, b, "thing.do")
	require.NoError(t, b.PublishBatch(within(t, patience), []envelope.Message{command(t, "thing.do", 1)}))
	for n := range 100 {
		d := take(t, source, 1)[0]
		require.Equal(t, n+1, d.Attempt())
		require.NoError(t, d.Retry(t.Context(), 0))
	}
	require.NoError(t, take(t, source, 1)[0].Ack(t.Context()))
}

// TestOtherArguments: a queue that a service of the other mode declared.
func TestOtherArguments(t *testing.T) {
	t.Parallel()
	url := rabbitURL(t)
	ns := namespace()
	listen(t, connect(t, url, rabbitbus.Options{Group: "g", Namespace: ns, Compat: true}), "thing.do")
	_, err := connect(t, url, rabbitbus.Options{Group: "g", Namespace: ns}).Transport().Listen(within(t, patience), []string{"thing.do"})
	require.ErrorIs(t, err, rabbitbus.ErrArguments)
	require.ErrorIs(t, err, bus.ErrInvalid)
	require.True(t, bus.IsPermanent(err))
	var facts *rabbitbus.ArgumentsError
	require.ErrorAs(t, err, &facts)
	require.Equal(t, "queue", facts.What)
	require.Equal(t, ns+".cmd.thing.do", facts.Name)
	require.Contains(t, err.Error(), "Compat")

	ch := channel(t, url)
	other := namespace()
	require.NoError(t, ch.ExchangeDeclare(other+".events", "direct", true, false, false, false, nil))
	_, err = rabbitbus.Connect(within(t, patience), url, rabbitbus.Options{Group: "g", Namespace: other, Logger: quiet})
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
			opts.Group, opts.Namespace = "g", namespace()
			b := connect(t, rabbitURL(t), opts)
			listen(t, b, "known")
			var messages []envelope.Message
			for n := range 200 {
				m := command(t, "known", n)
				switch n % 4 {
				case 1:
					m = command(t, "unknown", n)
				case 2:
					m = event(t, "unheard.of", n)
				}
				messages = append(messages, m)
			}
			for n, err := range bus.PublishErrors(b.PublishBatch(within(t, patience), messages), len(messages)) {
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
	url, ns := rabbitURL(t), namespace()
	b := connect(t, url, rabbitbus.Options{Group: "g", Namespace: ns})
	source := subscribe(t, b, "thing.happened")
	publishUntil(t, b, event(t, "thing.happened", 1))
	require.NoError(t, take(t, source, 1)[0].Ack(t.Context()))
	ch := channel(t, url)
	_, err := ch.QueueDelete(ns+".evt.g", false, false, false)
	require.NoError(t, err)
	_, err = source.Receive(within(t, patience), 1)
	require.ErrorIs(t, err, bus.ErrUnavailable)
	_, err = source.Receive(within(t, 2*time.Second), 1)
	require.ErrorIs(t, err, context.DeadlineExceeded, "it is there again")
	publishUntil(t, b, event(t, "thing.happened", 2))
	d := take(t, source, 1)[0]
	require.Equal(t, "thing.happened-2", d.Message().ID)

	_, err = ch.QueueDelete(ns+".dead", false, false, false)
	require.NoError(t, err)
	require.NoError(t, d.DeadLetter(within(t, patience), bus.Failure{Reason: "r", Attempts: 1, Time: time.Now()}))
	require.Len(t, letters(t, b), 1)

	require.NoError(t, ch.ExchangeDelete(ns+".events", false, false))
	publishUntil(t, b, event(t, "thing.happened", 3))
}

func letters(t testing.TB, b *bus.Bus) []bus.DeadLetter {
	t.Helper()
	var all []bus.DeadLetter
	for l, err := range b.DeadLetters().List(within(t, patience), bus.DeadLetterFilter{AllGroups: true}) {
		require.NoError(t, err)
		all = append(all, l)
	}
	return all
}

// TestBrowsersTogether: several look at the dead letters, send some again,
// discard some and add some, all at once; nothing is lost or out of order.
func TestBrowsersTogether(t *testing.T) {
	t.Parallel()
	url, opts := rabbitURL(t), rabbitbus.Options{Group: "g", Namespace: namespace()}
	first := connect(t, url, opts)
	source := listen(t, first, "thing.do")
	const all = 120
	for n := range all {
		publishUntil(t, first, command(t, "thing.do", n))
		require.NoError(t, take(t, source, 1)[0].DeadLetter(t.Context(), bus.Failure{Reason: fmt.Sprint(n), Attempts: 1, Time: time.Now()}))
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
				for l, err := range b.DeadLetters().List(within(t, patience), bus.DeadLetterFilter{}) {
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
				switch err := b.DeadLetters().Discard(within(t, patience), id); {
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
	left := letters(t, first)
	require.Len(t, left, all-len(removed))
	n, err := first.DeadLetters().ResendAll(within(t, patience), bus.DeadLetterFilter{})
	require.NoError(t, err)
	require.Equal(t, len(left), n)
	var want, got []string
	for _, l := range left {
		want = append(want, l.Message.ID)
	}
	for _, d := range take(t, source, len(left)) {
		require.True(t, d.Resent())
		require.Equal(t, 1, d.Attempt(), "counted anew")
		got = append(got, d.Message().ID)
		require.NoError(t, d.Ack(t.Context()))
	}
	require.Equal(t, want, got, "oldest first")
	require.Empty(t, letters(t, first))
}

// TestMoreIsAskedFor: a source that was first asked for little gives more when
// more is asked for, and loses nothing on the way.
func TestMoreIsAskedFor(t *testing.T) {
	t.Parallel()
	for name, opts := range modes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts.Group, opts.Namespace = "g", namespace()
			b := connect(t, rabbitURL(t), opts)
			source := listen(t, b, "thing.do", "other.do")
			var messages []envelope.Message
			for n := range 300 {
				messages = append(messages, command(t, []string{"thing.do", "other.do"}[n%2], n))
			}
			require.NoError(t, b.PublishBatch(within(t, patience), messages))
			held := take(t, source, 2)
			held = append(held, take(t, source, 298)...) // none of them settled
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

// TestLostChannel: what belongs to a channel that is gone can be settled no
// more, and comes again.
func TestLostChannel(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	proxy := testenv.StartProxy(t, s.addr())
	b := connect(t, s.urlOf("guest:guest", proxy.Addr(), ""), rabbitbus.Options{Group: "g", Namespace: "app"})
	source := listen(t, b, "thing.do")
	for n := range 10 {
		publishUntil(t, b, command(t, "thing.do", n))
	}
	old := take(t, source, 10)
	proxy.CutAll()
	fresh := take(t, source, 10)
	for _, d := range old {
		require.ErrorIs(t, d.Ack(t.Context()), bus.ErrUnavailable)
		require.ErrorIs(t, d.Ack(t.Context()), bus.ErrClosed, "once")
	}
	require.NoError(t, source.Close(t.Context()))
	for _, d := range fresh {
		require.ErrorIs(t, d.Ack(t.Context()), bus.ErrClosed)
	}
	again := take(t, listen(t, b, "thing.do"), 10)
	require.Len(t, again, 10)
	require.Equal(t, 3, again[0].Attempt())
}
