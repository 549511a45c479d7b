package grpcapi_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/microsvc"
	"github.com/troupe-go/troupe/microsvc/grpcapi"
	"github.com/troupe-go/troupe/microsvc/grpcapi/commandpb"
)

// cases say what a call does. Each begins with 5 coins in purse "1". What they
// say is the same over HTTP: package httpapi has them with a status of its own.
var cases = []struct {
	name           string
	command, input string
	session        map[string]string

	status int
	code   codes.Code
	reply  string         // JSON, of a success
	text   string         // of a failure, as a remote caller sees it
	kind   aggregate.Code // of a failure
	coins  int            // in purse "1" behind it
}{
	{name: "aggregate command", command: "purse.put", input: `{"id":"1","n":3}`, status: 200, reply: `{"coins":8}`, coins: 8},
	{name: "must exist", command: "purse.take", input: `{"id":"1","n":5}`, status: 200, reply: `{"coins":0}`, coins: 0},
	{name: "free handler", command: "purse.bonus", input: `{"id":"1","n":1}`, session: microsvc.Session{microsvc.KeyRole: "clerk"}, status: 200, reply: `{"coins":7}`, coins: 7},
	{name: "session", command: "whoami", input: `{}`, session: microsvc.Session{microsvc.KeyUserID: "ada"}, status: 200, reply: `"ada"`, coins: 5},
	{name: "unknown field", command: "purse.put", input: `{"id":"1","n":3,"x":[]}`, status: 200, reply: `{"coins":8}`, coins: 8},

	{name: "no input", command: "purse.put", status: 400, code: codes.InvalidArgument, text: "input: unexpected end of JSON input at offset 0", kind: "decode", coins: 5},
	{name: "cut off", command: "purse.put", input: `{"id":"1","n":`, status: 400, code: codes.InvalidArgument, text: "input: unexpected end of JSON input at offset 14", kind: "decode", coins: 5},
	{name: "wrong type", command: "purse.take", input: `{"id":"1","n":"3"}`, status: 400, code: codes.InvalidArgument, text: `input: field "n": string where int is wanted at offset 17`, kind: "decode", coins: 5},
	{name: "huge number", command: "purse.take", input: `{"id":"1","n":1e400}`, status: 400, code: codes.InvalidArgument, text: `input: field "n": number 1e400 where int is wanted at offset 19`, kind: "decode", coins: 5},
	{name: "null", command: "purse.take", input: ` null`, status: 400, code: codes.InvalidArgument, text: "input: is null at offset 0", kind: "decode", coins: 5},
	{name: "too deep", command: "whoami", input: strings.Repeat("[", 11) + strings.Repeat("]", 11), status: 400, code: codes.InvalidArgument, text: "input: is nested more than 10 deep at offset 10", kind: "decode", coins: 5},
	{name: "field missing", command: "purse.put", input: `{"id":"1"}`, status: 400, code: codes.InvalidArgument, text: "input lacks n", kind: "guard", coins: 5},
	{name: "predicate", command: "purse.put", input: `{"id":"1","n":13}`, status: 400, code: codes.InvalidArgument, text: "n must not be 13", kind: "guard", coins: 5},
	{name: "invalid", command: "purse.put", input: `{"id":" ","n":1}`, status: 400, code: codes.InvalidArgument, text: `invalid stream id " ": is blank`, kind: "invalid", coins: 5},
	{name: "no role", command: "purse.bonus", input: `{"id":"1","n":1}`, status: 401, code: codes.Unauthenticated, text: "session has no x-hasura-role", kind: "unauthorized", coins: 5},
	{name: "wrong role", command: "purse.bonus", input: `{"id":"1","n":1}`, session: microsvc.Session{microsvc.KeyRole: "guest"}, status: 401, code: codes.Unauthenticated, text: `role "guest" may not do that`, kind: "unauthorized", coins: 5},
	{name: "rejected", command: "purse.take", input: `{"id":"1","n":6}`, status: 422, code: codes.FailedPrecondition, text: "there are only 5 coins", kind: "rejected", coins: 5},
	{name: "not found", command: "purse.take", input: `{"id":"2","n":1}`, status: 404, code: codes.NotFound, text: "purse/2 not found", kind: "not_found", coins: 5},
	{name: "unknown command", command: "purse.burn", input: `{}`, status: 404, code: codes.NotFound, text: `unknown command "purse.burn"`, kind: "unknown_command", coins: 5},
	{name: "no command", input: `{}`, status: 404, code: codes.NotFound, text: `unknown command ""`, kind: "unknown_command", coins: 5},

	{name: "conflict", command: "fail", input: `{"with":"conflict"}`, status: 409, code: codes.Aborted, text: "conflict with others' changes: ask again", kind: "conflict", coins: 5},
	{name: "overloaded", command: "fail", input: `{"with":"overloaded"}`, status: 429, code: codes.ResourceExhausted, text: "overloaded: ask again later", kind: "overloaded", coins: 5},
	{name: "unavailable", command: "fail", input: `{"with":"unavailable"}`, status: 503, code: codes.Unavailable, text: "unavailable: ask again later", kind: "unavailable", coins: 5},
	{name: "stopped", command: "fail", input: `{"with":"stopped"}`, status: 503, code: codes.Unavailable, text: "the service is stopping: ask again later", kind: "stopped", coins: 5},
	{name: "deadline", command: "fail", input: `{"with":"deadline"}`, status: 504, code: codes.DeadlineExceeded, text: "the deadline is over", kind: "deadline", coins: 5},
	{name: "not run", command: "fail", input: `{"with":"not run"}`, status: 504, code: codes.DeadlineExceeded, text: "the command was not run in time", kind: "not_run", coins: 5},
	{name: "unknown outcome", command: "fail", input: `{"with":"unknown outcome"}`, status: 504, code: codes.DeadlineExceeded, text: "the outcome is not known: ask again with the same idempotency key", kind: "unknown_outcome", coins: 5},
	{name: "canceled", command: "fail", input: `{"with":"canceled"}`, status: 500, code: codes.Canceled, text: "internal server error", kind: "canceled", coins: 5},
	{name: "corrupt", command: "fail", input: `{"with":"corrupt"}`, status: 500, code: codes.Internal, text: "internal server error", kind: "corrupt", coins: 5},
	{name: "plain error", command: "fail", input: `{"with":"plain"}`, status: 500, code: codes.Internal, text: "internal server error", kind: "internal", coins: 5},
	{name: "panic", command: "fail", input: `{"with":"panic"}`, status: 500, code: codes.Internal, text: "internal server error", kind: "panic", coins: 5},
}

// The same call has the same answer and effect in both forms, and behind the
// client; what is masked is in the log.
func TestConformance(t *testing.T) {
	t.Parallel()
	for _, c := range cases {
		for form, opts := range map[string]*grpcapi.Options{"response": nil, "status": {StatusCodes: true}} {
			setup := func(t *testing.T) (*world, string) {
				t.Parallel()
				w := newWorld(t)
				_, err := cmdPut.Ask(t.Context(), w.purses, move{"1", 5})
				require.NoError(t, err)
				return w, w.serve(opts)
			}
			check := func(t *testing.T, w *world) {
				coins, _ := w.coins("1")
				require.Equal(t, c.coins, coins)
				require.Equal(t, c.status >= 500, strings.Contains(w.log.String(), "id=r1"), "the log has what the caller does not")
				require.Equal(t, c.status >= 500, strings.Contains(w.log.String(), secret))
			}
			t.Run(form+"/"+c.name, func(t *testing.T) {
				w, addr := setup(t)
				resp, header, trailer, err := send(t, addr, &commandpb.GrpcRequest{Command: c.command, Input: c.input, SessionVariables: c.session}, grpcapi.KeyRequestID, "r1")
				require.Equal(t, []string{"r1"}, header[grpcapi.KeyRequestID])
				require.Equal(t, c.status == 429 || c.status == 503, len(trailer[grpcapi.KeyRetryAfter]) == 1)
				check(t, w)
				if form == "status" && c.status != 200 {
					require.Equal(t, c.code, status.Code(err))
					require.Equal(t, c.text, status.Convert(err).Message())
					require.NotContains(t, status.Convert(err).Proto().String(), secret)
					return
				}
				require.NoError(t, err)
				require.Equal(t, uint32(c.status), resp.GetStatus())
				require.NotContains(t, resp.GetBody(), secret)
				if c.status == 200 {
					require.Equal(t, c.reply, resp.GetBody())
					return
				}
				var body map[string]any
				require.NoError(t, json.Unmarshal([]byte(resp.GetBody()), &body))
				delete(body, "also")
				require.Equal(t, map[string]any{"error": c.text, "code": string(c.kind), "id": "r1"}, body)
			})
			t.Run(form+"-client/"+c.name, func(t *testing.T) {
				if c.input != "" && !json.Valid([]byte(c.input)) || c.input == "" {
					t.Parallel()
					return // a client sends JSON only
				}
				w, addr := setup(t)
				data, err := client(t, addr, nil).Do(t.Context(), c.command, json.RawMessage(c.input), grpcapi.WithSession(c.session), grpcapi.WithMetadata(grpcapi.KeyRequestID, "r1"))
				check(t, w)
				require.Equal(t, c.code, grpcapi.Code(err))
				if c.status == 200 {
					require.NoError(t, err)
					require.Equal(t, c.reply, string(data))
					return
				}
				var p *microsvc.Problem
				require.ErrorAs(t, err, &p)
				require.Equal(t, c.status == 429 || c.status == 503, p.RetryAfter > 0)
				p.RetryAfter, p.Also = 0, nil
				require.Equal(t, &microsvc.Problem{Status: c.status, Code: c.kind, Message: c.text, ID: "r1"}, p)
			})
		}
	}
}
