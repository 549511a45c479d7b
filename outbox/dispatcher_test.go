package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/outbox"
)

func TestMessagesArePublishedInTheOrderOfTheirKeys(t *testing.T) {
	for _, ordered := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			j, b := newJournal(t), &broker{ordered: ordered}
			store(t, j, event("before", "k"))
			d := newDispatcher(t, j, b, outbox.Options{Window: 10})
			start(t, d)
			synctest.Wait()
			require.Equal(t, []string{"before"}, b.ids())
			const n = 300
			for i := range n {
				store(t, j, event(fmt.Sprint(i), fmt.Sprint("key ", i%7)), event(fmt.Sprint("alone ", i), ""))
			}
			synctest.Wait()
			next := map[string]int{}
			for _, m := range b.got[1:] {
				if m.Key != "" {
					require.Equal(t, fmt.Sprint(next[m.Key]*7+int(m.Key[4]-'0')), m.ID)
					next[m.Key]++
				}
			}
			require.Len(t, b.got, 1+2*n)
			pending, _ := figures(t, j)
			require.Zero(t, pending)
			require.Equal(t, outbox.Totals{Published: 1 + 2*n}, d.Totals())
		})
	}
}

func TestOutageParksNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, b := newJournal(t), &broker{}
		b.set(func(*envelope.Message) error { return errAway })
		d := newDispatcher(t, j, b, outbox.Options{})
		start(t, d)
		const n = 1000
		for i := range n {
			store(t, j, event(fmt.Sprint(i), fmt.Sprint(i%10)))
			time.Sleep(600 * time.Millisecond) // 10 minutes in all
		}
		require.Empty(t, b.ids())
		pending, parked := figures(t, j)
		require.Equal(t, []int{n, 0}, []int{pending, parked})
		b.set(nil)
		time.Sleep(40 * time.Second) // more than MaxBackoff and its jitter
		synctest.Wait()
		require.Len(t, b.ids(), n)
		next := map[string]int{}
		for _, m := range b.got {
			require.Equal(t, fmt.Sprint(next[m.Key]*10+int(m.Key[0]-'0')), m.ID)
			next[m.Key]++
		}
	})
}

func TestRefusedMessageIsParkedAndItsKeyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, b := newJournal(t), &broker{}
		b.set(func(m *envelope.Message) error {
			if m.ID == "poison" {
				return fmt.Errorf("%w: no such topic", bus.ErrRefused)
			}
			return nil
		})
		start(t, newDispatcher(t, j, b, outbox.Options{}))
		store(t, j, event("a", "k"), event("poison", "k"), event("b", "k"), event("other", "l"))
		synctest.Wait()
		store(t, j, event("c", "k"), event("other 2", "l"))
		synctest.Wait()
		require.ElementsMatch(t, []string{"a", "other", "other 2"}, b.ids())
		all := parked(t, j)
		require.Len(t, all, 3)
		require.Contains(t, all[0].Reason, "no such topic")
		require.Equal(t, []bool{false, true, true}, []bool{all[0].Behind, all[1].Behind, all[2].Behind})

		// Sent again in vain.
		n, err := outbox.Requeue(t.Context(), j, journal.ParkedFilter{ID: "poison"})
		require.NoError(t, err)
		require.Equal(t, 1, n)
		time.Sleep(2 * time.Second)
		all = parked(t, j)
		require.Len(t, all, 3)
		require.Contains(t, all[0].Reason, "no such topic")
		require.Equal(t, journal.OrderNone, all[0].Order)

		// And with success: before anything newer of its key.
		b.set(nil)
		store(t, j, event("d", "k"))
		_, err = outbox.Requeue(t.Context(), j, journal.ParkedFilter{ID: "poison"})
		require.NoError(t, err)
		store(t, j, event("e", "k"))
		time.Sleep(2 * time.Second)
		store(t, j, event("f", "k"))
		synctest.Wait()
		var of []string
		for _, m := range b.got {
			if m.Key == "k" {
				of = append(of, m.ID)
			}
		}
		require.Equal(t, []string{"a", "poison", "b", "c", "d", "e", "f"}, of)
		require.Empty(t, parked(t, j))
	})
}

func TestDiscardedMessageLetsThoseBehindItGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, b := newJournal(t), &broker{}
		start(t, newDispatcher(t, j, b, outbox.Options{}))
		large := event("large", "k")
		large.Data = make([]byte, envelope.MaxDataBytes)
		alone := event("alone", "")
		alone.Data = large.Data
		store(t, j, large, event("b", "k"), alone, event("z", ""))
		synctest.Wait()
		require.Equal(t, []string{"z"}, b.ids(), "a message without a key holds up no other")
		require.Len(t, parked(t, j), 3)
		n, err := outbox.Discard(t.Context(), j, journal.ParkedFilter{ID: "large"})
		require.NoError(t, err)
		require.Equal(t, 1, n)
		_, err = outbox.Discard(t.Context(), j, journal.ParkedFilter{ID: "alone"})
		require.NoError(t, err)
		time.Sleep(2 * time.Second)
		require.Equal(t, []string{"z", "b"}, b.ids())
		require.Empty(t, parked(t, j))
	})
}

// A message that is never confirmed, though others are, is parked after some
// attempts; until then it holds up its own key alone.
func TestMessageThatIsNeverConfirmedIsParkedOnceOthersAre(t *testing.T) {
	for _, key := range []string{"k", ""} {
		synctest.Test(t, func(t *testing.T) {
			j, b := newJournal(t), &broker{}
			var attempts atomic.Int64
			b.set(func(m *envelope.Message) error {
				if m.ID == "stuck" {
					attempts.Add(1)
					return errAway
				}
				return nil
			})
			start(t, newDispatcher(t, j, b, outbox.Options{MaxAttempts: 5}))
			store(t, j, event("stuck", key), event("behind", key))
			time.Sleep(10 * time.Minute)
			if key != "" {
				require.Empty(t, parked(t, j), "nothing else was confirmed: that may be the broker")
				require.Empty(t, b.ids())
			}
			attempts.Store(0)
			for i := range 200 {
				store(t, j, event(fmt.Sprint(i), fmt.Sprint("key ", i)))
				time.Sleep(time.Second)
			}
			require.LessOrEqual(t, attempts.Load(), int64(10))
			all := parked(t, j)
			require.NotEmpty(t, all)
			require.Equal(t, "stuck", all[0].ID)
			require.Equal(t, 5, all[0].Attempts)
			require.Contains(t, all[0].Reason, "while others were")
			if key != "" {
				require.Len(t, all, 2)
				require.Len(t, b.ids(), 200)
			}
		})
	}
}

func TestRestingKeyComesBackInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, b := newJournal(t), &broker{}
		b.set(func(m *envelope.Message) error {
			if m.Key == "k" {
				return errAway
			}
			return nil
		})
		start(t, newDispatcher(t, j, b, outbox.Options{Window: 5}))
		for i := range 30 {
			store(t, j, event(fmt.Sprint("k", i), "k"), event(fmt.Sprint("l", i), "l"))
			time.Sleep(10 * time.Millisecond)
		}
		synctest.Wait()
		require.Len(t, b.ids(), 30)
		b.set(nil)
		time.Sleep(time.Minute)
		require.Len(t, b.ids(), 60)
		for i, id := range b.ids()[30:] {
			require.Equal(t, fmt.Sprint("k", i), id)
		}
	})
}

func TestStopFinishesTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, b := newJournal(t), &broker{hang: make(chan struct{}), busy: make(chan struct{}, 1)}
		d := newDispatcher(t, j, b, outbox.Options{})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- d.Run(ctx) }()
		store(t, j, event("a", "k"))
		<-b.busy
		require.ErrorIs(t, d.Run(t.Context()), outbox.ErrRunning)
		_, err := d.DispatchOnce(t.Context(), 1)
		require.ErrorIs(t, err, outbox.ErrRunning)
		cancel()
		close(b.hang)
		require.NoError(t, <-ended)
		require.Equal(t, []string{"a"}, b.ids())
		pending, _ := figures(t, j)
		require.Zero(t, pending)
		leases, err := j.Outbox().Leases(t.Context())
		require.NoError(t, err)
		require.Empty(t, leases, "slots are given back")
	})
}

func TestStopDoesNotWaitForABrokerThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, b := newJournal(t), &broker{hang: make(chan struct{}), busy: make(chan struct{}, 1)}
		d := newDispatcher(t, j, b, outbox.Options{PublishTimeout: time.Hour, DrainTimeout: 3 * time.Second})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- d.Run(ctx) }()
		store(t, j, event("a", "k"))
		<-b.busy
		begun := time.Now()
		cancel()
		require.NoError(t, <-ended)
		require.Equal(t, 3*time.Second, time.Since(begun))
		pending, _ := figures(t, j)
		require.Equal(t, 1, pending)
	})
}

func TestBrokerThatHangsIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, b := newJournal(t), &broker{hang: make(chan struct{})}
		start(t, newDispatcher(t, j, b, outbox.Options{PublishTimeout: 20 * time.Second, LeaseTTL: time.Second}))
		store(t, j, event("a", "k"))
		time.Sleep(30 * time.Second)
		b.mu.Lock()
		b.hang = nil
		b.mu.Unlock()
		time.Sleep(25 * time.Second)
		require.Equal(t, []string{"a"}, b.ids())
	})
}

func TestDispatchOnce(t *testing.T) {
	t.Parallel()
	j, b := newJournal(t), &broker{}
	d := newDispatcher(t, j, b, outbox.Options{Window: 4})
	for i := range 10 {
		store(t, j, event(fmt.Sprint(i), fmt.Sprint(i%2)))
	}
	got, err := d.DispatchOnce(t.Context(), 7)
	require.NoError(t, err)
	require.Equal(t, outbox.Result{Claimed: 7, Published: 7}, got)
	b.set(func(m *envelope.Message) error {
		if m.ID == "8" {
			return bus.ErrRefused
		}
		return nil
	})
	got, err = d.DispatchOnce(t.Context(), 0)
	require.NoError(t, err)
	require.Equal(t, outbox.Result{Claimed: 3, Published: 2, Parked: 1}, got)
	store(t, j, event("10", "1"))
	b.set(func(*envelope.Message) error { return errAway })
	got, err = d.DispatchOnce(t.Context(), 0)
	require.ErrorIs(t, err, bus.ErrUnavailable)
	require.Equal(t, outbox.Result{Claimed: 1, Released: 1}, got)
	leases, err := j.Outbox().Leases(t.Context())
	require.NoError(t, err)
	require.Empty(t, leases)
	require.NoError(t, j.Close())
	_, err = d.DispatchOnce(t.Context(), 0)
	require.ErrorIs(t, err, journal.ErrClosed)
	require.ErrorIs(t, d.Run(t.Context()), journal.ErrClosed)
}

func TestArchiveGetsWhatWasPublished(t *testing.T) {
	t.Parallel()
	j, b := newJournal(t), &broker{}
	var kept []string
	full := errors.New("archive is full")
	fail := full
	d := newDispatcher(t, j, b, outbox.Options{Archive: func(_ context.Context, published []envelope.StoredMessage) error {
		if fail != nil {
			return fail
		}
		for _, m := range published {
			kept = append(kept, m.ID)
		}
		return nil
	}})
	b.set(func(m *envelope.Message) error {
		if m.ID == "poison" {
			return bus.ErrRefused
		}
		return nil
	})
	store(t, j, event("a", "k"), event("poison", "l"), event("b", "k"))
	_, err := d.DispatchOnce(t.Context(), 0)
	require.ErrorIs(t, err, full)
	pending, _ := figures(t, j)
	require.Equal(t, 3, pending, "what is not kept stays")
	fail = nil
	_, err = d.DispatchOnce(t.Context(), 0)
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b"}, kept)
	require.Equal(t, []string{"a", "b", "a", "b"}, b.ids())
	require.False(t, parked(t, j)[0].Behind, "the refused one waits behind nobody")
}

func TestWrongOptionsAreErrors(t *testing.T) {
	t.Parallel()
	j := newJournal(t)
	for name, opts := range map[string]outbox.Options{
		"Lanes": {Lanes: 1025}, "LeaseTTL": {LeaseTTL: time.Millisecond}, "Window": {Window: -1}, "PollInterval": {PollInterval: -1},
		"PublishTimeout": {PublishTimeout: -1}, "DrainTimeout": {DrainTimeout: -1}, "MinBackoff": {MinBackoff: -1}, "MaxBackoff": {MaxBackoff: -1},
		"MaxAttempts": {MaxAttempts: -2}, "Owner": {Owner: strings.Repeat("o", 256)},
	} {
		_, err := outbox.New(j, &broker{}, &opts)
		require.ErrorIs(t, err, envelope.ErrInvalid, name)
		require.ErrorContains(t, err, name)
	}
}
