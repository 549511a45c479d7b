package natsbus_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/natsbus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/internal/testenv/buskit"
)

// TestBrokerAway: while the broker is away publishing fails fast and nothing
// ends; when it is back everything goes on, with what was in hand.
func TestBrokerAway(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	b := connect(t, s.url(), natsbus.Options{Group: "g", Namespace: buskit.Namespace(), AckWait: 2 * time.Second, ConfirmTimeout: 5 * time.Second})
	source := buskit.Subscribe(t, b, "thing.happened")
	const n = 1200
	var messages []envelope.Message
	for i := range n {
		messages = append(messages, buskit.Event(t, "thing.happened", i))
	}
	buskit.Publish(t, b, messages...)
	held := buskit.Take(t, source, n)
	acked, failed := held[:100], held[100:]
	for _, d := range acked {
		require.NoError(t, d.Ack(t.Context()))
	}
	for _, d := range failed[:100] {
		require.NoError(t, d.Retry(t.Context(), 300*time.Millisecond))
	}
	s.stop()
	require.Eventually(t, func() bool {
		begin := time.Now()
		err := b.PublishBatch(buskit.Ctx(t), messages[:1])
		require.ErrorIs(t, err, bus.ErrUnavailable)
		return time.Since(begin) < time.Second
	}, buskit.Patience, 10*time.Millisecond)
	_, err := b.DeadLetters().Show(buskit.Ctx(t), "1")
	require.ErrorIs(t, err, bus.ErrUnavailable)
	_, err = b.Transport().Subscribe(buskit.Within(t, 200*time.Millisecond), []string{"other.happened"})
	require.ErrorIs(t, err, bus.ErrUnavailable, "in the time that there is")
	require.NoError(t, failed[100].Ack(t.Context()), "the driver keeps it")
	s.start()
	buskit.PublishUntil(t, b, buskit.Event(t, "thing.happened", n))
	want := map[string]bool{messages[0].ID: false}
	for _, d := range append(failed[:100:100], failed[101:]...) {
		want[d.Message().ID] = true
	}
	want[buskit.Event(t, "thing.happened", n).ID] = true
	delete(want, messages[0].ID)
	for len(want) > 0 {
		d := buskit.Take(t, source, 1)[0]
		delete(want, d.Message().ID)
		require.NoError(t, d.Ack(t.Context()))
	}
}

// TestDeletedStream: a stream that somebody deletes is made again, by whoever
// publishes or consumes.
func TestDeletedStream(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	ns := buskit.Namespace()
	b := connect(t, s.url(), natsbus.Options{Group: "g", Namespace: ns})
	source := buskit.Subscribe(t, b, "thing.happened")
	buskit.Publish(t, b, buskit.Event(t, "thing.happened", 1))
	d := buskit.Take(t, source, 1)[0]
	_, js := client(t, s.url())
	require.NoError(t, js.DeleteStream(buskit.Ctx(t), strings.ToUpper(ns)))
	buskit.Publish(t, b, buskit.Event(t, "thing.happened", 2))
	_ = d.Ack(t.Context()) // of a message that is no more
	require.Equal(t, "thing.happened-2", buskit.Take(t, source, 1)[0].Message().ID)

	stream, err := js.Stream(buskit.Ctx(t), strings.ToUpper(ns))
	require.NoError(t, err)
	require.NoError(t, stream.DeleteConsumer(buskit.Ctx(t), "g_evt"))
	buskit.Publish(t, b, buskit.Event(t, "thing.happened", 3))
	ids := map[string]bool{}
	for !ids["thing.happened-3"] { // a new consumer begins at the start
		ids[buskit.Take(t, source, 1)[0].Message().ID] = true
	}
}

// TestFromConn: a connection of the caller's own stays open, and its handler of
// errors is asked, too.
func TestFromConn(t *testing.T) {
	t.Parallel()
	url := broker(t)
	conn, _ := client(t, url)
	b, err := natsbus.FromConn(buskit.Ctx(t), conn, natsbus.Options{Group: "g", Namespace: buskit.Namespace(), Stream: small, Dead: small, Logger: quiet})
	require.NoError(t, err)
	source := buskit.Subscribe(t, b, "thing.happened")
	buskit.Publish(t, b, buskit.Event(t, "thing.happened", 1))
	buskit.Take(t, source, 1)
	require.NoError(t, b.Close())
	require.NoError(t, conn.FlushWithContext(buskit.Ctx(t)), "it is open")
	_, err = source.Receive(buskit.Ctx(t), 1)
	require.ErrorIs(t, err, bus.ErrClosed)
	conn.Close()
	_, err = natsbus.FromConn(buskit.Ctx(t), conn, natsbus.Options{Group: "g", Namespace: "app"})
	require.ErrorIs(t, err, bus.ErrClosed)
	_, err = natsbus.FromConn(buskit.Ctx(t), nil, natsbus.Options{Group: "g", Namespace: "app"})
	require.ErrorIs(t, err, bus.ErrClosed)
}

// TestSingleActiveCrash: an active replica that is gone without a word is
// replaced, and what it had comes before what came behind, of every key.
func TestSingleActiveCrash(t *testing.T) {
	t.Parallel()
	url := broker(t)
	opts := natsbus.Options{Group: "g", Namespace: buskit.Namespace(), AckWait: 500 * time.Millisecond, SingleActive: true, Stream: small, Dead: small, Logger: quiet}
	conn, _ := client(t, url)
	first, err := natsbus.FromConn(buskit.Ctx(t), conn, opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, first.Close()) })
	dying := buskit.Subscribe(t, first, "thing.happened")
	second := connect(t, url, opts)
	buskit.Publish(t, second, buskit.Event(t, "thing.happened", 0))
	held := buskit.Take(t, dying, 1) // it is active now
	next := buskit.Subscribe(t, second, "thing.happened")
	var messages []envelope.Message
	for n := 1; n < 300; n++ {
		messages = append(messages, buskit.Event(t, "thing.happened", n))
	}
	buskit.Publish(t, second, messages[:150]...)
	held = append(held, buskit.Take(t, dying, 100)...)
	require.NoError(t, held[3].Ack(t.Context()))
	require.NoError(t, conn.FlushWithContext(buskit.Ctx(t)))
	buskit.Nothing(t, next)
	conn.Close()
	buskit.Publish(t, second, messages[150:]...)
	last, seen := -1, map[int]bool{3: true}
	for len(seen) < 300 {
		for _, d := range buskit.Take(t, next, 1) {
			n, err := strconv.Atoi(strings.TrimPrefix(d.Message().ID, "thing.happened-"))
			require.NoError(t, err)
			if !seen[n] {
				require.Greater(t, n, last)
				last = n
			}
			seen[n] = true
			require.NoError(t, d.Ack(t.Context()))
		}
	}
}

// TestReplicasOfDifferentVersions: while a new version of a service takes the
// place of the old one, what only the new one handles is not lost on the old
// one.
func TestReplicasOfDifferentVersions(t *testing.T) {
	t.Parallel()
	url := broker(t)
	ns := buskit.Namespace()
	older := connect(t, url, natsbus.Options{Group: "g", Namespace: ns})
	newer := connect(t, url, natsbus.Options{Group: "g", Namespace: ns})
	before := buskit.Subscribe(t, older, "old.happened")
	var ids []string
	received := func(s bus.Source, n int) {
		for _, d := range buskit.Take(t, s, n) {
			ids = append(ids, d.Message().ID)
			require.NoError(t, d.Ack(t.Context()))
		}
	}
	buskit.Nothing(t, before) // it has asked
	after := buskit.Subscribe(t, newer, "new.happened", "old.happened")
	buskit.Publish(t, older, buskit.Event(t, "new.happened", 1))
	buskit.Nothing(t, before)
	received(after, 1)
	require.Equal(t, []string{"new.happened-1"}, ids)
}

// TestExistingStream: a stream as a Rust service makes it, with the broker's
// defaults, is used; so is its consumer, which is brought up to date.
func TestExistingStream(t *testing.T) {
	t.Parallel()
	url := broker(t)
	ns := buskit.Namespace()
	_, js := client(t, url)
	ctx := buskit.Ctx(t)
	stream, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: strings.ToUpper(ns), Subjects: []string{ns + ".>"}})
	require.NoError(t, err)
	_, err = stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		Durable: "g_evt", FilterSubjects: []string{ns + ".evt.old.happened"}, AckPolicy: jetstream.AckExplicitPolicy,
	})
	require.NoError(t, err)
	b := connect(t, url, natsbus.Options{Group: "g", Namespace: ns})
	source := buskit.Subscribe(t, b, "new.happened")
	buskit.Publish(t, b, buskit.Event(t, "new.happened", 1))
	require.NoError(t, buskit.Take(t, source, 1)[0].Ack(t.Context()))
	info, err := stream.Info(ctx)
	require.NoError(t, err)
	require.EqualValues(t, -1, info.Config.MaxBytes, "as it was")
	consumer, err := stream.Consumer(ctx, "g_evt")
	require.NoError(t, err)
	require.Equal(t, []string{ns + ".evt.new.happened"}, consumer.CachedInfo().Config.FilterSubjects)

	connect(t, url, natsbus.Options{Group: "g", Namespace: ns, UpdateStreams: true, Stream: natsbus.Limits{MaxBytes: 5 << 20, MaxAge: time.Hour}})
	info, err = stream.Info(ctx)
	require.NoError(t, err)
	require.EqualValues(t, 5<<20, info.Config.MaxBytes)
	require.Equal(t, time.Hour, info.Config.MaxAge)
	require.Equal(t, jetstream.DiscardNew, info.Config.Discard)
}

// TestUnusable: what a bus cannot work with is told, with its name.
func TestUnusable(t *testing.T) {
	t.Parallel()
	url := broker(t)
	_, js := client(t, url)
	ctx := buskit.Ctx(t)
	open := func(ns string) error {
		b, err := natsbus.Connect(ctx, url, natsbus.Options{Group: "g", Namespace: ns, Stream: small, Logger: quiet})
		if err == nil {
			require.NoError(t, b.Close())
		}
		return err
	}
	for what, change := range map[string]func(*jetstream.StreamConfig){
		"other subjects": func(c *jetstream.StreamConfig) { c.Subjects[0] = "x" + c.Subjects[0] },
		"work queue":     func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy },
		"no ack":         func(c *jetstream.StreamConfig) { c.NoAck = true },
	} {
		ns := buskit.Namespace()
		c := jetstream.StreamConfig{Name: strings.ToUpper(ns), Subjects: []string{ns + ".>"}}
		change(&c)
		_, err := js.CreateStream(ctx, c)
		require.NoError(t, err)
		err = open(ns)
		require.ErrorIs(t, err, natsbus.ErrSettings, what)
		require.ErrorIs(t, err, bus.ErrInvalid, what)
		var settings *natsbus.SettingsError
		require.ErrorAs(t, err, &settings)
		require.Equal(t, c.Name, settings.Name)
	}
	ns := buskit.Namespace()
	require.NoError(t, open(ns))
	require.ErrorIs(t, open(ns+".part"), natsbus.ErrSettings, "a namespace within another one")

	stream, err := js.Stream(ctx, strings.ToUpper(ns))
	require.NoError(t, err)
	_, err = stream.CreateConsumer(ctx, jetstream.ConsumerConfig{Durable: "g_evt", AckPolicy: jetstream.AckNonePolicy})
	require.NoError(t, err)
	_, err = stream.CreatePushConsumer(ctx, jetstream.ConsumerConfig{Durable: "g_cmd", AckPolicy: jetstream.AckExplicitPolicy, DeliverSubject: nats.NewInbox()})
	require.NoError(t, err)
	b := connect(t, url, natsbus.Options{Group: "g", Namespace: ns})
	_, err = b.Transport().Subscribe(ctx, []string{"thing.happened"})
	require.ErrorIs(t, err, natsbus.ErrSettings)
	_, err = b.Transport().Listen(ctx, []string{"thing.do"})
	require.ErrorIs(t, err, natsbus.ErrSettings)
}

// TestCloseGivesBack: what a replica has when it closes is with another one at
// once, in order, and not after a lease.
func TestCloseGivesBack(t *testing.T) {
	t.Parallel()
	url := broker(t)
	for name, opts := range modes {
		t.Run(name, func(t *testing.T) {
			opts.Group, opts.Namespace, opts.AckWait = "g", buskit.Namespace(), time.Hour
			a, b := connect(t, url, opts), connect(t, url, opts)
			source := buskit.Subscribe(t, a, "thing.happened")
			var messages []envelope.Message
			for n := range 20 {
				messages = append(messages, buskit.Event(t, "thing.happened", n))
			}
			buskit.Publish(t, a, messages...)
			held := buskit.Take(t, source, 10)
			require.NoError(t, held[0].Ack(t.Context()))
			other := buskit.Subscribe(t, b, "thing.happened")
			if opts.SingleActive {
				buskit.Nothing(t, other)
			}
			require.NoError(t, a.Close())
			require.ErrorIs(t, held[1].Ack(context.Background()), bus.ErrClosed)
			var ids []string
			for _, d := range buskit.Take(t, other, 19) {
				ids = append(ids, d.Message().ID)
			}
			var want []string
			for n := 1; n < 20; n++ {
				want = append(want, fmt.Sprint("thing.happened-", n))
			}
			if opts.SingleActive {
				require.Equal(t, want, ids)
			} else {
				require.ElementsMatch(t, want, ids)
			}
		})
	}
}
