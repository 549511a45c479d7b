package actor_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/actor"
	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/journal"
)

// move is a transfer between two purses, as one transaction.
func (w *world) move(ctx context.Context, from, to string, n int) error {
	return w.system.Transact(ctx, func(tx *actor.Tx) error {
		a, err := w.purses.In(tx, from)
		if err != nil {
			return err
		}
		b, err := w.purses.In(tx, to)
		if err != nil {
			return err
		}
		if err := taken.Record(a, coinsTaken{N: n}); err != nil {
			return err
		}
		return put.Record(b, coinsPut{N: n})
	})
}

// TestTransfersKeepTheTotal has many callers move coins between purses, beside
// a load on the one that most transfers touch.
func TestTransfersKeepTheTotal(t *testing.T) {
	t.Parallel()
	onJournals(t, func(t *testing.T, open func(testing.TB) journal.Journal) {
		t.Parallel()
		const purses, callers, start = 100, 64, 1_000
		transfers := count(10_000) / callers
		w := newWorld(t, open(t), nil, nil)
		for i := range purses {
			w.put(fmt.Sprint(i), start)
		}
		stop := make(chan struct{})
		var hot sync.WaitGroup
		var added atomic.Int64
		for range 4 {
			hot.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					if _, err := cmdPut.Ask(context.Background(), w.purses, order{ID: "0", N: 1}); err == nil {
						added.Add(1)
					}
				}
			})
		}
		var group sync.WaitGroup
		var moved, refused atomic.Int64
		for c := range callers {
			group.Go(func() {
				rnd := rand.New(rand.NewPCG(1, uint64(c)))
				for range transfers {
					from, to := rnd.IntN(purses), rnd.IntN(purses)
					if from == to {
						continue
					}
					if rnd.IntN(4) == 0 && to != 0 {
						from = 0
					}
					switch err := w.move(context.Background(), fmt.Sprint(from), fmt.Sprint(to), 1+rnd.IntN(30)); {
					case err == nil:
						moved.Add(1)
					case errors.Is(err, aggregate.ErrRejected):
						refused.Add(1)
					default:
						t.Error(err)
						return
					}
				}
			})
		}
		group.Wait()
		close(stop)
		hot.Wait()
		total := 0
		for i := range purses {
			id := fmt.Sprint(i)
			coins, version := w.stored(id)
			total += coins
			now := w.look(id)
			require.Equal(t, answer{Coins: coins, Version: version}, now, "the actor follows")
		}
		require.Equal(t, purses*start+int(added.Load()), total)
		require.Positive(t, moved.Load())
		t.Logf("%d moved, %d refused, %d put into the hot one; %d conflicts", moved.Load(), refused.Load(), added.Load(), w.system.Stats().Conflicts)
	})
}

// TestTransactIsNotStarved: somebody commits to the aggregate during every
// attempt that does not hold its turn.
func TestTransactIsNotStarved(t *testing.T) {
	t.Parallel()
	w := newWorld(t, openMemory(t), nil, nil)
	w.put("a", 10)
	attempts := 0
	var late sync.WaitGroup
	err := w.system.Transact(t.Context(), func(tx *actor.Tx) error {
		p, err := w.purses.In(tx, "a")
		if err != nil {
			return err
		}
		attempts++
		if attempts == 1 {
			w.put("a", 1) // ahead of the commit
		} else {
			late.Go(func() { w.put("a", 1) }) // waits for the turn
		}
		return taken.Record(p, coinsTaken{N: 5})
	})
	require.NoError(t, err)
	require.Equal(t, 2, attempts)
	late.Wait()
	require.Equal(t, answer{Coins: 7, Version: 4}, w.look("a"))
}

// TestTransactFindsOutWhatItNeeds: a held attempt wants an aggregate that comes
// before what it holds.
func TestTransactFindsOutWhatItNeeds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, openMemory(t), nil, nil)
	w.put("b", 10)
	attempts := 0
	err := w.system.Transact(t.Context(), func(tx *actor.Tx) error {
		attempts++
		b, err := w.purses.In(tx, "b")
		if err != nil {
			return err
		}
		if attempts == 1 {
			w.put("b", 1)
		} else {
			for _, id := range []string{"c", "a"} { // behind and before
				p, err := w.purses.In(tx, id)
				if err == nil { // what comes of an error that the function keeps to itself is the same
					err = put.Record(p, coinsPut{N: 2})
				}
				if err != nil {
					break
				}
			}
		}
		return taken.Record(b, coinsTaken{N: 4})
	})
	require.NoError(t, err)
	require.Equal(t, 3, attempts)
	for id, coins := range map[string]int{"a": 2, "b": 7, "c": 2} {
		require.Equal(t, coins, w.look(id).Coins, id)
	}
}

// TestNothingStaysHeld: whatever ends a transaction or a checkout, the next
// command is served.
func TestNothingStaysHeld(t *testing.T) {
	t.Parallel()
	w := newWorld(t, openMemory(t), nil, nil)
	w.put("a", 10)
	gone, cancel := context.WithCancel(t.Context())
	contended := func(end func(tx *actor.Tx, p *purse) error) func() error {
		return func() error {
			first := true
			return w.system.Transact(gone, func(tx *actor.Tx) error {
				p, err := w.purses.In(tx, "a")
				if err != nil {
					return err
				}
				if err := put.Record(p, coinsPut{N: 100}); err != nil {
					return err
				}
				if first { // so that the next attempt holds the turn
					first = false
					w.put("a", 1)
					return nil
				}
				return end(tx, p)
			})
		}
	}
	checkout := func(end func(c *actor.Checkout[purse]) error) func() error {
		return func() error {
			c, err := w.purses.Acquire(gone, "a")
			if err != nil {
				return err
			}
			defer c.Abort()
			if err := put.Record(c.State(), coinsPut{N: 100}); err != nil {
				return err
			}
			return end(c)
		}
	}
	errOurs := errors.New("ours")
	for _, test := range []struct {
		name string
		run  func() error
		want error
	}{
		{"rejected", contended(func(_ *actor.Tx, p *purse) error { return taken.Record(p, coinsTaken{N: 1e6}) }), aggregate.ErrRejected},
		{"not found", contended(func(*actor.Tx, *purse) error { return aggregate.NotFound(purses.Stream("x")) }), aggregate.ErrNotFound},
		{"panicked", contended(func(*actor.Tx, *purse) error { panic("ours") }), aggregate.ErrPanic},
		{"not encodable", contended(func(_ *actor.Tx, p *purse) error { return weighed.Record(p, purseWeighed{Grams: math.NaN()}) }), aggregate.ErrInvalid},
		{"malformed id", contended(func(tx *actor.Tx, _ *purse) error { _, err := w.purses.In(tx, "\x00"); return err }), aggregate.ErrInvalid},
		{"asks inside", contended(func(tx *actor.Tx, _ *purse) error {
			_, err := cmdLook.Ask(tx.Context(), w.purses, order{ID: "a"})
			return err
		}), aggregate.ErrInvalid},
		{"checkout refused", checkout(func(*actor.Checkout[purse]) error { return errOurs }), errOurs},
		{"checkout out of order", checkout(func(c *actor.Checkout[purse]) error {
			_, err := w.purses.Acquire(c.Context(), "A")
			return err
		}), actor.ErrLockOrder},
		{"checkout of the same", checkout(func(c *actor.Checkout[purse]) error {
			_, err := w.purses.Acquire(c.Context(), "a")
			return err
		}), actor.ErrLockOrder},
		{"checkout twice over", checkout(func(c *actor.Checkout[purse]) error { c.Abort(); return c.Commit() }), actor.ErrNotHeld},
		{"its caller went", contended(func(*actor.Tx, *purse) error { cancel(); return nil }), context.Canceled},
	} {
		err := test.run()
		require.ErrorIs(t, err, test.want, test.name)
		if test.name == "its caller went" {
			require.ErrorIs(t, err, aggregate.ErrNotRun)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		a, err := cmdLook.Ask(ctx, w.purses, order{ID: "a"})
		cancel()
		require.NoError(t, err, test.name)
		require.Less(t, a.Coins, 100, "%s: nothing of it happened", test.name)
	}
}

// TestTransactOutcomeIsTheTruth: the answer to the commit is lost once; then it
// is lost for good, and the caller leaves.
func TestTransactOutcomeIsTheTruth(t *testing.T) {
	t.Parallel()
	f := &faulty{Journal: openMemory(t)}
	w := newWorld(t, f, nil, nil)
	w.put("a", 10)
	lost := 1
	back := make(chan struct{})
	f.onSubmit(func(b *journal.Batch, done func(journal.Result, error)) bool {
		if len(b.Appends) < 2 {
			return false
		}
		if lost > 0 {
			lost--
			f.Journal.Submit(b, func(journal.Result, error) {})
			done(journal.Result{}, journal.ErrUnknownOutcome)
			return true
		}
		require.True(t, b.Resubmit)
		return false
	})
	require.NoError(t, w.move(t.Context(), "a", "b", 3))
	require.Equal(t, answer{Coins: 7, Version: 2}, w.look("a"))
	require.Equal(t, answer{Coins: 3, Version: 1}, w.look("b"))

	ctx, cancel := context.WithCancel(t.Context())
	f.onSubmit(func(b *journal.Batch, done func(journal.Result, error)) bool {
		if len(b.Appends) < 2 {
			return false
		}
		f.onSubmit(nil)
		f.Journal.Submit(b, func(res journal.Result, err error) {
			cancel()
			go func() { <-back; done(res, err) }()
		})
		return true
	})
	require.ErrorIs(t, w.move(ctx, "a", "b", 2), aggregate.ErrUnknownOutcome)
	close(back)
	require.Eventually(t, func() bool { return w.look("a").Coins == 5 }, 10*time.Second, time.Millisecond)
	require.Equal(t, 5, w.look("b").Coins)
}

func TestReadOnlyTransactIsOfOneMoment(t *testing.T) {
	t.Parallel()
	w := newWorld(t, openMemory(t), nil, nil)
	w.put("a", 10)
	w.put("b", 10)
	attempts, sum := 0, 0
	require.NoError(t, w.system.Transact(t.Context(), func(tx *actor.Tx) error {
		attempts++
		a, err := w.purses.In(tx, "a")
		if err != nil {
			return err
		}
		if attempts == 1 {
			require.NoError(t, w.move(context.Background(), "a", "b", 4))
		}
		b, err := w.purses.In(tx, "b")
		if err != nil {
			return err
		}
		sum = a.Coins + b.Coins
		return nil
	}))
	require.Equal(t, 2, attempts)
	require.Equal(t, 20, sum)
}

func TestCheckoutHoldsTheTurn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, openMemory(t), nil, &actor.HostOptions{PassivateAfter: time.Millisecond})
	w.put("a", 10)
	c, err := w.purses.Acquire(t.Context(), "a")
	require.NoError(t, err)
	require.Equal(t, uint64(1), c.Version())
	require.Equal(t, 10, c.State().Coins)
	asked := make(chan answer, 1)
	go func() { asked <- w.put("a", 1) }()
	require.Eventually(t, func() bool { return w.purses.Waiting() == 1 }, 10*time.Second, time.Millisecond)
	p, err := w.purses.Peek(t.Context(), "a")
	require.NoError(t, err)
	require.Equal(t, 10, p.Coins)

	second, err := w.purses.Acquire(c.Context(), "b") // in order
	require.NoError(t, err)
	require.Zero(t, second.Version())
	second.Abort()

	require.NoError(t, taken.Record(c.State(), coinsTaken{N: 7}))
	require.NoError(t, c.Commit())
	require.ErrorIs(t, c.Commit(), actor.ErrNotHeld)
	require.Equal(t, answer{Coins: 4, Version: 3}, <-asked, "behind the checkout, and on its outcome")
}

func TestCheckoutEndsByItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t, openMemory(t), nil, &actor.HostOptions{MaxHold: time.Millisecond})
	w.put("a", 10)
	c, err := w.purses.Acquire(t.Context(), "a")
	require.NoError(t, err)
	require.Equal(t, 11, w.put("a", 1).Coins, "it waits for the turn to be taken back")
	require.NoError(t, put.Record(c.State(), coinsPut{N: 100}))
	require.ErrorIs(t, c.Commit(), actor.ErrNotHeld)

	w = newWorld(t, openMemory(t), nil, nil)
	w.put("a", 10)
	ctx, cancel := context.WithCancel(t.Context())
	c, err = w.purses.Acquire(ctx, "a")
	require.NoError(t, err)
	cancel()
	require.Equal(t, 11, w.put("a", 1).Coins, "its caller has gone")
	require.ErrorIs(t, c.Commit(), actor.ErrNotHeld)

	_, err = w.purses.Acquire(ctx, "a")
	require.ErrorIs(t, err, aggregate.ErrNotRun)
}
