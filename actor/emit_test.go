package actor_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/actor"
	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/journal"
)

// told collects what listeners were told.
type told struct {
	mu  sync.Mutex
	all []string
}

func (h *told) listen(_ context.Context, e aggregate.Emission) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, fmt.Sprintf("%s %v", e.Stream.ID, e.Value))
}

func newEmitter(t *testing.T) (*aggregate.Emitter, *told) {
	t.Helper()
	m, err := aggregate.NewEmitter(&aggregate.EmitterOptions{Logger: quiet})
	require.NoError(t, err)
	h := new(told)
	m.Listen("note", h.listen)
	return m, h
}

// enqueue makes the command say v.
func enqueue(v any) func(*purse) error {
	return func(p *purse) error { p.Enqueue("note", v); return nil }
}

func TestTurnEmitsAfterItsCommit(t *testing.T) {
	t.Parallel()
	onJournals(t, func(t *testing.T, open func(testing.TB) journal.Journal) {
		m, h := newEmitter(t)
		j := &faulty{Journal: open(t)}
		w := newWorld(t, j, nil, &actor.HostOptions{Emitter: m})
		var committed atomic.Bool
		m.Listen("", func(context.Context, aggregate.Emission) {
			if !committed.Load() {
				t.Error("emitted before the commit")
			}
		})
		j.onSubmit(func(b *journal.Batch, done func(journal.Result, error)) bool {
			j.Journal.Submit(b, func(res journal.Result, err error) {
				committed.Store(true)
				done(res, err)
			})
			return true
		})
		ask := func(o order, opts ...aggregate.AskOption) error {
			_, err := cmdPut.Ask(context.Background(), w.purses, o, opts...)
			return err
		}
		require.NoError(t, ask(order{ID: "p", N: 1, Do: enqueue("one")}))
		// Whatever fails, panics or cannot be stored says nothing.
		refused := errors.New("no")
		require.ErrorIs(t, ask(order{ID: "p", N: 1, Do: func(p *purse) error { p.Enqueue("note", "refused"); return refused }}), refused)
		require.ErrorIs(t, ask(order{ID: "p", N: 1, Do: func(p *purse) error { p.Enqueue("note", "panicked"); panic("x") }}), aggregate.ErrPanic)
		require.ErrorIs(t, ask(order{ID: "p", N: 1, Do: func(p *purse) error { p.Enqueue("", "blank"); return nil }}), aggregate.ErrInvalid)
		_, err := cmdWeigh.Ask(context.Background(), w.purses, order{ID: "p"})
		require.ErrorIs(t, err, aggregate.ErrInvalid)
		// A query may say something, and is heard at once.
		_, err = cmdLook.Ask(context.Background(), w.purses, order{ID: "p", Do: enqueue("looked")})
		require.NoError(t, err)
		// The same command twice has one effect.
		for range 3 {
			require.NoError(t, ask(order{ID: "p", N: 1, Do: enqueue("two")}, aggregate.WithCommandID("c")))
		}
		require.NoError(t, m.Close(t.Context()))
		require.Equal(t, []string{"p one", "p looked", "p two"}, h.all)
		require.ErrorIs(t, ask(order{ID: "p", N: 1, Do: enqueue("late")}), aggregate.ErrStopped)
		require.Equal(t, 2, w.look("p").Coins)
	})
}

// A batch that is refused, lost to a conflict or decided anew says nothing, or
// once.
func TestLostTurnEmitsNothing(t *testing.T) {
	t.Parallel()
	m, h := newEmitter(t)
	j := &faulty{Journal: openMemory(t)}
	w := newWorld(t, j, nil, &actor.HostOptions{Emitter: m})
	w.put("p", 1)
	var tries atomic.Int64
	j.onSubmit(func(b *journal.Batch, done func(journal.Result, error)) bool {
		if tries.Add(1) <= 2 {
			go done(journal.Result{}, &journal.ConflictError{Stream: b.Appends[0].Stream})
			return true
		}
		return false
	})
	_, err := cmdPut.Ask(context.Background(), w.purses, order{ID: "p", N: 1, Do: enqueue("once")})
	require.NoError(t, err)
	require.EqualValues(t, 3, tries.Load())
	j.onSubmit(func(_ *journal.Batch, done func(journal.Result, error)) bool {
		go done(journal.Result{}, journal.ErrUnavailable)
		return true
	})
	_, err = cmdPut.Ask(context.Background(), w.purses, order{ID: "p", N: 1, Do: enqueue("never")})
	require.ErrorIs(t, err, aggregate.ErrUnavailable)
	require.NoError(t, m.Wait(t.Context()))
	require.Equal(t, []string{"p once"}, h.all)
	require.Zero(t, m.Waiting(), "room that was reserved is given back")
	j.onSubmit(nil)
}

// Replay says nothing: not at activation, and not when a state is made anew.
func TestReplayEmitsNothing(t *testing.T) {
	t.Parallel()
	m, h := newEmitter(t)
	j := openBolt(t, filepath.Join(t.TempDir(), "journal.db"))
	for range 3 {
		w := newWorld(t, j, nil, &actor.HostOptions{Emitter: m, CheckState: true})
		_, err := cmdPut.Ask(context.Background(), w.purses, order{ID: "p", N: 1, Do: enqueue("put")})
		require.NoError(t, err)
		w.stop()
	}
	require.NoError(t, m.Close(t.Context()))
	require.Equal(t, []string{"p put", "p put", "p put"}, h.all)
}

// A listener asks aggregates, the one that it hears from included.
func TestListenerAsksActors(t *testing.T) {
	t.Parallel()
	m, _ := newEmitter(t)
	w := newWorld(t, openMemory(t), nil, &actor.HostOptions{Emitter: m})
	aggregate.Listen(m, func(ctx context.Context, n int, e aggregate.Emission) {
		for _, id := range []string{e.Stream.ID, "sum"} {
			o := order{ID: id, N: 1}
			if n > 1 && id != "sum" {
				o.Do = enqueue(n - 1)
			}
			if _, err := cmdPut.Ask(ctx, w.purses, o); err != nil {
				t.Error(err)
			}
		}
	})
	var all sync.WaitGroup
	const purses, deep = 50, 10
	for i := range purses {
		all.Go(func() {
			_, err := cmdPut.Ask(context.Background(), w.purses, order{ID: fmt.Sprint(i), N: 1, Do: enqueue(deep)})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	require.NoError(t, m.Wait(t.Context()))
	require.Equal(t, purses*deep, w.look("sum").Coins)
	require.Equal(t, 1+deep, w.look("7").Coins)
}

// A command that a full emitter refuses leaves nothing, no receipt either: sent
// again with the same id, it has its effect.
func TestFullEmitterRefusesTheCommand(t *testing.T) {
	t.Parallel()
	onJournals(t, func(t *testing.T, open func(testing.TB) journal.Journal) {
		m, err := aggregate.NewEmitter(&aggregate.EmitterOptions{QueueSize: 1})
		require.NoError(t, err)
		begun, end := make(chan struct{}), make(chan struct{})
		m.Listen("note", func(_ context.Context, e aggregate.Emission) {
			if e.Value == "first" {
				close(begun)
				<-end
			}
		})
		w := newWorld(t, open(t), nil, &actor.HostOptions{Emitter: m})
		ask := func(what string, opts ...aggregate.AskOption) error {
			_, err := cmdPut.Ask(context.Background(), w.purses, order{ID: "p", N: 1, Do: enqueue(what)}, opts...)
			return err
		}
		require.NoError(t, ask("first"))
		<-begun
		require.ErrorIs(t, ask("second", aggregate.WithCommandID("c")), aggregate.ErrOverloaded)
		require.Equal(t, 1, w.look("p").Coins)
		_, err = cmdWeighed.Ask(context.Background(), w.purses, order{ID: "p"}, aggregate.WithCommandID("d"))
		require.ErrorIs(t, err, aggregate.ErrInvalid, "a reply that cannot be encoded")
		close(end)
		require.NoError(t, m.Wait(t.Context()))
		for range 2 {
			require.NoError(t, ask("second", aggregate.WithCommandID("c")))
		}
		require.Equal(t, 2, w.look("p").Coins)
		require.NoError(t, m.Close(t.Context()))
		require.Zero(t, m.Waiting())
	})
}
