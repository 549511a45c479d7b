package httpapi_test

import (
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/membus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/microsvc"
)

const (
	dead  = bus.DeadLettered
	again = bus.Retried
)

// cases say what a call does, on every transport. Each begins with 5 coins in
// purse "1".
var cases = []struct {
	name           string
	command, input string
	session        microsvc.Session

	status int
	reply  string      // JSON, of a success
	text   string      // of a failure, as a remote caller sees it
	code   string      // of a failure
	coins  int         // in purse "1" behind it
	bus    bus.Outcome // of the first attempt
}{
	{name: "aggregate command", command: "purse.put", input: `{"id":"1","n":3}`, status: 200, reply: `{"coins":8}`, coins: 8, bus: bus.Handled},
	{name: "must exist", command: "purse.take", input: `{"id":"1","n":5}`, status: 200, reply: `{"coins":0}`, coins: 0, bus: bus.Handled},
	{name: "free handler", command: "purse.bonus", input: `{"id":"1","n":1}`, session: microsvc.Session{microsvc.KeyRole: "clerk"}, status: 200, reply: `{"coins":7}`, coins: 7, bus: bus.Handled},
	{name: "session", command: "whoami", input: `{}`, session: microsvc.Session{microsvc.KeyUserID: "ada"}, status: 200, reply: `"ada"`, coins: 5, bus: bus.Handled},
	{name: "unknown field", command: "purse.put", input: `{"id":"1","n":3,"x":[]}`, status: 200, reply: `{"coins":8}`, coins: 8, bus: bus.Handled},

	{name: "no input", command: "purse.put", input: ``, status: 400, text: "input: unexpected end of JSON input at offset 0", code: "decode", coins: 5, bus: dead},
	{name: "cut off", command: "purse.put", input: `{"id":"1","n":`, status: 400, text: "input: unexpected end of JSON input at offset 14", code: "decode", coins: 5, bus: dead},
	{name: "no JSON", command: "purse.take", input: `{"id":'1'}`, status: 400, text: `input: invalid character '\'' looking for beginning of value at offset 7`, code: "decode", coins: 5, bus: dead},
	{name: "wrong type", command: "purse.take", input: `{"id":"1","n":"3"}`, status: 400, text: `input: field "n": string where int is wanted at offset 17`, code: "decode", coins: 5, bus: dead},
	{name: "huge number", command: "purse.take", input: `{"id":"1","n":1e400}`, status: 400, text: `input: field "n": number 1e400 where int is wanted at offset 19`, code: "decode", coins: 5, bus: dead},
	{name: "null", command: "purse.take", input: ` null`, status: 400, text: "input: is null at offset 0", code: "decode", coins: 5, bus: dead},
	{name: "no UTF-8", command: "purse.take", input: "{\"id\":\"\xff\"}", status: 400, text: "input: is not valid UTF-8 at offset 7", code: "decode", coins: 5, bus: dead},
	{name: "too deep", command: "whoami", input: strings.Repeat("[", 11) + strings.Repeat("]", 11), status: 400, text: "input: is nested more than 10 deep at offset 10", code: "decode", coins: 5, bus: dead},
	{name: "field missing", command: "purse.put", input: `{"id":"1"}`, status: 400, text: "input lacks n", code: "guard", coins: 5, bus: dead},
	{name: "predicate", command: "purse.put", input: `{"id":"1","n":13}`, status: 400, text: "n must not be 13", code: "guard", coins: 5, bus: dead},
	{name: "invalid", command: "purse.put", input: `{"id":" ","n":1}`, status: 400, text: `invalid stream id " ": is blank`, code: "invalid", coins: 5, bus: dead},
	{name: "no role", command: "purse.bonus", input: `{"id":"1","n":1}`, status: 401, text: "session has no x-hasura-role", code: "unauthorized", coins: 5, bus: dead},
	{name: "wrong role", command: "purse.bonus", input: `{"id":"1","n":1}`, session: microsvc.Session{microsvc.KeyRole: "guest"}, status: 401, text: `role "guest" may not do that`, code: "unauthorized", coins: 5, bus: dead},
	{name: "rejected", command: "purse.take", input: `{"id":"1","n":6}`, status: 422, text: "there are only 5 coins", code: "rejected", coins: 5, bus: dead},
	{name: "not found", command: "purse.take", input: `{"id":"2","n":1}`, status: 404, text: "purse/2 not found", code: "not_found", coins: 5, bus: again},
	{name: "unknown command", command: "purse.burn", input: `{}`, status: 404, text: "unknown command", code: "unknown_command", coins: 5, bus: bus.Unhandled},

	{name: "conflict", command: "fail", input: `{"with":"conflict"}`, status: 409, text: "conflict with others' changes: ask again", code: "conflict", coins: 5, bus: again},
	{name: "overloaded", command: "fail", input: `{"with":"overloaded"}`, status: 429, text: "overloaded: ask again later", code: "overloaded", coins: 5, bus: again},
	{name: "unavailable", command: "fail", input: `{"with":"unavailable"}`, status: 503, text: "unavailable: ask again later", code: "unavailable", coins: 5, bus: again},
	{name: "stopped", command: "fail", input: `{"with":"stopped"}`, status: 503, text: "the service is stopping: ask again later", code: "stopped", coins: 5, bus: again},
	{name: "deadline", command: "fail", input: `{"with":"deadline"}`, status: 504, text: "the deadline is over", code: "deadline", coins: 5, bus: again},
	{name: "not run", command: "fail", input: `{"with":"not run"}`, status: 504, text: "the command was not run in time", code: "not_run", coins: 5, bus: again},
	{name: "unknown outcome", command: "fail", input: `{"with":"unknown outcome"}`, status: 504, text: "the outcome is not known: ask again with the same idempotency key", code: "unknown_outcome", coins: 5, bus: again},
	{name: "corrupt", command: "fail", input: `{"with":"corrupt"}`, status: 500, text: "internal server error", code: "corrupt", coins: 5, bus: again},
	{name: "plain error", command: "fail", input: `{"with":"plain"}`, status: 500, text: "internal server error", code: "internal", coins: 5, bus: again},
	{name: "panic", command: "fail", input: `{"with":"panic"}`, status: 500, text: "internal server error", code: "panic", coins: 5, bus: dead},
}

// The same call has the same status, answer and effect on every transport.
func TestConformance(t *testing.T) {
	t.Parallel()
	for _, c := range cases {
		setup := func(t *testing.T) *world {
			t.Parallel()
			w := newWorld(t)
			_, err := cmdPut.Ask(t.Context(), w.purses, move{"1", 5})
			require.NoError(t, err)
			return w
		}
		effect := func(t *testing.T, w *world) {
			coins, _ := w.coins("1")
			require.Equal(t, c.coins, coins)
		}
		t.Run("direct/"+c.name, func(t *testing.T) {
			w := setup(t)
			data, err := w.svc.Dispatch(t.Context(), c.command, []byte(c.input), c.session)
			require.Equal(t, c.status, microsvc.Status(err), "%v", err)
			require.Equal(t, c.reply, string(data))
			if c.code == "unknown_command" {
				require.EqualError(t, err, `unknown command "purse.burn"`)
			} else if c.status >= 400 && c.status < 500 && c.status != 409 && c.status != 429 {
				require.EqualError(t, err, c.text)
			}
			effect(t, w)
		})
		t.Run("http/"+c.name, func(t *testing.T) {
			w := setup(t)
			server := w.serve(nil)
			var header []string
			for key, value := range c.session {
				header = append(header, key, value)
			}
			for _, as := range []string{"application/json", "application/problem+json"} {
				got := send(t, server, "POST", "/"+c.command, c.input, append(header, "Accept", as, "X-Request-Id", "r1")...)
				require.Equal(t, c.status, got.status, got.body)
				require.Equal(t, c.status == 429 || c.status == 503, got.header.Get("Retry-After") == "1")
				require.Equal(t, c.status == 401, got.header.Get("WWW-Authenticate") != "")
				require.NotContains(t, got.body, secret)
				require.Equal(t, c.status >= 500, strings.Contains(w.log.String(), "id=r1"), "the log has what the caller does not")
				require.Equal(t, c.status >= 500, strings.Contains(w.log.String(), secret))
				if c.status == 200 {
					require.Equal(t, "application/json", got.header.Get("Content-Type"))
					require.Equal(t, c.reply, got.body)
					break // once: it has an effect
				}
				require.Equal(t, as, got.header.Get("Content-Type"))
				var body map[string]any
				require.NoError(t, json.Unmarshal([]byte(got.body), &body))
				delete(body, "also")
				want := map[string]any{"error": c.text, "code": c.code, "id": "r1"}
				if as != "application/json" {
					want = map[string]any{"type": "about:blank", "title": body["title"], "status": float64(c.status), "detail": c.text, "code": c.code, "id": "r1"}
				}
				require.Equal(t, want, body)
			}
			effect(t, w)
		})
		t.Run("membus/"+c.name, func(t *testing.T) {
			w := setup(t)
			b := membus.New()
			if c.bus == bus.Unhandled { // nobody listens to it; but if it came
				m, err := bus.NewCommand(c.command, 1)
				require.NoError(t, err)
				require.ErrorIs(t, w.svc.Handle(t.Context(), &m), bus.ErrUnhandled)
				return
			}
			m := envelope.Message{ID: "m1", Kind: envelope.KindCommand, Name: c.command, Key: "k", Codec: "json", ContentType: "application/json", Data: []byte(c.input), Time: time.Now()}
			for key, value := range c.session {
				m.Metadata.Set(key, value)
			}
			require.NoError(t, b.PublishBatch(t.Context(), []envelope.Message{m}))
			var mu sync.Mutex
			var settled []bus.Settled
			opts := bus.Inbox(w.journal)
			opts.MaxAttempts, opts.MinBackoff, opts.UntilIdle = 2, time.Millisecond, 50*time.Millisecond
			opts.Logger = slog.New(slog.DiscardHandler)
			opts.Observe = func(s bus.Settled) {
				mu.Lock()
				defer mu.Unlock()
				settled = append(settled, s)
			}
			require.NoError(t, b.Run(t.Context(), w.svc, opts))
			require.NotEmpty(t, settled)
			require.Equal(t, c.bus, settled[0].Outcome, "%v", settled[0].Err)
			require.Equal(t, c.status, microsvc.Status(settled[0].Err))
			letters := 0
			for letter, err := range b.DeadLetters().List(t.Context(), bus.DeadLetterFilter{}) {
				require.NoError(t, err)
				require.Equal(t, "m1", letter.Message.ID)
				require.Equal(t, bus.CutReason(settled[len(settled)-1].Err.Error()), letter.Reason)
				letters++
			}
			require.Equal(t, c.status != 200, letters == 1, "what failed for good, or twice here, is set aside")
			effect(t, w)
		})
	}
}
