package httpapi_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/actor"
	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/memory"
	"github.com/troupe-go/troupe/microsvc"
	"github.com/troupe-go/troupe/microsvc/httpapi"
)

// purse holds coins.
type purse struct {
	aggregate.Root
	Coins int
}

type moved struct {
	N int `json:"n"`
}

var (
	put    = aggregate.On("put", func(p *purse, e moved) { p.Coins += e.N })
	took   = aggregate.On("took", func(p *purse, e moved) { p.Coins -= e.N })
	purses = aggregate.Define("purse", put, took)
)

type move struct {
	ID string `json:"id"`
	N  int    `json:"n"`
}

func (m move) AggregateID() string { return m.ID }

type view struct {
	Coins int `json:"coins"`
}

var (
	cmdPut = aggregate.NewCommand("purse.put", func(_ *aggregate.Context, p *purse, m move) (view, error) {
		err := put.Record(p, moved{m.N})
		return view{p.Coins}, err
	})
	cmdTake = aggregate.NewCommand("purse.take", func(_ *aggregate.Context, p *purse, m move) (view, error) {
		if m.N > p.Coins {
			return view{}, fmt.Errorf("there are only %d coins", p.Coins)
		}
		err := took.Record(p, moved{m.N})
		return view{p.Coins}, err
	}, aggregate.MustExist())
)

const secret = "password=hunter2"

// failures are errors that the handler "fail" returns, by the name in its input.
var failures = map[string]error{
	"plain":           errors.New(secret),
	"conflict":        fmt.Errorf("%w: %s", aggregate.ErrConflict, secret),
	"overloaded":      fmt.Errorf("%w: %s", aggregate.ErrOverloaded, secret),
	"unavailable":     fmt.Errorf("%w: %s", aggregate.ErrUnavailable, secret),
	"stopped":         fmt.Errorf("%w: %s", aggregate.ErrStopped, secret),
	"deadline":        fmt.Errorf("%w: %s", context.DeadlineExceeded, secret),
	"not run":         fmt.Errorf("%w: %s", aggregate.ErrNotRun, secret),
	"unknown outcome": fmt.Errorf("%w: %s", aggregate.ErrUnknownOutcome, secret),
	"corrupt":         fmt.Errorf("%w: %s", journal.ErrCorrupt, secret),
}

type failing struct {
	With string `json:"with"`
}

// world is a service with its journal.
type world struct {
	t       testing.TB
	journal journal.Journal
	purses  *actor.Aggregates[purse]
	svc     *microsvc.Service
	log     *syncBuffer
}

func newWorld(t testing.TB, more ...microsvc.Handler) *world {
	t.Helper()
	j, err := memory.Open(nil)
	require.NoError(t, err)
	system, err := actor.NewSystem(j, &actor.Options{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	host, err := actor.Host(system, purses, nil)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, system.Stop(context.Background()))
		require.NoError(t, j.Close())
	})
	w := &world{t: t, journal: j, purses: host, log: &syncBuffer{}}
	w.svc = microsvc.New("purses").WithOptions(microsvc.Options{MaxDepth: 10, Logger: slog.New(slog.NewTextHandler(w.log, nil))}).
		Command(microsvc.Expose(cmdPut, host), microsvc.RequireFields("id", "n"),
			microsvc.Require("n must not be 13", func(c *microsvc.Context) bool { return !strings.Contains(string(c.RawInput()), `"n":13`) })).
		Command(microsvc.Expose(cmdTake, host)).
		Command(microsvc.Handle("purse.bonus", func(c *microsvc.Context, in move) (view, error) {
			return cmdPut.Ask(c, host, move{in.ID, 2 * in.N}, aggregate.WithCommandID(c.CommandID()))
		}), microsvc.RequireRole("clerk")).
		Register(
			microsvc.Handle("whoami", func(c *microsvc.Context, _ any) (string, error) { return c.UserID() }),
			microsvc.Handle("fail", func(_ *microsvc.Context, in failing) (any, error) {
				if err := failures[in.With]; err != nil {
					return nil, err
				}
				panic(secret)
			})).
		Register(more...)
	require.NoError(t, w.svc.Check())
	return w
}

// serve serves w's service on a port, until the test ends.
func (w *world) serve(opts *httpapi.Options) *httptest.Server {
	w.t.Helper()
	api, err := httpapi.Handler(w.svc, opts)
	require.NoError(w.t, err)
	server := httptest.NewServer(api)
	w.t.Cleanup(server.Close)
	return server
}

// coins counts what is stored.
func (w *world) coins(id string) (coins, records int) {
	w.t.Helper()
	for rec, err := range w.journal.Load(context.Background(), purses.Stream(id), 0) {
		require.NoError(w.t, err)
		payload, err := purses.Decode(&rec)
		require.NoError(w.t, err)
		n := payload.(moved).N
		if rec.Name == "took" {
			n = -n
		}
		coins += n
		records++
	}
	return coins, records
}

type reply struct {
	status int
	header http.Header
	body   string
}

// send makes one request.
func send(t testing.TB, server *httptest.Server, method, path, body string, header ...string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, server.URL+path, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
		if header[i] == "Content-Type" {
			req.Header.Set(header[i], header[i+1])
		}
	}
	resp, err := server.Client().Do(req)
	require.NoError(t, err)
	data, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return reply{resp.StatusCode, resp.Header, string(data)}
}

// syncBuffer is a log that several goroutines write.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
