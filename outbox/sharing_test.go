package outbox_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/memory"
	"github.com/troupe-go/troupe/outbox"
)

// flaky is a journal whose outbox does not answer some calls, as if its
// dispatcher's process stood still or its connection did.
type flaky struct {
	*memory.Journal
	frozen atomic.Bool // Renew and Settle wait until they are let go
	thaw   chan struct{}
	unsaid atomic.Bool // Settle does what it should, and says it did not
}

type flakyOutbox struct {
	journal.Outbox
	f *flaky
}

func (f *flaky) Outbox() journal.Outbox { return flakyOutbox{f.Journal.Outbox(), f} }

func (o flakyOutbox) wait() {
	if o.f.frozen.Load() {
		<-o.f.thaw
	}
}

func (o flakyOutbox) Renew(ctx context.Context, token string, ttl time.Duration) ([]journal.SlotRange, error) {
	o.wait()
	return o.Outbox.Renew(context.WithoutCancel(ctx), token, ttl)
}

func (o flakyOutbox) Settle(ctx context.Context, token string, s journal.Settlement) error {
	o.wait()
	err := o.Outbox.Settle(ctx, token, s)
	if err == nil && o.f.unsaid.Swap(false) {
		return journal.ErrUnavailable
	}
	return err
}

func TestDispatchersShareTheSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, b := newJournal(t), &broker{}
		parts := func() map[string]int {
			leases, err := j.Outbox().Leases(t.Context())
			require.NoError(t, err)
			slots := map[string]int{}
			for _, l := range leases {
				slots[l.Owner] += l.Slots.Len()
			}
			return slots
		}
		stopA := start(t, newDispatcher(t, j, b, outbox.Options{Owner: "a"}))
		synctest.Wait()
		require.Equal(t, map[string]int{"a": 1024}, parts())
		stopB := start(t, newDispatcher(t, j, b, outbox.Options{Owner: "b"}))
		time.Sleep(3 * time.Second)
		require.Equal(t, map[string]int{"a": 512, "b": 512}, parts())
		start(t, newDispatcher(t, j, b, outbox.Options{Owner: "c", Lanes: 64}))
		time.Sleep(5 * time.Second)
		got := parts()
		require.Equal(t, 1024, got["a"]+got["b"]+got["c"])
		for owner, slots := range got {
			require.InDelta(t, 1024/3, slots, 90, owner) // 6, 6 and 4 of 16 lanes
		}
		stopA()
		time.Sleep(5 * time.Second)
		require.Equal(t, map[string]int{"b": 512, "c": 512}, parts())
		stopB()
		time.Sleep(5 * time.Second)
		require.Equal(t, map[string]int{"c": 1024}, parts())
	})
}

// A dispatcher that stands still beyond its leases is succeeded, and what it
// says afterwards is refused: at most its window was published twice.
func TestFrozenDispatcherIsSucceeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const window, ttl = 8, 3 * time.Second
		j := newJournal(t)
		f := &flaky{Journal: j, thaw: make(chan struct{})}
		first, second := &broker{}, &broker{}
		for i := range 100 {
			store(t, j, event(fmt.Sprint(i), fmt.Sprint(i%4)))
		}
		first.busy = make(chan struct{}, 1)
		first.hang = make(chan struct{})
		d := newDispatcher(t, f, first, outbox.Options{Owner: "frozen", LeaseTTL: ttl, Window: window})
		start(t, d)
		<-first.busy
		f.frozen.Store(true)
		first.mu.Lock()
		first.busy = nil
		close(first.hang) // the window goes out, and then nothing moves
		first.hang = nil
		first.mu.Unlock()
		synctest.Wait()
		require.Len(t, first.ids(), window)

		start(t, newDispatcher(t, j, second, outbox.Options{Owner: "successor", LeaseTTL: ttl}))
		time.Sleep(ttl + 2*time.Second)
		require.Len(t, second.ids(), 100, "taken over within the lease")
		f.frozen.Store(false)
		close(f.thaw)
		synctest.Wait()
		require.Len(t, first.ids(), window, "the stale one published no more")
		for i := range 50 {
			store(t, j, event(fmt.Sprint("later ", i), fmt.Sprint(i)))
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(5 * time.Second)
		pending, _ := figures(t, j)
		require.Zero(t, pending)
		require.Equal(t, 150+window, len(first.ids())+len(second.ids()), "one window twice, nothing else")
		require.Greater(t, len(first.ids()), window, "it takes part again")
	})
}

// What another dispatcher parked while this one stood still is parked for it, too,
// though it holds the same lanes again.
func TestLanesThatWereLostAreReadAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJournal(t)
		f := &flaky{Journal: j, thaw: make(chan struct{})}
		first := &broker{}
		start(t, newDispatcher(t, f, first, outbox.Options{Owner: "frozen", LeaseTTL: 3 * time.Second}))
		store(t, j, event("a", "k"))
		synctest.Wait()
		f.frozen.Store(true) // its leases end
		time.Sleep(3500 * time.Millisecond)
		leases, err := j.Outbox().Leases(t.Context())
		require.NoError(t, err)
		for _, l := range leases {
			require.NoError(t, j.Outbox().Release(t.Context(), l.Token, l.Slots))
		}
		ok, err := j.Outbox().Lease(t.Context(), journal.OutboxLease{Token: "t", Owner: "t", Slots: journal.AllSlots}, time.Hour)
		require.NoError(t, err)
		require.True(t, ok)
		store(t, j, event("poison", "k"))
		var s journal.Settlement
		for m, err := range j.Messages(t.Context(), 0, 0) {
			require.NoError(t, err)
			s.Parked = append(s.Parked, journal.Park{Position: m.Position, Parking: journal.Parking{Reason: "refused", Time: time.Now()}})
		}
		require.NoError(t, j.Outbox().Settle(t.Context(), "t", s))
		require.NoError(t, j.Outbox().Release(t.Context(), "t", journal.AllSlots))
		f.frozen.Store(false)
		close(f.thaw)
		time.Sleep(5 * time.Second)
		store(t, j, event("behind", "k"))
		time.Sleep(5 * time.Second)
		require.Equal(t, []string{"a"}, first.ids())
		require.Len(t, parked(t, j), 2)
	})
}

func TestSettlementOfUnknownOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJournal(t)
		f := &flaky{Journal: j}
		b := &broker{}
		f.unsaid.Store(true)
		start(t, newDispatcher(t, f, b, outbox.Options{}))
		store(t, j, event("a", "k"), event("b", "k"))
		time.Sleep(time.Minute)
		require.Equal(t, []string{"a", "b"}, b.ids(), "it was settled after all")
	})
}

// Dispatchers come and go, by stopping and by dying, with other numbers of lanes
// each time, as in deployments: nothing is lost, and each key keeps its order but
// for windows that are published again.
func TestOrderIsKeptWhileDispatchersComeAndGo(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			j, b := newJournal(t), &broker{}
			const keys, each = 40, 50
			ctx, stopAll := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() {
				defer close(done)
				random := rand.New(rand.NewPCG(seed, 2))
				for i := range each {
					for k := range keys {
						b := &journal.Batch{ID: journal.NewBatchID(), Messages: []envelope.Message{event(fmt.Sprintf("%d-%d", k, i), fmt.Sprint(k))}}
						_, err := journal.Commit(t.Context(), j, b)
						assert.NoError(t, err)
					}
					time.Sleep(time.Duration(random.IntN(500)) * time.Millisecond)
				}
			}()
			for round := range 30 {
				f := &flaky{Journal: j, thaw: make(chan struct{})}
				d := newDispatcher(t, f, b, outbox.Options{
					Owner: fmt.Sprint(round), Lanes: 1 + random.IntN(40), LeaseTTL: 2 * time.Second, Window: 1 + random.IntN(60),
				})
				life, end := context.WithCancel(ctx)
				go func() { _ = d.Run(life) }()
				dies, lives := random.IntN(2) == 0, time.Duration(1+random.IntN(5))*time.Second
				go func() {
					time.Sleep(lives)
					if dies {
						f.frozen.Store(true) // it holds its leases, and does nothing with them
						time.Sleep(4 * time.Second)
						close(f.thaw)
					}
					end()
				}()
				time.Sleep(time.Duration(random.IntN(1500)) * time.Millisecond)
			}
			<-done
			start(t, newDispatcher(t, j, b, outbox.Options{}))
			time.Sleep(time.Minute)
			stopAll()
			synctest.Wait()
			pending, parked := figures(t, j)
			require.Equal(t, []int{0, 0}, []int{pending, parked})
			reached := map[string]int{} // key → messages of it so far
			for _, m := range b.got {
				var key, i int
				_, err := fmt.Sscanf(m.ID, "%d-%d", &key, &i)
				require.NoError(t, err)
				require.LessOrEqual(t, i, reached[m.Key], "key %s jumps over a message", m.Key)
				reached[m.Key] = max(reached[m.Key], i+1)
			}
			for k := range keys {
				require.Equal(t, each, reached[fmt.Sprint(k)])
			}
			require.LessOrEqual(t, len(b.got), keys*each+30*60, "a window each at most is published again")
		})
	}
}

// deaf is an outbox that once does not give slots back, and says so.
type deaf struct {
	outbox.Journal
	answers int // of Release until then
}

type deafOutbox struct {
	journal.Outbox
	d *deaf
}

func (d *deaf) Outbox() journal.Outbox { return deafOutbox{d.Journal.Outbox(), d} }

func (o deafOutbox) Release(ctx context.Context, token string, slots journal.SlotRange) error {
	if o.d.answers--; o.d.answers == 0 {
		return journal.ErrUnavailable
	}
	return o.Outbox.Release(ctx, token, slots)
}

// A lease that was not given back would be renewed with the others for ever,
// although nobody publishes its slots.
func TestLeaseThatWasNotGivenBackIsGivenBackLater(t *testing.T) {
	for answers := range 9 { // each of the 8 lanes, and never
		synctest.Test(t, func(t *testing.T) {
			j, b := newJournal(t), &broker{}
			start(t, newDispatcher(t, &deaf{j, answers}, b, outbox.Options{Owner: "deaf"}))
			synctest.Wait()
			start(t, newDispatcher(t, j, b, outbox.Options{Owner: "other"}))
			time.Sleep(20 * time.Second)
			for i := range 200 {
				store(t, j, event(fmt.Sprint(i), fmt.Sprint(i)))
			}
			time.Sleep(20 * time.Second)
			require.Len(t, b.ids(), 200)
		})
	}
}
