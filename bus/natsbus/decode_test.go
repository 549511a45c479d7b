package natsbus

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/internal/testenv/buskit"
)

// FuzzDecode: no header block makes the decoder panic, lie about a message or
// grow beyond its limits; one that is published again says the same.
func FuzzDecode(f *testing.F) {
	stored := time.Date(2026, 3, 4, 5, 6, 7, 8, time.UTC)
	for _, seed := range []string{
		"",
		"NATS/1.0\r\n\r\n",
		"NATS/1.0 503 x\r\n\r\n",
		"NATS/1.0\r\nNats-Msg-Id: 1\r\nX-Sourced-Kind: event\r\ntenant: a\r\n\r\n",
		"NATS/1.0\r\nX-Sourced-Kind: query\r\nx-sourced-source-sequence: -1\r\nx-sourced-time: now\r\n\r\n",
		"NATS/1.0\r\nnats-rollup: all\r\nContent-Type: a\r\ncontent-type: b\r\nk:\r\nK: \x01\r\n\r\n",
		"NATS/1.0\r\nX-Sourced-Id: 7\r\nNats-Msg-Id: S_DEAD.1.2\r\nX-SOURCED-TIME: 2026-01-02T03:04:05Z\r\nx-sourced-dead-reason: r\r\nx-sourced-dead-attempts: many\r\n\r\n",
		"NATS/1.0\r\nx-sourced-source-aggregate-id: 1\r\nx-sourced-source-aggregate-type: t\r\nx-sourced-source-sequence: 18446744073709551615\r\n\r\n",
	} {
		f.Add([]byte(seed), []byte("{}"))
	}
	f.Fuzz(func(t *testing.T, head, body []byte) {
		header, err := nats.DecodeHeadersMsg(head)
		if err != nil {
			header = nil
		}
		m, malformed := decode(header, body, envelope.KindEvent, "thing.happened", stored)
		require.LessOrEqual(t, len(m.Metadata.Keys), envelope.MaxMetadataKeys)
		for key := range m.Metadata.Keys {
			require.False(t, brokersOwn(key), key)
		}
		if malformed != nil {
			require.ErrorIs(t, malformed, bus.ErrMalformed)
			require.True(t, bus.IsPermanent(malformed))
		} else if m.ID != "" {
			require.NoError(t, m.Validate())
			msg, err := encode(&m, "s")
			if err == nil {
				back, broken := decode(msg.Header, msg.Data, m.Kind, m.Name, stored)
				require.NoError(t, broken)
				buskit.Same(t, m, back)
			} else {
				require.ErrorIs(t, err, bus.ErrRefused)
			}
		}
		h := again(header, &m, "id of ours")
		require.LessOrEqual(t, len(h), len(header)+3)
		once, _ := decode(h, body, m.Kind, m.Name, time.Time{})
		if malformed == nil {
			buskit.Same(t, m, once)
		}
		d := deadLetters{&transport{names: names{"app"}}}
		l := d.letter(&jetstream.RawStreamMsg{Subject: "dead.app.g.evt.thing.happened", Sequence: 3, Header: h, Data: body, Time: stored})
		require.Equal(t, "3", l.ID)
		require.Equal(t, "app.g", l.Group)
	})
}

// TestAgainDropsTheDead: a dead letter that is sent again has its own headers no
// more, and one that is set aside anew has new ones.
func TestAgainDropsTheDead(t *testing.T) {
	t.Parallel()
	m := envelope.Message{ID: "1", Kind: envelope.KindEvent, Name: "thing.happened"}
	header := nats.Header{"Nats-Msg-Id": {"x"}, "tenant": {"acme"}, "Nats-Pin-Id": {"p"}}
	for key, value := range bus.DeadHeaders("thing.happened", "app.g", bus.Failure{Reason: "r", Parked: true, Time: time.Now()}) {
		header[strings.ToUpper(key)] = []string{value}
	}
	require.Equal(t, nats.Header{"Nats-Msg-Id": {"y"}, "tenant": {"acme"}, bus.HeaderID: {"1"}}, again(header, &m, "y"))
}

func TestNames(t *testing.T) {
	t.Parallel()
	n := names{"my-app.v1"}
	require.Equal(t, "MY_APP_V1", n.stream())
	require.Equal(t, "MY_APP_V1_DEAD", n.deadStream())
	require.Equal(t, "my-app.v1.cmd.order.ship", n.subject(envelope.KindCommand, "order.ship"))
	require.Equal(t, "my-app.v1.evt.order.shipped", n.subject(envelope.KindEvent, "order.shipped"))
	require.Equal(t, "shipping_cmd", durable("shipping", envelope.KindCommand))
	require.Equal(t, "shipping_evt", durable("shipping", envelope.KindEvent))
	require.Equal(t, "dead.my-app.v1.>", n.allDead())
}

func TestCovers(t *testing.T) {
	t.Parallel()
	for _, yes := range [][2]string{{">", "a.>"}, {"a.>", "a.>"}, {"a.>", "a.b.>"}, {"*.>", "a.>"}, {"*.b.>", "a.b.>"}} {
		require.True(t, covers(yes[0], yes[1]), "%v", yes)
	}
	for _, no := range [][2]string{{"a.b.>", "a.>"}, {"a.*", "a.>"}, {"b.>", "a.>"}, {"a", "a.>"}, {"a.b", "a.b.>"}, {"ax.>", "a.>"}} {
		require.False(t, covers(no[0], no[1]), "%v", no)
	}
}
