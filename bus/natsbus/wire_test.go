package natsbus_test

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/natsbus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/internal/testenv"
	"github.com/troupe-go/troupe/internal/testenv/buskit"
)

// frame is one message that a client sent.
type frame struct {
	subject string
	head    string // raw, with its first line
	headers map[string]string
	body    string
}

// parse reads the protocol of NATS clients, without the driver under test: what
// was published, requests to JetStream included, in order.
func parse(t testing.TB, stream []byte) (all []frame) {
	t.Helper()
	for len(stream) > 0 {
		line, rest, ok := bytes.Cut(stream, []byte("\r\n"))
		require.True(t, ok, "a line ends: %q", line)
		stream = rest
		fields := strings.Fields(string(line))
		if len(fields) == 0 {
			continue
		}
		verb := strings.ToUpper(fields[0])
		if verb != "PUB" && verb != "HPUB" {
			continue
		}
		number := func(field string) int {
			n, err := strconv.Atoi(field)
			require.NoError(t, err)
			return n
		}
		f := frame{subject: fields[1], headers: map[string]string{}}
		size, head := number(fields[len(fields)-1]), 0
		if verb == "HPUB" {
			head = number(fields[len(fields)-2])
		}
		f.head, f.body = string(stream[:head]), string(stream[head:size])
		for n, line := range strings.Split(strings.TrimSuffix(f.head, "\r\n\r\n"), "\r\n") {
			if n == 0 {
				require.Contains(t, []string{"", "NATS/1.0"}, line)
				continue
			}
			key, value, ok := strings.Cut(line, ":")
			require.True(t, ok, line)
			f.headers[key] = strings.TrimPrefix(value, " ")
		}
		all = append(all, f)
		stream = stream[size+len("\r\n"):]
	}
	return all
}

// messages are those of a namespace among frames.
func messages(frames []frame, ns string) (all []frame) {
	for _, f := range frames {
		if strings.HasPrefix(f.subject, ns+".") {
			all = append(all, f)
		}
	}
	return all
}

// request decodes that to JetStream whose subject begins so.
func request(t testing.TB, frames []frame, prefix string) (subject string, body map[string]any) {
	t.Helper()
	for _, f := range frames {
		if strings.HasPrefix(f.subject, prefix) {
			require.NoError(t, json.Unmarshal([]byte(f.body), &body))
			return f.subject, body
		}
	}
	require.Fail(t, "no request", prefix)
	return "", nil
}

// said is what was recorded, once all connections have ended.
func said(t testing.TB, r *testenv.Recorder) (all []frame) {
	t.Helper()
	for _, stream := range r.Streams() {
		all = append(all, parse(t, stream)...)
	}
	return all
}

// rust is what a program of distributed 1.5.0 sent to NATS 2.15 in namespace
// "rust-app.v1" as group "rust", recorded on the wire: "send" makes the stream,
// sends a command and publishes an event; "consume" listens and subscribes.
func rust(t testing.TB, what string) []frame {
	t.Helper()
	stream, err := os.ReadFile(filepath.Join("testdata", "rust-1.5.0-"+what+".nats"))
	require.NoError(t, err)
	return parse(t, stream)
}

const rustNamespace = "rust-app.v1"

// rustMessages are those of "send", as a bus has to see them.
func rustMessages() []envelope.Message {
	return []envelope.Message{
		{Kind: envelope.KindCommand, Name: "order.ship", Data: []byte(`{"order":"order-1"}`)},
		{
			ID: "order-1:order.shipped:7", Kind: envelope.KindEvent, Name: "order.shipped", Codec: "json", Data: []byte(`{"order":"order-1"}`),
			Source: envelope.Stream{Type: "order", ID: "order-1"}, SourceVersion: 7,
			Metadata: envelope.Metadata{CorrelationID: "conversation-1", CausationID: "cause-1", Keys: map[string]string{"tenant": "größe, 100 % = ✓"}},
		},
	}
}

// TestReadsTheRustService: what a Rust service sent, byte for byte, arrives as
// it was meant.
func TestReadsTheRustService(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	conn, js := client(t, s.url())
	recorded := rust(t, "send")
	_, stream := request(t, recorded, "$JS.API.STREAM.CREATE.RUST_APP_V1")
	body, err := json.Marshal(stream)
	require.NoError(t, err)
	var config jetstream.StreamConfig
	require.NoError(t, json.Unmarshal(body, &config))
	_, err = js.CreateStream(buskit.Ctx(t), config)
	require.NoError(t, err)
	for _, f := range messages(recorded, rustNamespace) {
		header, err := nats.DecodeHeadersMsg([]byte(f.head))
		require.NoError(t, err)
		_, err = js.PublishMsg(buskit.Ctx(t), &nats.Msg{Subject: f.subject, Header: header, Data: []byte(f.body)})
		require.NoError(t, err)
	}
	require.NoError(t, conn.Flush())
	b := connect(t, s.url(), natsbus.Options{Group: "go", Namespace: rustNamespace})
	want := rustMessages()
	for n, source := range []bus.Source{buskit.Listen(t, b, "order.ship"), buskit.Subscribe(t, b, "order.shipped")} {
		d := buskit.Take(t, source, 1)[0]
		require.NoError(t, d.Malformed())
		got := *d.Message()
		require.False(t, got.Time.IsZero(), "when the broker got it")
		got.Time = want[n].Time
		require.Equal(t, want[n], got)
		require.NoError(t, d.Ack(t.Context()))
	}
}

// TestAsTheRustServiceDoes: the same streams, consumers and subjects, and the
// same headers, but for those that we have more.
func TestAsTheRustServiceDoes(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := testenv.StartRecorder(t, strings.TrimPrefix(s.url(), "nats://"))
	b, err := natsbus.Connect(t.Context(), "nats://"+r.Addr(), natsbus.Options{Group: "rust", Namespace: rustNamespace, Stream: small, Logger: quiet})
	require.NoError(t, err)
	buskit.Listen(t, b, "order.ship")
	buskit.Subscribe(t, b, "order.shipped")
	ours := rustMessages()
	ours[0].ID = "command-1" // ours always have one
	require.NoError(t, b.PublishBatch(t.Context(), ours))
	require.NoError(t, b.Close())
	got := said(t, r)

	want := append(rust(t, "send"), rust(t, "consume")...)
	_, wantStream := request(t, want, "$JS.API.STREAM.CREATE.")
	subject, gotStream := request(t, got, "$JS.API.STREAM.CREATE.")
	require.Equal(t, "$JS.API.STREAM.CREATE.RUST_APP_V1", subject)
	for _, field := range []string{"name", "subjects", "retention", "storage"} {
		require.Equal(t, wantStream[field], gotStream[field], field)
	}
	for _, durable := range []string{"rust_cmd", "rust_evt"} {
		subject := "$JS.API.CONSUMER.CREATE.RUST_APP_V1." + durable
		_, wantConsumer := request(t, want, subject)
		_, gotConsumer := request(t, got, subject)
		for _, field := range []string{"durable_name", "filter_subjects", "ack_policy", "deliver_policy", "replay_policy"} {
			require.Equal(t, wantConsumer["config"].(map[string]any)[field], gotConsumer["config"].(map[string]any)[field], field)
		}
	}
	theirs, sent := messages(want, rustNamespace), messages(got, rustNamespace)
	require.Len(t, theirs, 2)
	require.Len(t, sent, 2)
	for n, f := range sent {
		require.Equal(t, theirs[n].subject, f.subject)
		require.Equal(t, theirs[n].body, f.body)
		if n == 0 {
			require.NotContains(t, theirs[n].headers, "Nats-Msg-Id", "a Rust service sends commands without")
			theirs[n].headers["Nats-Msg-Id"] = "command-1"
		}
		require.Equal(t, theirs[n].headers, f.headers)
	}
}

// TestContentType: ours alone say it, in a header that the Rust service takes for
// metadata.
func TestContentType(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := testenv.StartRecorder(t, strings.TrimPrefix(s.url(), "nats://"))
	b, err := natsbus.Connect(t.Context(), "nats://"+r.Addr(), natsbus.Options{Group: "g", Namespace: "app", Stream: small, Logger: quiet})
	require.NoError(t, err)
	buskit.Publish(t, b, buskit.Event(t, "thing.happened", 1))
	require.NoError(t, b.Close())
	sent := messages(said(t, r), "app")
	require.Len(t, sent, 1)
	headers := maps.Clone(sent[0].headers)
	require.Contains(t, headers, "x-sourced-time")
	delete(headers, "x-sourced-time")
	require.Equal(t, map[string]string{
		"Nats-Msg-Id": "thing.happened-1", "X-Sourced-Kind": "event", "Content-Type": "application/json",
		"x-sourced-payload-codec": "json", "x-sourced-payload-codec-version": "1", "x-sourced-key": "key-1",
	}, headers)
}

// TestStrangersHeaders: what other clients write in headers neither gets into
// metadata nor keeps a message from being set aside and sent again.
func TestStrangersHeaders(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	b := connect(t, s.url(), natsbus.Options{Group: "g", Namespace: "app"})
	source := buskit.Subscribe(t, b, "thing.happened")
	raw, err := net.Dial("tcp", strings.TrimPrefix(s.url(), "nats://"))
	require.NoError(t, err)
	defer func() { require.NoError(t, raw.Close()) }()
	head := "NATS/1.0\r\nbad key: 1\r\ngrün: 2\r\n: 3\r\nempty:\r\ngood: a\r\ngood: b  \r\nX-Sourced-New: 4\r\n\r\n"
	_, err = io.WriteString(raw, `CONNECT {"headers":true,"verbose":false}`+"\r\n"+
		"HPUB app.evt.thing.happened "+strconv.Itoa(len(head))+" "+strconv.Itoa(len(head)+2)+"\r\n"+head+"{}\r\n")
	require.NoError(t, err)
	d := buskit.Take(t, source, 1)[0]
	require.NoError(t, d.Malformed())
	require.Empty(t, d.Message().ID)
	require.Equal(t, "b", strings.TrimSpace(d.Message().Metadata.Keys["good"]))
	require.NotContains(t, d.Message().Metadata.Keys, "bad key")
	require.NotContains(t, d.Message().Metadata.Keys, "X-Sourced-New")
	require.NoError(t, d.DeadLetter(t.Context(), bus.Failure{Reason: "r", Attempts: 1}))
	n, err := b.DeadLetters().ResendAll(buskit.Ctx(t), bus.DeadLetterFilter{})
	require.NoError(t, err)
	require.Equal(t, 1, n)
	again := buskit.Take(t, source, 1)[0]
	require.Empty(t, again.Message().ID)
	require.Equal(t, "b", again.Message().Metadata.Keys["good"])
	require.NoError(t, again.Ack(t.Context()))
}
