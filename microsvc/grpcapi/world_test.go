package grpcapi_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/troupe-go/troupe/actor"
	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/memory"
	"github.com/troupe-go/troupe/microsvc"
	"github.com/troupe-go/troupe/microsvc/grpcapi"
	"github.com/troupe-go/troupe/microsvc/grpcapi/commandpb"
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
	"canceled":        fmt.Errorf("%w: %s", context.Canceled, secret),
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
			microsvc.Handle("session", func(c *microsvc.Context, _ any) (microsvc.Session, error) { return c.Session(), nil }),
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

// served is a server of a test.
type served struct {
	addr  string
	end   context.CancelFunc
	ended chan error
}

func start(t testing.TB, svc *microsvc.Service, opts *grpcapi.Options) *served {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	s := &served{addr: l.Addr().String(), end: cancel, ended: make(chan error, 1)}
	go func() { s.ended <- grpcapi.ServeListener(ctx, l, svc, opts) }()
	return s
}

func (s *served) stop() error {
	s.end()
	return <-s.ended
}

// serve serves w's service on a port, until the test ends, and returns the address.
func (w *world) serve(opts *grpcapi.Options) string {
	w.t.Helper()
	var o grpcapi.Options
	if opts != nil {
		o = *opts
	}
	if o.DrainDelay == 0 {
		o.DrainDelay = -1
	}
	s := start(w.t, w.svc, &o)
	w.t.Cleanup(func() { require.NoError(w.t, s.stop()) })
	return s.addr
}

// listen serves server on a port, until the test ends.
func listen(t testing.TB, server *grpc.Server) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		require.NoError(t, <-ended)
	})
	return l.Addr().String()
}

func client(t testing.TB, addr string, opts *grpcapi.ClientOptions) *grpcapi.Client {
	t.Helper()
	c, err := grpcapi.NewClient(addr, opts)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// bare is a connection without a Client around it.
func bare(t testing.TB, addr string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// send makes one call as a client of the Rust framework does.
func send(t testing.TB, addr string, req *commandpb.GrpcRequest, md ...string) (resp *commandpb.GrpcResponse, header, trailer metadata.MD, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, md...)
	resp, err = commandpb.NewCommandServiceClient(bare(t, addr)).Dispatch(ctx, req, grpc.Header(&header), grpc.Trailer(&trailer))
	return resp, header, trailer, err
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
