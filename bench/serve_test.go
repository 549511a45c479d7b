package bench_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/troupe-go/troupe/bench/internal/account"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/microsvc"
	"github.com/troupe-go/troupe/microsvc/grpcapi"
	"github.com/troupe-go/troupe/microsvc/grpcapi/commandpb"
	"github.com/troupe-go/troupe/microsvc/httpapi"
)

// BenchmarkServe is W on the memory journal as a command of a service, beside a
// bare handler of the same server that decodes the same input, does the same to a
// map of states behind mutexes and encodes the same event and reply. way=handler
// calls both without a server, by requests that are used again.
func BenchmarkServe(b *testing.B) {
	const callers = 64
	for _, face := range []string{"http", "grpc"} {
		for _, way := range []string{"handler", "server"} {
			b.Run(fmt.Sprintf("face=%s/way=%s/callers=%d", face, way, callers), func(b *testing.B) {
				s := newServing(b, face, callers)
				ours, bare := s.server, s.bareServer
				if way == "handler" {
					ours, bare = s.handler, s.bareHandler
				}
				compareServing(b, ours(b, callers), bare(b, callers))
			})
		}
	}
}

// BenchmarkServeConnections is BenchmarkServe by 1,000 connections at once:
// p99-ratio compares the latencies.
func BenchmarkServeConnections(b *testing.B) {
	const callers = 1000
	for _, face := range []string{"http", "grpc"} {
		b.Run(fmt.Sprintf("face=%s/connections=%d", face, callers), func(b *testing.B) {
			s := newServing(b, face, callers)
			f, base := compareServing(b, s.server(b, callers), s.bareServer(b, callers))
			b.ReportMetric(f.p99/base.p99, "p99-ratio")
		})
	}
}

// calls are one function for each caller.
type calls []func() error

func compareServing(b *testing.B, ours, bare calls) (f, base figures) {
	b.Helper()
	f, base, _ = comparison(b, func() figures {
		return drive(b, len(ours), *roundTime, func(caller, _ int) error { return ours[caller]() })
	}, func() figures {
		return drive(b, len(bare), *roundTime, func(caller, _ int) error { return bare[caller]() })
	})
	allocs := func(call func() error) float64 {
		return testing.AllocsPerRun(2000, func() {
			if err := call(); err != nil {
				b.Fatal(err)
			}
		})
	}
	x, y := allocs(bare[0]), allocs(ours[0])
	b.ReportMetric(y, "allocs/cmd")
	b.ReportMetric(x, "bare-allocs/cmd")
	b.ReportMetric(y/x, "allocs-ratio")
	return f, base
}

// serving is a service, and its bare counterpart, over one transport.
type serving struct {
	handler, bareHandler, server, bareServer func(b *testing.B, callers int) calls
}

func newServing(b *testing.B, face string, aggregates int) *serving {
	b.Helper()
	h, stop := host(b, open(b, "memory"), nil)
	b.Cleanup(stop)
	svc := microsvc.New("accounts").WithOptions(microsvc.Options{Logger: quiet}).Register(microsvc.Expose(depositCommand, h))
	ids := accountIDs(aggregates)
	inputs := make([][]byte, len(ids))
	for i, id := range ids {
		data, err := envelope.JSON.Encode(deposit{id, 1})
		if err != nil {
			b.Fatal(err)
		}
		inputs[i] = data
	}
	bare := newBareService()
	if face == "grpc" {
		return servingGRPC(b, svc, bare, inputs)
	}
	return servingHTTP(b, svc, bare, inputs)
}

// bareService does what the service does, by hand.
type bareService struct{ shards [64]bareShard }

type bareShard struct {
	mu     sync.Mutex
	states map[string]*bareState
}

type bareState struct {
	account account.Account
	records [][]byte
}

func newBareService() *bareService {
	s := new(bareService)
	for i := range s.shards {
		s.shards[i].states = map[string]*bareState{}
	}
	return s
}

func (s *bareService) deposit(input []byte) ([]byte, error) {
	var in deposit
	if err := envelope.JSON.Decode(input, &in); err != nil {
		return nil, err
	}
	if in.Amount <= 0 {
		return nil, errAmount
	}
	hash := uint32(2166136261)
	for i := range len(in.ID) {
		hash = (hash ^ uint32(in.ID[i])) * 16777619
	}
	shard := &s.shards[hash%uint32(len(s.shards))]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	state := shard.states[in.ID]
	if state == nil {
		state = &bareState{}
		shard.states[in.ID] = state
	}
	e := event(in.ID, in.Amount)
	data, err := envelope.JSON.Encode(e)
	if err != nil {
		return nil, err
	}
	state.records = append(state.records, data)
	state.account.Balance += e.Amount
	state.account.Count++
	return envelope.JSON.Encode(state.account.Balance)
}

// ServeHTTP is a handler as one writes it without a framework.
func (s *bareService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.URL.Path != "/"+depositCommand.Name() {
		http.NotFound(w, r)
		return
	}
	input, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	reply, err := s.deposit(input)
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(reply)
}

func servingHTTP(b *testing.B, svc *microsvc.Service, bare *bareService, inputs [][]byte) *serving {
	b.Helper()
	api, err := httpapi.Handler(svc, &httpapi.Options{Logger: quiet})
	if err != nil {
		b.Fatal(err)
	}
	direct := func(h http.Handler) func(*testing.B, int) calls {
		return func(_ *testing.B, callers int) (all calls) {
			for i := range callers {
				all = append(all, httpRequest(h, inputs[i%len(inputs)]))
			}
			return all
		}
	}
	served := func(serve func(context.Context, net.Listener) error) func(*testing.B, int) calls {
		return func(b *testing.B, callers int) (all calls) {
			addr := listen(b, serve)
			for i := range callers {
				all = append(all, httpConnection(b, addr, inputs[i%len(inputs)]))
			}
			return all
		}
	}
	return &serving{
		handler: direct(api), bareHandler: direct(bare),
		server: served(func(ctx context.Context, l net.Listener) error {
			return httpapi.ServeListener(ctx, l, svc, &httpapi.Options{DrainDelay: -1, Logger: quiet})
		}),
		bareServer: served(func(ctx context.Context, l net.Listener) error {
			server := &http.Server{Handler: bare}
			context.AfterFunc(ctx, func() { _ = server.Close() }) // it was only read
			return server.Serve(l)
		}),
	}
}

// listen runs serve until the benchmark ends.
func listen(b *testing.B, serve func(context.Context, net.Listener) error) (addr string) {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, l) }()
	b.Cleanup(func() { cancel(); <-ended })
	return l.Addr().String()
}

// Dispatch is a handler as one writes it without a framework.
func (s *bareCommands) Dispatch(_ context.Context, in *commandpb.GrpcRequest) (*commandpb.GrpcResponse, error) {
	if in.GetCommand() != depositCommand.Name() {
		return &commandpb.GrpcResponse{Status: http.StatusNotFound}, nil
	}
	reply, err := s.deposit([]byte(in.GetInput()))
	if err != nil {
		return nil, err
	}
	return &commandpb.GrpcResponse{Status: http.StatusOK, Body: string(reply)}, nil
}

type bareCommands struct {
	commandpb.UnimplementedCommandServiceServer
	*bareService
}

// registrar takes what would be registered with a server.
type registrar struct {
	commands commandpb.CommandServiceServer
}

func (r *registrar) RegisterService(_ *grpc.ServiceDesc, impl any) {
	if commands, ok := impl.(commandpb.CommandServiceServer); ok {
		r.commands = commands
	}
}

func (*registrar) GetServiceInfo() map[string]grpc.ServiceInfo { return nil }

func servingGRPC(b *testing.B, svc *microsvc.Service, bare *bareService, inputs [][]byte) *serving {
	b.Helper()
	var ours registrar
	if _, err := grpcapi.Register(&ours, svc, &grpcapi.Options{Logger: quiet}); err != nil {
		b.Fatal(err)
	}
	direct := func(s commandpb.CommandServiceServer) func(*testing.B, int) calls {
		return func(_ *testing.B, callers int) (all calls) {
			ctx := metadata.NewIncomingContext(context.Background(), metadata.Pairs(
				":authority", "accounts", "content-type", "application/grpc", "user-agent", "grpc-go/1.85.0"))
			ctx = grpc.NewContextWithServerTransportStream(ctx, stream{})
			for i := range callers {
				in := request(inputs[i%len(inputs)])
				all = append(all, func() error { return checked(s.Dispatch(ctx, in)) })
			}
			return all
		}
	}
	served := func(serve func(context.Context, net.Listener) error) func(*testing.B, int) calls {
		return func(b *testing.B, callers int) (all calls) {
			addr := listen(b, serve)
			for i := range callers {
				all = append(all, grpcConnection(b, addr, inputs[i%len(inputs)]))
			}
			return all
		}
	}
	plain := &bareCommands{bareService: bare}
	return &serving{
		handler: direct(ours.commands), bareHandler: direct(plain),
		server: served(func(ctx context.Context, l net.Listener) error {
			return grpcapi.ServeListener(ctx, l, svc, &grpcapi.Options{DrainDelay: -1, Logger: quiet})
		}),
		bareServer: served(func(ctx context.Context, l net.Listener) error {
			server := grpc.NewServer()
			commandpb.RegisterCommandServiceServer(server, plain)
			context.AfterFunc(ctx, server.Stop)
			return server.Serve(l)
		}),
	}
}

func request(input []byte) *commandpb.GrpcRequest {
	return &commandpb.GrpcRequest{Command: depositCommand.Name(), Input: string(input)}
}

func checked(out *commandpb.GrpcResponse, err error) error {
	if err == nil && out.GetStatus() != http.StatusOK {
		err = fmt.Errorf("answered with %d: %s", out.GetStatus(), out.GetBody())
	}
	return err
}

// stream takes the metadata of an answer.
type stream struct{}

func (stream) Method() string               { return commandpb.CommandService_Dispatch_FullMethodName }
func (stream) SetHeader(metadata.MD) error  { return nil }
func (stream) SendHeader(metadata.MD) error { return nil }
func (stream) SetTrailer(metadata.MD) error { return nil }
