package outbox_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/outbox"
)

// More keys rest than a page can leave out: none of them is overtaken by what is
// behind its own message.
func TestManyRestingKeysKeepTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keys = 6000
		j, b := newJournal(t), &broker{}
		b.set(func(m *envelope.Message) error {
			if strings.HasPrefix(m.ID, "first") {
				return errAway
			}
			return nil
		})
		start(t, newDispatcher(t, j, b, outbox.Options{Window: 20_000, MinBackoff: time.Hour, MaxBackoff: time.Hour}))
		var all []envelope.Message
		for k := range keys {
			all = append(all, event(fmt.Sprint("first ", k), fmt.Sprint("key ", k)))
		}
		store(t, j, append(all, event("good", "another"))...)
		time.Sleep(time.Minute)
		all = all[:0]
		for k := range keys {
			all = append(all, event(fmt.Sprint("second ", k), fmt.Sprint("key ", k)))
		}
		store(t, j, all...)
		time.Sleep(time.Minute)
		require.Len(t, b.ids(), 1, "the good one")
	})
}

// A key can have two parked messages that wait for nobody, since a source's
// handlers go on with what they have. Sending the first again sends it, though
// the second stays.
func TestRequeuedMessageIsNotParkedBehindALaterOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, b := newJournal(t), &broker{}
		store(t, j, event("a", "k"), event("b", "k"), event("c", "k"))
		o := j.Outbox()
		_, err := o.Lease(t.Context(), journal.OutboxLease{Token: "t", Owner: "t", Slots: journal.AllSlots}, time.Second)
		require.NoError(t, err)
		var both journal.Settlement
		for m, err := range j.Messages(t.Context(), 0, 2) {
			require.NoError(t, err)
			both.Parked = append(both.Parked, journal.Park{Position: m.Position, Parking: journal.Parking{Reason: "refused", Time: time.Now()}})
		}
		require.NoError(t, o.Settle(t.Context(), "t", both))
		require.NoError(t, o.Release(t.Context(), "t", journal.AllSlots))
		start(t, newDispatcher(t, j, b, outbox.Options{}))
		time.Sleep(2 * time.Second)
		require.Empty(t, b.ids())
		_, err = outbox.Requeue(t.Context(), j, journal.ParkedFilter{ID: "a"})
		require.NoError(t, err)
		time.Sleep(5 * time.Second)
		require.Equal(t, []string{"a"}, b.ids())
		require.Len(t, parked(t, j), 2, "b, and c behind it")
		_, err = outbox.Requeue(t.Context(), j, journal.ParkedFilter{ID: "b"})
		require.NoError(t, err)
		time.Sleep(5 * time.Second)
		require.Equal(t, []string{"a", "b", "c"}, b.ids())
	})
}
