package grpcapi_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/microsvc"
	"github.com/troupe-go/troupe/microsvc/grpcapi"
	"github.com/troupe-go/troupe/microsvc/grpcapi/commandpb"
)

// canned is a service that answers as it is told.
type canned struct {
	commandpb.UnimplementedCommandServiceServer
	answer func(context.Context) (*commandpb.GrpcResponse, error)
}

func (c *canned) Dispatch(ctx context.Context, _ *commandpb.GrpcRequest) (*commandpb.GrpcResponse, error) {
	return c.answer(ctx)
}

func cannedServer(t *testing.T, answer func(context.Context) (*commandpb.GrpcResponse, error)) (addr string, server *grpc.Server) {
	t.Helper()
	server = grpc.NewServer()
	commandpb.RegisterCommandServiceServer(server, &canned{answer: answer})
	return listen(t, server), server
}

func TestClientIsHonestAboutWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	nobody := l.Addr().String()
	require.NoError(t, l.Close())
	_, err = client(t, nobody, nil).Do(t.Context(), "a", 1)
	require.ErrorIs(t, err, aggregate.ErrUnavailable, "nobody is there")
	_, err = client(t, nobody, nil).Health(t.Context())
	require.ErrorIs(t, err, aggregate.ErrUnavailable)

	arrived := make(chan struct{}, 2)
	hang := func(ctx context.Context) (*commandpb.GrpcResponse, error) {
		arrived <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	addr, server := cannedServer(t, hang)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	_, err = client(t, addr, nil).Do(ctx, "a", 1)
	require.ErrorIs(t, err, aggregate.ErrUnknownOutcome)
	require.ErrorIs(t, err, context.Canceled)
	_, err = client(t, addr, nil).Do(ctx, "a", 1)
	require.ErrorIs(t, err, aggregate.ErrNotRun, "it was over before it began")
	require.NotErrorIs(t, err, aggregate.ErrUnknownOutcome)

	go func() {
		<-arrived
		server.Stop()
	}()
	_, err = client(t, addr, nil).Do(t.Context(), "a", 1)
	require.ErrorIs(t, err, aggregate.ErrUnknownOutcome, "the connection was cut: it may have been done")
	require.NotErrorIs(t, err, aggregate.ErrUnavailable)

	_, err = client(t, nobody, nil).Do(t.Context(), "a", make(chan int))
	require.ErrorIs(t, err, aggregate.ErrInvalid)
}

// What stands between may answer, too, and gRPC itself.
func TestAnswersThatAreNotOurs(t *testing.T) {
	t.Parallel()
	for code, want := range map[codes.Code]error{
		codes.InvalidArgument: aggregate.ErrInvalid, codes.OutOfRange: aggregate.ErrInvalid, codes.Unauthenticated: aggregate.ErrUnauthorized,
		codes.PermissionDenied: aggregate.ErrUnauthorized, codes.NotFound: aggregate.ErrNotFound, codes.Unimplemented: microsvc.ErrUnknownCommand,
		codes.AlreadyExists: aggregate.ErrConflict, codes.Aborted: aggregate.ErrConflict, codes.FailedPrecondition: aggregate.ErrRejected,
		codes.ResourceExhausted: aggregate.ErrOverloaded, codes.Internal: aggregate.ErrUnknownOutcome, codes.Unknown: aggregate.ErrUnknownOutcome,
		codes.Unavailable: aggregate.ErrUnknownOutcome, codes.DeadlineExceeded: aggregate.ErrUnknownOutcome, codes.Canceled: aggregate.ErrUnknownOutcome,
		codes.DataLoss: aggregate.ErrUnknownOutcome,
	} {
		addr, _ := cannedServer(t, func(ctx context.Context) (*commandpb.GrpcResponse, error) {
			_ = grpc.SetTrailer(ctx, metadata.Pairs(grpcapi.KeyRetryAfter, "7"))
			return nil, status.Error(code, "no")
		})
		_, err := client(t, addr, nil).Do(t.Context(), "a", 1)
		require.ErrorIs(t, err, want, code)
		var p *microsvc.Problem
		if errors.As(err, &p) {
			require.Equal(t, 7*time.Second, p.RetryAfter)
			require.EqualError(t, err, "no")
		}
	}
	for status, want := range map[uint32]error{
		0: aggregate.ErrUnknownOutcome, 302: aggregate.ErrUnknownOutcome, 400: aggregate.ErrInvalid, 403: aggregate.ErrUnauthorized,
		409: aggregate.ErrConflict, 418: aggregate.ErrInvalid, 422: aggregate.ErrRejected, 429: aggregate.ErrOverloaded,
		502: aggregate.ErrUnknownOutcome, 503: aggregate.ErrUnavailable, 504: aggregate.ErrUnknownOutcome,
	} {
		addr, _ := cannedServer(t, func(context.Context) (*commandpb.GrpcResponse, error) {
			return &commandpb.GrpcResponse{Status: status, Body: "<html>"}, nil
		})
		_, err := client(t, addr, nil).Do(t.Context(), "a", 1)
		require.ErrorIs(t, err, want, status)
		require.ErrorContains(t, err, fmt.Sprintf("status %d", status))
	}
}

func TestRepliesThatAreTooLarge(t *testing.T) {
	t.Parallel()
	w := newWorld(t, microsvc.Handle("long", func(*microsvc.Context, any) (string, error) { return strings.Repeat("x", 1000), nil }))
	addr := w.serve(nil)
	_, err := client(t, addr, &grpcapi.ClientOptions{MaxReplyBytes: 1000}).Do(t.Context(), "long", 1)
	require.ErrorIs(t, err, aggregate.ErrUnknownOutcome, "the command has run")
	require.NotErrorIs(t, err, aggregate.ErrInvalid)
	_, err = client(t, addr, &grpcapi.ClientOptions{MaxReplyBytes: 1100}).Do(t.Context(), "long", 1)
	require.NoError(t, err)
	_, err = grpcapi.Call[int](t.Context(), client(t, addr, nil), "long", 1)
	require.ErrorContains(t, err, `reply of "long"`)
}
