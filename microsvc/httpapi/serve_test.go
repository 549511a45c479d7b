package httpapi_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/microsvc"
	"github.com/troupe-go/troupe/microsvc/httpapi"
	"github.com/troupe-go/troupe/microsvc/microsvctest"
)

// served is a server of a test.
type served struct {
	addr  string
	end   context.CancelFunc
	ended chan error
}

func start(t *testing.T, svc *microsvc.Service, opts *httpapi.Options) *served {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	s := &served{addr: l.Addr().String(), end: cancel, ended: make(chan error, 1)}
	go func() { s.ended <- httpapi.ServeListener(ctx, l, svc, opts) }()
	return s
}

func (s *served) stop() error {
	s.end()
	return <-s.ended
}

func client(t *testing.T, base string, opts *httpapi.ClientOptions) *httpapi.Client {
	t.Helper()
	c, err := httpapi.NewClient(base, opts)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// Graceful stop under load: what was taken is answered, then callers are told to
// come back for as long as the drain delay, and nothing else is seen before the
// port is closed. A connection that the kernel took in that very moment is reset,
// so from then on only effects are counted.
func TestGracefulStopUnderLoad(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const callers, delay = 16, 400 * time.Millisecond
	s := start(t, w.Service, &httpapi.Options{DrainDelay: delay, RetryAfter: 2 * time.Second})
	var acknowledged [callers]int
	var refused atomic.Int32
	var ending atomic.Pointer[time.Time]
	var working, all sync.WaitGroup
	working.Add(callers)
	for i := range callers {
		c := client(t, "http://"+s.addr, nil)
		all.Go(func() {
			atWork := sync.OnceFunc(working.Done)
			defer atWork()
			for n := 0; ; n++ {
				_, err := httpapi.Ask(context.Background(), c, microsvctest.Put, microsvctest.Move{ID: strconv.Itoa(i), N: 1})
				if n == 3 {
					atWork()
				}
				since := ending.Load()
				closed := since != nil && time.Since(*since) >= delay
				var p *microsvc.Problem
				switch {
				case err == nil:
					acknowledged[i]++
				case errors.As(err, &p) && p.Status == 503 && errors.Is(err, aggregate.ErrStopped) && p.RetryAfter == 2*time.Second && since != nil:
					refused.Add(1)
				case closed && !errors.As(err, &p):
					return
				default:
					t.Errorf("caller %d, call %d: %v", i, n, err)
					return
				}
			}
		})
	}
	working.Wait()
	now := time.Now()
	ending.Store(&now)
	require.NoError(t, s.stop())
	all.Wait()
	require.Positive(t, refused.Load())
	for i, n := range acknowledged {
		coins, _ := w.Coins(strconv.Itoa(i))
		require.Equal(t, n, coins, "each that was acknowledged, and no other")
	}
}

func TestStopFinishesWhatRuns(t *testing.T) {
	t.Parallel()
	begun, end := make(chan struct{}), make(chan struct{})
	w := newWorld(t, microsvc.Handle("slow", func(c *microsvc.Context, _ any) (string, error) {
		close(begun)
		<-end
		return "done", c.Err()
	}))
	s := start(t, w.Service, &httpapi.Options{DrainDelay: -1})
	c := client(t, "http://"+s.addr, nil)
	type result struct {
		text string
		err  error
	}
	got := make(chan result, 1)
	go func() {
		text, err := httpapi.Call[string](context.Background(), c, "slow", struct{}{})
		got <- result{text, err}
	}()
	<-begun
	s.end()
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", s.addr)
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	}, 10*time.Second, time.Millisecond, "the port is closed")
	require.Empty(t, s.ended, "beside a request")
	close(end)
	require.Equal(t, result{"done", nil}, <-got)
	require.NoError(t, <-s.ended)
}

func TestStopTellsWhatItCouldNotFinish(t *testing.T) {
	t.Parallel()
	begun := make(chan struct{})
	w := newWorld(t, microsvc.Handle("endless", func(c *microsvc.Context, _ any) (any, error) {
		close(begun)
		<-c.Done()
		return nil, c.Err()
	}))
	s := start(t, w.Service, &httpapi.Options{DrainDelay: -1, DrainTimeout: 20 * time.Millisecond, Timeout: -1})
	c := client(t, "http://"+s.addr, nil)
	got := make(chan error, 1)
	go func() {
		_, err := c.Do(context.Background(), "endless", 1)
		got <- err
	}()
	<-begun
	require.ErrorIs(t, s.stop(), httpapi.ErrNotDrained)
	require.Error(t, <-got)
}

func TestADrainingHandler(t *testing.T) {
	t.Parallel()
	api, err := httpapi.Handler(newWorld(t).Service, nil)
	require.NoError(t, err)
	server := httptest.NewServer(http.StripPrefix("/api", api))
	defer server.Close()
	require.Equal(t, 200, send(t, server, "POST", "/api/purse.put", `{"id":"1","n":1}`).status)
	api.Drain()
	for path, status := range map[string]int{"/api/readyz": 503, "/api/health": 503, "/api/livez": 200} {
		require.Equal(t, status, send(t, server, "GET", path, "").status, path)
	}
	for _, path := range []string{"/api/purse.put", "/api/unknown"} {
		got := send(t, server, "POST", path, `{"id":"1","n":1}`)
		require.Equal(t, 503, got.status)
		require.Equal(t, "1", got.header.Get("Retry-After"))
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	certified := httptest.NewTLSServer(http.NotFoundHandler())
	defer certified.Close()
	w := newWorld(t)
	s := start(t, w.Service, &httpapi.Options{DrainDelay: -1, TLS: &tls.Config{Certificates: certified.TLS.Certificates, MinVersion: tls.VersionTLS12}})
	c := client(t, "https://"+s.addr, &httpapi.ClientOptions{HTTP: certified.Client()})
	reply, err := httpapi.Ask(t.Context(), c, microsvctest.Put, microsvctest.Move{ID: "1", N: 1})
	require.NoError(t, err)
	require.Equal(t, microsvctest.View{Coins: 1}, reply)
	c.Close()
	require.NoError(t, s.stop())
}

func TestServeOnATakenPort(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	require.ErrorIs(t, httpapi.Serve(t.Context(), l.Addr().String(), microsvc.New("s"), nil), syscall.EADDRINUSE)
}
