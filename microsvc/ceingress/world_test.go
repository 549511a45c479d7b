package ceingress_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/knativebus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/microsvc"
	"github.com/troupe-go/troupe/microsvc/ceingress"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// everything keeps all metadata.
var everything = &ceingress.Options{Session: []string{"*"}}

// seen is what handlers got, in order.
type seen struct {
	mu       sync.Mutex
	messages []envelope.Message
	sessions []microsvc.Session
}

func (s *seen) note(c *microsvc.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = append(s.messages, *c.Message())
	s.sessions = append(s.sessions, c.Session().Clone())
}

func (s *seen) all() []envelope.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]envelope.Message{}, s.messages...)
}

func (s *seen) ids() string {
	var ids []string
	for _, m := range s.all() {
		ids = append(ids, m.ID)
	}
	return strings.Join(ids, " ")
}

// quiet is a service without a log, and a run without one.
func quiet(run bus.RunOptions) (*microsvc.Service, bus.RunOptions) {
	run.Logger = slog.New(slog.DiscardHandler)
	return microsvc.New("shipping").WithOptions(microsvc.Options{Logger: run.Logger}), run
}

// watching is a service that notes the commands and events of these names.
func watching(names ...string) (*microsvc.Service, *seen) {
	got := &seen{}
	svc, _ := quiet(bus.Idempotent())
	note := func(c *microsvc.Context) error {
		got.note(c)
		return nil
	}
	for _, name := range names {
		svc.Event(name, note).Register(microsvc.Handle(name, func(c *microsvc.Context, _ any) (any, error) { return nil, note(c) }))
	}
	return svc, got
}

// rawWatching notes before anything is decoded, for data that is no JSON.
func rawWatching(names ...string) (*microsvc.Service, *seen) {
	svc, got := watching(names...)
	return svc.Use(func(microsvc.HandlerFunc) microsvc.HandlerFunc {
		return func(c *microsvc.Context) (any, error) {
			got.note(c)
			return nil, nil
		}
	}), got
}

func serve(t testing.TB, svc *microsvc.Service, run bus.RunOptions, opts *ceingress.Options) *httptest.Server {
	t.Helper()
	run.Logger = slog.New(slog.DiscardHandler)
	in, err := ceingress.Handler(svc, run, opts)
	require.NoError(t, err)
	server := httptest.NewServer(in)
	t.Cleanup(server.Close)
	return server
}

type reply struct {
	status int
	header http.Header
	body   string
}

// post sends one request; header is names and values.
func post(t testing.TB, server *httptest.Server, path, body string, header ...string) reply {
	t.Helper()
	answer, err := try(server, path, body, header...)
	require.NoError(t, err)
	return answer
}

// try is post for other goroutines than the test's.
func try(server *httptest.Server, path, body string, header ...string) (reply, error) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, server.URL+path, strings.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	return send(server, req)
}

func send(server *httptest.Server, req *http.Request) (reply, error) {
	resp, err := server.Client().Do(req)
	if err != nil {
		return reply{}, err
	}
	body, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, string(body)}, errors.Join(err, resp.Body.Close())
}

func do(t testing.TB, server *httptest.Server, req *http.Request) reply {
	t.Helper()
	answer, err := send(server, req)
	require.NoError(t, err)
	return answer
}

// ce is the headers of an event in binary mode, and more.
func ce(id, typ string, more ...string) []string {
	return append([]string{"Ce-Specversion", "1.0", "Ce-Source", "/test", "Ce-Id", id, "Ce-Type", typ}, more...)
}

const (
	structuredJSON = "application/cloudevents+json"
	batchJSON      = "application/cloudevents-batch+json"
)

// publisher publishes straight to an ingress, as a broker would deliver.
func publisher(t testing.TB, url string) *bus.Bus {
	t.Helper()
	b, err := knativebus.New(knativebus.Options{
		Service: "orders",
		Brokers: map[string]string{knativebus.EventsBroker("orders"): url, knativebus.CommandsBroker("shipping"): url},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

// full is a message with everything.
func full() envelope.Message {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	return envelope.Message{
		ID: "order-1:order.shipped:7 – ü/:*>%41", Kind: envelope.KindEvent, Name: "order.shipped", Key: "customer 日本/1",
		ContentType: "application/x-test; charset=utf-8", Codec: "test-1", Data: all, Destination: "shipping",
		Time:   time.Date(2026, 3, 4, 5, 6, 7, 123456789, time.UTC),
		Source: envelope.Stream{Type: "order", ID: "order-1"}, SourceVersion: 7,
		Metadata: envelope.Metadata{
			CorrelationID: "conversation 1", CausationID: "cause:1", CommandID: "command-1",
			Keys: map[string]string{
				"tenant": "acme", "Empty": "", "traceparent": "00-1-2-01", "note_1": "größe, 100 % \"quoted\" = ✓ 🎉", "note1": "other",
				"tab": "a\tb", "nonchar": "\ufffe", "correlationid": "mine", "id": "i", "type": "t", "data": "d", "partitionkey": "p",
				"sourcedkey": "s", "sourcedmeta": "{}", "knativearrivaltime": "never", "Tenant": "ACME", "quoted": `"all"`, "encoded": "%41",
				"x-hasura-user-id": "ada", strings.Repeat("k", 21): "y", "!#$%&'*+-.^_`|~": "z", "datacontenttype": "dc", "time": "now",
			},
		},
	}
}
