package microsvctest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/microsvc"
)

// start is how many coins a case's purse has before its call.
const start = 5

// Case says what one call does, whatever it comes through. "ID" in its input and
// key stands for its purse, which has 5 coins before; offsets are as they are then.
type Case struct {
	Name           string
	Command, Input string
	Event          bool // Command is an event's name: for a bus, and who has [Face].Events
	Session        microsvc.Session
	Strict         bool // of a service with StrictInput

	// Key is the idempotency key, and the message's id on a bus. The caller sends
	// Repeat calls with it, each of which has the same answer, zero meaning one;
	// then another caller sends the same with that key, unless Other is nil. On a bus
	// an id is that of one message, whoever sends it.
	Key        string
	Repeat     int
	Other      microsvc.Session
	OtherReply string

	Status int
	Reply  string         // JSON, of a success
	Code   aggregate.Code // of a failure
	Text   string         // of a failure, as a remote caller sees it; empty is anything
	Coins  int            // in the purse behind it
	Bus    bus.Outcome    // of the first attempt; [bus.Unhandled] means that it does not come

	// What only a face may change. Refused says that it does not take the call: its
	// caller gets an error, and the service has not heard of it. ID is what the call is
	// known by, empty for nothing. Logged says that the log has what the caller is not
	// told, and Commanded that the effect has a command's id: as it is with a key.
	Refused, Logged, Commanded bool
	ID                         string

	purse string
}

// again reports whether callers are told when to ask again.
func (c *Case) again() bool { return c.Status == 429 || c.Status == 503 }

// call is the call itself.
func (c *Case) call() Call {
	return Call{
		Command: c.Command, Event: c.Event, Input: strings.ReplaceAll(c.Input, "ID", c.purse), Session: c.Session,
		Key: c.Key, ID: "call-" + c.purse,
	}
}

// typed compares an error with those that the case's code stands for.
func (c *Case) typed(t *testing.T, err error) {
	t.Helper()
	p := &microsvc.Problem{Code: c.Code}
	if c.Code == microsvc.CodeDecode {
		p.Also = []aggregate.Code{aggregate.CodeInvalid} // as a DecodeError says
	}
	for _, s := range Sentinels {
		if p.Is(s.Err) {
			require.ErrorIs(t, err, s.Err, s.Name)
		}
	}
}

const (
	dead  = bus.DeadLettered
	again = bus.Retried
)

var (
	clerk = microsvc.Session{microsvc.KeyRole: "clerk"}
	ada   = microsvc.Session{microsvc.KeyUserID: "ada", microsvc.KeyRole: "clerk"}
	eve   = microsvc.Session{microsvc.KeyUserID: "eve", microsvc.KeyRole: "clerk"}
)

const masked = "internal server error"

// cases are the table.
var cases = []Case{
	{Name: "aggregate command", Command: "purse.put", Input: `{"id":"ID","n":3}`, Status: 200, Reply: `{"coins":8}`, Coins: 8, Bus: bus.Handled},
	{Name: "must exist", Command: "purse.take", Input: `{"id":"ID","n":5}`, Status: 200, Reply: `{"coins":0}`, Coins: 0, Bus: bus.Handled},
	{Name: "free handler", Command: "purse.bonus", Input: `{"id":"ID","n":1}`, Session: clerk, Status: 200, Reply: `{"coins":7}`, Coins: 7, Bus: bus.Handled},
	{Name: "session", Command: "whoami", Input: `{}`, Session: ada, Status: 200, Reply: `"ada"`, Coins: 5, Bus: bus.Handled},
	{Name: "conversation", Command: "purse.put", Input: `{"id":"ID","n":3}`, Session: microsvc.Session{microsvc.KeyCorrelationID: "c-ID"}, Status: 200, Reply: `{"coins":8}`, Coins: 8, Bus: bus.Handled},
	{Name: "any language", Command: "echo", Input: `{"text":"Zoë 🙂 \u2028 \"\\"}`, Status: 200, Reply: `{"text":"Zoë 🙂 \u2028 \"\\"}`, Coins: 5, Bus: bus.Handled},
	{Name: "no reply", Command: "nothing", Input: `[1]`, Status: 200, Reply: `null`, Coins: 5, Bus: bus.Handled},
	{Name: "unknown field", Command: "purse.put", Input: `{"id":"ID","n":3,"x":[]}`, Status: 200, Reply: `{"coins":8}`, Coins: 8, Bus: bus.Handled},
	{Name: "as deep as may be", Command: "nothing", Input: strings.Repeat("[", 10) + strings.Repeat("]", 10), Status: 200, Reply: `null`, Coins: 5, Bus: bus.Handled},

	{Name: "key", Command: "purse.put", Input: `{"id":"ID","n":3}`, Session: ada, Key: "k-ID", Repeat: 3, Other: eve, OtherReply: `{"coins":11}`, Status: 200, Reply: `{"coins":8}`, Coins: 8, Bus: bus.Handled},
	{Name: "key of a free handler", Command: "purse.bonus", Input: `{"id":"ID","n":1}`, Session: ada, Key: "k-ID", Repeat: 3, Other: eve, OtherReply: `{"coins":9}`, Status: 200, Reply: `{"coins":7}`, Coins: 7, Bus: bus.Handled},
	{Name: "key of a refusal", Command: "purse.take", Input: `{"id":"ID","n":6}`, Key: "k-ID", Repeat: 2, Status: 422, Text: "there are only 5 coins", Code: "rejected", Coins: 5, Bus: dead},
	{Name: "key too long", Command: "purse.put", Input: `{"id":"ID","n":3}`, Key: strings.Repeat("k", envelope.MaxMessageIDBytes+1), Status: 400, Code: "invalid", Coins: 5},

	{Name: "no input", Command: "purse.put", Input: ``, Status: 400, Text: "input: unexpected end of JSON input at offset 0", Code: "decode", Coins: 5, Bus: dead},
	{Name: "cut off", Command: "purse.put", Input: `{"id":"ID","n":`, Status: 400, Text: "input: unexpected end of JSON input at offset 15", Code: "decode", Coins: 5, Bus: dead},
	{Name: "no JSON", Command: "purse.take", Input: `{"id":'ID'}`, Status: 400, Text: `input: invalid character '\'' looking for beginning of value at offset 7`, Code: "decode", Coins: 5, Bus: dead},
	{Name: "something follows", Command: "purse.take", Input: `{"id":"ID","n":1}{}`, Status: 400, Text: `input: invalid character '{' after top-level value at offset 18`, Code: "decode", Coins: 5, Bus: dead},
	{Name: "wrong type", Command: "purse.take", Input: `{"id":"ID","n":"3"}`, Status: 400, Text: `input: field "n": string where int is wanted at offset 18`, Code: "decode", Coins: 5, Bus: dead},
	{Name: "no object", Command: "purse.take", Input: `[3]`, Status: 400, Text: `input: array where struct is wanted at offset 1`, Code: "decode", Coins: 5, Bus: dead},
	{Name: "fraction", Command: "purse.take", Input: `{"id":"ID","n":1.5}`, Status: 400, Text: `input: field "n": number 1.5 where int is wanted at offset 18`, Code: "decode", Coins: 5, Bus: dead},
	{Name: "huge number", Command: "purse.take", Input: `{"id":"ID","n":1e400}`, Status: 400, Text: `input: field "n": number 1e400 where int is wanted at offset 20`, Code: "decode", Coins: 5, Bus: dead},
	{Name: "number of 1,000 digits", Command: "purse.take", Input: `{"id":"ID","n":` + strings.Repeat("9", 1000) + `}`, Status: 400, Code: "decode", Coins: 5, Bus: dead},
	{Name: "null", Command: "purse.take", Input: ` null`, Status: 400, Text: "input: is null at offset 0", Code: "decode", Coins: 5, Bus: dead},
	{Name: "no UTF-8", Command: "purse.take", Input: "{\"id\":\"\xff\"}", Status: 400, Text: "input: is not valid UTF-8 at offset 7", Code: "decode", Coins: 5, Bus: dead},
	{Name: "too deep", Command: "whoami", Input: strings.Repeat("[", 11) + strings.Repeat("]", 11), Session: ada, Status: 400, Text: "input: is nested more than 10 deep at offset 10", Code: "decode", Coins: 5, Bus: dead},
	{Name: "10,000 deep and cut off", Command: "whoami", Input: strings.Repeat(`{"a":`, 10_000), Session: ada, Status: 400, Text: "input: is nested more than 10 deep at offset 50", Code: "decode", Coins: 5, Bus: dead},
	{Name: "field missing", Command: "purse.put", Input: `{"id":"ID"}`, Status: 400, Text: "input lacks n", Code: "guard", Coins: 5, Bus: dead},
	{Name: "field null", Command: "purse.put", Input: `{"n":null}`, Status: 400, Text: "input lacks id, n", Code: "guard", Coins: 5, Bus: dead},
	{Name: "predicate", Command: "purse.put", Input: `{"id":"ID","n":13}`, Status: 400, Text: "n must not be 13", Code: "guard", Coins: 5, Bus: dead},
	{Name: "invalid", Command: "purse.put", Input: `{"id":" ","n":1}`, Status: 400, Text: `invalid stream id " ": is blank`, Code: "invalid", Coins: 5, Bus: dead},
	{Name: "no user", Command: "whoami", Input: `{}`, Status: 401, Text: "session has no x-hasura-user-id", Code: "unauthorized", Coins: 5, Bus: dead},
	{Name: "no role", Command: "purse.bonus", Input: `{"id":"ID","n":1}`, Status: 401, Text: "session has no x-hasura-role", Code: "unauthorized", Coins: 5, Bus: dead},
	{Name: "wrong role", Command: "purse.bonus", Input: `{"id":"ID","n":1}`, Session: microsvc.Session{microsvc.KeyRole: "guest"}, Status: 401, Text: `role "guest" may not do that`, Code: "unauthorized", Coins: 5, Bus: dead},
	{Name: "guard before input", Command: "purse.bonus", Input: `{"id":`, Status: 401, Text: "session has no x-hasura-role", Code: "unauthorized", Coins: 5, Bus: dead},
	{Name: "rejected", Command: "purse.take", Input: `{"id":"ID","n":6}`, Status: 422, Text: "there are only 5 coins", Code: "rejected", Coins: 5, Bus: dead},
	{Name: "not found", Command: "purse.take", Input: `{"id":"none","n":1}`, Status: 404, Text: "purse/none not found", Code: "not_found", Coins: 5, Bus: again},
	{Name: "unknown command", Command: "purse.burn", Input: `{}`, Status: 404, Text: `unknown command "purse.burn"`, Code: "unknown_command", Coins: 5, Bus: bus.Unhandled},
	{Name: "no command", Command: "", Input: `{}`, Status: 404, Text: `unknown command ""`, Code: "unknown_command", Coins: 5, Bus: bus.Unhandled},

	{Name: "conflict", Command: "fail", Input: `{"with":"conflict"}`, Status: 409, Text: "conflict with others' changes: ask again", Code: "conflict", Coins: 5, Bus: again},
	{Name: "conflict with a text", Command: "fail", Input: `{"with":"conflict with a text"}`, Status: 409, Text: "somebody was faster", Code: "conflict", Coins: 5, Bus: again},
	{Name: "lock held", Command: "fail", Input: `{"with":"held"}`, Status: 409, Text: "held by another: ask again later", Code: "lock_held", Coins: 5, Bus: again},
	{Name: "overloaded", Command: "fail", Input: `{"with":"overloaded"}`, Status: 429, Text: "overloaded: ask again later", Code: "overloaded", Coins: 5, Bus: again},
	{Name: "limit", Command: "full", Input: `{}`, Status: 429, Text: "overloaded: ask again later", Code: "overloaded", Coins: 5, Bus: again},
	{Name: "unavailable", Command: "fail", Input: `{"with":"unavailable"}`, Status: 503, Text: "unavailable: ask again later", Code: "unavailable", Coins: 5, Bus: again},
	{Name: "broker unavailable", Command: "fail", Input: `{"with":"no broker"}`, Status: 503, Text: "unavailable: ask again later", Code: "bus_unavailable", Coins: 5, Bus: again},
	{Name: "stopped", Command: "fail", Input: `{"with":"stopped"}`, Status: 503, Text: "the service is stopping: ask again later", Code: "stopped", Coins: 5, Bus: again},
	{Name: "deadline", Command: "fail", Input: `{"with":"deadline"}`, Status: 504, Text: "the deadline is over", Code: "deadline", Coins: 5, Bus: again},
	{Name: "too slow", Command: "slow", Input: `{}`, Status: 504, Text: "the deadline is over", Code: "deadline", Coins: 5, Bus: again},
	{Name: "not run", Command: "fail", Input: `{"with":"not run"}`, Status: 504, Text: "the command was not run in time", Code: "not_run", Coins: 5, Bus: again},
	{Name: "unknown outcome", Command: "fail", Input: `{"with":"unknown outcome"}`, Status: 504, Text: "the outcome is not known: ask again with the same idempotency key", Code: "unknown_outcome", Coins: 5, Bus: again},
	{Name: "canceled", Command: "fail", Input: `{"with":"canceled"}`, Status: 500, Text: masked, Code: "canceled", Coins: 5, Bus: again},
	{Name: "corrupt", Command: "fail", Input: `{"with":"corrupt"}`, Status: 500, Text: masked, Code: "corrupt", Coins: 5, Bus: again},
	{Name: "plain error", Command: "fail", Input: `{"with":"plain"}`, Status: 500, Text: masked, Code: "internal", Coins: 5, Bus: again},
	{Name: "marked permanent", Command: "fail", Input: `{"with":"permanent"}`, Status: 500, Text: masked, Code: "internal", Coins: 5, Bus: dead},
	{Name: "marked retryable", Command: "fail", Input: `{"with":"retryable"}`, Status: 422, Text: "not now", Code: "rejected", Coins: 5, Bus: again},
	{Name: "guard that fails", Command: "guarded", Input: `{}`, Session: ada, Status: 500, Text: masked, Code: "internal", Coins: 5, Bus: again},
	{Name: "guard that panics", Command: "guarded", Input: `{}`, Session: eve, Status: 500, Text: masked, Code: "panic", Coins: 5, Bus: dead},
	{Name: "panic", Command: "fail", Input: `{"with":"panic"}`, Status: 500, Text: masked, Code: "panic", Coins: 5, Bus: dead},
	{Name: "panic of an aggregate", Command: "purse.break", Input: `{"id":"ID","n":1}`, Status: 500, Text: masked, Code: "panic", Coins: 5, Bus: dead},

	{Name: "event", Event: true, Command: "coins.given", Input: `{"id":"ID","n":3}`, Status: 200, Coins: 8, Bus: bus.Handled},
	{Name: "event that comes again", Event: true, Command: "coins.given", Input: `{"id":"ID","n":3}`, Key: "k-ID", Repeat: 3, Status: 200, Coins: 8, Bus: bus.Handled},
	{Name: "event that is cut off", Event: true, Command: "coins.given", Input: `{"id":"ID","n":`, Status: 400, Text: "input: unexpected end of JSON input at offset 15", Code: "decode", Coins: 5, Bus: dead},
	{Name: "event without a field", Event: true, Command: "coins.given", Input: `{"id":"ID"}`, Status: 400, Text: "input lacks n", Code: "guard", Coins: 5, Bus: dead},
	{Name: "event that is rejected", Event: true, Command: "coins.given", Input: `{"id":"ID","n":-6}`, Status: 422, Text: "there are only 5 coins", Code: "rejected", Coins: 5, Bus: dead},
	{Name: "event too early", Event: true, Command: "coins.given", Input: `{"id":"none","n":-6}`, Status: 404, Text: "purse/none not found", Code: "not_found", Coins: 5, Bus: again},
	{Name: "event that panics", Event: true, Command: "coins.given", Input: `{"id":"ID","n":0}`, Status: 500, Text: masked, Code: "panic", Coins: 5, Bus: dead},
	{Name: "event of no interest", Event: true, Command: "coins.lost", Input: `{}`, Status: 404, Code: "unknown_command", Coins: 5, Bus: bus.Unhandled},
	{Name: "event called as a command", Event: true, Command: "purse.put", Input: `{"id":"ID","n":3}`, Status: 404, Code: "unknown_command", Coins: 5, Bus: bus.Unhandled},
	{Name: "command called as an event", Command: "coins.given", Input: `{"id":"ID","n":3}`, Status: 404, Text: `unknown command "coins.given"`, Code: "unknown_command", Coins: 5, Bus: bus.Unhandled},

	{Name: "strict: known fields", Strict: true, Command: "purse.put", Input: `{"id":"ID","n":3}`, Status: 200, Reply: `{"coins":8}`, Coins: 8, Bus: bus.Handled},
	{Name: "strict: unknown field", Strict: true, Command: "purse.put", Input: `{"id":"ID","n":3,"x":[]}`, Status: 400, Text: `input: unknown field "x"`, Code: "decode", Coins: 5, Bus: dead},
	{Name: "strict: something follows", Strict: true, Command: "purse.take", Input: `{"id":"ID","n":1} 1`, Status: 400, Text: "input: something follows the value at offset 19", Code: "decode", Coins: 5, Bus: dead},
	{Name: "strict: null", Strict: true, Command: "purse.take", Input: `null`, Status: 400, Text: "input: is null at offset 0", Code: "decode", Coins: 5, Bus: dead},
	{Name: "strict: cut off", Strict: true, Command: "purse.take", Input: `{"id":"ID"`, Status: 400, Text: "input: unexpected end of JSON input at offset 10", Code: "decode", Coins: 5, Bus: dead},
	{Name: "strict: no input", Strict: true, Command: "purse.take", Input: ``, Status: 400, Text: "input: unexpected end of JSON input at offset 0", Code: "decode", Coins: 5, Bus: dead},
	{Name: "strict: space around", Strict: true, Command: "purse.put", Input: ` {"id":"ID","n":3} `, Status: 200, Reply: `{"coins":8}`, Coins: 8, Bus: bus.Handled},
}

type word struct {
	Text string `json:"text"`
}

var cmdBreak = aggregate.NewCommand("purse.break", func(_ *aggregate.Context, p *Purse, m Move) (View, error) {
	if err := put.Record(p, Moved{m.N}); err != nil {
		return View{}, err
	}
	panic(Secret)
})

// tableWorld is a world that has the commands of the table, with a purse for each
// case of it that fits.
func tableWorld(t testing.TB, strict bool) (*World, []Case) {
	t.Helper()
	taken, end := make(chan struct{}), make(chan struct{})
	limit := microsvc.Limit(1)
	hold := limit(func(*microsvc.Context) (any, error) {
		close(taken)
		<-end
		return nil, nil
	})
	held := make(chan struct{})
	go func() {
		defer close(held)
		_, _ = hold(nil) // it is there for its place alone
	}()
	<-taken
	t.Cleanup(func() {
		close(end)
		<-held
	})
	around := func(m microsvc.Middleware, f microsvc.HandlerFunc) func(*microsvc.Context, any) (any, error) {
		wrapped := m(f)
		return func(c *microsvc.Context, _ any) (any, error) { return wrapped(c) }
	}
	var w *World
	host := func() aggregate.Asker[Purse] { return w.Purses }
	w = NewWorld(t, microsvc.Options{StrictInput: strict},
		microsvc.Handle("echo", func(_ *microsvc.Context, in word) (word, error) { return in, nil }),
		microsvc.Handle("nothing", func(*microsvc.Context, any) (any, error) { return nil, nil }),
		microsvc.Handle("full", around(limit, func(*microsvc.Context) (any, error) { return "there was room", nil })),
		microsvc.Handle("slow", around(microsvc.Timeout(time.Millisecond), func(c *microsvc.Context) (any, error) {
			<-c.Done()
			return nil, fmt.Errorf("%s: %w", Secret, c.Err())
		})),
		microsvc.Handle("guarded", func(*microsvc.Context, any) (any, error) { return "let through", nil }, func(c *microsvc.Context) error {
			if user, err := c.UserID(); user == "eve" || err != nil {
				panic(Secret)
			}
			return errors.New(Secret)
		}),
		microsvc.Expose(cmdBreak, nil),
		microsvc.On("coins.given", func(c *microsvc.Context, in Move) error {
			ask := Put.Ask
			switch {
			case in.N == 0:
				panic(Secret)
			case in.N < 0:
				ask, in.N = Take.Ask, -in.N
			}
			_, err := ask(c, host(), in, aggregate.WithCommandID(c.CommandID()))
			return err
		}, microsvc.RequireFields("id", "n")))
	var fit []Case
	for i, c := range cases {
		if c.Strict != strict {
			continue
		}
		c.purse = fmt.Sprintf("%02d", i)
		c.Key, c.ID = strings.ReplaceAll(c.Key, "ID", c.purse), "call-"+c.purse
		c.Logged, c.Commanded = c.Status >= 500, c.Key != ""
		if c.Session != nil { // of this case alone
			session := microsvc.Session{}
			for key, value := range c.Session {
				session[key] = strings.ReplaceAll(value, "ID", c.purse)
			}
			c.Session = session
		}
		_, err := Put.Ask(t.Context(), w.Purses, Move{c.purse, start})
		require.NoError(t, err, c.Name)
		fit = append(fit, c)
	}
	return w, fit
}
