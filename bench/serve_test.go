package bench_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
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
				compareServing(b, callers, ours(b, callers), bare(b, callers))
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
			compareServing(b, callers, s.server(b, callers), s.bareServer(b, callers))
		})
	}
}

// calls are one function for each caller.
type calls []func() error

func compareServing(b *testing.B, callers int, ours, bare calls) {
	b.Helper()
	f, base, _ := comparison(b, func() figures {
		return drive(b, callers, *roundTime, func(caller, _ int) error { return ours[caller]() })
	}, func() figures {
		return drive(b, callers, *roundTime, func(caller, _ int) error { return bare[caller]() })
	})
	allocs := func(call func() error) float64 {
		return testing.AllocsPerRun(2000, func() {
			if err := call(); err != nil {
				b.Fatal(err)
			}
		})
	}
	x, y := allocs(bare[0]), allocs(ours[0])
	b.ReportMetric(f.p99/base.p99, "p99-ratio")
	b.ReportMetric(y, "allocs/cmd")
	b.ReportMetric(x, "bare-allocs/cmd")
	b.ReportMetric(y/x, "allocs-ratio")
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
	served := func(h http.Handler) func(*testing.B, int) calls {
		return func(b *testing.B, callers int) (all calls) {
			l := listener(b)
			server := &http.Server{Handler: h}
			go func() { _ = server.Serve(l) }() // it ends by Close
			b.Cleanup(func() { _ = server.Close() })
			for i := range callers {
				all = append(all, httpConnection(b, l.Addr().String(), inputs[i%len(inputs)]))
			}
			return all
		}
	}
	return &serving{handler: direct(api), bareHandler: direct(bare), server: served(api), bareServer: served(bare)}
}

func listener(b *testing.B) net.Listener {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	return l
}

// httpRequest is a request that is used again, and the writer of its answers.
func httpRequest(h http.Handler, input []byte) func() error {
	body := bytes.NewReader(input)
	r := &http.Request{
		Method: http.MethodPost, URL: &url.URL{Path: "/" + depositCommand.Name()}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Host: "accounts",
		Header: http.Header{
			"Content-Type": {"application/json"}, "Accept": {"application/json"}, "User-Agent": {"Go-http-client/1.1"},
			"Content-Length": {strconv.Itoa(len(input))}, "Accept-Encoding": {"gzip"},
		},
		Body: io.NopCloser(body), ContentLength: int64(len(input)),
	}
	r = r.WithContext(context.Background())
	w := &answer{header: http.Header{}}
	return func() error {
		body.Reset(input)
		clear(w.header)
		w.status = http.StatusOK
		h.ServeHTTP(w, r)
		if w.status != http.StatusOK {
			return fmt.Errorf("answered with %d", w.status)
		}
		return nil
	}
}

// answer is a ResponseWriter that drops the body.
type answer struct {
	header http.Header
	status int
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(p []byte) (int, error) { return len(p), nil }

// What a handler may ask of the writer of a server.
func (a *answer) Flush()                           {}
func (a *answer) SetReadDeadline(time.Time) error  { return nil }
func (a *answer) SetWriteDeadline(time.Time) error { return nil }

// httpConnection is a client that costs next to nothing: it sends the same bytes
// on one connection, and of the answers reads the status and the length.
func httpConnection(b *testing.B, addr string, input []byte) func() error {
	b.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	request := fmt.Appendf(nil, "POST /%s HTTP/1.1\r\nHost: accounts\r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: %d\r\nAccept: application/json\r\n"+
		"Content-Type: application/json\r\nAccept-Encoding: gzip\r\n\r\n%s", depositCommand.Name(), len(input), input)
	r := bufio.NewReaderSize(conn, 1024)
	ok, length := []byte("HTTP/1.1 200 "), []byte("Content-Length: ")
	return func() error {
		if _, err := conn.Write(request); err != nil {
			return err
		}
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if !bytes.HasPrefix(line, ok) {
			return fmt.Errorf("answered with %q", line)
		}
		n := -1
		for len(line) > len("\r\n") {
			if line, err = r.ReadSlice('\n'); err != nil {
				return err
			}
			if value, has := bytes.CutPrefix(line, length); has {
				n = 0
				for _, digit := range bytes.TrimSpace(value) {
					n = n*10 + int(digit-'0')
				}
			}
		}
		if n < 0 {
			return errors.New("answered without Content-Length")
		}
		_, err = r.Discard(n)
		return err
	}
}

// Dispatch is a handler as one writes it without a framework.
func (s *bareCommands) Dispatch(_ context.Context, in *commandpb.GrpcRequest) (*commandpb.GrpcResponse, error) {
	if in.GetCommand() != depositCommand.Name() {
		return &commandpb.GrpcResponse{Status: http.StatusNotFound}, nil
	}
	reply, err := s.deposit([]byte(in.GetInput()))
	if err != nil {
		return &commandpb.GrpcResponse{Status: http.StatusUnprocessableEntity, Body: err.Error()}, nil
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
	served := func(s commandpb.CommandServiceServer) func(*testing.B, int) calls {
		return func(b *testing.B, callers int) (all calls) {
			l := listener(b)
			server := grpc.NewServer()
			commandpb.RegisterCommandServiceServer(server, s)
			go func() { _ = server.Serve(l) }() // it ends by Stop
			b.Cleanup(server.Stop)
			for i := range callers {
				conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
				if err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() { _ = conn.Close() })
				client, in := commandpb.NewCommandServiceClient(conn), request(inputs[i%len(inputs)])
				all = append(all, func() error { return checked(client.Dispatch(context.Background(), in)) })
			}
			return all
		}
	}
	plain := &bareCommands{bareService: bare}
	return &serving{handler: direct(ours.commands), bareHandler: direct(plain), server: served(ours.commands), bareServer: served(plain)}
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
