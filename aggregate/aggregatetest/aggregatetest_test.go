package aggregatetest_test

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/aggregate/aggregatetest"
)

// A lamp counts how often it was switched. Some of its commands are wrong on
// purpose.
type lamp struct {
	aggregate.Root
	Room     string
	On       bool
	Switched int
	since    time.Time
	log      map[string][]int
	lost     string // no part of the snapshot, by mistake
}

type (
	installed struct {
		ID   string `json:"id"`
		Room string `json:"room"`
	}
	installedV1 struct {
		ID string `json:"id"`
	}
	switched struct {
		On bool      `json:"on"`
		At time.Time `json:"at"`
	}
	broken  struct{ F func() }
	noted   struct{ Text string }
	twin    struct{}
	clocked struct{}
	state   struct {
		Room     string
		On       bool
		Switched int
		Since    time.Time
		Log      map[string][]int
	}
)

var (
	lampInstalled = aggregate.Upcast(aggregate.On("installed", func(l *lamp, e installed) {
		l.SetID(e.ID)
		l.Room = e.Room
	}).Schema(2).Require(func(l *lamp, e installed) error {
		if l.Version() > 0 {
			return errInstalled
		}
		return nil
	}), 1, func(e installedV1) installed { return installed{ID: e.ID, Room: "hall"} })

	lampSwitched = aggregate.On("switched", func(l *lamp, e switched) {
		l.On, l.since = e.On, e.At
		l.Switched++
	}).When(func(l *lamp, e switched) bool { return l.On != e.On })

	lampBroken  = aggregate.On("broken", func(*lamp, broken) {})
	lampNoted   = aggregate.On("noted", func(l *lamp, e noted) { l.lost = e.Text })
	lampTwin    = aggregate.On("twin", func(*lamp, twin) {})
	lampTwin2   = aggregate.On("twin2", func(*lamp, twin) {})
	ticks       int
	lampClocked = aggregate.On("clocked", func(l *lamp, _ clocked) { ticks++; l.Switched = ticks })

	spec = aggregate.Define[lamp]("lamp", lampInstalled, lampSwitched, lampBroken, lampNoted, lampTwin, lampTwin2, lampClocked,
		aggregate.Snapshots(1,
			func(l *lamp) state { return state{l.Room, l.On, l.Switched, l.since, l.log} },
			func(l *lamp, s state) {
				l.Room, l.On, l.Switched, l.since, l.log = s.Room, s.On, s.Switched, s.Since, s.Log
			}))

	errInstalled = errors.New("installed already")
)

type input struct {
	ID   string
	Text string
}

func (c input) AggregateID() string { return c.ID }

type reply struct {
	Room string
	At   time.Time
	List []int
}

func command(name string, f func(ctx *aggregate.Context, l *lamp, c input) error, opts ...aggregate.CommandOption) *aggregate.Command[lamp, input, reply] {
	return aggregate.NewCommand(name, func(ctx *aggregate.Context, l *lamp, c input) (reply, error) {
		err := f(ctx, l, c)
		return reply{Room: l.Room, At: ctx.Now(), List: []int{}}, err
	}, opts...)
}

var (
	install = command("install", func(_ *aggregate.Context, l *lamp, c input) error {
		return lampInstalled.Record(l, installed{ID: c.ID, Room: c.Text})
	})
	turnOn = command("on", func(ctx *aggregate.Context, l *lamp, _ input) error {
		return lampSwitched.Record(l, switched{On: true, At: ctx.Now()})
	}, aggregate.MustExist())
	blink = command("blink", func(ctx *aggregate.Context, l *lamp, _ input) error {
		return errors.Join(lampSwitched.Record(l, switched{On: !l.On}), lampSwitched.Record(l, switched{On: !l.On}))
	})
	note = command("note", func(_ *aggregate.Context, l *lamp, c input) error { return lampNoted.Record(l, noted{c.Text}) })

	// The wrong ones.
	writes       = command("writes", func(_ *aggregate.Context, l *lamp, _ input) error { l.Switched = 7; return nil })
	writesDeep   = command("writes-deep", func(_ *aggregate.Context, l *lamp, _ input) error { l.log = map[string][]int{"x": {1}}; return nil })
	refusesDirty = command("refuses-dirty", func(_ *aggregate.Context, l *lamp, _ input) error { l.Room = "void"; return errInstalled })
	refusesLate  = command("refuses-late", func(_ *aggregate.Context, l *lamp, _ input) error {
		return errors.Join(lampSwitched.Record(l, switched{On: true}), errInstalled)
	})
	panics         = command("panics", func(_ *aggregate.Context, l *lamp, _ input) error { l.On = true; panic("the fuse blew") })
	unencodable    = command("unencodable", func(_ *aggregate.Context, l *lamp, _ input) error { return lampBroken.Record(l, broken{}) })
	nondeterminism = command("clocked", func(_ *aggregate.Context, l *lamp, _ input) error { return lampClocked.Record(l, clocked{}) })
	badReply       = aggregate.NewCommand("bad-reply", func(*aggregate.Context, *lamp, input) (func(), error) { return nil, nil })
)

func TestGood(t *testing.T) {
	t.Parallel()
	t.Run("FirstCommand", func(t *testing.T) {
		t.Parallel()
		aggregatetest.For(t, spec).
			When(install, input{"1", "kitchen"}).
			Then(installed{"1", "kitchen"}).
			ThenReply(reply{Room: "kitchen", At: aggregatetest.Now})
	})
	t.Run("Chain", func(t *testing.T) {
		t.Parallel()
		later := aggregatetest.Now.Add(time.Hour)
		aggregatetest.For(t, spec).
			When(install, input{"1", "kitchen"}).Then(installed{"1", "kitchen"}).
			At(later).
			When(turnOn, input{ID: "1"}).Then(switched{true, later.Local()}).
			When(turnOn, input{ID: "1"}).ThenNothing().
			When(install, input{"1", "cellar"}).ThenError(errInstalled).ThenError(aggregate.ErrRejected).
			When(blink, input{ID: "1"}).Then(switched{On: false}, switched{On: true})
	})
	t.Run("GivenEveryWay", func(t *testing.T) {
		t.Parallel()
		aggregatetest.For(t, spec).
			Given(aggregatetest.Stored{Name: "installed", Data: `{"id":"1"}`}).
			Given(func(l *lamp) error { return lampSwitched.Record(l, switched{On: true}) }, twinRecorded).
			Given(switched{On: false}).
			When(turnOn, input{ID: "1"}).Then(switched{true, aggregatetest.Now}).ThenReply(reply{"hall", aggregatetest.Now, nil})
	})
	t.Run("NotFound", func(t *testing.T) {
		t.Parallel()
		aggregatetest.For(t, spec).When(turnOn, input{ID: "1"}).ThenError(aggregate.ErrNotFound)
	})
	t.Run("InvalidID", func(t *testing.T) {
		t.Parallel()
		aggregatetest.For(t, spec).When(turnOn, input{ID: " "}).ThenError(aggregate.ErrInvalid)
	})
	t.Run("Panic", func(t *testing.T) {
		t.Parallel()
		aggregatetest.For(t, spec).When(panics, input{ID: "1"}).ThenError(aggregate.ErrPanic).
			When(install, input{"1", "hall"}).Then(installed{"1", "hall"})
	})
	t.Run("UnencodableEvent", func(t *testing.T) {
		t.Parallel()
		aggregatetest.For(t, spec).When(unencodable, input{ID: "1"}).ThenError(aggregate.ErrInvalid)
	})
	t.Run("RefusalBehindAnEvent", func(t *testing.T) {
		t.Parallel()
		aggregatetest.For(t, spec).When(refusesLate, input{ID: "1"}).ThenError(errInstalled).
			When(blink, input{ID: "1"}).Then(switched{On: true}, switched{On: false})
	})
}

func twinRecorded(l *lamp) error { return lampTwin2.Record(l, twin{}) }

// Each wrong model or test fails, and the message names what is wrong.
func TestItBites(t *testing.T) {
	t.Parallel()
	given := installed{"1", "hall"}
	for name, c := range map[string]struct {
		test func(s *aggregatetest.Scenario[lamp])
		want string
	}{
		"StateWithoutEvent": {func(s *aggregatetest.Scenario[lamp]) { s.Given(given).When(writes, input{ID: "1"}).ThenNothing() },
			`command "writes": it changed the state without an event, or a mutator does more than its payload says; now and after replay, Switched: 7 and 0`},
		"StateDeepInside": {func(s *aggregatetest.Scenario[lamp]) { s.Given(given).When(writesDeep, input{ID: "1"}).ThenNothing() },
			`log["x"]: [1] and nothing`},
		"RefusalWithTrace": {func(s *aggregatetest.Scenario[lamp]) {
			s.Given(given).When(refusesDirty, input{ID: "1"}).ThenError(errInstalled)
		}, `command "refuses-dirty": refused (installed already), but it changed the state; now and before, Room: "void" and "hall"`},
		"MutatorNotDeterministic": {func(s *aggregatetest.Scenario[lamp]) {
			s.Given(given).When(nondeterminism, input{ID: "1"}).Then(clocked{})
		},
			`now and after replay, Switched:`},
		"SnapshotLosesAField": {func(s *aggregatetest.Scenario[lamp]) { s.Given(given).When(note, input{"1", "x"}).Then(noted{"x"}) },
			`the snapshot loses state; before and after it, lost: "x" and ""`},
		"ReplyNotEncodable": {func(s *aggregatetest.Scenario[lamp]) { s.Given(given).When(badReply, input{ID: "1"}).ThenNothing() },
			`its reply does not survive the codec: reply of command "bad-reply" cannot be encoded`},
		"EventMissing": {func(s *aggregatetest.Scenario[lamp]) {
			s.When(install, input{"1", "a"}).Then(installed{"1", "a"}, switched{})
		},
			`event 2 is missing`},
		"EventTooMany": {func(s *aggregatetest.Scenario[lamp]) { s.When(install, input{"1", "a"}).ThenNothing() },
			`event 1, "installed", was not expected`},
		"EventDiffers": {func(s *aggregatetest.Scenario[lamp]) { s.When(install, input{"1", "a"}).Then(installed{"1", "b"}) },
			`event 1 differs; got and want, Room: "a" and "b"`},
		"EventOfAnotherType": {func(s *aggregatetest.Scenario[lamp]) { s.When(install, input{"1", "a"}).Then(noted{}) },
			`aggregatetest_test.installed and aggregatetest_test.noted`},
		"EventUnknown": {func(s *aggregatetest.Scenario[lamp]) { s.When(install, input{"1", "a"}).Then(7) },
			`expected event 1, int: aggregate lamp has no event with such a payload`},
		"ReplyDiffers": {func(s *aggregatetest.Scenario[lamp]) { s.When(install, input{"1", "a"}).ThenReply(reply{Room: "b"}) },
			`the reply differs; got and want, Room: "a" and "b"`},
		"UnexpectedError": {func(s *aggregatetest.Scenario[lamp]) { s.Given(given).When(install, input{"1", "a"}).Then() },
			`command "install" failed: "installed already"`},
		"UnexpectedPanic": {func(s *aggregatetest.Scenario[lamp]) { s.When(panics, input{"1", "a"}).Then() }, `the fuse blew`},
		"NoError": {func(s *aggregatetest.Scenario[lamp]) { s.When(install, input{"1", "a"}).ThenError(errInstalled) },
			`command "install" succeeded, want the error "installed already"`},
		"OtherError": {func(s *aggregatetest.Scenario[lamp]) {
			s.Given(given).When(install, input{"1", "a"}).ThenError(aggregate.ErrNotFound)
		}, `got the error "installed already", want "not found"`},
		"NothingExpected": {func(s *aggregatetest.Scenario[lamp]) { s.When(install, input{"1", "a"}) },
			`nothing is expected of command "install"`},
		"NothingExpectedInBetween": {func(s *aggregatetest.Scenario[lamp]) {
			s.When(install, input{"1", "a"}).When(turnOn, input{ID: "1"}).ThenReply(reply{Room: "a", At: aggregatetest.Now})
		}, `nothing is expected of command "install"`},
		"ThenBeforeWhen": {func(s *aggregatetest.Scenario[lamp]) { s.Then() }, `Then comes before When`},
		"NoCommand":      {func(s *aggregatetest.Scenario[lamp]) { s.When(7, input{}) }, `When: int is no command`},
		"NilCommand":     {func(s *aggregatetest.Scenario[lamp]) { s.When(nil, input{}) }, `When: <nil> is no command`},
		"StrangeCommand": {func(s *aggregatetest.Scenario[lamp]) { s.When(ofOther, input{}) }, `is no command of aggregatetest_test.lamp`},
		"WrongInput":     {func(s *aggregatetest.Scenario[lamp]) { s.When(install, 7) }, `the command takes input of type aggregatetest_test.input, got int`},
		"GivenUnknown":   {func(s *aggregatetest.Scenario[lamp]) { s.Given(7).When(install, input{ID: "1"}) }, `given event 1, int: aggregate lamp has no event with such a payload`},
		"GivenTwin":      {func(s *aggregatetest.Scenario[lamp]) { s.Given(twin{}).When(install, input{ID: "1"}) }, `it is the payload of events "twin" and "twin2"`},
		"GivenRefused": {func(s *aggregatetest.Scenario[lamp]) {
			s.Given(given, func(*lamp) error { return errInstalled }).When(turnOn, input{ID: "1"})
		}, `given event 2, func(*aggregatetest_test.lamp) error: installed already`},
		"GivenEncode": {func(s *aggregatetest.Scenario[lamp]) { s.Given(broken{}).When(turnOn, input{ID: "1"}) }, `given event 1, aggregatetest_test.broken: json`},
		"GivenBrokenData": {func(s *aggregatetest.Scenario[lamp]) {
			s.Given(aggregatetest.Stored{Name: "installed", Data: "{"}).When(turnOn, input{ID: "1"})
		}, `given events: replay lamp/1 version 1, event "installed" schema 1`},
		"GivenOfAnother": {func(s *aggregatetest.Scenario[lamp]) { s.Given(given).When(turnOn, input{ID: "2"}) }, `they are of aggregate "1", but the command is for "2"`},
		"WhenForAnother": {func(s *aggregatetest.Scenario[lamp]) {
			s.Given(given).When(turnOn, input{ID: "1"}).Then(switched{true, aggregatetest.Now}).When(turnOn, input{ID: "2"})
		}, `the scenario is about lamp/1, and this command is for "2"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := record(func(t testing.TB) { c.test(aggregatetest.For(t, spec)) })
			require.NotEmpty(t, r.texts, "the mistake was not found")
			require.Contains(t, strings.Join(r.texts, "\n"), c.want)
			require.Len(t, r.texts, 1, "one mistake, one message")
		})
	}
}

type other struct{ aggregate.Root }

var ofOther = aggregate.NewCommand("other", func(*aggregate.Context, *other, input) (int, error) { return 0, nil })

// recorder is a [testing.TB] that notes failures.
type recorder struct {
	testing.TB // nil: what is not written below is not called
	texts      []string
	cleanups   []func()
}

func (r *recorder) Helper()                   {}
func (r *recorder) Name() string              { return "TestLamp/case" }
func (r *recorder) Logf(string, ...any)       {}
func (r *recorder) Cleanup(f func())          { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Errorf(f string, a ...any) { r.texts = append(r.texts, fmt.Sprintf(f, a...)) }
func (r *recorder) Fatalf(f string, a ...any) { r.Errorf(f, a...); runtime.Goexit() }

// record runs a test as the testing package does.
func record(test func(testing.TB)) *recorder {
	r := &recorder{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		test(r)
	}()
	<-done
	for _, f := range r.cleanups {
		f()
	}
	return r
}
