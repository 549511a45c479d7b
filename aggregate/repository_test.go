package aggregate_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/snapshot"
)

func TestNewRepositoryRefusesNegativeTries(t *testing.T) {
	t.Parallel()
	_, err := aggregate.NewRepository(nil, spec, &aggregate.RepositoryOptions{MaxTries: -1})
	require.ErrorIs(t, err, aggregate.ErrInvalid)
	require.ErrorContains(t, err, `invalid MaxTries "-1": is negative`)
}

func TestLoad(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	_, err := w.r.Load(w.ctx, "1")
	require.ErrorIs(t, err, aggregate.ErrNotFound)
	require.ErrorContains(t, err, "purse/1 not found")
	_, err = w.r.Load(w.ctx, "")
	require.ErrorIs(t, err, aggregate.ErrInvalid)

	w.ask(open, input{"1", 10})
	p, err := w.r.Load(w.ctx, "1")
	require.NoError(t, err)
	require.Equal(t, "1", p.ID())
	require.Equal(t, 10, p.Sum)
	require.EqualValues(t, 1, p.Version())
}

func TestLoadMany(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	w.ask(open, input{"a", 1})
	w.ask(open, input{"b", 2})
	all, err := w.r.LoadMany(w.ctx, "b", "none", "a", "b")
	require.NoError(t, err)
	require.Len(t, all, 4)
	require.Equal(t, 2, all[0].Sum)
	require.Nil(t, all[1])
	require.Equal(t, 1, all[2].Sum)
	require.NotSame(t, all[0], all[3])

	_, err = w.r.LoadMany(w.ctx, "a", "")
	require.ErrorIs(t, err, aggregate.ErrInvalid)
	none, err := w.r.LoadMany(w.ctx)
	require.NoError(t, err)
	require.Empty(t, none)
}

func TestPeekRefusesRecording(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	_, err := w.r.Peek(w.ctx, "1")
	require.ErrorIs(t, err, aggregate.ErrNotFound)
	w.ask(open, input{"1", 10})
	p, err := w.r.Peek(w.ctx, "1")
	require.NoError(t, err)
	err = on.ticked.Record(p, ticked{})
	require.ErrorIs(t, err, aggregate.ErrInvalid)
	require.ErrorContains(t, err, "the aggregate was peeked at, not loaded")
	require.Equal(t, 10, p.Sum)
}

func TestCommitSeveral(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	a, b, idle := spec.New("a"), spec.New("b"), spec.New("idle")
	require.NoError(t, on.opened.Record(a, opened{Limit: 1}))
	require.NoError(t, on.ticked.Record(a, ticked{}))
	require.NoError(t, on.opened.Record(b, opened{Limit: 2}))
	batches := 0
	w.j.onSubmit(func(next journal.Journal, batch *journal.Batch, done func(journal.Result, error)) {
		batches++
		require.Len(t, batch.Appends, 2)
		next.Submit(batch, done)
	})
	require.NoError(t, w.r.Commit(w.ctx, a, idle, b))
	require.Equal(t, 1, batches)
	require.EqualValues(t, 2, w.version("a"))
	require.EqualValues(t, 1, w.version("b"))
	require.EqualValues(t, 0, w.version("idle"))
	require.False(t, w.records("a")[0].Time.IsZero())

	require.NoError(t, w.r.Commit(w.ctx, a, b), "nothing is recorded any more")
	require.NoError(t, w.r.Commit(w.ctx))
	require.Equal(t, 1, batches)

	w.j.submit.Store(nil)
	require.NoError(t, on.ticked.Record(a, ticked{}))
	require.NoError(t, w.r.Commit(w.ctx, a), "it can be used on")
	require.EqualValues(t, 3, w.version("a"))
}

// A conflict in one stream stores nothing of any, and the aggregates keep what
// they recorded.
func TestCommitConflict(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	w.ask(open, input{"a", 1})
	a, err := w.r.Load(w.ctx, "a")
	require.NoError(t, err)
	w.ask(tick, input{ID: "a"})

	b := spec.New("b")
	require.NoError(t, on.ticked.Record(a, ticked{}))
	require.NoError(t, on.ticked.Record(b, ticked{}))
	err = w.r.Commit(w.ctx, b, a)
	var facts *journal.ConflictError
	require.ErrorAs(t, err, &facts)
	require.Equal(t, journal.ConflictError{Stream: spec.Stream("a"), Expected: 1, Actual: 2}, *facts)
	require.EqualValues(t, 0, w.version("b"))
	require.Len(t, spec.Pending(b), 1)
	require.NoError(t, w.r.Commit(w.ctx, b))
}

func TestCommitWithEndedContext(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	p := spec.New("1")
	require.NoError(t, on.ticked.Record(p, ticked{}))
	ctx, cancel := context.WithCancel(w.ctx)
	cancel()
	err := w.r.Commit(ctx, p)
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, aggregate.ErrUnknownOutcome, "the batch was not submitted")
	require.EqualValues(t, 0, w.version("1"))
}

// With a snapshot only newer records are read.
func TestSnapshotEveryN(t *testing.T) {
	t.Parallel()
	const every, events = 10, 57
	w := setup(t, &aggregate.RepositoryOptions{Snapshots: snapshot.Policy{Every: every}})
	w.ask(open, input{"1", 0})
	for range events - 1 {
		w.ask(tick, input{ID: "1"})
	}
	latest, err := w.j.Journal.LoadLatest(w.ctx, spec.Stream("1"))
	require.NoError(t, err)
	require.EqualValues(t, 50, latest.Snapshot.Version)

	w.j.reads.Store(0)
	p, err := w.r.Load(w.ctx, "1")
	require.NoError(t, err)
	require.Equal(t, events-1, p.Sum)
	require.EqualValues(t, 50, spec.SnapshotVersion(p))
	require.EqualValues(t, events%every, w.j.reads.Load(), "records read")

	require.NoError(t, w.r.DeleteSnapshot(w.ctx, "1"))
	w.j.reads.Store(0)
	p, err = w.r.Load(w.ctx, "1")
	require.NoError(t, err)
	require.Equal(t, events-1, p.Sum)
	require.EqualValues(t, events, w.j.reads.Load(), "records read without a snapshot")
	require.NoError(t, w.r.DeleteSnapshot(w.ctx, "none"))
	require.ErrorIs(t, w.r.DeleteSnapshot(w.ctx, ""), aggregate.ErrInvalid)
}

// Commit notes the snapshot, so that the same aggregate takes the next one
// only when it is due.
func TestCommitNotesTheSnapshot(t *testing.T) {
	t.Parallel()
	w := setup(t, &aggregate.RepositoryOptions{Snapshots: snapshot.Policy{Every: 2}})
	p := spec.New("1")
	for want := range []uint64{0, 1, 2, 3} {
		require.NoError(t, on.ticked.Record(p, ticked{}))
		require.NoError(t, w.r.Commit(w.ctx, p))
		require.EqualValues(t, (want+1)/2*2, spec.SnapshotVersion(p))
	}
}

// A snapshot is a cache: the events are stored without it.
func TestUnencodableSnapshotDoesNotStopTheEvents(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	tick := aggregate.On("ticked", func(*purse, ticked) {})
	bad := aggregate.Define("bad", tick, aggregate.Snapshots(1, func(*purse) func() { return nil }, func(*purse, func()) {}))
	r, err := aggregate.NewRepository(w.j, bad, &aggregate.RepositoryOptions{Snapshots: snapshot.Policy{Every: 1}})
	require.NoError(t, err)
	p := bad.New("1")
	require.NoError(t, tick.Record(p, ticked{}))
	require.NoError(t, r.Commit(w.ctx, p))
	p, err = r.Load(w.ctx, "1")
	require.NoError(t, err)
	require.EqualValues(t, 1, p.Version())
}

// A commit whose answer is lost is submitted again until it is known, whatever
// the store says of itself meanwhile.
func TestUnknownOutcomeIsSettled(t *testing.T) {
	t.Parallel()
	for name, stored := range map[string]bool{"Stored": true, "NotStored": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := setup(t, nil)
			answers := []error{journal.ErrUnknownOutcome, journal.ErrUnavailable, journal.ErrOverloaded, journal.ErrUnknownOutcome}
			var first *journal.Batch
			calls := 0
			w.j.onSubmit(func(next journal.Journal, b *journal.Batch, done func(journal.Result, error)) {
				calls++
				if first == nil {
					first = b
					require.False(t, b.Resubmit)
					if stored {
						next.Submit(b, func(_ journal.Result, err error) { require.NoError(t, err) })
					}
				} else {
					require.True(t, b.Resubmit)
					require.Equal(t, first.ID, b.ID, "the identical batch")
					require.NotSame(t, first, b)
				}
				if calls <= len(answers) {
					done(journal.Result{}, answers[calls-1])
					return
				}
				next.Submit(b, done)
			})
			p := spec.New("1")
			require.NoError(t, on.ticked.Record(p, ticked{}))
			require.NoError(t, w.r.Commit(w.ctx, p))
			require.Equal(t, len(answers)+1, calls)
			require.EqualValues(t, 1, w.version("1"))
			require.Empty(t, spec.Pending(p))
		})
	}
}

// While the outcome is open, nothing but an answer about it closes it.
func TestUnknownOutcomeStaysUnknown(t *testing.T) {
	t.Parallel()
	for name, second := range map[string]func(cancel func()) error{
		"ContextEnds":   func(cancel func()) error { cancel(); return journal.ErrUnknownOutcome },
		"JournalCloses": func(func()) error { return journal.ErrClosed },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := setup(t, nil)
			ctx, cancel := context.WithCancel(w.ctx)
			defer cancel()
			calls := 0
			w.j.onSubmit(func(_ journal.Journal, _ *journal.Batch, done func(journal.Result, error)) {
				if calls++; calls == 1 {
					done(journal.Result{}, journal.ErrUnknownOutcome)
					return
				}
				done(journal.Result{}, second(cancel))
			})
			p := spec.New("1")
			require.NoError(t, on.ticked.Record(p, ticked{}))
			err := w.r.Commit(ctx, p)
			require.ErrorIs(t, err, aggregate.ErrUnknownOutcome)
			require.Len(t, spec.Pending(p), 1)
		})
	}
}

func TestCommitErrorsPass(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	full := errors.Join(journal.ErrUnavailable, errors.New("disk full"))
	w.j.onSubmit(func(_ journal.Journal, _ *journal.Batch, done func(journal.Result, error)) {
		done(journal.Result{}, full)
	})
	p := spec.New("1")
	require.NoError(t, on.ticked.Record(p, ticked{}))
	require.ErrorIs(t, w.r.Commit(w.ctx, p), aggregate.ErrUnavailable)
}
