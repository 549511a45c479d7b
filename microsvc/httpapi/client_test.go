package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/microsvc"
	"github.com/troupe-go/troupe/microsvc/httpapi"
	"github.com/troupe-go/troupe/outbox"
)

// sentinels are the framework's errors that a handler may return.
var sentinels = []error{
	aggregate.ErrRejected, aggregate.ErrNotFound, aggregate.ErrUnauthorized, aggregate.ErrInvalid, aggregate.ErrConflict, aggregate.ErrOverloaded,
	aggregate.ErrUnavailable, aggregate.ErrUnknownOutcome, aggregate.ErrNotRun, aggregate.ErrStopped, aggregate.ErrPanic, aggregate.ErrReplay,
	aggregate.ErrUnknownEvent, aggregate.ErrUnknownSchema, aggregate.ErrSnapshotUnfit,
	envelope.ErrInvalid, envelope.ErrUnknownCodec,
	journal.ErrConflict, journal.ErrDuplicate, journal.ErrRowConflict, journal.ErrMessageExists, journal.ErrFenced, journal.ErrInvalid,
	journal.ErrUnsupported, journal.ErrUnavailable, journal.ErrOverloaded, journal.ErrUnknownOutcome, journal.ErrHistoryGone, journal.ErrCorrupt,
	journal.ErrLocked, journal.ErrClosed, journal.ErrLeaseLost,
	bus.ErrInvalid, bus.ErrRefused, bus.ErrUnavailable, bus.ErrUnroutable, bus.ErrUnauthorized, bus.ErrUnsupported, bus.ErrMalformed, bus.ErrNotFound,
	bus.ErrClosed, bus.ErrStopped, bus.ErrNotDrained, bus.ErrPanic, bus.ErrInboxCommitted, bus.ErrInboxJournal, bus.ErrUnhandled,
	outbox.ErrRunning,
	microsvc.ErrUnknownCommand, microsvc.ErrDecode, microsvc.ErrGuard, microsvc.ErrNameTaken, microsvc.ErrNoHandler, microsvc.ErrNoHost, microsvc.ErrNoBus, microsvc.ErrStarted,
	context.DeadlineExceeded, context.Canceled,
}

// Promise 16: each of the framework's errors that a handler returns is found by
// errors.Is behind the client, and no other.
func TestErrorsKeepTheirType(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var now error
	w := newWorld(t, microsvc.Handle("return", func(*microsvc.Context, any) (any, error) {
		mu.Lock()
		defer mu.Unlock()
		return nil, now
	}))
	c := client(t, w.serve(nil).URL, nil)
	returned := func(err error) error {
		mu.Lock()
		now = err
		mu.Unlock()
		_, got := c.Do(t.Context(), "return", 1)
		require.Error(t, got)
		return got
	}
	for _, sent := range sentinels {
		got := returned(fmt.Errorf("%s: %w", secret, sent))
		for _, target := range sentinels {
			require.Equal(t, errors.Is(sent, target), errors.Is(got, target), "%v is %v", sent, target)
		}
		require.Equal(t, microsvc.Status(sent), microsvc.Status(got))
	}
	for _, err := range []error{
		&aggregate.ReplayError{Err: aggregate.ErrUnknownEvent}, &aggregate.PanicError{}, &journal.ConflictError{}, envelope.Invalid("f", "v", "r"),
		&microsvc.DecodeError{}, &microsvc.GuardError{}, &microsvc.PanicError{}, aggregate.Reject("no"),
		fmt.Errorf("%w: %w", aggregate.ErrNotRun, context.DeadlineExceeded), errors.Join(aggregate.ErrUnknownOutcome, journal.ErrClosed),
	} {
		got := returned(err)
		for _, target := range sentinels {
			require.Equal(t, errors.Is(err, target), errors.Is(got, target), "%v is %v", err, target)
		}
	}
	// A permanent error is one on the other side too.
	require.True(t, bus.IsPermanent(returned(aggregate.Reject("no"))))
	require.False(t, bus.IsPermanent(returned(aggregate.ErrConflict)))
	require.False(t, bus.IsPermanent(returned(errors.New("x"))))
}

// A service that asks another one answers with its error, and under its own id.
func TestErrorsPassThroughAService(t *testing.T) {
	t.Parallel()
	inner := newWorld(t)
	c := client(t, inner.serve(nil).URL, nil)
	outer := newWorld(t, microsvc.Handle("forward", func(ctx *microsvc.Context, in move) (view, error) {
		return httpapi.Ask(ctx, c, cmdTake, in)
	}))
	far := client(t, outer.serve(nil).URL, nil)
	_, err := far.Do(t.Context(), "forward", move{"none", 1}, httpapi.WithHeader("X-Request-Id", "outer"))
	require.ErrorIs(t, err, aggregate.ErrNotFound)
	require.EqualError(t, err, "purse/none not found")
	var p *microsvc.Problem
	require.ErrorAs(t, err, &p)
	require.Equal(t, "outer", p.ID)
}

func TestTheConversationGoesOnThroughAClient(t *testing.T) {
	t.Parallel()
	inner := newWorld(t)
	c := client(t, inner.serve(nil).URL, nil)
	outer := newWorld(t, microsvc.Handle("forward", func(ctx *microsvc.Context, in move) (view, error) {
		return httpapi.Ask(ctx, c, cmdPut, in, httpapi.WithHeader("X-Request-Id", "inner"))
	}))
	far := client(t, outer.serve(nil).URL, &httpapi.ClientOptions{Header: http.Header{"X-Correlation-Id": {"c1"}}})
	_, err := far.Do(t.Context(), "forward", move{"1", 1})
	require.NoError(t, err)
	for rec, err := range inner.journal.Load(t.Context(), purses.Stream("1"), 0) {
		require.NoError(t, err)
		require.Equal(t, "c1", rec.Metadata.CorrelationID)
		require.Equal(t, "inner", rec.Metadata.CausationID)
	}
}

// A key that is repeated has one effect and the same reply, also at once, and
// through both kinds of handler; another caller's key is another.
func TestAnIdempotencyKeyHasOneEffect(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		command string
		coins   int
	}{"exposed": {"purse.put", 2}, "free": {"purse.bonus", 4}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			server := w.serve(nil)
			const keys, repeats = 50, 4
			var all sync.WaitGroup
			for repeat := range repeats {
				all.Go(func() {
					for key := range keys {
						body := fmt.Sprintf(`{"id":"%d","n":2}`, key)
						got := send(t, server, "POST", "/"+c.command, body, "Idempotency-Key", "k", "X-Hasura-Role", "clerk", "X-Hasura-User-Id", "ada")
						if got.status != 200 || got.body != fmt.Sprintf(`{"coins":%d}`, c.coins) {
							t.Errorf("repeat %d of key %d: %d %s", repeat, key, got.status, got.body)
						}
					}
				})
			}
			all.Wait()
			for key := range keys {
				coins, records := w.coins(strconv.Itoa(key))
				require.Equal(t, c.coins, coins)
				require.Equal(t, 1, records)
			}
			got := send(t, server, "POST", "/"+c.command, `{"id":"0","n":2}`, "Idempotency-Key", "k", "X-Hasura-Role", "clerk", "X-Hasura-User-Id", "eve")
			require.Equal(t, fmt.Sprintf(`{"coins":%d}`, 2*c.coins), got.body, "eve does not get ada's reply")
		})
	}
}

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
