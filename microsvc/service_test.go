package microsvc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/actor"
	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/membus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/memory"
	"github.com/troupe-go/troupe/microsvc"
)

type word struct {
	Text string `json:"text"`
}

// echo answers its input.
func echo(name string, guards ...microsvc.Guard) microsvc.Handler {
	return microsvc.Handle(name, func(_ *microsvc.Context, in word) (word, error) { return in, nil }, guards...)
}

// call makes a command of a function that looks at the call only.
func call(name string, f func(*microsvc.Context) error) microsvc.Handler {
	return microsvc.Handle(name, func(c *microsvc.Context, _ any) (any, error) { return nil, f(c) })
}

func quiet() microsvc.Options { return microsvc.Options{Logger: slog.New(slog.DiscardHandler)} }

// theatre hosts seats on a journal in memory.
func theatre(t *testing.T) (*actor.Aggregates[seat], journal.Journal) {
	t.Helper()
	j, err := memory.Open(nil)
	require.NoError(t, err)
	system, err := actor.NewSystem(j, &actor.Options{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	host, err := actor.Host(system, seats, nil)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, system.Stop(context.Background()))
		require.NoError(t, j.Close())
	})
	return host, j
}

func records(t *testing.T, j journal.Journal, id string) (all []envelope.Record) {
	t.Helper()
	for rec, err := range j.Load(t.Context(), seats.Stream(id), 0) {
		require.NoError(t, err)
		all = append(all, rec)
	}
	return all
}

func TestMistakesOfSetupAreNamed(t *testing.T) {
	t.Parallel()
	var noHost *actor.Aggregates[seat]
	var noFunc func(*microsvc.Context, word) (word, error)
	onWord := func(*microsvc.Context, word) error { return nil }
	for name, c := range map[string]struct {
		svc  *microsvc.Service
		want error
		text string
	}{
		"command twice":        {microsvc.New("s").Register(echo("a"), echo("a")), microsvc.ErrNameTaken, `service "s": command "a": has a handler already`},
		"event twice":          {microsvc.New("s").Register(microsvc.OnEach([]string{"e", "f", "e"}, onWord)), microsvc.ErrNameTaken, `event "e"`},
		"blank command":        {microsvc.New("s").Register(echo(" ")), aggregate.ErrInvalid, `command " "`},
		"blank event":          {microsvc.New("s").Event("", func(*microsvc.Context) error { return nil }), aggregate.ErrInvalid, `event ""`},
		"no events":            {microsvc.New("s").Events(nil, func(*microsvc.Context) error { return nil }), microsvc.ErrNoHandler, `handler ""`},
		"blank service":        {microsvc.New(""), aggregate.ErrInvalid, `service ""`},
		"no host":              {microsvc.New("s").Register(SeatReserve), microsvc.ErrNoHost, `command "seat.reserve": has no host for its aggregate microsvc_test.seat`},
		"nil host":             {microsvc.New("s").Register(microsvc.Expose(cmdReserve, noHost)), microsvc.ErrNoHost, "seat.reserve"},
		"no function":          {microsvc.New("s").Register(microsvc.Handle("a", noFunc)), microsvc.ErrNoHandler, `command "a"`},
		"no function of event": {microsvc.New("s").Event("e", nil), microsvc.ErrNoHandler, `event "e"`},
		"zero handler":         {microsvc.New("s").Register(microsvc.Handler{}), microsvc.ErrNoHandler, `handler ""`},
		"negative option":      {microsvc.New("s").WithOptions(microsvc.Options{MaxDepth: -1}), aggregate.ErrInvalid, "negative"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := c.svc.Check()
			require.ErrorIs(t, err, c.want)
			require.ErrorContains(t, err, c.text)
			var setup *microsvc.SetupError
			require.ErrorAs(t, err, &setup)
			_, err = c.svc.Dispatch(t.Context(), "a", nil, nil)
			require.ErrorIs(t, err, c.want, "nothing is served")
			require.Equal(t, 500, microsvc.Status(err), "which is not the caller's mistake")
			require.ErrorIs(t, c.svc.WithBus(membus.New()).Run(t.Context(), bus.Idempotent()), c.want)
		})
	}
}

func TestAllMistakesAreTold(t *testing.T) {
	t.Parallel()
	err := microsvc.New("s").Register(echo("a"), echo("a"), SeatReserve).Check()
	require.ErrorIs(t, err, microsvc.ErrNameTaken)
	require.ErrorIs(t, err, microsvc.ErrNoHost)
}

func TestACommandAndAnEventMayShareAName(t *testing.T) {
	t.Parallel()
	svc := microsvc.New("s").Register(echo("a"), microsvc.On("a", func(*microsvc.Context, word) error { return nil }))
	require.NoError(t, svc.Check())
	require.Equal(t, []string{"a"}, svc.Commands())
}

func TestTooLateToRegister(t *testing.T) {
	t.Parallel()
	svc := microsvc.New("s").Register(echo("a"))
	_, err := svc.Dispatch(t.Context(), "a", word{"x"}, nil)
	require.NoError(t, err)
	require.ErrorIs(t, svc.Register(echo("b")).Check(), microsvc.ErrStarted)
	require.False(t, svc.HasCommand("b"))
}

func TestRunWithoutABus(t *testing.T) {
	t.Parallel()
	require.ErrorIs(t, microsvc.New("s").Register(echo("a")).Run(t.Context(), bus.Idempotent()), microsvc.ErrNoBus)
	require.ErrorIs(t, microsvc.New("s").Register(echo("a")).Declare(t.Context()), microsvc.ErrNoBus)
	require.ErrorIs(t, microsvc.New("s").Register(echo("a"), echo("a")).WithBus(membus.New()).Declare(t.Context()), microsvc.ErrNameTaken)
	require.NoError(t, microsvc.New("s").Register(echo("a")).WithBus(membus.New()).Declare(t.Context()))
}

func TestMiddlewareGuardsAndHandlerRunInOrder(t *testing.T) {
	t.Parallel()
	var order []string
	around := func(name string) microsvc.Middleware {
		return func(next microsvc.HandlerFunc) microsvc.HandlerFunc {
			return func(c *microsvc.Context) (any, error) {
				order = append(order, name)
				return next(c)
			}
		}
	}
	guard := func(name string) microsvc.Guard {
		return func(*microsvc.Context) error {
			order = append(order, name)
			return nil
		}
	}
	svc := microsvc.New("s").Use(around("outer"), around("inner")).Command(
		call("a", func(*microsvc.Context) error { order = append(order, "handler"); return nil }).Guarded(guard("first")), guard("second"))
	_, err := svc.Dispatch(t.Context(), "a", 1, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"outer", "inner", "first", "second", "handler"}, order)
}

// A Handler is a value: guards of one service are not another's.
func TestHandlersAreValues(t *testing.T) {
	t.Parallel()
	h := echo("a", microsvc.RequireFields("text"))
	never := microsvc.Require("never", func(*microsvc.Context) bool { return false })
	strict, open := microsvc.New("strict").Command(h, never), microsvc.New("open").Register(h)
	_, err := strict.Dispatch(t.Context(), "a", word{"x"}, nil)
	require.ErrorIs(t, err, microsvc.ErrGuard)
	_, err = open.Dispatch(t.Context(), "a", word{"x"}, nil)
	require.NoError(t, err)
}

func TestContextKnowsItsCall(t *testing.T) {
	t.Parallel()
	input := []byte(`{"text":"t","none":null}`)
	svc := microsvc.New("s").WithOptions(microsvc.Options{UserKey: "X-User", RoleKey: "role", Propagate: []string{"x-user"}}).
		Register(call("a", func(c *microsvc.Context) error {
			require.Equal(t, "a", c.Name())
			require.Equal(t, envelope.KindCommand, c.Kind())
			require.Equal(t, input, c.RawInput())
			require.True(t, c.HasFields("text"))
			require.False(t, c.HasFields("text", "none"), "null is no value")
			require.False(t, c.HasField("Text"), "case counts")
			in, err := microsvc.Input[word](c)
			require.NoError(t, err)
			require.Equal(t, "t", in.Text)
			user, err := c.UserID()
			require.NoError(t, err)
			require.Equal(t, "u1", user)
			_, err = c.Role()
			require.ErrorIs(t, err, aggregate.ErrUnauthorized)
			require.Equal(t, "v", c.Session().Get("OTHER"))
			require.Equal(t, "key", c.IdempotencyKey())
			m := c.Message()
			require.Same(t, m, bus.MessageFrom(c))
			require.Equal(t, envelope.Metadata{CorrelationID: "conversation", CausationID: "cause", Keys: map[string]string{"x-user": "u1"}}, m.Metadata)
			require.Equal(t, "request-1", m.ID)
			_, has := c.Deadline()
			require.True(t, has)
			return nil
		}))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	session := microsvc.Session{"x-user": "u1", "other": "v", microsvc.KeyCorrelationID: "conversation", microsvc.KeyCausationID: "cause"}
	_, err := svc.Dispatch(ctx, "a", input, session, microsvc.WithIdempotencyKey("key"), microsvc.WithRequestID("request-1"))
	require.NoError(t, err)
}

func TestCommandIDs(t *testing.T) {
	t.Parallel()
	var ids []string
	svc := microsvc.New("s").Register(call("a", func(c *microsvc.Context) error {
		ids = append(ids, c.CommandID(), c.CommandID("part"))
		return nil
	}))
	ask := func(user, key string) []string {
		ids = nil
		_, err := svc.Dispatch(t.Context(), "a", 1, microsvc.Session{microsvc.KeyUserID: user}, microsvc.WithIdempotencyKey(key))
		require.NoError(t, err)
		return ids
	}
	first := ask("u", "k")
	require.Equal(t, first, ask("u", "k"), "a repeat has the same")
	require.NotEqual(t, first[0], first[1])
	require.NotEqual(t, first, ask("v", "k"), "and another caller has others")
	require.NotEqual(t, ask("u", "vk"), ask("uv", "k"))
	require.Equal(t, []string{"", ""}, ask("u", ""))
	require.LessOrEqual(t, len(first[0]), envelope.MaxCommandIDBytes)
}

func TestExposedCommandsFollowTheirCall(t *testing.T) {
	t.Parallel()
	host, j := theatre(t)
	svc := microsvc.New("s").WithOptions(quiet()).Register(microsvc.Expose(cmdReserve, host),
		// A free handler's commands belong to the same conversation.
		microsvc.Handle("seat.any", func(c *microsvc.Context, in reserve) (string, error) {
			return cmdReserve.Ask(c, host, in, aggregate.WithCommandID(c.CommandID()))
		}))
	for id, name := range map[string]string{"A1": "seat.reserve", "A2": "seat.any"} {
		for range 2 {
			reply, err := microsvc.Call[string](t.Context(), svc, name, reserve{id, "Ada"}, microsvc.Session{microsvc.KeyCorrelationID: "c1"},
				microsvc.WithIdempotencyKey("k"), microsvc.WithRequestID("r1"))
			require.NoError(t, err)
			require.Equal(t, "enjoy the show, Ada", reply)
		}
		got := records(t, j, id)
		require.Len(t, got, 1, "one effect")
		require.Equal(t, "c1", got[0].Metadata.CorrelationID)
		require.Equal(t, "r1", got[0].Metadata.CausationID)
		require.NotEmpty(t, got[0].Metadata.CommandID)
	}
}

func TestPanicsAreContained(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	svc := microsvc.New("s").WithOptions(microsvc.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}).
		Register(call("a", func(*microsvc.Context) error { panic("the secret") }))
	_, err := svc.Dispatch(t.Context(), "a", 1, nil)
	require.ErrorIs(t, err, aggregate.ErrPanic)
	require.True(t, bus.IsPermanent(err))
	_, problem := svc.Answer(t.Context(), microsvc.Request{Command: "a", Input: []byte("1"), ID: "r7"})
	require.Equal(t, 500, problem.Status)
	require.Equal(t, "r7", problem.ID)
	require.NotContains(t, problem.Error(), "secret")
	require.Contains(t, log.String(), "the secret")
	require.Contains(t, log.String(), "id=r7")
	require.Contains(t, log.String(), "service_test.go", "the stack")
}

func TestTimeoutEndsTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc := microsvc.New("s").WithOptions(quiet()).Use(microsvc.Timeout(time.Second)).Register(call("a", func(c *microsvc.Context) error {
			<-c.Done()
			return context.Cause(c)
		}))
		began := time.Now()
		_, err := svc.Dispatch(t.Context(), "a", 1, nil)
		require.Equal(t, time.Second, time.Since(began))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, `"a" took more than 1s`)
		require.Equal(t, 504, microsvc.Status(err))
	})
}

func TestLimitRefusesAtOnce(t *testing.T) {
	t.Parallel()
	running, end := make(chan struct{}), make(chan struct{})
	svc := microsvc.New("s").Use(microsvc.Limit(1)).Register(call("a", func(*microsvc.Context) error {
		running <- struct{}{}
		<-end
		return nil
	}))
	first := make(chan error, 1)
	go func() {
		_, err := svc.Dispatch(context.Background(), "a", 1, nil)
		first <- err
	}()
	<-running
	_, problem := svc.Answer(t.Context(), microsvc.Request{Command: "a", Input: []byte("1")})
	require.ErrorIs(t, problem, aggregate.ErrOverloaded)
	require.Equal(t, 429, problem.Status)
	require.Equal(t, time.Second, problem.RetryAfter)
	require.NotEmpty(t, problem.ID)
	close(end)
	require.NoError(t, <-first)
	go func() { <-running }()
	_, err := svc.Dispatch(t.Context(), "a", 1, nil)
	require.NoError(t, err, "the place is free again")
}

func TestAuthenticate(t *testing.T) {
	t.Parallel()
	b := membus.New()
	var events int
	svc := microsvc.New("s").WithOptions(quiet()).WithBus(b).Use(microsvc.Authenticate(func(c *microsvc.Context) error {
		if c.Session().Get("token") != "t" {
			return aggregate.Unauthorized("no token")
		}
		c.SetSession(microsvc.Session{microsvc.KeyUserID: "ada"})
		return nil
	})).Register(
		microsvc.Handle("who", func(c *microsvc.Context, _ any) (string, error) { return c.UserID() }, microsvc.RequireUser()),
		microsvc.On("e", func(*microsvc.Context, any) error { events++; return nil }))
	_, err := svc.Dispatch(t.Context(), "who", 1, microsvc.Session{microsvc.KeyUserID: "eve"})
	require.ErrorIs(t, err, aggregate.ErrUnauthorized)
	user, err := microsvc.Call[string](t.Context(), svc, "who", 1, microsvc.Session{"token": "t"})
	require.NoError(t, err)
	require.Equal(t, "ada", user)
	require.NoError(t, b.Publish(t.Context(), "e", 1))
	require.NoError(t, svc.Run(t.Context(), untilIdle(nil)))
	require.Equal(t, 1, events)
}

func TestLogTellsStatusAndNoInput(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	svc := microsvc.New("s").WithOptions(quiet()).Use(microsvc.Log(slog.New(slog.NewTextHandler(&log, nil)))).Register(
		echo("ok"), call("no", func(*microsvc.Context) error { return aggregate.Reject("not now") }), call("bad", func(*microsvc.Context) error { panic("p") }))
	for _, name := range []string{"ok", "no", "bad"} {
		_, _ = svc.Dispatch(t.Context(), name, word{"secret"}, nil, microsvc.WithRequestID("r-"+name))
	}
	require.Regexp(t, `level=INFO msg="microsvc: command" name=ok id=r-ok status=200 took=`, log.String())
	require.Regexp(t, `level=WARN .* name=no id=r-no status=422 .* err="not now"`, log.String())
	require.Regexp(t, `level=ERROR .* name=bad id=r-bad status=500 `, log.String())
	require.NotContains(t, log.String(), "secret")
}

func TestADispatchInAHandlerGoesOnWithTheConversation(t *testing.T) {
	t.Parallel()
	var svc *microsvc.Service
	svc = microsvc.New("s").Register(
		call("outer", func(c *microsvc.Context) error {
			_, err := svc.Dispatch(c, "inner", 1, nil)
			return err
		}),
		call("inner", func(c *microsvc.Context) error {
			require.Equal(t, "c1", c.Message().Metadata.CorrelationID)
			require.Equal(t, "r1", c.Message().Metadata.CausationID)
			return nil
		}))
	_, err := svc.Dispatch(t.Context(), "outer", 1, microsvc.Session{microsvc.KeyCorrelationID: "c1"}, microsvc.WithRequestID("r1"))
	require.NoError(t, err)
}

// The log tells a service that fails from one that is away, and from callers that
// leave.
func TestLevelsOfFailures(t *testing.T) {
	t.Parallel()
	gone, leave := context.WithCancel(t.Context())
	leave()
	for _, c := range []struct {
		ctx  context.Context
		err  error
		want string
	}{
		{t.Context(), journal.ErrCorrupt, "level=ERROR"},
		{t.Context(), journal.ErrUnavailable, "level=WARN"},
		{t.Context(), context.Canceled, "level=ERROR"},
		{gone, aggregate.ErrNotRun, "level=INFO"},
		{t.Context(), aggregate.ErrRejected, ""},
	} {
		var log bytes.Buffer
		svc := microsvc.New("s").WithOptions(microsvc.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}).
			Register(call("a", func(*microsvc.Context) error { return c.err }))
		_, problem := svc.Answer(c.ctx, microsvc.Request{Command: "a", Input: []byte("1")})
		require.ErrorIs(t, problem, c.err)
		require.Contains(t, log.String(), c.want)
		require.Equal(t, c.want == "", log.Len() == 0)
	}
}

func TestStatusOfErrors(t *testing.T) {
	t.Parallel()
	secret := errors.New("the secret")
	for _, c := range []struct {
		err    error
		status int
		text   string
	}{
		{nil, 200, ""},
		{secret, 500, "internal server error"},
		{fmt.Errorf("%w: %w", journal.ErrUnavailable, secret), 503, "unavailable: ask again later"},
		{fmt.Errorf("%w: %w", aggregate.ErrConflict, secret), 409, "conflict with others' changes: ask again"},
		{fmt.Errorf("%w: %w", aggregate.ErrNotRun, context.DeadlineExceeded), 504, "the command was not run in time"},
		{fmt.Errorf("%w: %w", secret, aggregate.Reject("not now")), 422, "not now"},
		{&aggregate.Error{Code: aggregate.CodeConflict, Message: "somebody was faster"}, 409, "somebody was faster"},
		{&aggregate.Error{Code: aggregate.CodeUnavailable, Message: "the secret"}, 503, "unavailable: ask again later"},
		{&microsvc.Problem{Status: 500, Code: aggregate.CodeInternal, Message: "the secret of another service"}, 500, "internal server error"},
		{&microsvc.Problem{Status: 404, Code: aggregate.CodeNotFound, Message: "todo:1 not found"}, 404, "todo:1 not found"},
	} {
		require.Equal(t, c.status, microsvc.Status(c.err), "%v", c.err)
		if c.err == nil {
			continue
		}
		p := microsvc.New("s").WithOptions(quiet()).Register(call("a", func(*microsvc.Context) error { return c.err }))
		_, problem := p.Answer(t.Context(), microsvc.Request{Command: "a", Input: []byte("1"), ID: "r"})
		require.Equal(t, c.status, problem.Status)
		require.Equal(t, c.text, problem.Error())
		require.Equal(t, "r", problem.ID)
	}
}

// TestGuardsThatFail: what a guard refuses is for the caller to read; what it fails
// over is not.
func TestGuardsThatFail(t *testing.T) {
	t.Parallel()
	var guard microsvc.Guard
	svc := microsvc.New("guarded").WithOptions(microsvc.Options{Logger: slog.New(slog.DiscardHandler)}).Register(
		microsvc.Handle("do", func(*microsvc.Context, struct{}) (string, error) { return "done", nil }, func(c *microsvc.Context) error { return guard(c) }))
	ask := func(err error) *microsvc.Problem {
		guard = func(*microsvc.Context) error { return err }
		_, problem := svc.Answer(t.Context(), microsvc.Request{Command: "do", Input: []byte("{}")})
		return problem
	}
	require.Nil(t, ask(nil))
	refused := ask(microsvc.Refuse("at most %d", 3))
	require.Equal(t, 400, refused.Status)
	require.Equal(t, "at most 3", refused.Message)
	require.ErrorIs(t, refused, microsvc.ErrGuard)
	require.Equal(t, 401, ask(aggregate.Unauthorized("no")).Status)
	failed := ask(errors.New("dial tcp 10.0.0.7:6379: refused"))
	require.Equal(t, 500, failed.Status)
	require.NotContains(t, failed.Message, "10.0.0.7")
}

// A function finds the aggregates that the service hosts.
func TestHostOf(t *testing.T) {
	t.Parallel()
	host, j := theatre(t)
	book := microsvc.Handle("reserve", func(c *microsvc.Context, in reserve) (any, error) {
		to, err := microsvc.HostOf[seat](c)
		if err != nil {
			return nil, err
		}
		return cmdReserve.Ask(c, to, in, aggregate.WithCommandID(c.CommandID()))
	})
	var none *actor.Aggregates[seat]
	_, err := microsvc.New("s").WithOptions(quiet()).WithHosts(none, 7, host).Register(book).Dispatch(t.Context(), "reserve", []byte(`{"seat":"A1","guest":"ada"}`), nil)
	require.NoError(t, err)
	require.Len(t, records(t, j, "A1"), 1)
	_, err = microsvc.New("s").WithOptions(quiet()).WithHosts(none).Register(book).Dispatch(t.Context(), "reserve", []byte(`{"seat":"A1","guest":"ada"}`), nil)
	require.ErrorIs(t, err, microsvc.ErrNoHost)
	require.ErrorContains(t, err, `"reserve" has no host for its aggregate microsvc_test.seat`)
	require.True(t, bus.IsPermanent(err))
}
