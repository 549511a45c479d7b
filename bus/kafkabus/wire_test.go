package kafkabus_test

import (
	"bufio"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/kafkabus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/internal/testenv/buskit"
)

// recorded reads the records of a file in testdata.
func recorded(t testing.TB, name string) (all []*kgo.Record) {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name))
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	text := func(quoted string) string {
		s, err := strconv.Unquote(quoted)
		require.NoError(t, err, quoted)
		return s
	}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		switch word {
		case "record":
			all = append(all, &kgo.Record{})
		case "topic":
			all[len(all)-1].Topic = text(rest)
		case "key":
			all[len(all)-1].Key = []byte(text(rest))
		case "value":
			all[len(all)-1].Value = []byte(text(rest))
		case "header":
			key, err := strconv.QuotedPrefix(rest)
			require.NoError(t, err)
			r := all[len(all)-1]
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: text(key), Value: []byte(text(strings.TrimSpace(rest[len(key):])))})
		}
	}
	require.NoError(t, lines.Err())
	require.NotEmpty(t, all)
	return all
}

// TestRustRecordsAreRead: what a Rust service sends is handled here, with all that
// it says.
func TestRustRecordsAreRead(t *testing.T) {
	t.Parallel()
	ns := buskit.Namespace()
	b := connect(t, brokers(t), kafkabus.Options{Group: "g", Namespace: ns, Partitions: 1})
	events := buskit.Subscribe(t, b, "order.shipped")
	commands, err := b.Transport().Listen(buskit.Ctx(t), []string{"order.ship"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, commands.Close(context.Background())) })
	client, _ := stranger(t, brokers(t))
	for _, r := range recorded(t, "rust-1.5.0-send.kafka") {
		r.Topic = ns + strings.TrimPrefix(r.Topic, "rust-app.v1")
		require.NoError(t, client.ProduceSync(buskit.Ctx(t), r).FirstErr())
	}
	order := envelope.Message{
		Codec: "json", Source: envelope.Stream{Type: "order", ID: "order-1"}, SourceVersion: 7,
		Metadata: envelope.Metadata{CorrelationID: "conversation-1", CausationID: "cause-1", Keys: map[string]string{"tenant": "größe, 100 % = ✓"}},
		Data:     []byte(`{"order":"order-1"}`),
	}
	command, event := order, order
	command.ID, command.Kind, command.Name, command.Destination = "command-1", envelope.KindCommand, "order.ship", "shipping"
	event.ID, event.Kind, event.Name = "order-1:order.shipped:7", envelope.KindEvent, "order.shipped"
	bare := envelope.Message{Kind: envelope.KindCommand, Name: "order.ship", Data: []byte(`{"order":"order-1"}`)}
	bareEvent := envelope.Message{Kind: envelope.KindEvent, Name: "order.shipped", Data: []byte(`{"order":"order-2"}`)}
	for i, d := range slices.Concat(buskit.Take(t, commands, 2), buskit.Take(t, events, 2)) {
		require.NoError(t, d.Malformed())
		m := *d.Message()
		require.False(t, m.Time.IsZero(), "when the record was written")
		m.Time = bare.Time
		require.Equal(t, []envelope.Message{command, bare, event, bareEvent}[i], m)
	}
}

// TestRustRecordsAreReproduced: the same message from here has all headers that a
// Rust service's has, with their values and in its order of kind and id, in the
// same topic. The key differs, on purpose: theirs is the id, ours keeps order.
func TestRustRecordsAreReproduced(t *testing.T) {
	t.Parallel()
	ns := buskit.Namespace()
	b := connect(t, brokers(t), kafkabus.Options{Group: "g", Namespace: ns, Partitions: 1})
	for _, theirs := range recorded(t, "rust-1.5.0-send.kafka") {
		kind, name := envelope.KindEvent, strings.TrimPrefix(theirs.Topic, "rust-app.v1.evt.")
		if command, ok := strings.CutPrefix(theirs.Topic, "rust-app.v1.cmd."); ok {
			kind, name = envelope.KindCommand, command
		}
		m := envelope.Message{Kind: kind, Name: name, Data: theirs.Value}
		for _, h := range theirs.Headers {
			switch h.Key {
			case bus.HeaderID:
				m.ID = string(h.Value)
			case bus.HeaderKind:
			default:
				require.NoError(t, bus.SetHeader(&m, h.Key, string(h.Value)))
			}
		}
		if m.ID == "" {
			continue // ours have one
		}
		buskit.Publish(t, b, m)
		topic := ns + strings.TrimPrefix(theirs.Topic, "rust-app.v1")
		client, _ := stranger(t, brokers(t), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		fetches := client.PollFetches(buskit.Ctx(t))
		require.NoError(t, fetches.Err())
		ours := fetches.Records()[0]
		require.Equal(t, topic, ours.Topic)
		require.Equal(t, theirs.Value, ours.Value)
		require.Equal(t, theirs.Headers[:2], ours.Headers[:2])
		for _, h := range theirs.Headers {
			require.Contains(t, ours.Headers, h)
		}
		require.Equal(t, m.OrderingKey(), string(ours.Key))
	}
}
