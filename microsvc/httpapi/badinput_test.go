package httpapi_test

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/microsvc"
	"github.com/troupe-go/troupe/microsvc/httpapi"
	"github.com/troupe-go/troupe/microsvc/microsvctest"
)

func TestBadRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server := w.serve(&httpapi.Options{MaxBodyBytes: 100, MaxHeaderBytes: 4 << 10})
	long := `{"id":"` + strings.Repeat("x", 100) + `","n":1}`
	for _, c := range []struct {
		name, method, path, body string
		header                   []string
		status                   int
		allow, text              string
	}{
		{name: "form", body: "id=1", header: []string{"Content-Type", "application/x-www-form-urlencoded"}, status: 415, text: "application/json"},
		{name: "no content type", body: "{}", header: []string{"Content-Type", ""}, status: 415, text: "application/json"},
		{name: "text", body: "{}", header: []string{"Content-Type", "text/plain"}, status: 415, text: "application/json"},
		{name: "charset", body: "{}", header: []string{"Content-Type", "application/json; charset=latin1"}, status: 415, text: "UTF-8"},
		{name: "compressed", body: "{}", header: []string{"Content-Encoding", "gzip"}, status: 415, text: "not compressed"},
		{name: "get a command", method: "GET", status: 405, allow: "POST", text: "method"},
		{name: "delete a command", method: "DELETE", status: 405, allow: "POST", text: "method"},
		{name: "post a probe", path: "/health", body: "{}", status: 405, allow: "GET, HEAD", text: "method"},
		{name: "unknown path", method: "GET", path: "/nothing", status: 404, text: "unknown command"},
		{name: "root", method: "POST", path: "/", body: "{}", status: 404, text: "unknown command"},
		{name: "too large", body: long, status: 413, text: "larger than 100 bytes"},
		{name: "large headers", body: "{}", header: []string{"X-Hasura-Blob", strings.Repeat("x", 5000)}, status: 431, text: "larger than 4096 bytes"},
		{name: "role twice", body: "{}", header: []string{"X-Hasura-Role", "guest", "X-Hasura-Role", "admin"}, status: 400, text: "given 2 times"},
		{name: "key twice", body: "{}", header: []string{"Idempotency-Key", "a", "Idempotency-Key", "b"}, status: 400, text: "given 2 times"},
		{name: "key too long", body: `{"id":"1","n":1}`, header: []string{"Idempotency-Key", strings.Repeat("k", 600)}, status: 400, text: "idempotency key"},
		{name: "blank correlation", body: `{"id":"1","n":1}`, header: []string{"X-Correlation-Id", strings.Repeat("c", 1000) + "\u00a0\xff"}, status: 400, text: "correlation"},
	} {
		t.Run(c.name, func(t *testing.T) {
			method, path := c.method, c.path
			if method == "" {
				method = "POST"
			}
			if path == "" {
				path = "/purse.put"
			}
			got := send(t, server, method, path, c.body, c.header...)
			require.Equal(t, c.status, got.status, got.body)
			require.Equal(t, c.allow, got.header.Get("Allow"))
			require.Contains(t, got.body, c.text)
			require.Equal(t, "nosniff", got.header.Get("X-Content-Type-Options"))
			require.NotEmpty(t, got.header.Get("X-Request-Id"))
		})
	}
	_, records := w.Coins("1")
	require.Zero(t, records, "none had an effect")
}

func TestABodyThatIsTooLargeWithoutALength(t *testing.T) {
	t.Parallel()
	server := newWorld(t).serve(&httpapi.Options{MaxBodyBytes: 100})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/purse.put", io.MultiReader(strings.NewReader(strings.Repeat(" ", 200))))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	resp, err := server.Client().Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, 413, resp.StatusCode)
}

func TestJSONTypesThatAreTaken(t *testing.T) {
	t.Parallel()
	server := newWorld(t).serve(nil)
	for _, typ := range []string{"application/json", "Application/JSON; charset=UTF-8", "application/vnd.purse+json"} {
		require.Equal(t, 200, send(t, server, "POST", "/purse.put", `{"id":"1","n":1}`, "Content-Type", typ).status, typ)
	}
}

func TestProbes(t *testing.T) {
	t.Parallel()
	ready := fmt.Errorf("no database at %s", secret)
	server := newWorld(t).serve(&httpapi.Options{
		Ready:  func(*http.Request) error { return ready },
		Logger: slog.New(slog.DiscardHandler),
	})
	got := send(t, server, "GET", "/health", "")
	require.Equal(t, 200, got.status)
	require.JSONEq(t, `{"ok":true,"commands":["fail","purse.bonus","purse.put","purse.take","whoami"]}`, got.body)
	require.Equal(t, 200, send(t, server, "GET", "/livez", "").status)
	got = send(t, server, "GET", "/readyz", "")
	require.Equal(t, 503, got.status)
	require.NotContains(t, got.body, secret)
	require.Equal(t, "1", got.header.Get("Retry-After"))
	ready = nil
	require.Equal(t, 200, send(t, server, "GET", "/readyz", "").status)
	got = send(t, server, "HEAD", "/health", "")
	require.Equal(t, 200, got.status)
	require.Empty(t, got.body)
	empty, err := httpapi.Handler(microsvc.New("empty"), nil)
	require.NoError(t, err)
	rec := httptest.NewRecorder()
	empty.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/health", nil))
	require.JSONEq(t, `{"ok":true,"commands":[]}`, rec.Body.String())
}

func TestRequestIDs(t *testing.T) {
	t.Parallel()
	server := newWorld(t).serve(nil)
	for _, id := range []string{"abc-123", "a b", "a\"b", strings.Repeat("x", 129)} {
		got := send(t, server, "POST", "/whoami", "{}", "X-Request-Id", id)
		kept := got.header.Get("X-Request-Id")
		require.NotEmpty(t, kept)
		require.Equal(t, id == "abc-123", kept == id)
		require.Contains(t, got.body, `"id":"`+kept+`"`)
	}
}

func TestSessionHeadersAreAnAllowList(t *testing.T) {
	t.Parallel()
	var got microsvc.Session
	w := newWorld(t, microsvc.Handle("session", func(c *microsvc.Context, _ any) (any, error) {
		got = c.Session()
		return nil, nil
	}))
	all := []string{
		"X-Hasura-User-Id", "u", "X-Hasura-Role", "r", "X-Hasura-Admin-Secret", "s", "X-Correlation-Id", "c", "X-Causation-Id", "d",
		"Authorization", "Bearer x", "Cookie", "a=b", "X-Tenant", "t",
	}
	for _, c := range []struct {
		allow []string
		want  microsvc.Session
	}{
		{nil, microsvc.Session{"x-hasura-user-id": "u", "x-hasura-role": "r", "correlation_id": "c", "causation_id": "d"}},
		{[]string{}, microsvc.Session{}},
		{[]string{"X-Tenant", "x-correlation-*"}, microsvc.Session{"x-tenant": "t", "correlation_id": "c"}},
		{[]string{"x-hasura-admin-secret"}, microsvc.Session{"x-hasura-admin-secret": "s"}},
	} {
		require.Equal(t, 200, send(t, w.serve(&httpapi.Options{SessionHeaders: c.allow}), "POST", "/session", "{}", all...).status)
		require.Equal(t, c.want, got)
	}
	server := w.serve(&httpapi.Options{Authenticate: func(r *http.Request) (microsvc.Session, error) {
		if r.Header.Get("Authorization") != "Bearer x" {
			return nil, aggregate.Unauthorized("who are you?")
		}
		return microsvc.Session{"X-Hasura-User-Id": "known"}, nil
	}})
	require.Equal(t, 200, send(t, server, "POST", "/session", "{}", all...).status)
	require.Equal(t, "known", got["x-hasura-user-id"], "it wins over the header")
	refused := send(t, server, "POST", "/session", "{}")
	require.Equal(t, 401, refused.status)
	require.Contains(t, refused.body, "who are you?")
}

func TestWrongOptionsAreNamed(t *testing.T) {
	t.Parallel()
	_, err := httpapi.Handler(microsvc.New("s"), &httpapi.Options{MaxBodyBytes: -1})
	require.ErrorIs(t, err, aggregate.ErrInvalid)
	require.ErrorContains(t, err, "MaxBodyBytes")
	_, err = httpapi.Handler(microsvc.New("s"), &httpapi.Options{SessionHeaders: []string{"*"}})
	require.ErrorContains(t, err, "SessionHeaders", "not everything")
	_, err = httpapi.Handler(microsvc.New("s").Event("", nil), nil)
	require.ErrorIs(t, err, aggregate.ErrInvalid)
	require.ErrorIs(t, httpapi.Serve(t.Context(), "127.0.0.1:0", microsvc.New(""), nil), aggregate.ErrInvalid)
	for _, base := range []string{"", "localhost:80", "ftp://x", "http://"} {
		_, err = httpapi.NewClient(base, nil)
		require.ErrorIs(t, err, aggregate.ErrInvalid, base)
	}
}

// raw opens a connection and sends text.
func raw(t *testing.T, addr, text string) *bufio.Reader {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	_, err = io.WriteString(conn, text)
	require.NoError(t, err)
	return bufio.NewReader(conn)
}

const head = "POST /purse.put HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 16\r\n"

// Slow callers are cut off: within the headers, and within the body.
func TestSlowCallersAreCutOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := start(t, w.Service, &httpapi.Options{HeaderTimeout: 50 * time.Millisecond, ReadTimeout: 50 * time.Millisecond, DrainDelay: -1})
	rest, err := io.ReadAll(raw(t, s.addr, head))
	require.NoError(t, err)
	require.NotContains(t, string(rest), " 200 ", "it was closed")
	resp, err := http.ReadResponse(raw(t, s.addr, head+"\r\n{\"id\":"), nil)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, 408, resp.StatusCode)
	require.True(t, resp.Close)
	_, records := w.Coins("1")
	require.Zero(t, records)
	require.NoError(t, s.stop())
}

// The time that a body may take does not end a command that takes longer.
func TestReadTimeoutIsForTheBodyOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, microsvc.Handle("slow", func(c *microsvc.Context, _ any) (string, error) {
		select {
		case <-c.Done():
			return "", c.Err()
		case <-time.After(150 * time.Millisecond):
			return "done", nil
		}
	}))
	got := send(t, w.serve(&httpapi.Options{ReadTimeout: 30 * time.Millisecond}), "POST", "/slow", "{}")
	require.Equal(t, 200, got.status, got.body)
}

func TestCommandsHaveADeadline(t *testing.T) {
	t.Parallel()
	w := newWorld(t, microsvc.Handle("slow", func(c *microsvc.Context, _ any) (any, error) {
		<-c.Done()
		return nil, c.Err()
	}))
	require.Equal(t, 504, send(t, w.serve(&httpapi.Options{Timeout: 20 * time.Millisecond}), "POST", "/slow", "{}").status)
}

// A caller that is gone before its input was there has asked for nothing.
func TestACallerThatLeavesInItsInput(t *testing.T) {
	t.Parallel()
	begun := make(chan struct{}, 1)
	w := newWorld(t, microsvc.Handle("begin", func(*microsvc.Context, any) (any, error) {
		begun <- struct{}{}
		return nil, nil
	}))
	api, err := httpapi.Handler(w.Service, nil)
	require.NoError(t, err)
	answered := make(chan struct{}, 2)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		api.ServeHTTP(rw, r)
		answered <- struct{}{}
	}))
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	_, err = io.WriteString(conn, strings.Replace(head, "purse.put", "begin", 1)+"\r\n{\"id\":")
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	<-answered
	require.Empty(t, begun)
}

// One that leaves later finds the reply under its idempotency key.
func TestACallerThatLeavesIsAnsweredUnderItsKey(t *testing.T) {
	t.Parallel()
	begun, goOn, ended := make(chan struct{}, 1), make(chan struct{}), make(chan struct{}, 2)
	var w *world
	w = newWorld(t, microsvc.Handle("purse.wait", func(c *microsvc.Context, in microsvctest.Move) (microsvctest.View, error) {
		begun <- struct{}{}
		<-goOn
		<-c.Done() // the caller is gone
		reply, err := microsvctest.Put.Ask(t.Context(), w.Purses, in, aggregate.WithCommandID(c.CommandID()))
		ended <- struct{}{}
		return reply, err
	}))
	server := w.serve(nil)
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	_, err = io.WriteString(conn, strings.Replace(head, "purse.put", "purse.wait", 1)+"Idempotency-Key: k\r\n\r\n"+`{"id":"1","n":1}`)
	require.NoError(t, err)
	<-begun
	require.NoError(t, conn.Close())
	close(goOn)
	<-ended
	coins, _ := w.Coins("1")
	require.Equal(t, 1, coins, "what began is finished")
}
