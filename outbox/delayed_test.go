package outbox_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/outbox"
)

// delayed is an event that is held back for so long.
func delayed(id, key string, wait time.Duration) envelope.Message {
	m := event(id, key)
	m.NotBefore = time.Now().Add(wait)
	return m
}

// A message that is held back is published at its time, and holds up nothing of
// its key.
func TestDelayedMessageIsPublishedAtItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, b := newJournal(t), &broker{}
		store(t, j, delayed("late", "k", 90*time.Minute), delayed("soon", "l", 10*time.Minute), event("now", "k"))
		start(t, newDispatcher(t, j, b, outbox.Options{}))
		synctest.Wait()
		require.Equal(t, []string{"now"}, b.ids())
		time.Sleep(10*time.Minute - time.Nanosecond)
		synctest.Wait()
		require.Equal(t, []string{"now"}, b.ids(), "not before its time")
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		require.Equal(t, []string{"now", "soon"}, b.ids())
		require.Zero(t, b.got[1].NotBefore)
		store(t, j, event("next", "k"))
		time.Sleep(80 * time.Minute)
		synctest.Wait()
		require.Equal(t, []string{"now", "soon", "next", "late"}, b.ids())
		f, err := j.Outbox().Figures(t.Context())
		require.NoError(t, err)
		require.Zero(t, f)
	})
}

// What is stored while a dispatcher waits, and is due before it would look again,
// is late by no more than the interval.
func TestDelayedMessageIsNoLaterThanTheInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, b := newJournal(t), &broker{}
		start(t, newDispatcher(t, j, b, outbox.Options{PollInterval: 500 * time.Millisecond}))
		synctest.Wait()
		time.Sleep(10 * time.Millisecond)
		store(t, j, delayed("soon", "", time.Millisecond), delayed("exact", "", 700*time.Millisecond))
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		require.Equal(t, []string{"soon"}, b.ids())
		time.Sleep(200*time.Millisecond - time.Nanosecond)
		synctest.Wait()
		require.Equal(t, []string{"soon"}, b.ids())
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		require.Equal(t, []string{"soon", "exact"}, b.ids())
	})
}

// Time passes without a dispatcher, too: the next one publishes what is overdue.
// While the broker is away it waits, as all do.
func TestDelayedMessagesAreOverdue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, b := newJournal(t), &broker{}
		stop := start(t, newDispatcher(t, j, b, outbox.Options{}))
		const n = 2500 // more than are released at a time
		for i := range n {
			store(t, j, delayed(fmt.Sprint(i), fmt.Sprint(i%7), time.Hour))
		}
		store(t, j, event("first", "k"))
		synctest.Wait()
		stop()
		time.Sleep(2 * time.Hour)
		b.set(func(*envelope.Message) error { return errAway })
		start(t, newDispatcher(t, j, b, outbox.Options{}))
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Len(t, b.ids(), 1)
		b.set(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Len(t, b.ids(), n+1)
		next := map[string]int{}
		for _, m := range b.got[1:] {
			i, err := strconv.Atoi(m.ID)
			require.NoError(t, err)
			want, begun := next[m.Key]
			require.True(t, !begun || i == want, "%d came before %d: those of one key keep their order", i, want)
			next[m.Key] = i + 7
		}
	})
}

func TestDispatchOnceReleasesWhatIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, b := newJournal(t), &broker{}
		d := newDispatcher(t, j, b, outbox.Options{})
		for i := range 1500 {
			store(t, j, delayed(fmt.Sprint(i), "", time.Hour))
		}
		once := func(want int) {
			t.Helper()
			result, err := d.DispatchOnce(t.Context(), 0)
			require.NoError(t, err)
			require.Equal(t, want, result.Published)
		}
		once(0)
		time.Sleep(time.Hour)
		once(1500)
		once(0)
	})
}

// Each of several dispatchers releases those of its own lanes, and one that takes
// over what another's death left looks at once.
func TestDelayedMessagesChangeHands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, b, dead := newJournal(t), &broker{}, &broker{}
		ok, err := j.Outbox().Lease(t.Context(), journal.OutboxLease{Token: "dead", Owner: "d", Slots: journal.SlotRange{To: 512}}, time.Minute)
		require.NoError(t, err)
		require.True(t, ok)
		const n = 100
		for i := range n {
			store(t, j, delayed(fmt.Sprint(i), fmt.Sprint(i), time.Second))
		}
		start(t, newDispatcher(t, j, b, outbox.Options{}))
		start(t, newDispatcher(t, j, dead, outbox.Options{}))
		time.Sleep(30 * time.Second)
		synctest.Wait()
		some := len(b.ids()) + len(dead.ids())
		require.Greater(t, some, n/4)
		require.Less(t, some, 3*n/4)
		time.Sleep(time.Minute)
		synctest.Wait()
		seen := map[string]bool{}
		for _, id := range append(b.ids(), dead.ids()...) {
			require.False(t, seen[id], "message %s was published twice", id)
			seen[id] = true
		}
		require.Len(t, seen, n)
	})
}

func TestSourceReleasesWhatIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, h := newJournal(t), &handled{}
		store(t, j, delayed("late", "k", time.Hour), event("now", "k"))
		consume(t, j, h, bus.Idempotent())
		time.Sleep(time.Hour - time.Nanosecond)
		synctest.Wait()
		require.Equal(t, []string{"now"}, h.all())
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		require.Equal(t, []string{"now", "late"}, h.all())
		store(t, j, delayed("soon", "k", time.Millisecond))
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, []string{"now", "late", "soon"}, h.all())
	})
}

// A bus carries no time: only an outbox holds messages back.
func TestBusRefusesDelayedMessages(t *testing.T) {
	b := &broker{}
	err := bus.PublishInOrder(t.Context(), b, []envelope.Message{event("a", "k"), delayed("b", "k", time.Hour)})
	failed := bus.PublishErrors(err, 2)
	require.NoError(t, failed[0])
	require.ErrorIs(t, failed[1], envelope.ErrInvalid)
	require.ErrorContains(t, failed[1], "message not before")
	require.Equal(t, []string{"a"}, b.ids())
}

// Who lost its leases while it released messages says so and begins anew.
func TestLeaseLostWhileReleasing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, b := newJournal(t), &broker{}
		store(t, j, delayed("late", "k", time.Minute))
		lost := &losing{Journal: j, times: 1}
		start(t, newDispatcher(t, lost, b, outbox.Options{}))
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		require.Equal(t, []string{"late"}, b.ids())
		require.Zero(t, lost.times)
	})
}

// losing is a journal whose outbox says that leases are lost when messages are to
// be pending, so many times.
type losing struct {
	outbox.Journal
	times int
}

func (l *losing) Outbox() journal.Outbox { return &losingOutbox{l.Journal.Outbox(), l} }

type losingOutbox struct {
	journal.Outbox
	losing *losing
}

func (o *losingOutbox) Settle(ctx context.Context, token string, s journal.Settlement) error {
	if len(s.Pending) > 0 && o.losing.times > 0 {
		o.losing.times--
		return journal.ErrLeaseLost
	}
	return o.Outbox.Settle(ctx, token, s)
}
