package rabbitbus_test

import (
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/rabbitbus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/internal/testenv/buskit"
)

// TestStrangersMessages: whatever a stranger's message has comes back from a
// retry and from the dead letters, by a bus that has published nothing before.
func TestStrangersMessages(t *testing.T) {
	t.Parallel()
	url := rabbitURL(t)
	for name, opts := range modes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts.Group, opts.Namespace = "g", buskit.Namespace()
			b := connect(t, url, opts)
			source := buskit.Listen(t, b, "thing.do")
			when := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
			sent := amqp.Publishing{
				MessageId: "m-1", ContentType: "text/plain", ContentEncoding: "utf-8", CorrelationId: "c-1", ReplyTo: "r", Type: "t", AppId: "a",
				Priority: 3, Timestamp: when, UserId: "guest", Expiration: "3600000", Body: []byte("body"),
				Headers: amqp.Table{
					"number": int32(7), "negative": int64(-8), "yes": true, "half": 0.5, "nothing": nil, "bytes": []byte("b"), "price": amqp.Decimal{Scale: 2, Value: 1234},
					"at": when, "table": amqp.Table{"a": "b"}, "list": []any{"x", int32(1)}, "text": "größe", "X-Sourced-Key": "k", "control": "a\r\nb",
					"CC": []any{opts.Namespace + ".cmd.other"},
				},
			}
			ch := channel(t, url)
			require.NoError(t, ch.PublishWithContext(t.Context(), "", opts.Namespace+".cmd.thing.do", true, false, sent))
			want := envelope.Message{
				ID: "m-1", Kind: envelope.KindCommand, Name: "thing.do", Key: "k", ContentType: "text/plain", Data: []byte("body"), Time: when,
				Metadata: envelope.Metadata{Keys: map[string]string{
					"number": "7", "negative": "-8", "yes": "true", "half": "0.5", "nothing": "", "bytes": "b", "price": "12.34", "at": "2026-01-02T03:04:05Z", "text": "größe",
				}},
			}
			check := func(m envelope.Message) {
				t.Helper()
				m.Time = m.Time.UTC()
				require.Equal(t, want, m)
			}
			d := buskit.Take(t, source, 1)[0]
			require.NoError(t, d.Malformed())
			check(*d.Message())
			require.NoError(t, d.Retry(t.Context(), 10*time.Millisecond))
			d = buskit.Take(t, source, 1)[0]
			check(*d.Message())
			require.Equal(t, 2, d.Attempt())
			d.Message().Data[0] = 'X' // a handler's own copy
			require.NoError(t, d.DeadLetter(t.Context(), bus.Failure{Reason: "r", Attempts: 2, Time: when}))
			all := buskit.Letters(t, b)
			require.Len(t, all, 1)
			check(all[0].Message)
			require.NoError(t, b.DeadLetters().Resend(buskit.Ctx(t), all[0].ID))
			d = buskit.Take(t, source, 1)[0]
			check(*d.Message())
			require.True(t, d.Resent())
			require.Equal(t, 1, d.Attempt())
			require.NoError(t, source.Close(t.Context()))

			from, err := ch.Consume(opts.Namespace+".cmd.thing.do", "", true, false, false, false, nil)
			require.NoError(t, err)
			raw := <-from
			require.Equal(t, amqp.Table{"a": "b"}, raw.Headers["table"])
			require.Equal(t, []any{"x", int32(1)}, raw.Headers["list"])
			require.Equal(t, int32(7), raw.Headers["number"])
			require.Equal(t, []any{"utf-8", "c-1", "r", "t", "a", uint8(3)}, []any{raw.ContentEncoding, raw.CorrelationId, raw.ReplyTo, raw.Type, raw.AppId, raw.Priority})
			require.Equal(t, amqp.Persistent, raw.DeliveryMode)
			require.NotContains(t, raw.Headers, "CC", "it is not routed elsewhere again")
			require.NotContains(t, raw.Headers, "x-sourced-dead-reason")
		})
	}
}

// TestMalformedMessages go to the dead letters with a reason, and can be shown
// and discarded there.
func TestMalformedMessages(t *testing.T) {
	t.Parallel()
	url := rabbitURL(t)
	opts := rabbitbus.Options{Group: "g", Namespace: buskit.Namespace()}
	b := connect(t, url, opts)
	source := buskit.Listen(t, b, "thing.do")
	ch := channel(t, url)
	bad := []amqp.Publishing{
		{Headers: amqp.Table{"x-sourced-kind": "banana"}},
		{Headers: amqp.Table{"x-sourced-source-sequence": "many"}},
		{Headers: amqp.Table{"x-sourced-time": "yesterday"}},
		{Headers: amqp.Table{"x-sourced-source-aggregate-type": "order"}}, // without an id
		{MessageId: "bad\nid"},
		{Body: make([]byte, envelope.MaxDataBytes+1)},
	}
	for n := range bad {
		require.NoError(t, ch.PublishWithContext(t.Context(), "", opts.Namespace+".cmd.thing.do", true, false, bad[n]))
	}
	for _, d := range buskit.Take(t, source, len(bad)) {
		require.ErrorIs(t, d.Malformed(), bus.ErrMalformed)
		require.NoError(t, d.DeadLetter(t.Context(), bus.Failure{Reason: d.Malformed().Error(), Attempts: 1, Time: time.Now()}))
	}
	all := buskit.Letters(t, b)
	require.Len(t, all, len(bad))
	for _, l := range all {
		require.NotEmpty(t, l.Reason)
		require.NoError(t, b.DeadLetters().Discard(buskit.Ctx(t), l.ID))
	}
	require.Empty(t, buskit.Letters(t, b))
}

// TestForeignDeadLetters: what the broker or a stranger puts among the dead
// letters can be looked after, too.
func TestForeignDeadLetters(t *testing.T) {
	t.Parallel()
	url := rabbitURL(t)
	opts := rabbitbus.Options{Group: "g", Namespace: buskit.Namespace()}
	b := connect(t, url, opts)
	source := buskit.Subscribe(t, b, "thing.happened")
	ch := channel(t, url)
	dead := opts.Namespace + ".dead"
	require.NoError(t, ch.PublishWithContext(t.Context(), "", dead, true, false, amqp.Publishing{Body: []byte("just this")}))
	// A queue whose owner has the broker dead-letter what it rejects.
	name := opts.Namespace + ".evt.rejecting"
	_, err := ch.QueueDeclare(name, true, false, false, false, amqp.Table{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
	require.NoError(t, err)
	require.NoError(t, ch.QueueBind(name, "thing.happened", opts.Namespace+".events", false, nil))
	buskit.PublishUntil(t, b, buskit.Event(t, "thing.happened", 1))
	require.NoError(t, buskit.Take(t, source, 1)[0].Ack(t.Context()))
	rejected, ok, err := ch.Get(name, false)
	require.NoError(t, err)
	require.True(t, ok)
	require.NoError(t, rejected.Reject(false))
	require.Eventually(t, func() bool { return len(buskit.Letters(t, b)) == 2 }, buskit.Patience, 10*time.Millisecond)
	all := buskit.Letters(t, b)
	require.Equal(t, []byte("just this"), all[0].Message.Data)
	require.NotEqual(t, all[0].ID, all[1].ID)
	require.Equal(t, "thing.happened", all[1].Message.Name)
	require.Equal(t, opts.Namespace+".rejecting", all[1].Group)
	require.ErrorIs(t, b.DeadLetters().Resend(buskit.Ctx(t), all[1].ID), bus.ErrUnroutable, "no bus made that queue")
	require.Len(t, buskit.Letters(t, b), 2, "it stays")
	for _, l := range all {
		require.NoError(t, b.DeadLetters().Discard(buskit.Ctx(t), l.ID))
	}
	require.Empty(t, buskit.Letters(t, b))
}

// TestNamesAndLimits: what RabbitMQ cannot carry is refused, and harms no
// other message.
func TestNamesAndLimits(t *testing.T) {
	t.Parallel()
	url := rabbitURL(t)
	opts := rabbitbus.Options{Group: "g", Namespace: buskit.Namespace()}
	b := connect(t, url, opts)
	commands, events := buskit.Listen(t, b, "thing.*.do#"), buskit.Subscribe(t, b, "a*.#b.c")
	long := strings.Repeat("x", 250)
	withKey := func(key string) envelope.Message {
		m := buskit.Event(t, "a*.#b.c", 1)
		m.Key = key
		m.Metadata.Keys = map[string]string{key: "v"}
		return m
	}
	longID := buskit.Event(t, "a*.#b.c", 22)
	longID.ID = strings.Repeat("y", envelope.MaxMessageIDBytes)
	messages := []envelope.Message{
		buskit.Command(t, "thing.*.do#", 0), buskit.Command(t, long, 1), buskit.Event(t, "some.*", 2), buskit.Event(t, "#", 3), buskit.Event(t, long, 4),
		withKey("CC"), withKey("BCC"), withKey("x-death"), withKey("x-delivery-count"), longID,
	}
	refused := []bool{false, true, true, true, false, true, true, true, true, false}
	for n, err := range bus.PublishErrors(b.PublishBatch(buskit.Ctx(t), messages), len(messages)) {
		if refused[n] {
			require.ErrorIs(t, err, bus.ErrRefused, "message %d", n)
		} else {
			require.NoError(t, err, "message %d", n)
		}
	}
	require.Equal(t, messages[0].Name, buskit.Take(t, commands, 1)[0].Message().Name)
	d := buskit.Take(t, events, 1)[0]
	require.Equal(t, longID.ID, d.Message().ID)
	require.NoError(t, d.Malformed())
	for _, name := range []string{"*", "a.#", long + long} {
		_, err := b.Transport().Subscribe(buskit.Ctx(t), []string{name})
		require.ErrorIs(t, err, bus.ErrInvalid)
	}
	_, err := b.Transport().Listen(buskit.Ctx(t), []string{long})
	require.ErrorIs(t, err, bus.ErrInvalid)

	for field, o := range map[string]rabbitbus.Options{
		"group":               {Namespace: "n"},
		"namespace":           {Namespace: "amq.x", Group: "g"},
		"SingleActive":        {Namespace: "n", Group: "g", Compat: true, SingleActive: true},
		"MaxHeld":             {Namespace: "n", Group: "g", MaxHeld: 70000},
		"Heartbeat":           {Namespace: "n", Group: "g", Heartbeat: time.Millisecond},
		"ConfirmTimeout":      {Namespace: "n", Group: "g", ConfirmTimeout: -1},
		"namespace and group": {Namespace: long[:200], Group: long[:60]},
	} {
		_, err := rabbitbus.Connect(buskit.Ctx(t), url, o)
		require.ErrorIs(t, err, bus.ErrInvalid, field)
		require.Contains(t, err.Error(), field)
	}
}
