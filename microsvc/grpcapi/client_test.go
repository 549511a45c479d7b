package grpcapi_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/microsvc"
	"github.com/troupe-go/troupe/microsvc/grpcapi"
	"github.com/troupe-go/troupe/microsvc/grpcapi/commandpb"
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

// Each of the framework's errors that a handler returns is found by errors.Is
// behind the client, and no other, in both forms of an answer.
func TestErrorsKeepTheirType(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var now error
	w := newWorld(t, microsvc.Handle("return", func(*microsvc.Context, any) (any, error) {
		mu.Lock()
		defer mu.Unlock()
		return nil, now
	}))
	for _, opts := range []*grpcapi.Options{nil, {StatusCodes: true}} {
		c := client(t, w.serve(opts), nil)
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
			if microsvc.Status(sent) >= 500 {
				require.NotContains(t, got.Error(), secret)
			}
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
		require.True(t, bus.IsPermanent(returned(aggregate.Reject("no"))))
		require.False(t, bus.IsPermanent(returned(aggregate.ErrConflict)))
		require.False(t, bus.IsPermanent(returned(errors.New("x"))))
	}
}

// A service that asks another one answers with its error, and under its own id.
func TestErrorsPassThroughAService(t *testing.T) {
	t.Parallel()
	c := client(t, newWorld(t).serve(nil), nil)
	outer := newWorld(t, microsvc.Handle("forward", func(ctx *microsvc.Context, in move) (view, error) {
		return grpcapi.Ask(ctx, c, cmdTake, in)
	}))
	far := client(t, outer.serve(nil), nil)
	_, err := far.Do(t.Context(), "forward", move{"none", 1}, grpcapi.WithMetadata(grpcapi.KeyRequestID, "outer"))
	require.ErrorIs(t, err, aggregate.ErrNotFound)
	require.EqualError(t, err, "purse/none not found")
	var p *microsvc.Problem
	require.ErrorAs(t, err, &p)
	require.Equal(t, "outer", p.ID)
}

// Also with ids that metadata cannot hold.
func TestTheConversationGoesOnThroughAClient(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"c1", "Gespräch 🙂"} {
		inner := newWorld(t)
		c := client(t, inner.serve(nil), nil)
		outer := newWorld(t, microsvc.Handle("forward", func(ctx *microsvc.Context, in move) (view, error) {
			return grpcapi.Ask(ctx, c, cmdPut, in, grpcapi.WithMetadata(grpcapi.KeyRequestID, "inner"))
		}))
		far := client(t, outer.serve(nil), nil)
		_, err := far.Do(t.Context(), "forward", move{"1", 1}, grpcapi.WithSession(microsvc.Session{microsvc.KeyCorrelationID: id}))
		require.NoError(t, err)
		records := 0
		for rec, err := range inner.journal.Load(t.Context(), purses.Stream("1"), 0) {
			require.NoError(t, err)
			require.Equal(t, id, rec.Metadata.CorrelationID)
			require.Equal(t, "inner", rec.Metadata.CausationID)
			records++
		}
		require.Equal(t, 1, records)
	}
}

// A key that is repeated has one effect and the same reply, also at once, and
// through both kinds of handler; another caller's key is another.
func TestAnIdempotencyKeyHasOneEffect(t *testing.T) {
	t.Parallel()
	for name, cas := range map[string]struct {
		command string
		coins   int
	}{"exposed": {"purse.put", 2}, "free": {"purse.bonus", 4}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			c := client(t, w.serve(nil), &grpcapi.ClientOptions{Metadata: metadata.Pairs(microsvc.KeyRole, "clerk")})
			ask := func(key int, user string) (view, error) {
				return grpcapi.Call[view](t.Context(), c, cas.command, move{strconv.Itoa(key), 2}, grpcapi.WithIdempotencyKey("k"), grpcapi.WithMetadata(microsvc.KeyUserID, user))
			}
			const keys, repeats = 50, 4
			var all sync.WaitGroup
			for repeat := range repeats {
				all.Go(func() {
					for key := range keys {
						if got, err := ask(key, "ada"); err != nil || got.Coins != cas.coins {
							t.Errorf("repeat %d of key %d: %v %v", repeat, key, got, err)
						}
					}
				})
			}
			all.Wait()
			for key := range keys {
				coins, records := w.coins(strconv.Itoa(key))
				require.Equal(t, cas.coins, coins)
				require.Equal(t, 1, records)
			}
			got, err := ask(0, "eve")
			require.NoError(t, err)
			require.Equal(t, 2*cas.coins, got.Coins, "eve does not get ada's reply")
		})
	}
}

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
