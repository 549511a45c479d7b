package natsbus_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/bus/natsbus"
	"github.com/troupe-go/troupe/internal/testenv"
	"github.com/troupe-go/troupe/internal/testenv/buskit"
)

// The one active replica loses its connection with messages on the way to it:
// they come again after AckWait, and what was published later waits for them.
func TestSingleActiveKeepsOrderOverAReconnect(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	proxy := testenv.StartProxy(t, strings.TrimPrefix(s.url(), "nats://"))
	ns := buskit.Namespace()
	b := connect(t, "nats://"+proxy.Addr(), natsbus.Options{Group: "g", Namespace: ns, SingleActive: true, AckWait: 3 * time.Second})
	other := connect(t, s.url(), natsbus.Options{Group: "p", Namespace: ns})
	source := buskit.Subscribe(t, b, "thing.happened")
	buskit.Publish(t, other, buskit.Event(t, "thing.happened", 0))
	got, err := source.Receive(buskit.Ctx(t), 10)
	require.NoError(t, err)
	require.NoError(t, got[0].Ack(t.Context()))
	_, err = source.Receive(buskit.Within(t, 500*time.Millisecond), 10) // it asks for more, with its pin
	require.ErrorIs(t, err, context.DeadlineExceeded)

	conn, err := nats.Connect(s.url())
	require.NoError(t, err)
	defer conn.Close()
	js, err := jetstream.New(conn)
	require.NoError(t, err)
	onTheirWay := func(n int) func() bool {
		return func() bool {
			consumer, err := js.Consumer(t.Context(), strings.ToUpper(ns), "g_evt")
			return err == nil && consumer.CachedInfo().NumAckPending == n
		}
	}
	proxy.Freeze()
	for n := 1; n <= 3; n++ {
		buskit.Publish(t, other, buskit.Event(t, "thing.happened", n))
	}
	require.Eventually(t, onTheirWay(3), buskit.Patience, 10*time.Millisecond, "the server sends them into the frozen connection")
	proxy.CutAll()
	proxy.Thaw()
	require.Eventually(t, func() bool { // it is there again, and has asked
		some, err := source.Receive(buskit.Within(t, 500*time.Millisecond), 10)
		require.Empty(t, some)
		return errors.Is(err, context.DeadlineExceeded)
	}, buskit.Patience, 20*time.Millisecond)
	for n := 4; n <= 6; n++ {
		buskit.Publish(t, other, buskit.Event(t, "thing.happened", n))
	}
	var ids []string
	for len(ids) < 6 {
		d := buskit.Take(t, source, 1)[0]
		ids = append(ids, strings.TrimPrefix(d.Message().ID, "thing.happened-"))
		require.NoError(t, d.Ack(t.Context()))
	}
	require.Equal(t, []string{"1", "2", "3", "4", "5", "6"}, ids)
}
