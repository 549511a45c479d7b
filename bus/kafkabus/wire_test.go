package kafkabus_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/kafkabus"
	"github.com/troupe-go/troupe/envelope"
)

// block is one record, or request, of a recording: its lines, each a word and what
// is behind it, text unquoted.
type block [][]string

// recorded reads what a program of distributed 1.5.0 sent to Kafka, and what it
// asked: the head of each file says how it was recorded.
func recorded(t testing.TB, what string) (all []block) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "rust-1.5.0-"+what+".kafka"))
	require.NoError(t, err)
	for part := range strings.SplitSeq(string(text), "\n\n") {
		var b block
		for line := range strings.Lines(part) {
			line = strings.TrimSuffix(line, "\n")
			if line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			word, rest, _ := strings.Cut(line, " ")
			b = append(b, append([]string{word}, fields(t, rest)...))
		}
		if b != nil {
			all = append(all, b)
		}
	}
	return all
}

func fields(t testing.TB, rest string) (all []string) {
	t.Helper()
	for rest = strings.TrimLeft(rest, " "); rest != ""; rest = strings.TrimLeft(rest, " ") {
		if quoted, err := strconv.QuotedPrefix(rest); err == nil {
			text, err := strconv.Unquote(quoted)
			require.NoError(t, err)
			all, rest = append(all, text), rest[len(quoted):]
			continue
		}
		word, behind, _ := strings.Cut(rest, " ")
		all, rest = append(all, word), behind
	}
	return all
}

// lines are those that begin with word, without it.
func (b block) lines(word string) (all [][]string) {
	for _, line := range b {
		if line[0] == word {
			all = append(all, line[1:])
		}
	}
	return all
}

func (b block) text(word string) string { return b.lines(word)[0][0] }

const rustNamespace = "rust-app.v1"

// rustRecords are those of the recording, in another namespace.
func rustRecords(t testing.TB, ns string) (all []*kgo.Record) {
	t.Helper()
	for _, b := range recorded(t, "send") {
		r := &kgo.Record{
			Topic: ns + strings.TrimPrefix(b.text("topic"), rustNamespace),
			Key:   []byte(strings.Replace(b.text("key"), rustNamespace, ns, 1)), Value: []byte(b.text("value")),
		}
		for _, h := range b.lines("header") {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: h[0], Value: []byte(h[1])})
		}
		all = append(all, r)
	}
	require.Len(t, all, 4)
	return all
}

// rustMessages are these records, as a bus has to see them.
func rustMessages() []envelope.Message {
	full := envelope.Message{
		ID: "command-1", Kind: envelope.KindCommand, Name: "order.ship", Destination: "shipping", Codec: "json", Data: []byte(`{"order":"order-1"}`),
		Source: envelope.Stream{Type: "order", ID: "order-1"}, SourceVersion: 7,
		Metadata: envelope.Metadata{CorrelationID: "conversation-1", CausationID: "cause-1", Keys: map[string]string{"tenant": "größe, 100 % = ✓"}},
	}
	event := full
	event.ID, event.Kind, event.Name, event.Destination = "order-1:order.shipped:7", envelope.KindEvent, "order.shipped", ""
	return []envelope.Message{
		full,
		{Kind: envelope.KindCommand, Name: "order.ship", Data: []byte(`{"order":"order-1"}`)},
		event,
		{Kind: envelope.KindEvent, Name: "order.shipped", Data: []byte(`{"order":"order-2"}`)},
	}
}

func wireBus(t testing.TB, group string, opts kafkabus.Options) (b *bus.Bus, ns string, raw *kgo.Client) {
	t.Helper()
	addr := brokers(t)
	ns = fmt.Sprint("wire-", time.Now().UnixNano(), ".", group)
	opts.Group, opts.Namespace = group, ns
	b = connect(t, addr, opts)
	raw, err := kgo.NewClient(kgo.SeedBrokers(addr))
	require.NoError(t, err)
	t.Cleanup(raw.Close)
	return b, ns, raw
}

// soon bounds what a test waits for.
func soon(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// TestReadsTheRustService: what a Rust service sent, byte for byte, arrives as it
// was meant.
func TestReadsTheRustService(t *testing.T) {
	t.Parallel()
	b, ns, raw := wireBus(t, "reads", kafkabus.Options{Compat: true})
	ctx := soon(t)
	sources := map[envelope.Kind]bus.Source{}
	var err error
	sources[envelope.KindCommand], err = b.Transport().Listen(ctx, []string{"order.ship"}) // which makes the topics
	require.NoError(t, err)
	sources[envelope.KindEvent], err = b.Transport().Subscribe(ctx, []string{"order.shipped"})
	require.NoError(t, err)
	require.NoError(t, raw.ProduceSync(ctx, rustRecords(t, ns)...).FirstErr())

	for kind, source := range sources {
		var got []bus.Delivery
		for len(got) < 2 {
			more, err := source.Receive(ctx, 2)
			require.NoError(t, err)
			got = append(got, more...)
		}
		for _, d := range got {
			require.NoError(t, d.Malformed())
			m := *d.Message()
			want := slices.IndexFunc(rustMessages(), func(w envelope.Message) bool { return w.Kind == kind && w.ID == m.ID })
			require.GreaterOrEqual(t, want, 0, "%+v", m)
			require.False(t, m.Time.IsZero(), "when the broker got it")
			m.Time = time.Time{}
			require.Equal(t, rustMessages()[want], m)
			require.NoError(t, d.Ack(ctx))
		}
		require.NotEqual(t, got[0].Message().ID, got[1].Message().ID)
		require.NoError(t, source.Close(ctx))
	}
}

// TestAsTheRustServiceDoes: the same topics and values, and the same headers, but
// for those that we have more. The key is another one: messages of one ordering
// key are in one partition.
func TestAsTheRustServiceDoes(t *testing.T) {
	t.Parallel()
	b, ns, raw := wireBus(t, "does", kafkabus.Options{Compat: true})
	ctx := soon(t)
	ours := rustMessages()
	for n := range ours {
		if ours[n].ID == "" {
			ours[n].ID = "ours always have one"
		}
	}
	require.NoError(t, b.PublishBatch(ctx, ours))

	want := rustRecords(t, ns)
	parts := map[string]map[int32]kgo.Offset{}
	topics, err := kadm.NewClient(raw).ListTopics(ctx, want[0].Topic, want[2].Topic)
	require.NoError(t, err)
	topics.EachPartition(func(p kadm.PartitionDetail) {
		if parts[p.Topic] == nil {
			parts[p.Topic] = map[int32]kgo.Offset{}
		}
		parts[p.Topic][p.Partition] = kgo.NewOffset().AtStart()
	})
	raw.AddConsumePartitions(parts)
	var got []*kgo.Record
	for len(got) < len(want) {
		fetched := raw.PollFetches(ctx)
		require.NoError(t, fetched.Err())
		got = append(got, fetched.Records()...)
	}
	texts := func(r *kgo.Record) (all []string) {
		for _, h := range r.Headers {
			all = append(all, h.Key+": "+string(h.Value))
		}
		slices.Sort(all)
		return all
	}
	for n, w := range want {
		if len(w.Headers) == 1 { // a Rust service sends without an id what was given none
			w.Headers = append(w.Headers, kgo.RecordHeader{Key: "x-sourced-id", Value: []byte("ours always have one")})
		}
		i := slices.IndexFunc(got, func(r *kgo.Record) bool {
			return r.Topic == w.Topic && string(r.Value) == string(w.Value) && slices.Equal(texts(r), texts(w))
		})
		require.GreaterOrEqual(t, i, 0, "%v is not among %v", w, got)
		require.Equal(t, ours[n].OrderingKey(), string(got[i].Key))
		require.Equal(t, "x-sourced-kind", got[i].Headers[0].Key, "in this spelling, or a Rust service drops the message")
	}
}

// TestJoinsAsTheRustServiceDoes: in compat mode the group has the Rust service's
// name, and a protocol that it offers, too.
func TestJoinsAsTheRustServiceDoes(t *testing.T) {
	t.Parallel()
	b, ns, raw := wireBus(t, "rust", kafkabus.Options{Compat: true})
	ctx := soon(t)
	commands, err := b.Transport().Listen(ctx, []string{"order.ship"})
	require.NoError(t, err)
	defer func() { require.NoError(t, commands.Close(context.WithoutCancel(ctx))) }()
	events, err := b.Transport().Subscribe(ctx, []string{"order.shipped"})
	require.NoError(t, err)
	defer func() { require.NoError(t, events.Close(context.WithoutCancel(ctx))) }()

	admin, joined := kadm.NewClient(raw), 0
	for _, r := range recorded(t, "consume") {
		if r.text("request") != "JoinGroup" {
			continue
		}
		joined++
		var offered, topics []string
		for _, p := range r.lines("protocol") {
			var theirs kmsg.ConsumerMemberMetadata
			require.NoError(t, theirs.ReadFrom([]byte(p[1])))
			offered = append(offered, p[0])
			for _, topic := range theirs.Topics {
				topics = append(topics, strings.Replace(topic, rustNamespace, ns, 1))
			}
		}
		group := strings.Replace(r.text("group"), rustNamespace, ns, 1)
		var described kadm.DescribedGroup
		for has := []string(nil); !subset(topics, has); { // it joins anew as it finds its topics
			require.NoError(t, ctx.Err(), "%v: %+v", topics, described)
			all, err := admin.DescribeGroups(ctx, group)
			require.NoError(t, err)
			if described = all[group]; described.State != "Stable" {
				continue
			}
			require.Len(t, described.Members, 1)
			ours, ok := described.Members[0].Join.AsConsumer()
			require.True(t, ok)
			has = ours.Topics
		}
		require.Equal(t, r.text("type"), described.ProtocolType)
		require.Contains(t, offered, described.Protocol)
	}
	require.Equal(t, 2, joined)
}

func subset(some, all []string) bool {
	return !slices.ContainsFunc(some, func(one string) bool { return !slices.Contains(all, one) })
}
