package httpapi_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/microsvc"
	"github.com/troupe-go/troupe/microsvc/httpapi"
)

func TestClientIsHonestAboutWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	require.NoError(t, l.Close())
	_, err = client(t, "http://"+addr, nil).Do(t.Context(), "a", 1)
	require.ErrorIs(t, err, aggregate.ErrUnavailable, "nobody is there")

	cut := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			_ = conn.Close()
		}
	}))
	defer cut.Close()
	_, err = client(t, cut.URL, nil).Do(t.Context(), "a", 1)
	require.ErrorIs(t, err, aggregate.ErrUnknownOutcome, "it may have been done")

	half := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "{")
	}))
	defer half.Close()
	_, err = client(t, half.URL, nil).Do(t.Context(), "a", 1)
	require.ErrorIs(t, err, aggregate.ErrUnknownOutcome)

	arrived := make(chan struct{}, 1)
	hang := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		arrived <- struct{}{}
		<-r.Context().Done()
	}))
	defer hang.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	_, err = client(t, hang.URL, nil).Do(ctx, "a", 1)
	require.ErrorIs(t, err, aggregate.ErrUnknownOutcome)
	require.ErrorIs(t, err, context.Canceled)
	_, err = client(t, hang.URL, nil).Do(ctx, "a", 1)
	require.ErrorIs(t, err, aggregate.ErrNotRun, "it was over before it began")
	require.NotErrorIs(t, err, aggregate.ErrUnknownOutcome)

	_, err = client(t, cut.URL, nil).Do(t.Context(), "a", make(chan int))
	require.ErrorIs(t, err, aggregate.ErrInvalid)
}

// What stands between may answer, too.
func TestAnswersThatAreNotOurs(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]error{
		302: aggregate.ErrUnknownOutcome, 400: aggregate.ErrInvalid, 401: aggregate.ErrUnauthorized, 403: aggregate.ErrUnauthorized,
		404: aggregate.ErrNotFound, 409: aggregate.ErrConflict, 413: aggregate.ErrInvalid, 422: aggregate.ErrRejected, 429: aggregate.ErrOverloaded,
		500: aggregate.ErrUnknownOutcome, 502: aggregate.ErrUnknownOutcome, 503: aggregate.ErrUnknownOutcome, 504: aggregate.ErrUnknownOutcome,
	} {
		proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/elsewhere")
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "<html>")
		}))
		_, err := client(t, proxy.URL, nil).Do(t.Context(), "a", 1)
		proxy.Close()
		require.ErrorIs(t, err, want)
		var p *microsvc.Problem
		require.ErrorAs(t, err, &p)
		require.Equal(t, status, p.Status)
		require.Equal(t, 7*time.Second, p.RetryAfter)
	}
}

func TestRepliesThatAreTooLarge(t *testing.T) {
	t.Parallel()
	w := newWorld(t, microsvc.Handle("long", func(*microsvc.Context, any) (string, error) { return "0123456789", nil }))
	server := w.serve(nil)
	_, err := client(t, server.URL, &httpapi.ClientOptions{MaxReplyBytes: 11}).Do(t.Context(), "long", 1)
	require.ErrorIs(t, err, aggregate.ErrUnknownOutcome)
	_, err = client(t, server.URL, &httpapi.ClientOptions{MaxReplyBytes: 12}).Do(t.Context(), "long", 1)
	require.NoError(t, err)
	_, err = httpapi.Call[int](t.Context(), client(t, server.URL, nil), "long", 1)
	require.ErrorContains(t, err, `reply of "long"`)
}

// Names may have any character.
func TestNamesWithOddCharacters(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a/b", "a b", "ä?#%2f", "todo.create"} {
		w := newWorld(t, microsvc.Handle(name, func(c *microsvc.Context, _ any) (string, error) { return c.Name(), nil }))
		got, err := httpapi.Call[string](t.Context(), client(t, w.serve(nil).URL, nil), name, 1)
		require.NoError(t, err)
		require.Equal(t, name, got)
	}
}
