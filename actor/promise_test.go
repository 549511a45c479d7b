package actor_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/actor"
	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/snapshot"
)

type journalStream = envelope.Stream

// Promise 4: one command at a time per aggregate, each sees all that were
// acknowledged before it.
func TestOneCommandAtATime(t *testing.T) {
	t.Parallel()
	onJournals(t, func(t *testing.T, open func(testing.TB) journal.Journal) {
		w := newWorld(t, open(t), nil, nil)
		const callers = 64
		each := count(100_000) / callers
		var seen sync.Map // version → reply: no two commands may get the same
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() {
				for range each {
					a, err := cmdPut.Ask(context.Background(), w.purses, order{ID: "one", N: 1})
					if err != nil || uint64(a.Coins) != a.Version {
						t.Errorf("reply %+v, error %v", a, err)
						return
					}
					if _, twice := seen.LoadOrStore(a.Version, true); twice {
						t.Errorf("two commands were told version %d", a.Version)
					}
				}
			})
		}
		wg.Wait()
		coins, version := w.stored("one")
		require.Equal(t, callers*each, coins)
		require.EqualValues(t, callers*each, version)
	})
}

// Promise 9: passivation loses nothing, doubles nothing and keeps each sender's
// order, although it happens all the time.
func TestPassivationUnderLoad(t *testing.T) {
	t.Parallel()
	onJournals(t, func(t *testing.T, open func(testing.TB) journal.Journal) {
		w := newWorld(t, open(t), nil, &actor.HostOptions{PassivateAfter: time.Millisecond})
		const senders, ids = 64, 16
		each := count(1_000_000) / senders
		var wg sync.WaitGroup
		for s := range senders {
			wg.Go(func() {
				sender := fmt.Sprint("s", s)
				seq := make([]int, ids)
				for i := range each {
					k := (i + s) % ids
					seq[k]++
					a, err := cmdPut.Ask(context.Background(), w.purses,
						order{ID: fmt.Sprint("p", k), N: 1, Sender: sender, Seq: seq[k]})
					if err != nil || a.Out {
						t.Errorf("sender %d, command %d: %+v, %v", s, i, a, err)
						return
					}
					if i%97 == s%97 { // leave some of them alone for longer than they stay
						runtime.Gosched()
						<-time.After(2 * time.Millisecond)
					}
				}
			})
		}
		wg.Wait()
		total := 0
		for k := range ids {
			coins, version := w.stored(fmt.Sprint("p", k))
			require.EqualValues(t, coins, version)
			require.Equal(t, coins, w.look(fmt.Sprint("p", k)).Coins)
			total += coins
		}
		require.Equal(t, senders*each, total)
		require.NotZero(t, w.system.Stats().Passivations)
	})
}

// Promise 4 again: other aggregates are not delayed, and nobody is starved, on
// one processor and a slow journal.
func TestManyBusyAggregatesOnOneProcessor(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	j := &slow{Journal: openMemory(t), every: 20 * time.Millisecond}
	w := newWorld(t, j, nil, nil)
	const n = 10_000
	const rounds = 5
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			for r := range rounds {
				a, err := cmdPut.Ask(context.Background(), w.purses, order{ID: fmt.Sprint("p", i), N: 1})
				if err != nil || a.Coins != r+1 {
					t.Errorf("aggregate %d, round %d: %+v, %v", i, r, a, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// slow is a journal that commits groups, each of which takes a while.
type slow struct {
	journal.Journal
	every time.Duration

	mu      sync.Mutex
	waiting []func()
	busy    bool
}

func (s *slow) Submit(b *journal.Batch, done func(journal.Result, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = append(s.waiting, func() { s.Journal.Submit(b, done) })
	if !s.busy {
		s.busy = true
		time.AfterFunc(s.every, s.commit)
	}
}

func (s *slow) commit() {
	s.mu.Lock()
	group := s.waiting
	s.waiting, s.busy = nil, false
	s.mu.Unlock()
	for _, submit := range group {
		submit()
	}
}

// Promise 8: overload is a typed error, and what waits is bounded.
func TestOverloadIsAnError(t *testing.T) {
	t.Parallel()
	j := &faulty{Journal: openMemory(t)}
	var held []func()
	var mu sync.Mutex
	j.onSubmit(func(b *journal.Batch, done func(journal.Result, error)) bool {
		mu.Lock()
		defer mu.Unlock()
		held = append(held, func() { j.Journal.Submit(b, done) })
		return true
	})
	w := newWorld(t, j, nil, &actor.HostOptions{MailboxSize: 10})
	const callers = 500
	var ok, over atomic.Int64
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			_, err := cmdPut.Ask(context.Background(), w.purses, order{ID: "p", N: 1})
			switch {
			case err == nil:
				ok.Add(1)
			case errors.Is(err, aggregate.ErrOverloaded):
				over.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	require.Eventually(t, func() bool { return over.Load() >= callers-10-256 }, 10*time.Second, time.Millisecond)
	j.onSubmit(nil)
	mu.Lock()
	for _, submit := range held {
		submit()
	}
	mu.Unlock()
	wg.Wait()
	require.EqualValues(t, callers, ok.Load()+over.Load())
	require.EqualValues(t, ok.Load(), w.look("p").Coins)
	require.Positive(t, over.Load())
}

// Promise 8: too many aggregates that wait to be loaded.
func TestActivationQueueIsBounded(t *testing.T) {
	t.Parallel()
	j := &faulty{Journal: openMemory(t)}
	release := make(chan struct{})
	j.onRead(func() error { <-release; return nil })
	w := newWorld(t, j, &actor.Options{MaxActivations: 2, MaxActivationQueue: 3}, nil)
	var wg sync.WaitGroup
	var over atomic.Int64
	for i := range 20 {
		wg.Go(func() {
			_, err := cmdPut.Ask(context.Background(), w.purses, order{ID: fmt.Sprint(i), N: 1})
			if errors.Is(err, aggregate.ErrOverloaded) {
				over.Add(1)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	require.Eventually(t, func() bool { return over.Load() == 15 }, 10*time.Second, time.Millisecond)
	close(release)
	wg.Wait()
	require.EqualValues(t, 15, over.Load())
}

// Promise 8: residents are bounded, the least recently used make room, and
// nobody waits for ever even when all are busy.
func TestResidentsAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, openMemory(t), &actor.Options{MaxResidents: 50}, nil)
	var wg sync.WaitGroup
	var most atomic.Int64
	for i := range 400 {
		wg.Go(func() {
			for range 20 {
				if _, err := cmdPut.Ask(context.Background(), w.purses, order{ID: fmt.Sprint(i), N: 1}); err != nil {
					t.Error(err)
				}
				n := int64(w.system.Stats().Residents)
				for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
				}
			}
		})
	}
	wg.Wait()
	require.LessOrEqual(t, most.Load(), int64(50))
	for i := range 400 {
		require.Equal(t, 20, w.look(fmt.Sprint(i)).Coins)
	}
}

// Promise 4: no reply, refusal or query on a state that was never committed.
func TestNothingIsAnsweredOnLostState(t *testing.T) {
	t.Parallel()
	onJournals(t, func(t *testing.T, open func(testing.TB) journal.Journal) {
		j := &faulty{Journal: open(t)}
		w := newWorld(t, j, nil, nil)
		w.put("p", 100)
		// While the first command's batch is on its way, the other three queue
		// up and form the next turn; that one meets a stranger's event.
		hold := make(chan func(), 1)
		j.onSubmit(func(b *journal.Batch, done func(journal.Result, error)) bool {
			hold <- func() { j.Journal.Submit(b, done) }
			return true
		})
		ctx := context.Background()
		results := make(chan string, 4)
		ask := func(name string, fn func() (answer, error)) {
			go func() {
				a, err := fn()
				results <- fmt.Sprintf("%s: %d %v", name, a.Coins, err)
			}()
		}
		ask("first", func() (answer, error) { return cmdTake.Ask(ctx, w.purses, order{ID: "p", N: 10}) })
		first := <-hold
		queued := make(chan struct{}, 3)
		for i, fn := range []func() (answer, error){
			func() (answer, error) { return cmdTake.Ask(ctx, w.purses, order{ID: "p", N: 60}) }, // of 90: leaves 30
			func() (answer, error) { return cmdTake.Ask(ctx, w.purses, order{ID: "p", N: 50}) }, // refused because of it
			func() (answer, error) { return cmdLook.Ask(ctx, w.purses, order{ID: "p"}) },
		} {
			ask([]string{"take 60", "take 50", "look"}[i], func() (answer, error) {
				queued <- struct{}{}
				return fn()
			})
			<-queued
			w.waitQueued(i + 1)
		}
		first()
		require.Equal(t, "first: 90 <nil>", <-results)
		second := <-hold
		stranger := envelope.Record{Stream: purses.Stream("p"), Version: 3, Name: "taken", Schema: 1, Codec: "json", Data: []byte(`{"n":40}`)}
		_, err := journal.Commit(ctx, j.Journal, &journal.Batch{ID: journal.NewBatchID(),
			Appends: []journal.Append{{Stream: stranger.Stream, Expected: 2, Records: []envelope.Record{stranger}}}})
		require.NoError(t, err)
		require.Empty(t, results, "an answer left the turn before it was committed")
		j.onSubmit(nil)
		second()
		got := map[string]bool{<-results: true, <-results: true, <-results: true}
		require.Equal(t, map[string]bool{
			"take 60: 0 50 coins are not enough for 60": true, // 90 - the stranger's 40 = 50
			"take 50: 0 <nil>":                          true,
			"look: 0 <nil>":                             true,
		}, got)
		require.EqualValues(t, 1, w.system.Stats().Conflicts)
	})
}

// waitQueued waits until n commands wait, by asking the system's figures.
func (w *world) waitQueued(n int) {
	w.t.Helper()
	require.Eventually(w.t, func() bool { return w.purses.Waiting() == n }, 10*time.Second, 100*time.Microsecond)
}

// Promise 5: a failed command leaves no trace, and the next one is served.
func TestFailedCommandLeavesNoTrace(t *testing.T) {
	t.Parallel()
	onJournals(t, func(t *testing.T, open func(testing.TB) journal.Journal) {
		j := &faulty{Journal: open(t)}
		w := newWorld(t, j, nil, nil)
		w.put("p", 7)
		ctx := context.Background()
		boom := errors.New("no")
		for name, tc := range map[string]struct {
			do   func(p *purse) error
			want error
		}{
			"Error":          {func(*purse) error { return boom }, aggregate.ErrRejected},
			"Panic":          {func(*purse) error { panic("boom") }, aggregate.ErrPanic},
			"PanicAfterMore": {func(p *purse) error { _ = put.Record(p, coinsPut{N: 5}); panic(1) }, aggregate.ErrPanic},
			"OtherID":        {func(p *purse) error { p.SetID("stranger"); return nil }, aggregate.ErrInvalid},
			"TooManyEvents": {func(p *purse) error {
				for range 5000 {
					_ = put.Record(p, coinsPut{N: 1})
				}
				return nil
			}, aggregate.ErrInvalid},
		} {
			_, err := cmdPut.Ask(ctx, w.purses, order{ID: "p", N: 1, Do: tc.do})
			require.ErrorIs(t, err, tc.want, name)
			require.Equal(t, answer{Coins: 7, Version: 1}, w.look("p"), name)
		}
		coins, version := w.stored("p")
		require.Equal(t, 7, coins)
		require.EqualValues(t, 1, version)
		require.Equal(t, 8, w.put("p", 1).Coins)
		_, err := cmdWeigh.Ask(ctx, w.purses, order{ID: "p"})
		require.ErrorIs(t, err, aggregate.ErrInvalid, "an event that cannot be encoded")
		_, err = cmdWeighed.Ask(ctx, w.purses, order{ID: "p"}, aggregate.WithCommandID("nan"))
		require.ErrorIs(t, err, aggregate.ErrInvalid, "a reply that cannot be remembered")
		_, err = cmdPut.Ask(ctx, w.purses, order{ID: "p", N: 1, Do: func(*purse) error { return nil }})
		require.NoError(t, err)
		_, err = cmdNested.Ask(ctx, w.purses, order{ID: "p", Ask: func(ctx context.Context) error {
			_, err := cmdLook.Ask(ctx, w.purses, order{ID: "p"})
			return err
		}})
		require.ErrorIs(t, err, aggregate.ErrInvalid, "a handler may not ask")
		_, err = cmdTake.Ask(ctx, w.purses, order{ID: "p", N: 1})
		require.NoError(t, err)

		// A turn with good and bad commands keeps the good ones.
		var wg sync.WaitGroup
		for i := range 300 {
			wg.Go(func() {
				var do func(*purse) error
				if i%3 == 0 {
					do = func(*purse) error { return boom }
				}
				_, err := cmdPut.Ask(ctx, w.purses, order{ID: "p", N: 1, Do: do})
				if (err == nil) == (i%3 == 0) {
					t.Errorf("%d: %v", i, err)
				}
			})
		}
		wg.Wait()
		require.Equal(t, 208, w.look("p").Coins)
		coins, _ = w.stored("p")
		require.Equal(t, 208, coins)
	})
}

// Promise 5: an attacker cannot make failures expensive.
func TestFailuresDoNotReadTheJournalEachTime(t *testing.T) {
	t.Parallel()
	j := &faulty{Journal: openMemory(t)}
	w := newWorld(t, j, nil, nil)
	for range 50 {
		w.put("p", 1)
	}
	before := j.loaded()
	began := time.Now()
	for i := range 1000 {
		_, err := cmdPut.Ask(context.Background(), w.purses, order{ID: "p", N: 1, Do: func(*purse) error { return errors.New("no") }})
		require.ErrorIs(t, err, aggregate.ErrRejected)
		if i%10 == 0 {
			w.put("p", 1)
		}
	}
	seconds := int(time.Since(began)/time.Second) + 1
	require.LessOrEqual(t, j.loaded()-before, 2*seconds)
	require.Equal(t, 150, w.look("p").Coins)
}

// Promise 6: a command whose caller gave up before it began never runs; one
// that began is of unknown outcome.
func TestDeadlines(t *testing.T) {
	t.Parallel()
	j := &faulty{Journal: openMemory(t)}
	w := newWorld(t, j, nil, nil)
	hold := make(chan func(), 1)
	j.onSubmit(func(b *journal.Batch, done func(journal.Result, error)) bool {
		hold <- func() { j.Journal.Submit(b, done) }
		return true
	})
	first, cancelFirst := context.WithCancel(context.Background())
	firstErr := make(chan error, 1)
	go func() {
		_, err := cmdPut.Ask(first, w.purses, order{ID: "p", N: 1})
		firstErr <- err
	}()
	submit := <-hold
	second, cancelSecond := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancelSecond()
	ran := false
	_, err := cmdPut.Ask(second, w.purses, order{ID: "p", N: 10, Do: func(*purse) error { ran = true; return nil }})
	require.ErrorIs(t, err, aggregate.ErrNotRun)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	cancelFirst()
	err = <-firstErr
	require.ErrorIs(t, err, aggregate.ErrUnknownOutcome)
	require.ErrorIs(t, err, context.Canceled)
	j.onSubmit(nil)
	submit()
	require.Equal(t, 1, w.look("p").Coins) // the first had its effect, the second none
	require.False(t, ran)
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = cmdPut.Ask(gone, w.purses, order{ID: "p", N: 10})
	require.ErrorIs(t, err, aggregate.ErrNotRun)
	require.Zero(t, w.purses.Waiting())
}

// Promise 7: one effect and the same reply, however often a command is sent.
func TestCommandsWithAnIDHaveOneEffect(t *testing.T) {
	t.Parallel()
	onJournals(t, func(t *testing.T, open func(testing.TB) journal.Journal) {
		j := open(t)
		host := &actor.HostOptions{PassivateAfter: time.Millisecond, Snapshots: snapshot.Policy{Every: 7, AtPassivation: 1}}
		n := count(3000)
		replies := make([]answer, n)
		send := func(w *world, round int) {
			var wg sync.WaitGroup
			for g := range 8 {
				wg.Go(func() {
					for i := g; i < n; i += 8 {
						id := aggregate.WithCommandID(fmt.Sprint("cmd-", i))
						a, err := cmdPut.Ask(context.Background(), w.purses, order{ID: fmt.Sprint("p", i%20), N: 1}, id)
						switch {
						case err != nil:
							t.Errorf("round %d, command %d: %v", round, i, err)
						case round == 0:
							replies[i] = a
						case a != replies[i]:
							t.Errorf("round %d, command %d: %+v, at first %+v", round, i, a, replies[i])
						}
					}
				})
			}
			wg.Wait()
		}
		for round := range 3 { // a system of its own each time: a restart
			w := newWorld(t, j, nil, host)
			send(w, round)
			total := 0
			for i := range 20 {
				total += w.look(fmt.Sprint("p", i)).Coins
			}
			require.Equal(t, n, total)
			w.stop()
		}
	})
}

// Promise 7: refusals are decided anew, but not after the effect; no-ops are
// remembered.
func TestRefusalsLookForTheReceipt(t *testing.T) {
	t.Parallel()
	onJournals(t, func(t *testing.T, open func(testing.TB) journal.Journal) {
		w := newWorld(t, open(t), nil, nil)
		ctx := context.Background()
		w.put("p", 5)
		id := aggregate.WithCommandID("take-1")
		_, err := cmdTake.Ask(ctx, w.purses, order{ID: "p", N: 10}, id)
		require.ErrorIs(t, err, aggregate.ErrRejected)
		w.put("p", 5)
		first, err := cmdTake.Ask(ctx, w.purses, order{ID: "p", N: 10}, id)
		require.NoError(t, err, "a refusal is not remembered")
		again, err := cmdTake.Ask(ctx, w.purses, order{ID: "p", N: 10}, id)
		require.NoError(t, err, "a repeat must not say that there are no coins")
		require.Equal(t, first, again)
		require.Equal(t, 0, w.look("p").Coins)

		noop := aggregate.WithCommandID("open-1")
		first, err = cmdOpen.Ask(ctx, w.purses, order{ID: "p"}, noop) // it is open already
		require.NoError(t, err)
		w.put("p", 3)
		again, err = cmdOpen.Ask(ctx, w.purses, order{ID: "p"}, noop)
		require.NoError(t, err)
		require.Equal(t, first, again)

		_, err = cmdTake.Ask(ctx, w.purses, order{ID: "nobody", N: 1}, aggregate.WithCommandID("x"))
		require.ErrorIs(t, err, aggregate.ErrNotFound)
		require.ErrorContains(t, err, "purse/nobody")
	})
}

// Promise 7: the same id many times at once joins the first.
func TestSameIDAtTheSameTime(t *testing.T) {
	t.Parallel()
	onJournals(t, func(t *testing.T, open func(testing.TB) journal.Journal) {
		w := newWorld(t, open(t), nil, nil)
		var wg sync.WaitGroup
		for range 50 {
			for i := range 10 {
				wg.Go(func() {
					a, err := cmdPut.Ask(context.Background(), w.purses, order{ID: "p", N: 1}, aggregate.WithCommandID(fmt.Sprint(i)))
					if err != nil || a.Coins < 1 || a.Coins > 10 {
						t.Errorf("%+v, %v", a, err)
					}
				})
			}
		}
		wg.Wait()
		require.Equal(t, 10, w.look("p").Coins)
		_, version := w.stored("p")
		require.EqualValues(t, 10, version)
	})
}
