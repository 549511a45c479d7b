package grpcapi_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/microsvc"
	"github.com/troupe-go/troupe/microsvc/grpcapi"
	"github.com/troupe-go/troupe/microsvc/grpcapi/commandpb"
	"github.com/troupe-go/troupe/microsvc/microsvctest"
)

// Graceful stop under load: what was taken is answered, then callers are told to
// come back for as long as the drain delay, and nothing else is seen before the
// port is closed.
func TestGracefulStopUnderLoad(t *testing.T) {
	t.Parallel()
	for name, codes := range map[string]bool{"response": false, "status": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			const callers, delay = 16, 400 * time.Millisecond
			s := start(t, w.Service, &grpcapi.Options{DrainDelay: delay, RetryAfter: 2 * time.Second, StatusCodes: codes})
			var acknowledged [callers]int
			var refused atomic.Int32
			var ending atomic.Pointer[time.Time]
			var working, all sync.WaitGroup
			working.Add(callers)
			for i := range callers {
				c := client(t, s.addr, nil)
				all.Go(func() {
					atWork := sync.OnceFunc(working.Done)
					defer atWork()
					for n := 0; ; n++ {
						_, err := grpcapi.Ask(context.Background(), c, microsvctest.Put, microsvctest.Move{ID: strconv.Itoa(i), N: 1})
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
						case closed && errors.Is(err, aggregate.ErrUnavailable): // and not an unknown outcome
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
		})
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
	s := start(t, w.Service, &grpcapi.Options{DrainDelay: -1})
	c := client(t, s.addr, nil)
	type result struct {
		text string
		err  error
	}
	got := make(chan result, 1)
	go func() {
		text, err := grpcapi.Call[string](context.Background(), c, "slow", struct{}{})
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
	require.Empty(t, s.ended, "beside a call")
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
	s := start(t, w.Service, &grpcapi.Options{DrainDelay: -1, DrainTimeout: 20 * time.Millisecond, Timeout: -1})
	c := client(t, s.addr, nil)
	got := make(chan error, 1)
	go func() {
		_, err := c.Do(context.Background(), "endless", 1)
		got <- err
	}()
	<-begun
	require.ErrorIs(t, s.stop(), grpcapi.ErrNotDrained)
	require.ErrorIs(t, <-got, aggregate.ErrUnknownOutcome)
}

// The caller's deadline is the handler's, and the service has one of its own.
func TestDeadlines(t *testing.T) {
	t.Parallel()
	left := make(chan time.Duration, 1)
	ended := make(chan error, 1)
	w := newWorld(t,
		microsvc.Handle("left", func(c *microsvc.Context, _ any) (bool, error) {
			deadline, ok := c.Deadline()
			left <- time.Until(deadline)
			return ok, nil
		}),
		microsvc.Handle("slow", func(c *microsvc.Context, _ any) (any, error) {
			<-c.Done()
			ended <- c.Err()
			return nil, c.Err()
		}))
	c := client(t, w.serve(&grpcapi.Options{Timeout: time.Hour}), nil)
	ask := func(timeout time.Duration) time.Duration {
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		defer cancel()
		has, err := grpcapi.Call[bool](ctx, c, "left", 1)
		require.NoError(t, err)
		require.True(t, has)
		return <-left
	}
	require.InDelta(t, 10*time.Minute, ask(10*time.Minute), float64(time.Minute))
	require.InDelta(t, time.Hour, ask(10*time.Hour), float64(time.Minute))

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := c.Do(ctx, "slow", 1)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Error(t, <-ended, "it ended the handler")

	_, err = client(t, w.serve(&grpcapi.Options{Timeout: 20 * time.Millisecond}), nil).Do(t.Context(), "slow", 1)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Error(t, <-ended)
}

// What is done for a caller that left is found under its key.
func TestACallerThatLeavesIsAnsweredUnderItsKey(t *testing.T) {
	t.Parallel()
	begun, ended := make(chan struct{}, 2), make(chan error, 2)
	var w *world
	w = newWorld(t, microsvc.Handle("purse.wait", func(c *microsvc.Context, in microsvctest.Move) (microsvctest.View, error) {
		select {
		case begun <- struct{}{}:
			<-c.Done() // the caller is gone
		default:
		}
		reply, err := microsvctest.Put.Ask(context.WithoutCancel(c), w.Purses, in, aggregate.WithCommandID(c.CommandID()))
		ended <- err
		return reply, err
	}))
	c := client(t, w.serve(nil), nil)
	ctx, leave := context.WithCancel(t.Context())
	go func() {
		<-begun
		begun <- struct{}{}
		begun <- struct{}{} // full: the next one does not wait
		leave()
	}()
	key := grpcapi.WithIdempotencyKey("k")
	_, err := c.Do(ctx, "purse.wait", microsvctest.Move{ID: "1", N: 1}, key)
	require.ErrorIs(t, err, aggregate.ErrUnknownOutcome)
	require.NoError(t, <-ended)
	got, err := grpcapi.Call[microsvctest.View](t.Context(), c, "purse.wait", microsvctest.Move{ID: "1", N: 1}, key)
	require.NoError(t, err)
	require.Equal(t, microsvctest.View{Coins: 1}, got)
	coins, records := w.Coins("1")
	require.Equal(t, 1, coins)
	require.Equal(t, 1, records, "the same reply, and no other effect")
}

func TestServerOptions(t *testing.T) {
	t.Parallel()
	var seen atomic.Int32
	count := func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		seen.Add(1)
		return next(ctx, req)
	}
	c := client(t, newWorld(t).serve(&grpcapi.Options{Server: []grpc.ServerOption{grpc.UnaryInterceptor(count)}}), nil)
	_, err := grpcapi.Ask(t.Context(), c, microsvctest.Put, microsvctest.Move{ID: "1", N: 1})
	require.NoError(t, err)
	require.EqualValues(t, 1, seen.Load())
}

// A caller that sends its message slowly, or never, is cut off.
func TestSlowCallersAreCutOff(t *testing.T) {
	t.Parallel()
	conn := bare(t, newWorld(t).serve(&grpcapi.Options{Timeout: 50 * time.Millisecond}))
	stream, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true}, commandpb.CommandService_Dispatch_FullMethodName)
	require.NoError(t, err)
	err = stream.RecvMsg(new(commandpb.GrpcResponse))
	require.Equal(t, codes.DeadlineExceeded, status.Code(err), "%v", err)
}

func TestMessageLimits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, microsvc.Handle("size", func(c *microsvc.Context, _ string) (int, error) { return len(c.RawInput()), nil }))
	text := func(n int) string { return strings.Repeat("x", n) }
	c := client(t, w.serve(nil), nil)
	n, err := grpcapi.Call[int](t.Context(), c, "size", text(envelope.MaxDataBytes-2))
	require.NoError(t, err)
	require.Equal(t, envelope.MaxDataBytes, n)
	_, err = c.Do(t.Context(), "size", text(4<<20-100))
	require.ErrorIs(t, err, aggregate.ErrInvalid, "the framework's own limit")
	require.Equal(t, http.StatusBadRequest, microsvc.Status(err))
	_, err = c.Do(t.Context(), "size", text(4<<20))
	require.ErrorIs(t, err, aggregate.ErrInvalid, "it can never succeed")
	require.Equal(t, http.StatusRequestEntityTooLarge, microsvc.Status(err))
	require.Equal(t, codes.ResourceExhausted, grpcapi.Code(err))

	c = client(t, w.serve(&grpcapi.Options{MaxMessageBytes: 1000, MaxMetadataBytes: 2000}), nil)
	_, err = c.Do(t.Context(), "size", text(1000))
	require.ErrorIs(t, err, aggregate.ErrInvalid)
	_, err = c.Do(t.Context(), "size", text(100), grpcapi.WithMetadata("x-hasura-blob", text(4000)))
	require.ErrorIs(t, err, aggregate.ErrInvalid)
	_, err = c.Do(t.Context(), "size", text(100))
	require.NoError(t, err, "it serves on")
}

// serving asks grpc.health.v1.
func serving(t *testing.T, conn *grpc.ClientConn, service string) grpc_health_v1.HealthCheckResponse_ServingStatus {
	t.Helper()
	resp, err := grpc_health_v1.NewHealthClient(conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: service})
	require.NoError(t, err)
	return resp.GetStatus()
}

const (
	up   = grpc_health_v1.HealthCheckResponse_SERVING
	down = grpc_health_v1.HealthCheckResponse_NOT_SERVING
)

func TestHealth(t *testing.T) {
	t.Parallel()
	var notReady atomic.Pointer[error]
	w := newWorld(t)
	server := grpc.NewServer()
	api, err := grpcapi.Register(server, w.Service, &grpcapi.Options{Logger: slog.New(slog.DiscardHandler), Ready: func(context.Context) error {
		if err := notReady.Load(); err != nil {
			if *err == nil {
				panic("no error")
			}
			return *err
		}
		return nil
	}})
	require.NoError(t, err)
	addr := listen(t, server)
	c, conn := client(t, addr, nil), bare(t, addr)
	names := []string{"fail", "purse.bonus", "purse.put", "purse.take", "session", "whoami"}
	check := func(ok bool, want grpc_health_v1.HealthCheckResponse_ServingStatus) {
		got, err := c.Health(t.Context())
		require.NoError(t, err)
		require.Equal(t, grpcapi.Health{OK: ok, Commands: names}, got)
		require.Equal(t, want, serving(t, conn, ""))
		require.Equal(t, want, serving(t, conn, "sourced.microsvc.CommandService"))
	}
	check(true, up)
	var none error
	for _, err := range []error{errors.New(secret), none} {
		notReady.Store(&err)
		check(false, down)
	}
	notReady.Store(nil)
	check(true, up)
	watch, err := grpc_health_v1.NewHealthClient(conn).Watch(t.Context(), &grpc_health_v1.HealthCheckRequest{})
	require.NoError(t, err)
	resp, err := watch.Recv()
	require.NoError(t, err)
	require.Equal(t, up, resp.GetStatus())
	api.Drain()
	resp, err = watch.Recv()
	require.NoError(t, err)
	require.Equal(t, down, resp.GetStatus(), "it drains")
	check(false, down)
	_, err = c.Do(t.Context(), "whoami", 1)
	require.ErrorIs(t, err, aggregate.ErrStopped)
}

func TestReflection(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ask := func(addr string, req *grpc_reflection_v1.ServerReflectionRequest) (*grpc_reflection_v1.ServerReflectionResponse, error) {
		stream, err := grpc_reflection_v1.NewServerReflectionClient(bare(t, addr)).ServerReflectionInfo(t.Context())
		require.NoError(t, err)
		require.NoError(t, stream.Send(req))
		defer stream.CloseSend()
		return stream.Recv()
	}
	req := &grpc_reflection_v1.ServerReflectionRequest{MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: "sourced.microsvc.CommandService"}}
	resp, err := ask(w.serve(nil), req)
	require.NoError(t, err)
	file := new(descriptorpb.FileDescriptorProto)
	require.NoError(t, proto.Unmarshal(resp.GetFileDescriptorResponse().GetFileDescriptorProto()[0], file))
	require.Equal(t, "sourced.microsvc", file.GetPackage())
	var messages []string
	for _, m := range file.GetMessageType() {
		messages = append(messages, m.GetName())
	}
	require.Equal(t, []string{"GrpcRequest", "GrpcResponse", "HealthRequest", "HealthResponse"}, messages)
	_, err = ask(w.serve(&grpcapi.Options{NoReflection: true}), req)
	require.Equal(t, codes.Unimplemented, status.Code(err))
}

// A server of one's own may have health and reflection already.
func TestRegisterBesideOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	reflection.Register(server)
	api, err := grpcapi.Register(server, w.Service, nil)
	require.NoError(t, err)
	_, err = grpcapi.Register(server, w.Service, nil)
	require.ErrorIs(t, err, grpcapi.ErrRegistered)
	_, err = grpcapi.Register(grpc.NewServer(), microsvc.New("s").Event("", nil), nil)
	require.ErrorIs(t, err, aggregate.ErrInvalid)
	addr := listen(t, server)
	c := client(t, addr, nil)
	_, err = grpcapi.Ask(t.Context(), c, microsvctest.Put, microsvctest.Move{ID: "1", N: 1})
	require.NoError(t, err)
	api.Drain()
	_, err = grpcapi.Ask(t.Context(), c, microsvctest.Put, microsvctest.Move{ID: "1", N: 1})
	require.ErrorIs(t, err, aggregate.ErrStopped)
	require.Equal(t, up, serving(t, bare(t, addr), ""), "that one is not ours")
}

func TestTLS(t *testing.T) {
	t.Parallel()
	certified := httptest.NewTLSServer(http.NotFoundHandler())
	defer certified.Close()
	roots := x509.NewCertPool()
	roots.AddCert(certified.Certificate())
	addr := newWorld(t).serve(&grpcapi.Options{TLS: &tls.Config{Certificates: certified.TLS.Certificates}})
	c := client(t, addr, &grpcapi.ClientOptions{TLS: &tls.Config{RootCAs: roots, ServerName: "example.com"}})
	reply, err := grpcapi.Ask(t.Context(), c, microsvctest.Put, microsvctest.Move{ID: "1", N: 1})
	require.NoError(t, err)
	require.Equal(t, microsvctest.View{Coins: 1}, reply)
	_, err = grpcapi.Ask(t.Context(), client(t, addr, &grpcapi.ClientOptions{TLS: &tls.Config{}}), microsvctest.Put, microsvctest.Move{ID: "1", N: 1})
	require.ErrorIs(t, err, aggregate.ErrUnavailable, "it does not trust the service")
	_, err = grpcapi.Ask(t.Context(), client(t, addr, nil), microsvctest.Put, microsvctest.Move{ID: "1", N: 1})
	require.ErrorIs(t, err, aggregate.ErrUnavailable, "it does not talk TLS")
}

func TestServeOnATakenPort(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	require.ErrorIs(t, grpcapi.Serve(t.Context(), l.Addr().String(), microsvc.New("s"), nil), syscall.EADDRINUSE)
	broken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, broken.Close())
	require.ErrorIs(t, grpcapi.ServeListener(t.Context(), broken, microsvc.New("s"), nil), net.ErrClosed)
}

func TestServeWhenItIsOverAlready(t *testing.T) {
	t.Parallel()
	over, cancel := context.WithCancel(t.Context())
	cancel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, grpcapi.ServeListener(over, l, microsvc.New("s"), &grpcapi.Options{DrainDelay: -1}))
	require.ErrorIs(t, l.Close(), net.ErrClosed)
}
