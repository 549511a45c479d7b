package kafkabus_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/kafkabus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/internal/testenv"
	"github.com/troupe-go/troupe/internal/testenv/buskit"
)

// TestBadOptions: what is wrong is said by name and value, before anything is
// connected.
func TestBadOptions(t *testing.T) {
	t.Parallel()
	good := kafkabus.Options{Group: "g", Namespace: "app"}
	for field, spoil := range map[string]func(*kafkabus.Options){
		"group":           func(o *kafkabus.Options) { o.Group = "" },
		"namespace":       func(o *kafkabus.Options) { o.Namespace = "app/v1" },
		"Partitions":      func(o *kafkabus.Options) { o.Partitions = -1 },
		"Replication":     func(o *kafkabus.Options) { o.Replication = 1000 },
		"MaxMessageBytes": func(o *kafkabus.Options) { o.MaxMessageBytes = 10 },
		"SessionTimeout":  func(o *kafkabus.Options) { o.SessionTimeout = time.Millisecond },
		"HandOver":        func(o *kafkabus.Options) { o.HandOver = -1 },
	} {
		o := good
		spoil(&o)
		_, err := kafkabus.Connect(t.Context(), "127.0.0.1:1", o)
		require.ErrorIs(t, err, bus.ErrInvalid, field)
		require.ErrorContains(t, err, field)
	}
	for _, brokers := range []string{"", "localhost", "kafka://localhost:9092", ":9092", "a:1,,b:2"} {
		_, err := kafkabus.Connect(t.Context(), brokers, good)
		require.ErrorIs(t, err, bus.ErrInvalid, brokers)
		require.ErrorContains(t, err, "brokers")
	}
}

// TestNobodyThere: a wrong address is unavailable, soon.
func TestNobodyThere(t *testing.T) {
	t.Parallel()
	_, err := kafkabus.Connect(buskit.Ctx(t), fmt.Sprint("127.0.0.1:", testenv.FreePort(t)),
		kafkabus.Options{Group: "g", Namespace: "app", ConnectTimeout: time.Second, Logger: quiet})
	require.ErrorIs(t, err, bus.ErrUnavailable)
}

// TestCredentialsAndPermissions: refused credentials end Connect; a missing
// permission ends Listen and Subscribe, and refuses the messages that it is for.
func TestCredentialsAndPermissions(t *testing.T) {
	t.Parallel()
	port := testenv.FreePort(t)
	server := testenv.StartService(t, "kafka", fmt.Sprint("SERVICES_KAFKA_SASL_PORT=", port))
	_, admin := stranger(t, server.URL)
	_, err := admin.CreateACLs(buskit.Ctx(t), kadm.NewACLs().Allow("User:user").AllowHosts("*").
		Topics("app.evt.open", "app.again").Operations(kadm.OpAll).ResourcePatternType(kadm.ACLPatternPrefixed))
	require.NoError(t, err)

	brokers := fmt.Sprint("127.0.0.1:", port)
	as := func(user, password string) []kgo.Opt {
		return []kgo.Opt{kgo.SASL(plain.Auth{User: user, Pass: password}.AsMechanism())}
	}
	opts := kafkabus.Options{Group: "g", Namespace: "app", Logger: quiet, Client: as("user", "wrong")}
	_, err = kafkabus.Connect(buskit.Ctx(t), brokers, opts)
	require.ErrorIs(t, err, bus.ErrUnauthorized)
	require.NotContains(t, err.Error(), "wrong", "the password")

	opts.Client = as("user", "secret")
	b, err := kafkabus.Connect(buskit.Ctx(t), brokers, opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	errs := bus.PublishErrors(b.PublishBatch(buskit.Ctx(t), []envelope.Message{
		event(t, "closed.happened", "a", 1), event(t, "open.happened", "b", 2),
	}), 2)
	require.ErrorIs(t, errs[0], bus.ErrRefused)
	require.ErrorContains(t, errs[0], "app.evt.closed.happened")
	require.NoError(t, errs[1])

	_, err = b.Transport().Subscribe(buskit.Ctx(t), []string{"closed.happened"})
	require.ErrorIs(t, err, bus.ErrUnauthorized, "the topic")
	err = b.Subscribe(buskit.Ctx(t), bus.NewHandlers().OnEvent("open.happened", (&seen{}).handle), bus.Idempotent())
	require.ErrorIs(t, err, bus.ErrUnauthorized, "the group")
	require.ErrorContains(t, err, "app.g.evt")
}

// TestNamesThatTopicsCannotHave are refused for good, and alone.
func TestNamesThatTopicsCannotHave(t *testing.T) {
	t.Parallel()
	b := connect(t, brokers(t), kafkabus.Options{Group: "g", Namespace: buskit.Namespace()})
	for _, name := range []string{"order shipped", "größe", "a/b", strings.Repeat("x", 250)} {
		errs := bus.PublishErrors(b.PublishBatch(buskit.Ctx(t), []envelope.Message{
			event(t, name, "a", 1), event(t, "good", "b", 2),
		}), 2)
		require.ErrorIs(t, errs[0], bus.ErrRefused, name)
		require.NoError(t, errs[1], name)
		_, err := b.Transport().Subscribe(buskit.Ctx(t), []string{name})
		require.ErrorIs(t, err, bus.ErrInvalid, name)
	}
}

// TestTopicsLimit: what a topic does not take is refused before it is sent, and
// nothing of its key is sent behind it, of other keys everything.
func TestTopicsLimit(t *testing.T) {
	t.Parallel()
	ns := buskit.Namespace()
	b := connect(t, brokers(t), kafkabus.Options{Group: "g", Namespace: ns})
	client, admin := stranger(t, brokers(t))
	_, err := admin.CreateTopic(buskit.Ctx(t), 1, 1, map[string]*string{"max.message.bytes": kadm.StringPtr("2000")}, ns+".evt.small")
	require.NoError(t, err)
	big := event(t, "small", "a", 2)
	big.Data = make([]byte, 4000)
	errs := bus.PublishErrors(b.PublishBatch(buskit.Ctx(t), []envelope.Message{
		event(t, "small", "a", 1), big, event(t, "small", "a", 3), event(t, "other", "a", 4), event(t, "small", "b", 5),
	}), 5)
	require.NoError(t, errs[0])
	require.ErrorIs(t, errs[1], bus.ErrRefused)
	require.ErrorContains(t, errs[1], "2000")
	for _, behind := range errs[2:4] {
		require.ErrorIs(t, behind, bus.ErrUnavailable)
		require.False(t, bus.IsPermanent(behind))
	}
	require.NoError(t, errs[4])
	ends, err := kadm.NewClient(client).ListEndOffsets(buskit.Ctx(t), ns+".evt.small")
	require.NoError(t, err)
	end, _ := ends.Lookup(ns+".evt.small", 0)
	require.EqualValues(t, 2, end.Offset)
}

// TestStrangersRecords: what somebody else writes to our topics is handled as far
// as it can be understood; its order is that of its own keys.
func TestStrangersRecords(t *testing.T) {
	t.Parallel()
	ns := buskit.Namespace()
	b := connect(t, brokers(t), kafkabus.Options{Group: "g", Namespace: ns, Partitions: 1})
	s := buskit.Subscribe(t, b, "thing.happened")
	client, _ := stranger(t, brokers(t))
	header := func(key, value string) kgo.RecordHeader {
		return kgo.RecordHeader{Key: key, Value: []byte(value)}
	}
	for _, r := range []*kgo.Record{
		{Key: []byte("customer 1"), Value: []byte("plain"), Headers: []kgo.RecordHeader{header("X-Tenant", "acme"), header("", "odd"), header("x-binary", "\xff\x00")}},
		{Value: nil},
		{Key: []byte("\xff\xfe"), Value: []byte("x"), Headers: []kgo.RecordHeader{header("x-sourced-kind", "riddle")}},
		{Value: []byte("x"), Headers: []kgo.RecordHeader{header("x-sourced-id", "a\nb")}},
		{Value: []byte("x"), Headers: []kgo.RecordHeader{header("x-sourced-kind", "event"), header("x-sourced-id", "1"), header("x-sourced-id", "2")}},
	} {
		r.Topic = ns + ".evt.thing.happened"
		require.NoError(t, client.ProduceSync(buskit.Ctx(t), r).FirstErr())
	}
	got := buskit.Take(t, s, 5)
	require.NoError(t, got[0].Malformed())
	m := got[0].Message()
	require.Equal(t, "customer 1", m.OrderingKey())
	require.Equal(t, map[string]string{"X-Tenant": "acme"}, m.Metadata.Keys)
	require.Equal(t, "thing.happened", m.Name)
	require.Empty(t, m.ID)
	require.NoError(t, got[1].Malformed())
	require.Equal(t, []byte{}, got[1].Message().Data)
	require.ErrorIs(t, got[2].Malformed(), bus.ErrMalformed)
	require.ErrorIs(t, got[3].Malformed(), bus.ErrMalformed)
	require.NoError(t, got[4].Malformed())
	require.Equal(t, "2", got[4].Message().ID)

	for _, d := range got[2:4] { // they can be set aside, seen and sent again
		require.NoError(t, d.DeadLetter(buskit.Ctx(t), bus.Failure{Reason: "riddle", Attempts: 1, Time: time.Now()}))
	}
	n, err := b.DeadLetters().ResendAll(buskit.Ctx(t), bus.DeadLetterFilter{})
	require.NoError(t, err)
	require.Equal(t, 2, n)
	for _, d := range buskit.Take(t, s, 2) {
		require.ErrorIs(t, d.Malformed(), bus.ErrMalformed)
		require.True(t, d.Resent())
		require.Equal(t, "thing.happened", d.Message().Name)
	}
}

// TestTopicIsMadeAgain: a topic that is deleted under a bus that publishes is made
// anew.
func TestTopicIsMadeAgain(t *testing.T) {
	t.Parallel()
	ns := buskit.Namespace()
	b := connect(t, brokers(t), kafkabus.Options{Group: "g", Namespace: ns, ConfirmTimeout: 2 * time.Second})
	buskit.Publish(t, b, event(t, "thing.happened", "a", 1))
	_, admin := stranger(t, brokers(t))
	_, err := admin.DeleteTopic(buskit.Ctx(t), ns+".evt.thing.happened")
	require.NoError(t, err)
	buskit.PublishUntil(t, b, event(t, "thing.happened", "a", 2))
	s := buskit.Subscribe(t, b, "thing.happened")
	require.Equal(t, "thing.happened-a-2", buskit.Take(t, s, 1)[0].Message().ID)
}

// TestBrokerAway: while the broker hangs nothing is confirmed, and every call ends
// in time; when it goes on, so does everything, in order.
func TestBrokerAway(t *testing.T) {
	t.Parallel()
	server := testenv.StartService(t, "kafka")
	b := connect(t, server.URL, kafkabus.Options{Group: "g", Namespace: buskit.Namespace(), ConfirmTimeout: time.Second, SessionTimeout: 5 * time.Second})
	var got seen
	end := run(t, b, bus.NewHandlers().OnEvent("counted", got.handle), bus.Idempotent())
	buskit.PublishUntil(t, b, event(t, "counted", "a", 0))
	until(t, "the first is handled", func() bool { return got.count("counted-a-0") > 0 })

	server.Freeze()
	begin := time.Now()
	err := b.PublishBatch(buskit.Ctx(t), []envelope.Message{event(t, "counted", "a", 1), event(t, "counted", "b", 1)})
	for _, err := range bus.PublishErrors(err, 2) {
		require.ErrorIs(t, err, bus.ErrUnavailable)
	}
	for _, err := range b.DeadLetters().List(buskit.Ctx(t), bus.DeadLetterFilter{}) {
		require.ErrorIs(t, err, bus.ErrUnavailable)
	}
	require.Less(t, time.Since(begin), 20*time.Second, "calls end when ConfirmTimeout is over")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, b.PublishBatch(ctx, []envelope.Message{event(t, "counted", "c", 1)}), context.DeadlineExceeded)
	server.Thaw()

	for n := 1; n < 5; n++ {
		buskit.PublishUntil(t, b, event(t, "counted", "a", n))
	}
	until(t, "all are handled", func() bool { return got.count("counted-a-4") > 0 })
	end()
	last := -1
	for _, id := range got.all() {
		var n int
		if _, err := fmt.Sscanf(id, "counted-a-%d", &n); err == nil && n > last {
			require.Equal(t, last+1, n, "in order: %v", got.all())
			last = n
		}
	}
	require.Equal(t, 4, last)
}

// TestWhatIsSettledStaysSo: behind a message that is tried again and again others
// are handled, and a replica that takes over handles only the one.
func TestWhatIsSettledStaysSo(t *testing.T) {
	t.Parallel()
	ns := buskit.Namespace()
	opts := kafkabus.Options{Group: "g", Namespace: ns, Partitions: 1}
	b := connect(t, brokers(t), opts)
	var healed atomic.Bool
	var got seen
	handlers := bus.NewHandlers().OnEvent("thing.happened", func(ctx context.Context, m *envelope.Message) error {
		if m.Key == "bad" && !healed.Load() {
			return fmt.Errorf("not yet")
		}
		return got.handle(ctx, m)
	})
	end := run(t, b, handlers, bus.Idempotent())
	all := []envelope.Message{event(t, "thing.happened", "bad", 0)}
	for n := range 100 {
		all = append(all, event(t, "thing.happened", fmt.Sprint("good-", n%7), n))
	}
	buskit.Publish(t, b, all...)
	until(t, "the others are handled", func() bool { return len(got.all()) == 100 })
	end()

	healed.Store(true)
	end = run(t, connect(t, brokers(t), opts), handlers, bus.Idempotent())
	buskit.Publish(t, b, event(t, "thing.happened", "last", 0))
	until(t, "the one is handled", func() bool { return got.count("thing.happened-bad-0") == 1 && got.count("thing.happened-last-0") == 1 })
	end()
	require.Len(t, got.all(), 102, "nothing twice")
}
