package aggregate_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

func TestAsk(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	require.Equal(t, 10, w.ask(open, input{"1", 10}))
	require.Equal(t, 7, w.ask(take, input{"1", 3}))
	require.Equal(t, 7, w.ask(take, input{"1", 0}), "nothing to do")
	require.EqualValues(t, 2, w.version("1"))

	out, err := take.Ask(w.ctx, w.r, input{"1", 8})
	require.ErrorIs(t, err, aggregate.ErrRejected)
	require.ErrorIs(t, err, errFunds)
	require.Zero(t, out)

	_, err = take.Ask(w.ctx, w.r, input{"2", 1})
	require.ErrorIs(t, err, aggregate.ErrNotFound)
	_, err = take.Ask(w.ctx, w.r, input{"", 1})
	require.ErrorIs(t, err, aggregate.ErrInvalid)
	_, err = take.Ask(w.ctx, w.r, input{"1", 1}, aggregate.WithCommandID(strings.Repeat("x", 129)))
	require.ErrorIs(t, err, aggregate.ErrInvalid)
	require.EqualValues(t, 2, w.version("1"))
}

func TestPanicIsTyped(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	w.ask(open, input{"1", 10})
	explode := aggregate.NewCommand("explode", func(_ *aggregate.Context, p *purse, _ input) (sum, error) {
		_ = on.ticked.Record(p, ticked{})
		panic("secret")
	})
	_, err := explode.Ask(w.ctx, w.r, input{ID: "1"})
	require.ErrorIs(t, err, aggregate.ErrPanic)
	var facts *aggregate.PanicError
	require.ErrorAs(t, err, &facts)
	require.Equal(t, "secret", facts.Value)
	require.Contains(t, string(facts.Stack), "ask_test.go")
	require.NotContains(t, err.Error(), "secret")
	require.EqualValues(t, 1, w.version("1"))
}

func TestIDCannotBeChanged(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	move := aggregate.NewCommand("move", func(_ *aggregate.Context, p *purse, _ input) (sum, error) {
		p.SetID("else")
		return sum{}, on.ticked.Record(p, ticked{})
	})
	_, err := move.Ask(w.ctx, w.r, input{ID: "1"})
	require.ErrorIs(t, err, aggregate.ErrInvalid)
	require.EqualValues(t, 0, w.version("1"))
	require.EqualValues(t, 0, w.version("else"))
}

func TestContextOfAHandler(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	type key struct{}
	look := aggregate.NewCommand("look", func(ctx *aggregate.Context, p *purse, _ input) (sum, error) {
		require.Equal(t, "c-1", ctx.CommandID())
		require.Equal(t, "why", ctx.Metadata().CausationID)
		require.Equal(t, 7, ctx.Value(key{}))
		require.WithinDuration(t, time.Now(), ctx.Now(), time.Minute)
		return sum{}, errors.Join(on.ticked.Record(p, ticked{}), on.ticked.Record(p, ticked{}))
	})
	keys := map[string]string{"tenant": "acme"}
	_, err := look.Ask(context.WithValue(w.ctx, key{}, 7), w.r, input{ID: "1"},
		aggregate.WithMetadata(envelope.Metadata{Keys: keys}),
		aggregate.WithCorrelation("talk", "why"), aggregate.WithCommandID("c-1"))
	require.NoError(t, err)
	keys["tenant"] = "changed"
	records := w.records("1")
	require.Len(t, records, 2)
	for _, rec := range records {
		require.Equal(t, envelope.Metadata{
			CorrelationID: "talk", CausationID: "why", CommandID: "c-1", Keys: map[string]string{"tenant": "acme"},
		}, rec.Metadata)
	}
	require.Equal(t, records[0].Time, records[1].Time, "one instant for all that a command records")
}

func TestInvalidMetadataIsRefused(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	_, err := tick.Ask(w.ctx, w.r, input{ID: "1"},
		aggregate.WithMetadata(envelope.Metadata{Keys: map[string]string{"x-sourced-id": "1"}}))
	require.ErrorIs(t, err, aggregate.ErrInvalid)
}

// Concurrent askers conflict, decide anew, and their effects sum up.
func TestConcurrentAskersSumUp(t *testing.T) {
	t.Parallel()
	const askers, each = 8, 25
	w := setup(t, &aggregate.RepositoryOptions{MaxTries: askers * each})
	w.ask(open, input{"1", 0})
	var wg sync.WaitGroup
	errs := make(chan error, askers*each)
	for range askers {
		wg.Go(func() {
			for range each {
				_, err := tick.Ask(w.ctx, w.r, input{ID: "1"})
				errs <- err
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
	p, err := w.r.Load(w.ctx, "1")
	require.NoError(t, err)
	require.Equal(t, askers*each, p.Sum)
	require.EqualValues(t, askers*each+1, w.version("1"))
}

// Whoever always comes second gets the conflict, after MaxTries.
func TestMaxTries(t *testing.T) {
	t.Parallel()
	w := setup(t, &aggregate.RepositoryOptions{MaxTries: 3})
	w.ask(open, input{"1", 0})
	other, err := aggregate.NewRepository(w.j.Journal, spec, nil)
	require.NoError(t, err)
	w.j.onLoaded(func() {
		_, err := tick.Ask(w.ctx, other, input{ID: "1"})
		require.NoError(t, err)
	})
	_, err = tick.Ask(w.ctx, w.r, input{ID: "1"})
	require.ErrorIs(t, err, aggregate.ErrConflict)
	require.EqualValues(t, 1+3, w.version("1"))
}

// An answer that changes nothing is given on committed state as well.
func TestNoOpIsDecidedOnCommittedState(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	w.ask(open, input{"1", 0})
	other, err := aggregate.NewRepository(w.j.Journal, spec, nil)
	require.NoError(t, err)
	once := true
	w.j.onLoaded(func() {
		if once {
			once = false
			_, err := tick.Ask(w.ctx, other, input{ID: "1"})
			require.NoError(t, err)
		}
	})
	require.Equal(t, 1, w.ask(take, input{"1", 0}), "the reply was decided on a state that was no longer there")
}

func TestCommandIDHasOneEffect(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	w.ask(open, input{"1", 10})
	id := aggregate.WithCommandID("w-1")
	require.Equal(t, 4, w.ask(take, input{"1", 6}, id))
	// The repeat would be refused by now, and it gets the reply all the same.
	require.Equal(t, 4, w.ask(take, input{"1", 6}, id))
	w.ask(tick, input{ID: "1"})
	require.Equal(t, 4, w.ask(take, input{"1", 6}, id))
	require.EqualValues(t, 3, w.version("1"))
	// Another aggregate's commands are others.
	w.ask(open, input{"2", 10})
	require.Equal(t, 9, w.ask(take, input{"2", 1}, id))

	t.Run("NoOpIsRemembered", func(t *testing.T) {
		id := aggregate.WithCommandID("noop")
		require.Equal(t, 5, w.ask(take, input{"1", 0}, id))
		w.ask(tick, input{ID: "1"})
		require.Equal(t, 5, w.ask(take, input{"1", 0}, id))
	})
	t.Run("RefusalIsDecidedAnew", func(t *testing.T) {
		id := aggregate.WithCommandID("refused")
		_, err := take.Ask(w.ctx, w.r, input{"1", 7}, id)
		require.ErrorIs(t, err, aggregate.ErrRejected)
		w.ask(tick, input{ID: "1"})
		require.Equal(t, 0, w.ask(take, input{"1", 7}, id))
	})
	t.Run("Concurrently", func(t *testing.T) {
		var wg sync.WaitGroup
		replies := make([]sum, 8)
		for i := range replies {
			wg.Go(func() { replies[i], _ = tick.Ask(w.ctx, w.r, input{ID: "3"}, aggregate.WithCommandID("t")) })
		}
		wg.Wait()
		for _, reply := range replies {
			require.Equal(t, sum{1}, reply)
		}
		require.EqualValues(t, 1, w.version("3"))
	})
	t.Run("ReplyThatCannotBeRemembered", func(t *testing.T) {
		bad := aggregate.NewCommand("bad", func(_ *aggregate.Context, p *purse, _ input) (func(), error) {
			return nil, on.ticked.Record(p, ticked{})
		})
		_, err := bad.Ask(w.ctx, w.r, input{ID: "4"}, aggregate.WithCommandID("x"))
		require.ErrorIs(t, err, aggregate.ErrInvalid)
		require.EqualValues(t, 0, w.version("4"))
		large := aggregate.NewCommand("large", func(*aggregate.Context, *purse, input) (string, error) {
			return strings.Repeat("x", envelope.MaxReplyBytes), nil
		})
		_, err = large.Ask(w.ctx, w.r, input{ID: "4"}, aggregate.WithCommandID("x"))
		require.ErrorIs(t, err, aggregate.ErrInvalid)
	})
	t.Run("ReplyOfAnotherTypeByNow", func(t *testing.T) {
		changed := aggregate.NewCommand("take", func(*aggregate.Context, *purse, input) ([]int, error) { return nil, nil })
		_, err := changed.Ask(w.ctx, w.r, input{ID: "1"}, aggregate.WithCommandID("w-1"))
		require.ErrorContains(t, err, `stored reply of command "take", id "w-1"`)
	})
}

// An ask whose commit got no answer finds it out, and has one effect.
func TestAskSettlesAnUnknownOutcome(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	lost := true
	w.j.onSubmit(func(next journal.Journal, b *journal.Batch, done func(journal.Result, error)) {
		if lost {
			lost = false
			next.Submit(b, func(journal.Result, error) {})
			done(journal.Result{}, journal.ErrUnknownOutcome)
			return
		}
		next.Submit(b, done)
	})
	require.Equal(t, 1, w.ask(tick, input{ID: "1"}, aggregate.WithCommandID("x")))
	require.EqualValues(t, 1, w.version("1"))
}

// A caller that gave up before anything happened is told so; one that gave up
// later is told that nobody knows.
func TestGivingUp(t *testing.T) {
	t.Parallel()
	t.Run("BeforeItBegan", func(t *testing.T) {
		t.Parallel()
		w := setup(t, nil)
		ctx, cancel := context.WithCancelCause(w.ctx)
		cancel(errors.New("tired"))
		_, err := tick.Ask(ctx, w.r, input{ID: "1"})
		require.ErrorIs(t, err, aggregate.ErrNotRun)
		require.ErrorContains(t, err, "tired")
		require.EqualValues(t, 0, w.version("1"))
	})
	t.Run("WhileLoading", func(t *testing.T) {
		t.Parallel()
		w := setup(t, nil)
		ctx, cancel := context.WithCancel(w.ctx)
		w.j.onLoaded(cancel)
		_, err := tick.Ask(ctx, w.r, input{ID: "1"})
		require.ErrorIs(t, err, aggregate.ErrNotRun)
		require.ErrorIs(t, err, context.Canceled)
	})
	t.Run("BeforeTheSubmit", func(t *testing.T) {
		t.Parallel()
		w := setup(t, nil)
		ctx, cancel := context.WithCancel(w.ctx)
		stop := aggregate.NewCommand("stop", func(_ *aggregate.Context, p *purse, _ input) (sum, error) {
			cancel()
			return sum{}, on.ticked.Record(p, ticked{})
		})
		_, err := stop.Ask(ctx, w.r, input{ID: "1"})
		require.ErrorIs(t, err, aggregate.ErrNotRun)
		require.EqualValues(t, 0, w.version("1"))
	})
	t.Run("WhileCommitting", func(t *testing.T) {
		t.Parallel()
		w := setup(t, nil)
		ctx, cancel := context.WithCancel(w.ctx)
		w.j.onSubmit(func(next journal.Journal, b *journal.Batch, done func(journal.Result, error)) {
			cancel()
			next.Submit(b, func(journal.Result, error) {})
		})
		_, err := tick.Ask(ctx, w.r, input{ID: "1"})
		require.ErrorIs(t, err, aggregate.ErrUnknownOutcome)
		require.ErrorIs(t, err, context.Canceled)
		require.NotErrorIs(t, err, aggregate.ErrNotRun)
	})
}

func TestBrokenHistoryIsAReplayError(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	rec := stored(1, "stolen", 1, `{}`)
	_, err := journal.Commit(w.ctx, w.j, &journal.Batch{
		ID: journal.NewBatchID(), Appends: []journal.Append{{Stream: rec.Stream, Records: []envelope.Record{rec}}},
	})
	require.NoError(t, err)
	_, err = tick.Ask(w.ctx, w.r, input{ID: "1"})
	require.ErrorIs(t, err, aggregate.ErrUnknownEvent)
	_, err = w.r.LoadMany(w.ctx, "1")
	require.ErrorIs(t, err, aggregate.ErrUnknownEvent)
}
