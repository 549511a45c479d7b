package grpcapi

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/microsvc"
	"github.com/troupe-go/troupe/microsvc/grpcapi/commandpb"
)

// ErrRegistered reports a server that has a CommandService already.
var ErrRegistered = errors.New("grpcapi: the server has a CommandService already")

// API is a service as one of gRPC. It is safe for concurrent use.
type API struct {
	service  *microsvc.Service
	opts     Options
	health   *health.Server // nil if the server had one
	draining atomic.Bool
}

// Register adds svc to server, before that serves, and beside it grpc.health.v1
// and reflection unless the server has them. Of opts, those that speak of a
// server or a connection are for [Serve].
//
// Errors: those of [microsvc.Service.Check], [ErrRegistered], and
// [aggregate.ErrInvalid] for an option.
func Register(server reflection.GRPCServer, svc *microsvc.Service, opts *Options) (*API, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := svc.Check(); err != nil {
		return nil, err
	}
	has := server.GetServiceInfo() // gRPC ends the process for a second one
	if _, ok := has[commandpb.CommandService_ServiceDesc.ServiceName]; ok {
		return nil, ErrRegistered
	}
	a := &API{service: svc, opts: o}
	commandpb.RegisterCommandServiceServer(server, &commands{api: a})
	if _, ok := has[grpc_health_v1.Health_ServiceDesc.ServiceName]; !ok {
		a.health = health.NewServer()
		a.health.SetServingStatus(commandpb.CommandService_ServiceDesc.ServiceName, grpc_health_v1.HealthCheckResponse_SERVING)
		grpc_health_v1.RegisterHealthServer(server, &checks{Server: a.health, api: a})
	}
	if _, ok := has["grpc.reflection.v1.ServerReflection"]; !ok && !o.NoReflection {
		reflection.Register(server)
	}
	return a, nil
}

// Drain has every later command answered with [aggregate.ErrStopped], and health
// checks with NOT_SERVING. Those that run finish. It cannot be taken back.
func (a *API) Drain() {
	a.draining.Store(true)
	if a.health != nil {
		a.health.Shutdown()
	}
}

// ready reports whether the service takes commands.
func (a *API) ready(ctx context.Context) (ok bool) {
	if a.draining.Load() {
		return false
	}
	if a.opts.Ready == nil {
		return true
	}
	defer func() {
		if v := recover(); v != nil {
			a.opts.Logger.ErrorContext(ctx, "grpcapi: Ready panicked", "panic", v, "stack", string(debug.Stack()))
			ok = false
		}
	}()
	if err := a.opts.Ready(ctx); err != nil {
		a.opts.Logger.WarnContext(ctx, "grpcapi: not ready", "err", err)
		return false
	}
	return true
}

// commands is an API as its clients see it.
type commands struct {
	commandpb.UnimplementedCommandServiceServer
	api *API
}

// Dispatch has the service answer.
func (s *commands) Dispatch(ctx context.Context, in *commandpb.GrpcRequest) (out *commandpb.GrpcResponse, err error) {
	a, name := s.api, in.GetCommand()
	md, _ := metadata.FromIncomingContext(ctx)
	id := requestID(md)
	// A Client sees by it that the call arrived. It fails if there is no call, as in a test.
	_ = grpc.SetHeader(ctx, metadata.Pairs(KeyRequestID, id))
	defer func() { // of Authenticate: the service recovers its handlers
		if v := recover(); v != nil {
			panicked := &microsvc.PanicError{Name: name, Value: v, Stack: debug.Stack()}
			out, err = a.failure(ctx, a.service.Problem(ctx, panicked, name, id))
		}
	}()
	reply, problem := a.answer(ctx, md, in, id)
	if problem != nil {
		return a.failure(ctx, problem)
	}
	return &commandpb.GrpcResponse{Status: http.StatusOK, Body: strings.ToValidUTF8(string(reply), "\uFFFD")}, nil
}

func (a *API) answer(ctx context.Context, md metadata.MD, in *commandpb.GrpcRequest, id string) ([]byte, *microsvc.Problem) {
	name := in.GetCommand()
	if a.draining.Load() {
		return nil, &microsvc.Problem{
			Status: http.StatusServiceUnavailable, Code: aggregate.CodeStopped, ID: id,
			Message: "the service is stopping: ask again later", RetryAfter: a.opts.RetryAfter,
		}
	}
	// Serve has given it one before its message came.
	if deadline, ok := ctx.Deadline(); a.opts.Timeout > 0 && (!ok || time.Until(deadline) > a.opts.Timeout) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, a.opts.Timeout)
		defer cancel()
	}
	session, key, err := a.caller(ctx, md, in.GetSessionVariables())
	if err == nil && ctx.Err() != nil { // nobody waits for it
		err = fmt.Errorf("%w: %w", aggregate.ErrNotRun, ctx.Err())
	}
	if err != nil {
		return nil, a.service.Problem(ctx, err, name, id)
	}
	return a.service.Answer(ctx, microsvc.Request{Command: name, Input: []byte(in.GetInput()), Session: session, Key: key, ID: id})
}

// Health tells what there is.
func (s *commands) Health(ctx context.Context, _ *commandpb.HealthRequest) (*commandpb.HealthResponse, error) {
	return &commandpb.HealthResponse{Ok: s.api.ready(ctx), Commands: s.api.service.Commands()}, nil
}

// checks is grpc.health.v1, which asks Options.Ready.
type checks struct {
	*health.Server
	api *API
}

// Check implements grpc.health.v1.
func (s *checks) Check(ctx context.Context, in *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	resp, err := s.Server.Check(ctx, in)
	if err == nil && resp.GetStatus() == grpc_health_v1.HealthCheckResponse_SERVING && !s.api.ready(ctx) {
		resp = &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_NOT_SERVING}
	}
	return resp, err
}

// maxRequestIDBytes bounds a request id that a caller gives.
const maxRequestIDBytes = 128

// requestID returns the caller's, if it can stand in a log, or a random one.
func requestID(md metadata.MD) string {
	values := md[KeyRequestID]
	if len(values) != 1 || values[0] == "" || len(values[0]) > maxRequestIDBytes {
		return rand.Text()
	}
	if !only(values[0], lower+upper+"-_.:/+=@") {
		return rand.Text()
	}
	return values[0]
}

// Code is the gRPC code of what a call answered, as [microsvc.Status] is that of
// HTTP: OK for nil, INVALID_ARGUMENT for an input that cannot be decoded or is
// invalid, and for a guard, UNAUTHENTICATED, NOT_FOUND also for an unknown
// command, ABORTED for a conflict, FAILED_PRECONDITION for rejected,
// RESOURCE_EXHAUSTED for overloaded, UNAVAILABLE also for stopping,
// DEADLINE_EXCEEDED, CANCELLED, and INTERNAL for everything else.
func Code(err error) codes.Code {
	if err == nil {
		return codes.OK
	}
	switch microsvc.Status(err) {
	case http.StatusBadRequest:
		return codes.InvalidArgument
	case http.StatusUnauthorized:
		return codes.Unauthenticated
	case http.StatusNotFound:
		return codes.NotFound
	case http.StatusConflict:
		return codes.Aborted
	case http.StatusUnprocessableEntity:
		return codes.FailedPrecondition
	case http.StatusTooManyRequests, http.StatusRequestEntityTooLarge:
		return codes.ResourceExhausted
	case http.StatusServiceUnavailable:
		return codes.Unavailable
	case http.StatusGatewayTimeout:
		return codes.DeadlineExceeded
	}
	if errors.Is(err, context.Canceled) {
		return codes.Canceled
	}
	return codes.Internal
}
