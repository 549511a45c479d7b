package grpcapi_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/metadata"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/microsvc"
	"github.com/troupe-go/troupe/microsvc/grpcapi"
	"github.com/troupe-go/troupe/microsvc/grpcapi/commandpb"
)

// sessionOf asks a service what session it sees.
func sessionOf(t *testing.T, addr string, payload map[string]string, md ...string) microsvc.Session {
	t.Helper()
	resp, _, _, err := send(t, addr, &commandpb.GrpcRequest{Command: "session", Input: "{}", SessionVariables: payload}, md...)
	require.NoError(t, err)
	require.Equal(t, uint32(200), resp.GetStatus(), resp.GetBody())
	var got microsvc.Session
	require.NoError(t, json.Unmarshal([]byte(resp.GetBody()), &got))
	return got
}

// What a proxy says of a caller wins over what the caller says, as a whole.
func TestSessionPrecedence(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	usual := w.serve(nil)
	strict := w.serve(&grpcapi.Options{NoPayloadSession: true})
	claims := map[string]string{"X-Hasura-User-Id": "eve", "x-hasura-role": "admin", "correlation_id": "c", "x-hasura-admin-secret": "s", "tenant": "t"}
	for _, c := range []struct {
		name    string
		addr    string
		payload map[string]string
		md      []string
		want    microsvc.Session
	}{
		{"nothing", usual, nil, nil, microsvc.Session{}},
		{"payload alone", usual, claims, nil, microsvc.Session{"x-hasura-user-id": "eve", "x-hasura-role": "admin", "correlation_id": "c"}},
		{"metadata alone", usual, nil, []string{"x-hasura-role", "r", "x-correlation-id", "c2", "x-causation-id", "d"}, microsvc.Session{"x-hasura-role": "r", "correlation_id": "c2", "causation_id": "d"}},
		{"metadata wins", usual, claims, []string{"x-hasura-role", "guest"}, microsvc.Session{"x-hasura-role": "guest", "correlation_id": "c"}},
		{"a role that the proxy leaves out is none", usual, claims, []string{"x-hasura-user-id", "ada"}, microsvc.Session{"x-hasura-user-id": "ada", "correlation_id": "c"}},
		{"a conversation is no caller", usual, claims, []string{"x-correlation-id", "c2"}, microsvc.Session{"x-hasura-user-id": "eve", "x-hasura-role": "admin", "correlation_id": "c2"}},
		{"not in the list", usual, nil, []string{"authorization", "Bearer x", "x-tenant", "t", "x-hasura-admin-secret", "s", "x-hasura-x-bin", "b"}, microsvc.Session{}},
		{"no payload", strict, claims, nil, microsvc.Session{}},
		{"no payload beside metadata", strict, claims, []string{"x-hasura-role", "guest"}, microsvc.Session{"x-hasura-role": "guest"}},
		{"other list", w.serve(&grpcapi.Options{SessionMetadata: []string{"Tenant", "x-correlation-*"}}), claims, []string{"x-hasura-role", "guest"}, microsvc.Session{"tenant": "t", "correlation_id": "c"}},
		{"empty list", w.serve(&grpcapi.Options{SessionMetadata: []string{}}), claims, []string{"x-hasura-role", "guest"}, microsvc.Session{}},
		{"secret by its name", w.serve(&grpcapi.Options{SessionMetadata: []string{"x-hasura-admin-secret"}}), nil, []string{"x-hasura-admin-secret", "s"}, microsvc.Session{"x-hasura-admin-secret": "s"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.want, sessionOf(t, c.addr, c.payload, c.md...))
		})
	}
}

func TestAmbiguousCallersAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	addr := w.serve(nil)
	for _, c := range []struct {
		payload map[string]string
		md      []string
		text    string
	}{
		{md: []string{"x-hasura-role", "guest", "x-hasura-role", "admin"}, text: "more than once"},
		{md: []string{"x-correlation-id", "a", "correlation_id", "b"}, text: "more than once"},
		{md: []string{"idempotency-key", "a", "idempotency-key", "b"}, text: "more than once"},
		{payload: map[string]string{"x-hasura-role": "guest", "X-Hasura-Role": "admin"}, text: "more than once"},
		{md: []string{"idempotency-key", strings.Repeat("k", 600)}, text: "idempotency key"},
		{md: []string{"x-correlation-id", strings.Repeat("c", envelope.MaxMetadataValueBytes+1)}, text: "correlation"},
	} {
		resp, _, _, err := send(t, addr, &commandpb.GrpcRequest{Command: "purse.put", Input: `{"id":"1","n":1}`, SessionVariables: c.payload}, c.md...)
		require.NoError(t, err)
		require.Equal(t, uint32(400), resp.GetStatus(), "%v", c)
		require.Contains(t, resp.GetBody(), c.text)
	}
	_, records := w.Coins("1")
	require.Zero(t, records, "none had an effect")
}

func TestAuthenticate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	addr := w.serve(&grpcapi.Options{Authenticate: func(ctx context.Context) (microsvc.Session, error) {
		md, _ := metadata.FromIncomingContext(ctx)
		switch token := strings.Join(md["authorization"], ""); token {
		case "Bearer x":
			return microsvc.Session{"X-Hasura-User-Id": "known"}, nil
		case "":
			return nil, aggregate.Unauthorized("who are you?")
		default:
			panic(secret)
		}
	}})
	got := sessionOf(t, addr, map[string]string{"x-hasura-role": "admin"}, "authorization", "Bearer x", "x-hasura-user-id", "other")
	require.Equal(t, microsvc.Session{"x-hasura-user-id": "known"}, got, "it wins, and so nothing of the payload counts")
	c := client(t, addr, &grpcapi.ClientOptions{Metadata: metadata.Pairs("authorization", "wrong")})
	_, err := c.Do(metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer x"), "session", 1)
	require.NoError(t, err, "what the context has wins over what the client has")
	_, err = client(t, addr, nil).Do(t.Context(), "session", 1)
	require.ErrorIs(t, err, aggregate.ErrUnauthorized)
	require.EqualError(t, err, "who are you?")
	_, err = client(t, addr, nil).Do(t.Context(), "session", 1, grpcapi.WithMetadata("authorization", "?"))
	require.ErrorIs(t, err, aggregate.ErrPanic)
	require.NotContains(t, err.Error(), secret)
	require.Contains(t, w.Log.String(), secret)
}

func TestRequestIDs(t *testing.T) {
	t.Parallel()
	addr := newWorld(t).serve(nil)
	for _, id := range []string{"abc-123", "a b", "a\"b", strings.Repeat("x", 129)} {
		resp, header, _, err := send(t, addr, &commandpb.GrpcRequest{Command: "whoami", Input: "{}"}, grpcapi.KeyRequestID, id)
		require.NoError(t, err)
		require.Len(t, header[grpcapi.KeyRequestID], 1)
		kept := header[grpcapi.KeyRequestID][0]
		require.NotEmpty(t, kept)
		require.Equal(t, id == "abc-123", kept == id)
		require.Contains(t, resp.GetBody(), `"id":"`+kept+`"`)
	}
}

func TestWrongOptionsAreNamed(t *testing.T) {
	t.Parallel()
	require.ErrorIs(t, grpcapi.Serve(t.Context(), "127.0.0.1:0", microsvc.New(""), nil), aggregate.ErrInvalid)
	err := grpcapi.Serve(t.Context(), "127.0.0.1:0", microsvc.New("s"), &grpcapi.Options{MaxMessageBytes: -1, Logger: slog.Default()})
	require.ErrorIs(t, err, aggregate.ErrInvalid)
	require.ErrorContains(t, err, "MaxMessageBytes")
	err = grpcapi.Serve(t.Context(), "127.0.0.1:0", microsvc.New("s"), &grpcapi.Options{SessionMetadata: []string{"*"}})
	require.ErrorContains(t, err, "SessionMetadata", "not everything")
	_, err = grpcapi.NewClient("", nil)
	require.ErrorIs(t, err, aggregate.ErrInvalid)
	_, err = grpcapi.NewClient("localhost:1", &grpcapi.ClientOptions{MaxReplyBytes: -1})
	require.ErrorContains(t, err, "MaxReplyBytes")
	_, err = grpcapi.NewClient("localhost:1", &grpcapi.ClientOptions{Metadata: metadata.MD{"a b": {"c"}}})
	require.ErrorIs(t, err, aggregate.ErrInvalid)
}
