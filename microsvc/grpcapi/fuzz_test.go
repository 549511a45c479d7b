package grpcapi

import (
	"testing"

	"github.com/stretchr/testify/require"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/microsvc"
	"github.com/troupe-go/troupe/microsvc/grpcapi/commandpb"
)

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
