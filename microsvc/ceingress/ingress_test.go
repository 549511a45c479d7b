package ceingress_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/microsvc"
	"github.com/troupe-go/troupe/microsvc/ceingress"
)

func optionsFor(session []string) *ceingress.Options { return &ceingress.Options{Session: session} }

func TestMalformed(t *testing.T) {
	t.Parallel()
	svc, got := watching("a")
	server := serve(t, svc, bus.Idempotent(), &ceingress.Options{MaxBodyBytes: 4000, MaxHeaderBytes: 4 << 10, MaxBatch: 2})
	object := func(more string) string {
		return `{"specversion":"1.0","id":"1","source":"/s","type":"a"` + more + `}`
	}
	for _, c := range []struct {
		name, path, body string
		header           []string
		status           int
		text             string
	}{
		{name: "nothing", status: 400, text: "specversion"},
		{name: "plain JSON", body: "{}", header: []string{"Content-Type", "application/json"}, status: 400, text: "specversion"},
		{name: "no id", header: []string{"Ce-Specversion", "1.0", "Ce-Source", "s", "Ce-Type", "a"}, status: 400, text: "message id"},
		{name: "no type", header: []string{"Ce-Specversion", "1.0", "Ce-Source", "s", "Ce-Id", "1"}, status: 400, text: "message name"},
		{name: "no source", header: []string{"Ce-Specversion", "1.0", "Ce-Type", "a", "Ce-Id", "1"}, status: 400, text: "source"},
		{name: "source with a space", header: []string{"Ce-Specversion", "1.0", "Ce-Type", "a", "Ce-Id", "1", "Ce-Source", "a%20b"}, status: 400, text: "URI"},
		{name: "version 0.3", header: []string{"Ce-Specversion", "0.3", "Ce-Source", "s", "Ce-Type", "a", "Ce-Id", "1"}, status: 400, text: "0.3"},
		{name: "kind", header: ce("1", "a", "Ce-Sourcedkind", "query"), status: 400, text: "query"},
		{name: "time", header: ce("1", "a", "Ce-Time", "noon"), status: 400, text: "time"},
		{name: "sequence", header: ce("1", "a", "Ce-Sourcedsourceseq", "-1"), status: 400, text: "sequence"},
		{name: "half a source", header: ce("1", "a", "Ce-Sourcedsourcetype", "order"), status: 400, text: "stream"},
		{name: "metadata", header: ce("1", "a", "Ce-Sourcedmeta", "{"), status: 400, text: "sourcedmeta"},
		{name: "reserved metadata", header: ce("1", "a", "Ce-Sourcedmeta", `{"x-sourced-key":"k"}`), status: 400, text: "sourcedmeta"},
		{name: "id that is no UTF-8", header: ce("%ff", "a"), status: 400, text: "UTF-8"},
		{name: "id with a line", header: ce("a%0ab", "a"), status: 400, text: "control"},
		{name: "id too long", header: ce(strings.Repeat("x", 600), "a"), status: 400, text: "600 bytes"},
		{name: "type twice", header: ce("1", "a", "Ce-Type", "b"), status: 400, text: "given 2 times"},
		{name: "content type twice", header: ce("1", "a", "Content-Type", "application/json", "Content-Type", structuredJSON), status: 400, text: "given 2 times"},
		{name: "path of another type", path: "/cloudevent/b", header: ce("1", "a"), status: 400, text: "path of another"},
		{name: "no JSON", body: "x", header: []string{"Content-Type", structuredJSON}, status: 400, text: "invalid character"},
		{name: "empty", header: []string{"Content-Type", structuredJSON}, status: 400, text: "unexpected end"},
		{name: "array", body: "[]", header: []string{"Content-Type", structuredJSON}, status: 400, text: "want an object"},
		{name: "cut off", body: object("")[:30], header: []string{"Content-Type", structuredJSON}, status: 400, text: "unexpected end"},
		{name: "something follows", body: object("") + "{}", header: []string{"Content-Type", structuredJSON}, status: 400, text: "follows"},
		{name: "invalid UTF-8", body: object(`,"x":"` + "\xff" + `"`), header: []string{"Content-Type", structuredJSON}, status: 400, text: "UTF-8"},
		{name: "attribute twice", body: object(`,"Type":"b"`), header: []string{"Content-Type", structuredJSON}, status: 400, text: "twice"},
		{name: "id that is an object", body: `{"specversion":"1.0","id":{},"source":"/s","type":"a"}`, header: []string{"Content-Type", structuredJSON}, status: 400, text: "neither"},
		{name: "fraction", body: object(`,"n":1.5`), header: []string{"Content-Type", structuredJSON}, status: 400, text: "no integer"},
		{name: "huge number", body: object(`,"n":1e999`), header: []string{"Content-Type", structuredJSON}, status: 400, text: "no integer"},
		{name: "data twice", body: object(`,"data":1,"data_base64":"YQ=="`), header: []string{"Content-Type", structuredJSON}, status: 400, text: "data_base64"},
		{name: "broken base64", body: object(`,"data_base64":"?"`), header: []string{"Content-Type", structuredJSON}, status: 400, text: "base64"},
		{name: "base64 that is no text", body: object(`,"data_base64":7`), header: []string{"Content-Type", structuredJSON}, status: 400, text: "no text"},
		{name: "deep", body: object(`,"data":` + strings.Repeat("[", 3000)), header: []string{"Content-Type", structuredJSON}, status: 400, text: "invalid character"},
		{name: "batch that is an object", body: object(""), header: []string{"Content-Type", batchJSON}, status: 400, text: "want an array"},
		{name: "batch of numbers", body: "[1]", header: []string{"Content-Type", batchJSON}, status: 400, text: "event 0 of the batch"},
		{name: "batch with a broken one", body: "[" + object("") + `,{"id":"2"}]`, header: []string{"Content-Type", batchJSON}, status: 400, text: "event 1 of the batch"},
		{name: "batch cut off", body: "[" + object(""), header: []string{"Content-Type", batchJSON}, status: 400, text: "unexpected end"},
		{name: "batch too long", body: "[" + strings.Repeat(object("")+",", 2) + object("") + "]", header: []string{"Content-Type", batchJSON}, status: 413, text: "at most 2"},
		{name: "body too large", body: strings.Repeat("x", 4001), header: ce("1", "a"), status: 413, text: "larger than 4000"},
		{name: "headers too large", header: ce("1", "a", "Ce-Blob", strings.Repeat("x", 5000)), status: 431, text: "larger than 4096"},
		{name: "Avro", body: "x", header: []string{"Content-Type", "application/cloudevents+avro"}, status: 415, text: "JSON"},
		{name: "Latin-1", body: object(""), header: []string{"Content-Type", structuredJSON + "; charset=latin1"}, status: 415, text: "UTF-8"},
		{name: "broken content type", body: object(""), header: []string{"Content-Type", structuredJSON + "; ;="}, status: 415, text: "JSON"},
		{name: "compressed", header: ce("1", "a", "Content-Encoding", "gzip"), status: 415, text: "compressed"},
		{name: "elsewhere", path: "/a", header: ce("1", "a"), status: 404, text: "/cloudevent/{type}"},
		{name: "no type in the path", path: "/cloudevent/", header: ce("1", "a"), status: 404, text: "/cloudevent/{type}"},
		{name: "two segments", path: "/cloudevent/a/b", header: ce("1", "a"), status: 404, text: "/cloudevent/{type}"},
		{name: "unknown", header: ce("1", "b"), status: 422, text: `nothing handles event \"b\"`},
		{name: "unknown command", header: ce("1", "b", "Ce-Sourcedkind", "command"), status: 422, text: `nothing handles command \"b\"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := c.path
			if path == "" {
				path = "/"
			}
			answer := post(t, server, path, c.body, c.header...)
			require.Equal(t, c.status, answer.status, answer.body)
			require.Contains(t, answer.body, c.text)
			require.True(t, json.Valid([]byte(answer.body)))
			require.Empty(t, answer.header.Get("Retry-After"))
			require.Equal(t, "nosniff", answer.header.Get("X-Content-Type-Options"))
		})
	}
	resp, err := server.Client().Get(server.URL)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, 405, resp.StatusCode)
	require.Equal(t, "POST", resp.Header.Get("Allow"))
	require.Empty(t, got.all(), "none had an effect")
	require.Equal(t, 200, post(t, server, "/cloudevent/%61", "{}", ce("1", "a")...).status)
	require.Equal(t, 200, post(t, server, "/", object(` , "data" : {} `), "Content-Type", "Application/CloudEvents+JSON; charset=UTF-8").status)
	require.Equal(t, 200, post(t, server, "/", "[]", "Content-Type", batchJSON).status, "of nothing, everything was handled")
	require.Len(t, got.all(), 2)
}

// TestDataThatIsTooLarge: beyond what a message may have.
func TestDataThatIsTooLarge(t *testing.T) {
	t.Parallel()
	svc, got := rawWatching("a")
	server := serve(t, svc, bus.Idempotent(), nil)
	require.Equal(t, 413, post(t, server, "/", strings.Repeat("x", envelope.MaxDataBytes+1), ce("1", "a")...).status)
	require.Equal(t, 200, post(t, server, "/", strings.Repeat("x", envelope.MaxDataBytes), ce("1", "a")...).status)
	require.Len(t, got.all(), 1)
}

const secret = "password=hunter2"

// TestStatuses: what a handler's error means to the sender.
func TestStatuses(t *testing.T) {
	t.Parallel()
	failing := map[string]error{}
	svc, run := quiet(bus.Idempotent())
	svc.Event("a", func(c *microsvc.Context) error {
		err := failing[c.Message().Meta("tenant")]
		if err == nil {
			panic(secret)
		}
		return err
	})
	server := serve(t, svc, run, everything)
	for name, c := range map[string]struct {
		err    error
		status int
		text   string
	}{
		"unknown error":  {errors.New(secret), 503, "internal server error"},
		"conflict":       {fmt.Errorf("%w: %s", aggregate.ErrConflict, secret), 503, "conflict"},
		"unavailable":    {fmt.Errorf("%w: %s", aggregate.ErrUnavailable, secret), 503, "unavailable"},
		"overloaded":     {fmt.Errorf("%w: %s", aggregate.ErrOverloaded, secret), 503, "overloaded"},
		"not found":      {aggregate.NotFound(envelope.Stream{Type: "order", ID: "1"}), 503, "order"},
		"deadline":       {context.DeadlineExceeded, 503, "deadline"},
		"retryable":      {bus.Retryable(aggregate.Reject("not now")), 503, "not now"},
		"rejected":       {aggregate.Reject("never"), 422, "never"},
		"unauthorized":   {aggregate.Unauthorized("who are you?"), 422, "who are you?"},
		"permanent":      {bus.Permanent(errors.New(secret)), 422, "internal server error"},
		"decode":         {&microsvc.DecodeError{Offset: 3, Reason: "is odd"}, 422, "is odd at offset 3"},
		"panic":          {nil, 422, "internal server error"},
		"nobody's event": {bus.ErrUnhandled, 422, "nothing handles"},
	} {
		failing[name] = c.err
		answer := post(t, server, "/", "", ce("id-1", "a", "Ce-Tenant", name)...)
		require.Equal(t, c.status, answer.status, name)
		require.Contains(t, answer.body, c.text, name)
		require.NotContains(t, answer.body, secret)
		require.Contains(t, answer.body, `"id":"/test id-1"`)
		require.Equal(t, c.status == 503, answer.header.Get("Retry-After") == "1", name)
	}
}

// TestThePublisherUnderstands: an ingress behind a bus without a broker.
func TestThePublisherUnderstands(t *testing.T) {
	t.Parallel()
	svc, run := quiet(bus.Idempotent())
	tries := 0
	svc.Register(
		microsvc.Handle("busy", func(*microsvc.Context, any) (any, error) {
			if tries++; tries < 3 {
				return nil, aggregate.ErrUnavailable
			}
			return nil, nil
		}),
		microsvc.Handle("no", func(*microsvc.Context, any) (any, error) { return nil, aggregate.Reject("no") }))
	b := publisher(t, serve(t, svc, run, nil).URL)
	for range 2 {
		require.ErrorIs(t, b.Send(t.Context(), "busy", 1, bus.To("shipping"), bus.WithID("1")), bus.ErrUnavailable)
	}
	require.NoError(t, b.Send(t.Context(), "busy", 1, bus.To("shipping"), bus.WithID("1")))
	err := b.Send(t.Context(), "no", 1, bus.To("shipping"))
	require.ErrorIs(t, err, bus.ErrRefused)
	require.True(t, bus.IsPermanent(err))
	require.ErrorIs(t, b.Send(t.Context(), "what", 1, bus.To("shipping")), bus.ErrRefused)
}

// batch is events in a batch: "type/key" each, with its place as id.
func batch(events ...string) string {
	var b strings.Builder
	for i, e := range events {
		typ, key, _ := strings.Cut(e, "/")
		fmt.Fprintf(&b, `%s{"specversion":"1.0","id":"%d","source":"s","type":%q,"sourcedkind":"event","partitionkey":%q,"data":%d}`,
			map[bool]string{true: "[", false: ","}[i == 0], i, typ, key, i)
	}
	return b.String() + "]"
}

func TestWhatABatchIsAnswered(t *testing.T) {
	t.Parallel()
	svc, run := quiet(bus.Idempotent())
	got := &seen{}
	svc.Event("ok", func(c *microsvc.Context) error { got.note(c); return nil }).
		Event("busy", func(*microsvc.Context) error { return aggregate.ErrUnavailable }).
		Event("no", func(*microsvc.Context) error { return aggregate.Reject("never") })
	run.Concurrency = 1
	server := serve(t, svc, run, nil)
	for _, c := range []struct {
		events   []string
		status   int
		statuses []int
		handled  string
	}{
		{[]string{"ok/a", "ok/a", "ok/b", "ok/"}, 200, nil, "0 1 2 3"},
		{[]string{"ok/a", "no/a", "ok/a", "what/"}, 422, []int{200, 422, 200, 422}, "0 2"},
		{[]string{"ok/a", "no/a", "busy/b", "ok/"}, 503, []int{200, 422, 503, 200}, "0 3"},
		// Behind one of its key that is to come again, nothing is begun.
		{[]string{"ok/a", "busy/a", "ok/a", "no/a", "ok/b"}, 503, []int{200, 503, 503, 503, 200}, "0 4"},
	} {
		got.messages = nil
		answer := post(t, server, "/", batch(c.events...), "Content-Type", batchJSON)
		require.Equal(t, c.status, answer.status, answer.body)
		require.ElementsMatch(t, strings.Fields(c.handled), strings.Fields(got.ids()))
		if c.status == 200 {
			require.Empty(t, answer.body)
			continue
		}
		require.Equal(t, c.status == 503, answer.header.Get("Retry-After") != "")
		var body struct {
			Error  string
			Events []struct {
				ID     string
				Status int
				Error  string
			}
		}
		require.NoError(t, json.Unmarshal([]byte(answer.body), &body))
		var statuses []int
		for i, e := range body.Events {
			statuses = append(statuses, e.Status)
			require.Equal(t, fmt.Sprint(i), e.ID)
			require.Equal(t, e.Status == 200, e.Error == "")
		}
		require.Equal(t, c.statuses, statuses)
		require.Contains(t, body.Error, fmt.Sprintf("of %d events failed", len(c.events)))
	}
}

func TestABatchKeepsTheOrderOfAKey(t *testing.T) {
	t.Parallel()
	svc, got := watching("a")
	server := serve(t, svc, bus.Idempotent(), &ceingress.Options{MaxBatch: 1000})
	var events []string
	for i := range 1000 {
		events = append(events, fmt.Sprint("a/", i%7))
	}
	require.Equal(t, 200, post(t, server, "/", batch(events...), "Content-Type", batchJSON).status)
	next := map[string]int{}
	for _, m := range got.all() {
		var i int
		_, err := fmt.Sscan(m.ID, &i)
		require.NoError(t, err)
		require.Equal(t, next[m.Key]*7+i%7, i)
		next[m.Key]++
	}
	require.Len(t, got.all(), 1000)
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	for policy, status := range map[bus.FailurePolicy]int{bus.PolicyDeadLetter: 422, bus.PolicyRetry: 503, bus.PolicyLogAndAck: 200} {
		svc, run := quiet(bus.Idempotent())
		svc.Event("a", func(*microsvc.Context) error { return aggregate.Reject("never") })
		var counters bus.Counters
		run.Policy, run.Observe = policy, counters.Observe
		require.Equal(t, status, post(t, serve(t, svc, run, nil), "/", "", ce("1", "a")...).status)
		require.EqualValues(t, 1, counters.Count(bus.DeadLettered)+counters.Count(bus.Retried)+counters.Count(bus.Dropped))
	}
	svc, run := quiet(bus.Idempotent())
	svc.Event("a", func(*microsvc.Context) error { return aggregate.ErrUnavailable })
	run.MaxAttempts = 1
	require.Equal(t, 422, post(t, serve(t, svc, run, nil), "/", "", ce("1", "a")...).status)
}

func TestEventsOnly(t *testing.T) {
	t.Parallel()
	svc, got := watching("a")
	server := serve(t, svc, bus.Idempotent(), &ceingress.Options{EventsOnly: true})
	answer := post(t, server, "/", "{}", ce("1", "a", "Ce-Sourcedkind", "command")...)
	require.Equal(t, 422, answer.status)
	require.Contains(t, answer.body, "commands are not taken here")
	require.Empty(t, got.all())
	require.Equal(t, 200, post(t, server, "/", "{}", ce("1", "a", "Ce-Sourcedkind", "event")...).status)
}

func TestMountedUnderAPrefix(t *testing.T) {
	t.Parallel()
	svc, got := watching("a")
	in, err := ceingress.Handler(svc, bus.Idempotent(), nil)
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.Handle("/events", http.StripPrefix("/events", in))
	mux.Handle("/events/", http.StripPrefix("/events", in))
	server := httptest.NewServer(mux)
	defer server.Close()
	for _, path := range []string{"/events", "/events/", "/events/cloudevent/a"} {
		require.Equal(t, 200, post(t, server, path, "{}", ce("1", "a")...).status, path)
	}
	require.Equal(t, 404, post(t, server, "/events/b", "{}", ce("1", "a")...).status)
	require.Len(t, got.all(), 3)
}

func TestTooManyRequests(t *testing.T) {
	t.Parallel()
	svc, run := quiet(bus.Idempotent())
	begun, end := make(chan struct{}), make(chan struct{})
	svc.Event("a", func(*microsvc.Context) error {
		begun <- struct{}{}
		<-end
		return nil
	})
	server := serve(t, svc, run, &ceingress.Options{MaxRequests: 1, RetryAfter: 1500 * time.Millisecond})
	release := sync.OnceFunc(func() { close(end) })
	t.Cleanup(release) // before the server is closed, which waits for the handler
	first := make(chan reply, 1)
	go func() {
		answer, _ := try(server, "/", "", ce("1", "a")...)
		first <- answer
	}()
	<-begun
	answer := post(t, server, "/", "", ce("2", "a")...)
	require.Equal(t, 503, answer.status)
	require.Equal(t, "2", answer.header.Get("Retry-After"), "whole seconds, none too few")
	release()
	require.Equal(t, 200, (<-first).status)
	require.Equal(t, 400, post(t, server, "/", "", "Ce-Id", "1").status, "the place is free again")
	require.Equal(t, 400, post(t, server, "/", "", "Ce-Id", "1").status, "also behind what was malformed")
}

func TestDrain(t *testing.T) {
	t.Parallel()
	svc, got := watching("a")
	in, err := ceingress.Handler(svc, bus.Idempotent(), nil)
	require.NoError(t, err)
	server := httptest.NewServer(in)
	defer server.Close()
	in.Drain()
	answer := post(t, server, "/", "{}", ce("1", "a")...)
	require.Equal(t, 503, answer.status)
	require.Equal(t, "1", answer.header.Get("Retry-After"))
	require.Empty(t, got.all())
}

// TestASlowBody is cut off; the time that a body may take does not end a handler.
func TestASlowBody(t *testing.T) {
	t.Parallel()
	svc, run := quiet(bus.Idempotent())
	over := make(chan struct{})
	svc.Event("a", func(c *microsvc.Context) error {
		select {
		case <-c.Done():
			return c.Err()
		case <-over:
			return nil
		}
	})
	run.DrainTimeout = time.Millisecond // were the sender taken for gone, the handler would be ended
	server := serve(t, svc, run, &ceingress.Options{ReadTimeout: 50 * time.Millisecond})
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nCe-Id: 1\r\n\r\n{")
	require.NoError(t, err)
	answer, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.Contains(t, string(answer), "408 Request Timeout")
	time.AfterFunc(150*time.Millisecond, func() { close(over) })
	require.Equal(t, 200, post(t, server, "/", "", ce("1", "a")...).status)
}

// TestASenderThatLeaves: what is begun is finished.
func TestASenderThatLeaves(t *testing.T) {
	t.Parallel()
	svc, run := quiet(bus.Idempotent())
	begun, finished := make(chan struct{}), make(chan error, 1)
	gone := make(chan struct{})
	svc.Event("a", func(c *microsvc.Context) error {
		close(begun)
		<-gone
		finished <- c.Err()
		return nil
	})
	in, err := ceingress.Handler(svc, run, nil)
	require.NoError(t, err)
	ctx, leave := context.WithCancel(t.Context())
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/", strings.NewReader(""))
	for header := ce("1", "a"); len(header) > 0; header = header[2:] {
		r.Header.Set(header[0], header[1])
	}
	answered := make(chan *httptest.ResponseRecorder, 1)
	go func() {
		w := httptest.NewRecorder()
		in.ServeHTTP(w, r)
		answered <- w
	}()
	<-begun
	leave()
	close(gone)
	require.NoError(t, <-finished, "its context is not the sender's")
	require.Equal(t, 200, (<-answered).Code)
	// One that left before is not begun.
	w := httptest.NewRecorder()
	in.ServeHTTP(w, r)
	require.Equal(t, 503, w.Code)
	require.Contains(t, w.Body.String(), "was not begun")
}

func TestAHandlerThatDoesNotEnd(t *testing.T) {
	t.Parallel()
	svc, run := quiet(bus.Idempotent())
	end, ended := make(chan struct{}), make(chan struct{})
	begun := make(chan struct{})
	svc.Event("a", func(c *microsvc.Context) error {
		defer close(ended)
		close(begun)
		<-end
		return nil
	})
	run.DrainTimeout = time.Millisecond
	in, err := ceingress.Handler(svc, run, nil)
	require.NoError(t, err)
	ctx, leave := context.WithCancel(t.Context())
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/", strings.NewReader(""))
	for header := ce("1", "a"); len(header) > 0; header = header[2:] {
		r.Header.Set(header[0], header[1])
	}
	go func() {
		<-begun
		leave()
	}()
	w := httptest.NewRecorder()
	in.ServeHTTP(w, r)
	require.Equal(t, 503, w.Code)
	require.Contains(t, w.Body.String(), "no outcome yet")
	close(end)
	<-ended
}

func TestWrongOptionsAreNamed(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]ceingress.Options{
		"MaxBodyBytes": {MaxBodyBytes: -1}, "MaxHeaderBytes": {MaxHeaderBytes: -1}, "MaxBatch": {MaxBatch: -1}, "MaxRequests": {MaxRequests: -1},
		"ReadTimeout": {ReadTimeout: -1}, "RetryAfter": {RetryAfter: -1}, "Session": {Session: []string{""}},
	} {
		_, err := ceingress.Handler(microsvc.New("s"), bus.Idempotent(), &o)
		require.ErrorIs(t, err, aggregate.ErrInvalid)
		require.ErrorContains(t, err, name)
	}
	for name, run := range map[string]bus.RunOptions{
		"policy": {Policy: bus.PolicyPark}, "stop": {Policy: bus.PolicyStop}, "handler timeout": {HandlerTimeout: -1}, "concurrency": {Concurrency: -1},
	} {
		_, err := ceingress.Handler(microsvc.New("s"), run, nil)
		require.ErrorIs(t, err, aggregate.ErrInvalid)
		require.ErrorContains(t, err, name)
	}
	_, err := ceingress.Handler(microsvc.New("s").Event("", nil), bus.Idempotent(), nil)
	require.ErrorIs(t, err, aggregate.ErrInvalid)
}
