package aggregate_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// A bell rings, and says so.
type bell struct {
	aggregate.Root
	Rings int

	own *aggregate.Emitter
}

type (
	rang     struct{ Tone string }
	silenced struct{}
	ring     struct{ ID, Tone string }
)

func (c ring) AggregateID() string { return c.ID }

var errTone = errors.New("no such tone")

// bells are a model and its emitter.
type bells struct {
	spec     *aggregate.Spec[bell]
	rang     *aggregate.Event[bell, rang]
	silenced *aggregate.Event[bell, silenced]
	ring     *aggregate.Command[bell, ring, int]
	emitter  *aggregate.Emitter
	journal  journal.Journal
	repo     *aggregate.Repository[bell]
}

func newBells(t *testing.T, opts *aggregate.EmitterOptions) *bells {
	t.Helper()
	w := &bells{
		rang: aggregate.On("rang", func(b *bell, _ rang) {
			b.Rings++
			b.Enqueue("echo", b.Rings)
		}).Enqueue(),
		silenced: aggregate.On("silenced", func(*bell, silenced) {}).EnqueueTo(func(b *bell) *aggregate.Emitter { return b.own }),
		journal:  openMemory(t),
	}
	w.spec = aggregate.Define("bell", w.rang, w.silenced)
	w.ring = aggregate.NewCommand("bell.ring", func(_ *aggregate.Context, b *bell, c ring) (int, error) {
		if c.Tone == "nothing" {
			b.Enqueue("asked", c.Tone)
			return 0, nil
		}
		if err := w.rang.Record(b, rang{c.Tone}); err != nil {
			return 0, err
		}
		if c.Tone == "blank" {
			b.Enqueue(" ", nil)
		}
		if c.Tone == "cracked" {
			return 0, errTone
		}
		return b.Rings, nil
	})
	var err error
	w.emitter, err = aggregate.NewEmitter(opts)
	require.NoError(t, err)
	w.repo, err = aggregate.NewRepository(w.journal, w.spec, &aggregate.RepositoryOptions{Emitter: w.emitter})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.emitter.Close(context.Background())) })
	return w
}

// heard collects what a listener was told.
type heard struct {
	mu  sync.Mutex
	all []string
}

func (h *heard) note(e aggregate.Emission) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, fmt.Sprintf("%s %s v%d %v", e.Stream, e.Name, e.Version, e.Value))
}

func (w *bells) heard(t *testing.T, h *heard) []string {
	t.Helper()
	require.NoError(t, w.emitter.Wait(t.Context()))
	h.mu.Lock()
	defer h.mu.Unlock()
	all := h.all
	h.all = nil
	return all
}

func TestEmittedAfterTheCommit(t *testing.T) {
	t.Parallel()
	w := newBells(t, nil)
	var all, typed heard
	w.emitter.Listen("", func(_ context.Context, e aggregate.Emission) {
		b, err := w.repo.Peek(context.Background(), e.Stream.ID)
		if err != nil || b.Version() < e.Version {
			t.Errorf("%v was emitted before it was committed: %v", e, err)
		}
		all.note(e)
	})
	stop := aggregate.Listen(w.emitter, func(_ context.Context, v rang, e aggregate.Emission) {
		require.Equal(t, v, e.Value)
		typed.note(e)
	})
	_, err := w.ring.Ask(t.Context(), w.repo, ring{"1", "c"}, aggregate.WithCorrelation("talk", ""))
	require.NoError(t, err)
	require.Equal(t, []string{"bell/1 echo v0 1", "bell/1 rang v1 {c}"}, w.heard(t, &all))
	require.Equal(t, []string{"bell/1 rang v1 {c}"}, w.heard(t, &typed))

	stop()
	b, err := w.repo.Load(t.Context(), "1") // replay enqueues nothing
	require.NoError(t, err)
	require.NoError(t, w.rang.Record(b, rang{"d"}))
	require.NoError(t, w.rang.Record(b, rang{"e"}))
	require.Empty(t, w.heard(t, &all), "nothing before the commit")
	require.NoError(t, w.repo.Commit(t.Context(), b))
	require.Equal(t, []string{"bell/1 echo v0 2", "bell/1 rang v2 {d}", "bell/1 echo v0 3", "bell/1 rang v3 {e}"}, w.heard(t, &all))
	require.NoError(t, w.repo.Commit(t.Context(), b))
	require.Empty(t, w.heard(t, &all), "once")
	require.Empty(t, w.heard(t, &typed), "stopped")
}

func TestFailedCommandEmitsNothing(t *testing.T) {
	t.Parallel()
	w := newBells(t, nil)
	var all heard
	w.emitter.Listen("", func(_ context.Context, e aggregate.Emission) { all.note(e) })
	_, err := w.ring.Ask(t.Context(), w.repo, ring{"1", "cracked"})
	require.ErrorIs(t, err, errTone)
	_, err = w.ring.Ask(t.Context(), w.repo, ring{"1", "blank"})
	require.ErrorIs(t, err, aggregate.ErrInvalid)
	require.ErrorContains(t, err, "name of an emission")
	require.Empty(t, w.heard(t, &all))

	a, err := w.repo.Load(t.Context(), "1")
	require.ErrorIs(t, err, aggregate.ErrNotFound)
	require.Nil(t, a)
	first, second := w.spec.New("1"), w.spec.New("1")
	require.NoError(t, w.rang.Record(first, rang{"c"}))
	require.NoError(t, w.rang.Record(second, rang{"d"}))
	require.NoError(t, w.repo.Commit(t.Context(), first))
	require.ErrorIs(t, w.repo.Commit(t.Context(), second), aggregate.ErrConflict)
	require.Equal(t, []string{"bell/1 echo v0 1", "bell/1 rang v1 {c}"}, w.heard(t, &all))
	require.Zero(t, w.emitter.Waiting(), "room that was reserved is given back")

	// A command that records nothing may enqueue, too.
	_, err = w.ring.Ask(t.Context(), w.repo, ring{"1", "nothing"})
	require.NoError(t, err)
	require.Equal(t, []string{"bell/1 asked v0 nothing"}, w.heard(t, &all))
}

func TestOwnEmitter(t *testing.T) {
	t.Parallel()
	w := newBells(t, nil)
	own, err := aggregate.NewEmitter(nil)
	require.NoError(t, err)
	var host, mine heard
	w.emitter.Listen("", func(_ context.Context, e aggregate.Emission) { host.note(e) })
	own.Listen("silenced", func(_ context.Context, e aggregate.Emission) { mine.note(e) })
	b := w.spec.New("1")
	require.NoError(t, w.silenced.Record(b, silenced{}))
	b.own = own
	require.NoError(t, w.silenced.Record(b, silenced{}))
	require.NoError(t, w.repo.Commit(t.Context(), b))
	require.NoError(t, own.Close(t.Context()))
	require.Equal(t, []string{"bell/1 silenced v1 {}"}, w.heard(t, &host))
	require.Equal(t, []string{"bell/1 silenced v2 {}"}, w.heard(t, &mine))
}

func TestPanickingListenerIsIsolated(t *testing.T) {
	t.Parallel()
	var panics heard
	w := newBells(t, &aggregate.EmitterOptions{
		Logger:   slog.New(slog.DiscardHandler),
		Panicked: func(e aggregate.Emission, value any) { e.Value = value; panics.note(e) },
	})
	var all heard
	w.emitter.Listen("rang", func(context.Context, aggregate.Emission) { panic("deaf") })
	w.emitter.Listen("rang", func(_ context.Context, e aggregate.Emission) { all.note(e) })
	for range 2 {
		_, err := w.ring.Ask(t.Context(), w.repo, ring{"1", "c"})
		require.NoError(t, err)
	}
	require.Equal(t, []string{"bell/1 rang v1 {c}", "bell/1 rang v2 {c}"}, w.heard(t, &all))
	require.Equal(t, []string{"bell/1 rang v1 deaf", "bell/1 rang v2 deaf"}, w.heard(t, &panics))
}

func TestListenersOfOneAggregateHearInOrder(t *testing.T) {
	t.Parallel()
	w := newBells(t, &aggregate.EmitterOptions{Lanes: 3})
	var mu sync.Mutex
	last := map[string]uint64{}
	w.emitter.Listen("rang", func(_ context.Context, e aggregate.Emission) {
		mu.Lock()
		defer mu.Unlock()
		if e.Version != last[e.Stream.ID]+1 {
			t.Errorf("%s: version %d behind %d", e.Stream, e.Version, last[e.Stream.ID])
		}
		last[e.Stream.ID] = e.Version
	})
	const bells, rings = 20, 50
	var all sync.WaitGroup
	for i := range bells {
		all.Go(func() {
			for range rings {
				if _, err := w.ring.Ask(t.Context(), w.repo, ring{fmt.Sprint(i), "c"}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	require.NoError(t, w.emitter.Wait(t.Context()))
	require.Len(t, last, bells)
	for id, version := range last {
		require.EqualValues(t, rings, version, id)
	}
}

// A listener may ask the aggregate that it hears from.
func TestListenerAsks(t *testing.T) {
	t.Parallel()
	w := newBells(t, nil)
	aggregate.Listen(w.emitter, func(ctx context.Context, v rang, e aggregate.Emission) {
		if v.Tone == "c" {
			if _, err := w.ring.Ask(ctx, w.repo, ring{e.Stream.ID, "d"}); err != nil {
				t.Error(err)
			}
		}
	})
	_, err := w.ring.Ask(t.Context(), w.repo, ring{"1", "c"})
	require.NoError(t, err)
	require.NoError(t, w.emitter.Wait(t.Context()))
	b, err := w.repo.Load(t.Context(), "1")
	require.NoError(t, err)
	require.Equal(t, 2, b.Rings)
}

func TestFullEmitterRefusesTheCommand(t *testing.T) {
	t.Parallel()
	w := newBells(t, &aggregate.EmitterOptions{QueueSize: 4})
	begun, end := make(chan struct{}), make(chan struct{})
	w.emitter.Listen("echo", func(_ context.Context, e aggregate.Emission) {
		if e.Value == 1 {
			close(begun)
			<-end
		}
	})
	for range 2 {
		_, err := w.ring.Ask(t.Context(), w.repo, ring{"1", "c"})
		require.NoError(t, err)
	}
	<-begun
	_, err := w.ring.Ask(t.Context(), w.repo, ring{"1", "c"})
	require.ErrorIs(t, err, aggregate.ErrOverloaded)
	require.Equal(t, 4, w.emitter.Waiting())
	b, err := w.repo.Load(t.Context(), "1")
	require.NoError(t, err)
	require.EqualValues(t, 2, b.Version(), "the refused command left nothing")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, w.emitter.Wait(ctx), context.Canceled)
	err = w.emitter.Close(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "3 emissions dropped")
	close(end)
	require.NoError(t, w.emitter.Wait(t.Context()))
	_, err = w.ring.Ask(t.Context(), w.repo, ring{"1", "c"})
	require.ErrorIs(t, err, aggregate.ErrStopped)
}

func TestEmissionLimits(t *testing.T) {
	t.Parallel()
	w := newBells(t, nil)
	b := w.spec.New("1")
	for range aggregate.MaxEmissions + 1 {
		b.Enqueue("x", nil)
	}
	err := w.repo.Commit(t.Context(), b)
	require.ErrorIs(t, err, aggregate.ErrInvalid)
	require.ErrorContains(t, err, `emissions "4097"`)
	_, err = aggregate.NewEmitter(&aggregate.EmitterOptions{Lanes: -1})
	require.ErrorIs(t, err, envelope.ErrInvalid)
	_, err = aggregate.NewEmitter(&aggregate.EmitterOptions{QueueSize: -1})
	require.ErrorIs(t, err, envelope.ErrInvalid)
}

// A listener that ends its goroutine, as a test's FailNow does, stops nobody.
func TestListenerThatEndsItsGoroutine(t *testing.T) {
	t.Parallel()
	w := newBells(t, nil)
	var all heard
	w.emitter.Listen("rang", func(_ context.Context, e aggregate.Emission) {
		all.note(e)
		if e.Version == 1 {
			runtime.Goexit()
		}
	})
	for range 2 {
		_, err := w.ring.Ask(t.Context(), w.repo, ring{"1", "c"})
		require.NoError(t, err)
	}
	require.Equal(t, []string{"bell/1 rang v1 {c}", "bell/1 rang v2 {c}"}, w.heard(t, &all))
}
