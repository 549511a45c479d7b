package grpcapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/microsvc"
	"github.com/troupe-go/troupe/microsvc/grpcapi"
	"github.com/troupe-go/troupe/microsvc/grpcapi/commandpb"
	"github.com/troupe-go/troupe/microsvc/microsvctest"
)

func TestFaces(t *testing.T) {
	t.Parallel()
	for name, face := range map[string]microsvctest.Face{"response": responses, "status": statuses, "rust": rust} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			microsvctest.Run(t, face)
		})
	}
	for name, opts := range map[string]*grpcapi.Options{"client of responses": nil, "client of statuses": {StatusCodes: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			microsvctest.Run(t, throughClient(opts))
			microsvctest.RunClient(t, throughClient(opts))
		})
	}
}

// text: gRPC itself takes nothing else.
func text(c *microsvctest.Case) { c.Refused = !utf8.ValidString(c.Input) }

// outgoing has a call's metadata: its session, too, if variables do not have it.
func outgoing(ctx context.Context, c microsvctest.Call, session bool) context.Context {
	ctx = metadata.AppendToOutgoingContext(ctx, grpcapi.KeyRequestID, c.ID)
	if c.Key != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, grpcapi.KeyIdempotencyKey, c.Key)
	}
	for name, value := range c.Session {
		if name == microsvc.KeyCorrelationID {
			name = grpcapi.KeyCorrelationID
		}
		if session {
			ctx = metadata.AppendToOutgoingContext(ctx, name, value)
		}
	}
	return ctx
}

// called is what came back beside the message.
type called struct{ header, trailer metadata.MD }

func (c *called) options() []grpc.CallOption {
	return []grpc.CallOption{grpc.Header(&c.header), grpc.Trailer(&c.trailer)}
}

// complete adds to a problem what is beside the message, and compares the ids.
func (c *called) complete(got *microsvctest.Answer, id string) {
	got.Raw += fmt.Sprint(c.header, c.trailer)
	if ids := c.header[grpcapi.KeyRequestID]; !slices.Equal(ids, []string{id}) {
		got.Err = fmt.Errorf("request %q is called %q", id, ids)
	}
	if after := c.trailer[grpcapi.KeyRetryAfter]; len(after) == 1 && got.Problem != nil {
		seconds, _ := strconv.Atoi(after[0])
		got.Problem.RetryAfter = time.Duration(seconds) * time.Second
	}
}

// readResponse reads one after docs/services.md.
func readResponse(resp *commandpb.GrpcResponse) microsvctest.Answer {
	got := microsvctest.Answer{Status: int(resp.GetStatus()), Raw: resp.GetBody()}
	if got.Status == http.StatusOK {
		got.Reply = resp.GetBody()
		return got
	}
	var f struct {
		Error, ID string
		Code      aggregate.Code
		Also      []aggregate.Code
	}
	got.Err = json.Unmarshal([]byte(resp.GetBody()), &f)
	got.Problem = &microsvc.Problem{Status: got.Status, Code: f.Code, Also: f.Also, Message: f.Error, ID: f.ID}
	return got
}

// responses is gRPC as the Rust framework speaks it, by protobuf's own types.
var responses = microsvctest.Face{
	Open: func(t testing.TB, w *microsvctest.World) microsvctest.Caller {
		service := commandpb.NewCommandServiceClient(bare(t, (&world{w, t}).serve(nil)))
		return func(ctx context.Context, c microsvctest.Call) microsvctest.Answer {
			var beside called
			req := &commandpb.GrpcRequest{Command: c.Command, Input: c.Input, SessionVariables: c.Session}
			resp, err := service.Dispatch(outgoing(ctx, c, false), req, beside.options()...)
			if err != nil {
				return microsvctest.Answer{Err: err}
			}
			got := readResponse(resp)
			beside.complete(&got, c.ID)
			return got
		}
	},
	Wants: text,
}

// statuses is gRPC with Options.StatusCodes, and with the session in metadata.
var statuses = microsvctest.Face{
	Open: func(t testing.TB, w *microsvctest.World) microsvctest.Caller {
		service := commandpb.NewCommandServiceClient(bare(t, (&world{w, t}).serve(&grpcapi.Options{StatusCodes: true})))
		return func(ctx context.Context, c microsvctest.Call) microsvctest.Answer {
			var beside called
			resp, err := service.Dispatch(outgoing(ctx, c, true), &commandpb.GrpcRequest{Command: c.Command, Input: c.Input}, beside.options()...)
			if err == nil {
				return readResponse(resp)
			}
			s := status.Convert(err)
			if len(s.Details()) != 1 {
				return microsvctest.Answer{Err: err}
			}
			info, ok := s.Details()[0].(*errdetails.ErrorInfo)
			if !ok {
				return microsvctest.Answer{Err: err}
			}
			got := microsvctest.Answer{Raw: s.Proto().String()}
			got.Status, got.Err = strconv.Atoi(info.GetMetadata()["status"])
			if want := codeOf[got.Status]; s.Code() != want && (got.Status != 500 || s.Code() != codes.Canceled) {
				got.Err = fmt.Errorf("status %d has code %s", got.Status, s.Code())
			}
			got.Problem = &microsvc.Problem{Status: got.Status, Code: aggregate.Code(info.GetReason()), Message: s.Message(), ID: info.GetMetadata()["id"]}
			if (s.Code() == codes.Canceled) != (got.Problem.Code == microsvc.CodeCanceled) {
				got.Err = fmt.Errorf("%q has code %s", got.Problem.Code, s.Code())
			}
			beside.complete(&got, c.ID)
			return got
		}
	},
	Wants: text,
}

// codeOf is the gRPC code of each status.
var codeOf = map[int]codes.Code{
	400: codes.InvalidArgument, 401: codes.Unauthenticated, 404: codes.NotFound, 409: codes.Aborted, 422: codes.FailedPrecondition,
	429: codes.ResourceExhausted, 500: codes.Internal, 503: codes.Unavailable, 504: codes.DeadlineExceeded,
}

// prost encodes a request as the Rust framework's client does: fields in their order,
// empty ones left out, also in the entries of a map.
func prost(c microsvctest.Call) (data []byte) {
	field := func(to []byte, n protowire.Number, value string) []byte {
		if value == "" {
			return to
		}
		return protowire.AppendString(protowire.AppendTag(to, n, protowire.BytesType), value)
	}
	data = field(field(nil, 1, c.Command), 2, c.Input)
	for name, value := range c.Session {
		data = protowire.AppendBytes(protowire.AppendTag(data, 3, protowire.BytesType), field(field(nil, 1, name), 2, value))
	}
	return data
}

// TestProst: the encoder writes what the Rust framework wrote.
func TestProst(t *testing.T) {
	t.Parallel()
	all := frames(t)
	for name, c := range map[string]microsvctest.Call{
		"request":       {Command: "purse.put", Input: `{"id":"1","n":3}`, Session: microsvc.Session{microsvc.KeyUserID: "ada"}},
		"request-bare":  {Command: "whoami", Input: "{}"},
		"request-empty": {},
		"request-text":  {Command: "purse.put", Input: `{"id":"Zoë 🙂","n":1}`, Session: microsvc.Session{microsvc.KeyRole: ""}},
	} {
		require.Equal(t, string(all[name]), string(prost(c)), name)
	}
}

// rust is a client of the Rust framework: its bytes, its content type.
var rust = microsvctest.Face{
	Open: func(t testing.TB, w *microsvctest.World) microsvctest.Caller {
		conn := bare(t, (&world{w, t}).serve(nil))
		return func(ctx context.Context, c microsvctest.Call) microsvctest.Answer {
			var beside called
			var reply []byte
			err := conn.Invoke(outgoing(ctx, c, false), commandpb.CommandService_Dispatch_FullMethodName, prost(c), &reply, append(beside.options(), grpc.ForceCodec(rawCodec{}))...)
			resp := &commandpb.GrpcResponse{}
			if err = errors.Join(err, proto.Unmarshal(reply, resp)); err != nil {
				return microsvctest.Answer{Err: err}
			}
			got := readResponse(resp)
			beside.complete(&got, c.ID)
			return got
		}
	},
	Wants: text,
}

// throughClient is the Go client of a server with opts. It sends JSON only.
func throughClient(opts *grpcapi.Options) microsvctest.Face {
	return microsvctest.Face{
		Open: func(t testing.TB, w *microsvctest.World) microsvctest.Caller {
			c := client(t, (&world{w, t}).serve(opts), nil)
			return func(ctx context.Context, call microsvctest.Call) microsvctest.Answer {
				more := []grpcapi.CallOption{grpcapi.WithMetadata(grpcapi.KeyRequestID, call.ID), grpcapi.WithSession(call.Session)}
				if call.Key != "" {
					more = append(more, grpcapi.WithIdempotencyKey(call.Key))
				}
				reply, err := c.Do(ctx, call.Command, json.RawMessage(call.Input), more...)
				return microsvctest.Answer{Err: err, Reply: string(reply)}
			}
		},
		Wants: func(c *microsvctest.Case) { c.Refused = !json.Valid([]byte(c.Input)) || !utf8.ValidString(c.Input) },
	}
}
