package grpcapi_test

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/microsvc"
	"github.com/troupe-go/troupe/microsvc/grpcapi"
	"github.com/troupe-go/troupe/microsvc/grpcapi/commandpb"
	"github.com/troupe-go/troupe/microsvc/microsvctest"
)

// frames are messages as the Rust framework encodes them.
func frames(t *testing.T) map[string][]byte {
	t.Helper()
	f, err := os.Open("testdata/rust-1.5.0.txt")
	require.NoError(t, err)
	defer f.Close()
	all := map[string][]byte{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, text, ok := strings.Cut(lines.Text(), " "); ok && name != "#" {
			all[name], err = hex.DecodeString(text)
			require.NoError(t, err)
		}
	}
	return all
}

// What the Rust framework writes we read, and write the same bytes.
func TestFramesOfTheRustFramework(t *testing.T) {
	t.Parallel()
	all := frames(t)
	for name, want := range map[string]proto.Message{
		"request":              &commandpb.GrpcRequest{Command: "purse.put", Input: `{"id":"1","n":3}`, SessionVariables: map[string]string{"x-hasura-user-id": "ada"}},
		"request-bare":         &commandpb.GrpcRequest{Command: "whoami", Input: "{}"},
		"request-empty":        &commandpb.GrpcRequest{},
		"request-text":         &commandpb.GrpcRequest{Command: "purse.put", Input: `{"id":"Zoë 🙂","n":1}`, SessionVariables: map[string]string{"x-hasura-role": ""}},
		"response":             &commandpb.GrpcResponse{Status: 200, Body: `{"coins":8}`},
		"response-failure":     &commandpb.GrpcResponse{Status: 422, Body: `{"error":"rejected: only 5 coins"}`},
		"response-empty":       &commandpb.GrpcResponse{},
		"health-request":       &commandpb.HealthRequest{},
		"health-response":      &commandpb.HealthResponse{Ok: true, Commands: []string{"fail", "purse.put"}},
		"health-response-none": &commandpb.HealthResponse{},
	} {
		frame, ok := all[name]
		require.True(t, ok, name)
		got := want.ProtoReflect().New().Interface()
		require.NoError(t, proto.Unmarshal(frame, got), name)
		require.True(t, proto.Equal(want, got), "%s: got %v", name, got)
		if name != "request-text" { // prost leaves out an empty value of a map, which is the same
			data, err := proto.MarshalOptions{Deterministic: true}.Marshal(want)
			require.NoError(t, err)
			require.Equal(t, hex.EncodeToString(frame), hex.EncodeToString(data), name)
		}
	}
	require.Equal(t, "/sourced.microsvc.CommandService/Dispatch", commandpb.CommandService_Dispatch_FullMethodName)
	require.Equal(t, "/sourced.microsvc.CommandService/Health", commandpb.CommandService_Health_FullMethodName)
}

// rawCodec sends and returns messages as they are on the wire, of the content type
// application/grpc, as tonic does.
type rawCodec struct{}

func (rawCodec) Name() string                  { return "" }
func (rawCodec) Marshal(v any) ([]byte, error) { return v.([]byte), nil }
func (rawCodec) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = append([]byte{}, data...)
	return nil
}

func raw(t *testing.T, addr, method string, message []byte) ([]byte, error) {
	t.Helper()
	var reply []byte
	err := bare(t, addr).Invoke(t.Context(), method, message, &reply, grpc.ForceCodec(rawCodec{}))
	return reply, err
}

// The service answers the Rust framework's own bytes with bytes that it reads.
func TestServiceTakesTheRustFrameworksBytes(t *testing.T) {
	t.Parallel()
	all := frames(t)
	w := newWorld(t)
	addr := w.serve(nil)
	_, err := microsvctest.Put.Ask(t.Context(), w.Purses, microsvctest.Move{ID: "1", N: 5})
	require.NoError(t, err)
	reply, err := raw(t, addr, commandpb.CommandService_Dispatch_FullMethodName, all["request"])
	require.NoError(t, err)
	require.Equal(t, all["response"], reply, "8 coins")
	reply, err = raw(t, addr, commandpb.CommandService_Dispatch_FullMethodName, all["request-text"])
	require.NoError(t, err)
	require.Equal(t, "08c801120b7b22636f696e73223a317d", hex.EncodeToString(reply))
	reply, err = raw(t, addr, commandpb.CommandService_Health_FullMethodName, all["health-request"])
	require.NoError(t, err)
	require.Equal(t, byte(0x08), reply[0])
	require.Contains(t, string(reply), "purse.put")
}

func answering(t *testing.T, answer *commandpb.GrpcResponse) string {
	t.Helper()
	addr, _ := cannedServer(t, func(context.Context) (*commandpb.GrpcResponse, error) { return answer, nil })
	return addr
}

// The answers of a Rust service become the framework's errors.
func TestClientOfARustService(t *testing.T) {
	t.Parallel()
	all := frames(t)
	for name, want := range map[string]struct {
		target error
		text   string
	}{
		"answer-unknown":      {microsvc.ErrUnknownCommand, "unknown command: nothing"},
		"answer-json":         {&microsvc.DecodeError{}, "invalid JSON input: EOF while parsing an object at line 1 column 1"},
		"answer-decode":       {&microsvc.DecodeError{}, "decode failed: missing field `n`"},
		"answer-guard":        {microsvc.ErrGuard, "guard rejected command: fail"},
		"answer-rejected":     {aggregate.ErrRejected, "rejected: only 5 coins"},
		"answer-notfound":     {aggregate.ErrNotFound, "not found: purse 2"},
		"answer-unauthorized": {aggregate.ErrUnauthorized, "unauthorized: no role"},
		"answer-other":        {nil, "handler error: db " + secret},
	} {
		answer := &commandpb.GrpcResponse{}
		require.NoError(t, proto.Unmarshal(all[name], answer))
		_, err := client(t, answering(t, answer), nil).Do(t.Context(), "a", 1)
		require.EqualError(t, err, want.text)
		for _, target := range microsvctest.Sentinels {
			require.Equal(t, errors.Is(want.target, target.Err), errors.Is(err, target.Err), "%s is %s", name, target.Name)
		}
		require.Equal(t, int(answer.GetStatus()), microsvc.Status(err))
	}
	answer := &commandpb.GrpcResponse{}
	require.NoError(t, proto.Unmarshal(all["answer"], answer))
	data, err := client(t, answering(t, answer), nil).Do(t.Context(), "a", 1)
	require.NoError(t, err)
	require.JSONEq(t, `{"input":{"a":1},"session":[["x-hasura-user-id","ada"]]}`, string(data))
}

// What is no message is refused by gRPC itself.
func TestBytesThatAreNoMessage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	addr := w.serve(nil)
	for name, message := range map[string]string{
		"command is not UTF-8": "\n\x02\xff\xfe",
		"input is not UTF-8":   "\n\x06whoami\x12\x01\xff",
		"session is not UTF-8": "\n\x06whoami\x12\x02{}\x1a\x06\n\x01a\x12\x01\xff",
		"cut off":              "\n\x06who",
		"no protobuf":          "\xff\xff\xff",
	} {
		_, err := raw(t, addr, commandpb.CommandService_Dispatch_FullMethodName, []byte(message))
		require.Equal(t, codes.Internal, status.Code(err), name)
	}
	_, err := client(t, addr, nil).Do(t.Context(), "who\xff", 1)
	require.ErrorIs(t, err, aggregate.ErrInvalid)
	_, err = client(t, addr, nil).Do(t.Context(), "whoami", 1, grpcapi.WithSession(microsvc.Session{microsvc.KeyUserID: "\xff"}))
	require.ErrorIs(t, err, aggregate.ErrInvalid)
	_, err = client(t, addr, nil).Do(t.Context(), "whoami", 1, grpcapi.WithMetadata(microsvc.KeyUserID, "Zoë"))
	require.ErrorIs(t, err, aggregate.ErrInvalid)
	got, err := grpcapi.Call[string](t.Context(), client(t, addr, nil), "whoami", 1, grpcapi.WithSession(microsvc.Session{microsvc.KeyUserID: "Zoë"}))
	require.NoError(t, err)
	require.Equal(t, "Zoë", got)
}
