package grpcapi_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/troupe-go/troupe/microsvc"
	"github.com/troupe-go/troupe/microsvc/grpcapi"
	"github.com/troupe-go/troupe/microsvc/grpcapi/commandpb"
	"github.com/troupe-go/troupe/microsvc/microsvctest"
)

const secret = microsvctest.Secret

// world is a service of purses, with a command that tells the session.
type world struct {
	*microsvctest.World
	t testing.TB
}

func newWorld(t testing.TB, more ...microsvc.Handler) *world {
	t.Helper()
	session := microsvc.Handle("session", func(c *microsvc.Context, _ any) (microsvc.Session, error) { return c.Session(), nil })
	return &world{microsvctest.NewWorld(t, microsvc.Options{}, append(more, session)...), t}
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
	s := start(w.t, w.Service, &o)
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
