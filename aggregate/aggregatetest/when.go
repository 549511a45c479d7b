package aggregatetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/internal/statediff"
)

// outcome is what came of one command.
type outcome struct {
	command  string
	err      error
	reply    any
	records  []envelope.Record
	messages []envelope.Message
	judged   bool // somebody said what should come of it
}

// When sends a command, an [aggregate.Command] of A, with its input. What it
// records joins the history of the commands that follow. A command of another
// aggregate or with another input fails the test.
func (s *Scenario[A]) When(command, input any, opts ...aggregate.AskOption) *Scenario[A] {
	s.t.Helper()
	s.expectSomething()
	ask, err := s.bind(command, input, opts)
	if err != nil {
		s.t.Fatalf("When: %v", err)
	}
	to := &stage[A]{s: s}
	reply, err := ask(to)
	if to.broken != nil {
		s.t.Fatalf("%v", to.broken)
	}
	s.outcome = &outcome{command: to.command, err: err, reply: reply, records: to.records, messages: to.messages}
	for _, mistake := range to.mistakes {
		s.t.Errorf("command %q: %s", to.command, mistake)
	}
	s.history = append(s.history, to.records...)
	return s
}

// bind checks that command is a Command[A, In, Out] with an In like input, and
// returns its Ask. A method cannot have type parameters, so this is checked
// when the test runs.
func (s *Scenario[A]) bind(command, input any, opts []aggregate.AskOption) (func(aggregate.Asker[A]) (any, error), error) {
	method := reflect.ValueOf(command)
	if !method.IsValid() || !method.MethodByName("Ask").IsValid() {
		return nil, fmt.Errorf("%T is no command", command)
	}
	method = method.MethodByName("Ask")
	typ := method.Type()
	if typ.NumIn() != 4 || typ.In(1) != reflect.TypeFor[aggregate.Asker[A]]() {
		return nil, fmt.Errorf("%T is no command of %T", command, *new(A))
	}
	if reflect.TypeOf(input) != typ.In(2) {
		return nil, fmt.Errorf("the command takes input of type %s, got %T", typ.In(2), input)
	}
	return func(to aggregate.Asker[A]) (any, error) {
		results := method.CallSlice([]reflect.Value{
			reflect.ValueOf(context.Background()), reflect.ValueOf(&to).Elem(), reflect.ValueOf(input), reflect.ValueOf(opts),
		})
		err, _ := results[1].Interface().(error)
		return results[0].Interface(), err
	}, nil
}

// stage is the [aggregate.Asker] that runs a scenario's command.
type stage[A any] struct {
	s        *Scenario[A]
	command  string
	records  []envelope.Record  // of a command that succeeded
	messages []envelope.Message // that it published
	mistakes []string           // of the handler or the model
	broken   error              // of the scenario itself
}

// Ask runs inv on a fresh replay of the history.
func (g *stage[A]) Ask(ctx context.Context, inv aggregate.Invocation[A]) error {
	s, h := g.s, inv.Header()
	g.command = h.Command
	if err := h.Validate(s.spec.Type()); err != nil {
		return err
	}
	if err := g.enter(h.AggregateID); err != nil {
		g.broken = err
		return err
	}
	a, err := s.start(ctx)
	if err != nil {
		g.broken = err
		return err
	}
	recorder := &aggregate.Recorder{Metadata: h.Metadata}
	s.spec.Lend(a, recorder)
	err = aggregate.RunGuarded(ctx, s.spec, inv, a, s.now)
	pending := s.stamp(s.spec.Pending(a))
	if !errors.Is(err, aggregate.ErrPanic) { // a runtime drops what a panic left
		g.checkState(ctx, a, pending, err)
	}
	if err != nil {
		return err
	}
	if g.messages, err = recorder.TakeMessages(nil, s.stream, s.spec.Version(a), len(pending) > 0, s.now); err != nil {
		return err
	}
	if err := roundTrip(inv, s.spec.Codec()); err != nil {
		g.mistakef("its reply does not survive the codec: %v", err)
	}
	g.records = pending
	return nil
}

// enter takes the history to the stream of the command.
func (g *stage[A]) enter(id string) error {
	s := g.s
	if (s.stream != envelope.Stream{}) && s.stream.ID != id {
		return fmt.Errorf("the scenario is about %s, and this command is for %q", s.stream, id)
	}
	s.stream = s.spec.Stream(id)
	return s.takeGiven()
}

// start is the state that a command begins with.
func (s *Scenario[A]) start(ctx context.Context) (*A, error) {
	latest := s.latest(nil)
	a, _, err := s.spec.Rebuild(ctx, nil, latest)
	return a, err
}

// stamp gives recorded events what a commit gives them.
func (s *Scenario[A]) stamp(records []envelope.Record) []envelope.Record {
	for i := range records {
		records[i].Stream = s.stream
		if records[i].Time.IsZero() {
			records[i].Time = s.now
		}
	}
	return records
}

// checkState proves that a is what its history says, and that a snapshot would
// keep it.
func (g *stage[A]) checkState(ctx context.Context, a *A, pending []envelope.Record, decision error) {
	s := g.s
	again, _, err := s.spec.Rebuild(ctx, nil, s.latest(pending))
	if err != nil {
		g.mistakef("what it recorded cannot be replayed: %v", err)
		return
	}
	if diff := statediff.Diff(a, again); diff != "" {
		if decision != nil {
			g.mistakef("refused (%v), but it changed the state; now and before, %s", decision, diff)
			return
		}
		g.mistakef("it changed the state without an event, or a mutator does more than its payload says; now and after replay, %s", diff)
		return
	}
	g.checkSnapshot(again)
	g.checkBaseline(again)
}

// checkSnapshot proves that a snapshot keeps the state.
func (g *stage[A]) checkSnapshot(again *A) {
	s := g.s
	if !s.spec.HasSnapshots() || s.spec.Version(again) == 0 {
		return
	}
	snap, err := s.spec.Snapshot(again, s.now)
	if err != nil {
		g.mistakef("the state cannot become a snapshot: %v", err)
		return
	}
	restored := s.spec.New(s.stream.ID)
	if err := s.spec.Restore(restored, &snap); err != nil {
		g.mistakef("the snapshot cannot be restored: %v", err)
		return
	}
	if diff := statediff.Diff(again, restored); diff != "" {
		g.mistakef("the snapshot loses state; before and after it, %s", diff)
	}
}

func (g *stage[A]) mistakef(format string, args ...any) {
	g.mistakes = append(g.mistakes, fmt.Sprintf(format, args...))
}

// roundTrip replaces the reply by what its encoding decodes to, as a client of
// another process or a receipt would see it.
func roundTrip[A any](inv aggregate.Invocation[A], codec envelope.Codec) error {
	data, err := inv.EncodeReply(codec)
	if err != nil {
		return err
	}
	return inv.DecodeReply(codec, data)
}

// checkBaseline proves that a baseline keeps the state: what one loses is lost
// for good.
func (g *stage[A]) checkBaseline(again *A) {
	s := g.s
	if !s.spec.HasBaseline() || s.spec.Version(again) == 0 {
		return
	}
	var rec aggregate.Recorder
	s.spec.Lend(again, &rec)
	err := s.spec.RecordBaseline(again)
	s.spec.Lend(again, nil)
	if errors.Is(err, aggregate.ErrNotFound) { // it was deleted
		return
	}
	restored := s.spec.New(s.stream.ID)
	if err == nil {
		err = s.spec.Replay(restored, &rec.Records[0])
	}
	if err != nil {
		g.mistakef("the state cannot become a baseline: %v", err)
		return
	}
	if diff := statediff.Diff(again, restored); diff != "" {
		g.mistakef("the baseline loses state; before and after it, %s", diff)
	}
}
