package grpcapi

import (
	"encoding/json"
	"log/slog"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/microsvc"
	"github.com/troupe-go/troupe/microsvc/grpcapi/commandpb"
)

// FuzzRequest: whatever message and metadata come, the answer is one of those documented
// and JSON, never a 5xx, and what a command gets is what a direct call gets.
func FuzzRequest(f *testing.F) {
	for _, m := range []*commandpb.GrpcRequest{
		{Command: "echo", Input: `{"text":"a"}`, SessionVariables: map[string]string{microsvc.KeyUserID: "ada", "X-Hasura-User-Id": "eve"}},
		{Command: "echo", Input: `{"text":1}`, SessionVariables: map[string]string{"correlation_id": "\n", "x-correlation-id": " "}},
		{Input: "null"}, {},
	} {
		data, err := proto.Marshal(m)
		require.NoError(f, err)
		f.Add(data, KeyIdempotencyKey, "k")
		f.Add(data, microsvc.KeyRole, "\xff")
	}
	type text struct {
		Text string `json:"text"`
	}
	svc := microsvc.New("s").WithOptions(microsvc.Options{Logger: slog.New(slog.DiscardHandler)}).
		Register(microsvc.Handle("echo", func(_ *microsvc.Context, in text) (text, error) { return in, nil }))
	api, err := Register(grpc.NewServer(), svc, nil)
	require.NoError(f, err)
	service := &commands{api: api}
	f.Fuzz(func(t *testing.T, data []byte, name, value string) {
		var in commandpb.GrpcRequest
		if proto.Unmarshal(data, &in) != nil {
			return
		}
		out, err := service.Dispatch(metadata.NewIncomingContext(t.Context(), metadata.Pairs(name, value)), &in)
		require.NoError(t, err)
		require.True(t, slices.Contains([]uint32{200, 400, 404}, out.GetStatus()), out)
		require.True(t, json.Valid([]byte(out.GetBody())), out)
		direct, failed := svc.Dispatch(t.Context(), "echo", []byte(in.GetInput()), nil)
		switch {
		case in.GetCommand() != "echo":
			require.EqualValues(t, 404, out.GetStatus())
		case out.GetStatus() == 200:
			require.NoError(t, failed)
			require.Equal(t, string(direct), out.GetBody())
		case failed == nil: // it is the metadata or the variables
			require.NotContains(t, out.GetBody(), `"decode"`)
		}
	})
}

// Whatever a service answers with, a client makes an error of it, with a code and
// a text.
func FuzzFailures(f *testing.F) {
	f.Add(uint32(422), `{"error":"no","code":"rejected","also":["guard"],"id":"1"}`)
	f.Add(uint32(404), `{"error":"unknown command: a"}`)
	f.Add(uint32(0), ``)
	f.Add(uint32(1<<32-1), `{"code":1,"also":{}}`)
	f.Fuzz(func(t *testing.T, code uint32, body string) {
		p := problemOfResponse(&commandpb.GrpcResponse{Status: code, Body: body})
		require.NotEmpty(t, p.Code)
		require.NotEmpty(t, p.Error())
		require.Equal(t, int(code), p.Status)
	})
}

// What one side makes a status of, the other reads; what is not ours it leaves.
func FuzzStatuses(f *testing.F) {
	ours, err := proto.Marshal(statusOf(&microsvc.Problem{Status: 404, Code: aggregate.CodeNotFound, Also: []aggregate.Code{"a", "b"}, Message: "m", ID: "i"}).Proto())
	require.NoError(f, err)
	f.Add(ours)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		var s statuspb.Status
		if proto.Unmarshal(data, &s) != nil {
			return
		}
		p := problemOfStatus(status.FromProto(&s))
		if p == nil {
			return
		}
		require.GreaterOrEqual(t, p.Status, 400)
		again := problemOfStatus(statusOf(p))
		require.NotNil(t, again)
		require.Equal(t, p, again)
	})
}
