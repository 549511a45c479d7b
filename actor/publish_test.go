package actor_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// outbox returns what the journal's outbox holds.
func outbox(t testing.TB, j journal.Journal) (all []envelope.StoredMessage) {
	t.Helper()
	for m, err := range j.Messages(context.Background(), 0, 0) {
		require.NoError(t, err)
		all = append(all, m)
	}
	return all
}

// tellers is what runs commands on purses over a journal: actors, or none.
func tellers(t *testing.T, test func(t *testing.T, j journal.Journal, to aggregate.Asker[purse])) {
	t.Helper()
	onJournals(t, func(t *testing.T, open func(testing.TB) journal.Journal) {
		t.Run("actors", func(t *testing.T) {
			w := newWorld(t, open(t), nil, nil)
			test(t, w.journal, w.purses)
		})
		t.Run("repository", func(t *testing.T) {
			j := open(t)
			r, err := aggregate.NewRepository(j, purses, nil)
			require.NoError(t, err)
			test(t, j, r)
		})
	})
}

// Promise 2, for messages: they exist if and only if their command's effect
// does.
func TestMessagesAreCommittedWithTheEffect(t *testing.T) {
	t.Parallel()
	tellers(t, func(t *testing.T, j journal.Journal, to aggregate.Asker[purse]) {
		ask := func(cmd *aggregate.Command[purse, order, answer], o order, opts ...aggregate.AskOption) error {
			_, err := cmd.Ask(t.Context(), to, o, opts...)
			return err
		}
		for range 3 { // one effect, however often
			require.NoError(t, ask(cmdTell, order{ID: "a", N: 2}, aggregate.WithCommandID("c"), aggregate.WithCorrelation("conversation", "cause")))
		}
		errOurs := errors.New("ours")
		require.ErrorIs(t, ask(cmdTell, order{ID: "a", N: 2, Do: func(*purse) error { return errOurs }}), errOurs)
		require.ErrorIs(t, ask(cmdTell, order{ID: "a", N: 2, Do: func(*purse) error { panic("ours") }}), aggregate.ErrPanic)
		require.ErrorIs(t, ask(cmdTellNaN, order{ID: "a"}), aggregate.ErrInvalid)
		require.ErrorIs(t, ask(cmdTell, order{ID: "a", N: 1, Sender: strings.Repeat("x", 600)}), aggregate.ErrInvalid)

		all := outbox(t, j)
		require.Len(t, all, 3)
		first := all[0].Message
		require.Equal(t, "a:purse.told:1", first.ID)
		require.Equal(t, "a:purse.told:1:2", all[1].ID)
		require.Equal(t, envelope.KindEvent, first.Kind)
		require.Equal(t, purses.Stream("a"), first.Source)
		require.Equal(t, uint64(1), first.SourceVersion)
		require.Equal(t, "application/json", first.ContentType)
		require.JSONEq(t, `{"coins":2,"version":1}`, string(first.Data))
		require.Equal(t, envelope.Metadata{CorrelationID: "conversation", CausationID: "cause", CommandID: "c"}, first.Metadata)
		require.False(t, first.Time.IsZero())
		require.Equal(t, "a", first.OrderingKey())
		require.Equal(t, "mint", all[2].Destination)
		require.Equal(t, envelope.KindCommand, all[2].Kind)

		// Without events there is no version to tell messages by.
		require.NoError(t, ask(cmdTell, order{ID: "a"}))
		require.NoError(t, ask(cmdTell, order{ID: "a"}))
		require.Len(t, outbox(t, j), 9)
	})
}

// TestTakenMessageIDFailsItsCommandAlone: the others of the turn are served.
func TestTakenMessageIDFailsItsCommandAlone(t *testing.T) {
	t.Parallel()
	onJournals(t, func(t *testing.T, open func(testing.TB) journal.Journal) {
		w := newWorld(t, open(t), nil, nil)
		_, err := cmdTell.Ask(t.Context(), w.purses, order{ID: "first", N: 1, Sender: "mine"})
		require.NoError(t, err)
		const n = 40
		errs := make([]error, n)
		var group sync.WaitGroup
		for i := range n {
			group.Go(func() {
				o := order{ID: "a", N: 1, Sender: fmt.Sprint("own", i)}
				if i == 20 {
					o.Sender = "mine"
				}
				_, errs[i] = cmdTell.Ask(context.Background(), w.purses, o)
			})
		}
		group.Wait()
		for i, err := range errs {
			if i == 20 {
				require.ErrorIs(t, err, journal.ErrMessageExists)
			} else {
				require.NoError(t, err)
			}
		}
		require.Equal(t, n-1, w.look("a").Coins)
		require.Len(t, outbox(t, w.journal), 4*n)
	})
}

// A message with a time is held back by the outbox, from a command's commit until
// then; one whose time has come is not.
func TestMessagesAreHeldBack(t *testing.T) {
	t.Parallel()
	tellers(t, func(t *testing.T, j journal.Journal, to aggregate.Asker[purse]) {
		at := time.Now().Add(time.Hour).Truncate(time.Microsecond)
		for _, o := range []order{{ID: "a", N: 1, At: at}, {ID: "b", N: 2, At: time.Now()}, {ID: "c", N: 3}} {
			_, err := cmdRemind.Ask(t.Context(), to, o)
			require.NoError(t, err)
		}
		ids := func() (ids []string) {
			for _, m := range outbox(t, j) {
				ids = append(ids, m.ID)
			}
			return ids
		}
		now := []string{"b:purse.due:1", "b:coins.make:1", "c:purse.due:1", "c:coins.make:1"}
		require.Equal(t, now, ids())
		all := []journal.SlotRange{journal.AllSlots}
		page, err := j.Outbox().Delayed(t.Context(), journal.DelayedQuery{Slots: all, Until: at.Add(-time.Microsecond), Limit: 9})
		require.NoError(t, err)
		require.Equal(t, journal.DelayedPage{Next: at.UTC()}, page)
		page, err = j.Outbox().Delayed(t.Context(), journal.DelayedQuery{Slots: all, Until: at, Limit: 9})
		require.NoError(t, err)
		require.Len(t, page.Due, 2)
		_, err = j.Outbox().Lease(t.Context(), journal.OutboxLease{Token: "t", Owner: "o", Slots: journal.AllSlots}, time.Hour)
		require.NoError(t, err)
		require.NoError(t, j.Outbox().Settle(t.Context(), "t", journal.Settlement{Pending: page.Due}))
		require.Equal(t, append([]string{"a:purse.due:1", "a:coins.make:1"}, now...), ids())
		require.Equal(t, at.UTC(), outbox(t, j)[0].Time, "it happens at its time")

		_, err = cmdRemind.Ask(t.Context(), to, order{ID: "a", N: 1, At: time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)})
		require.ErrorIs(t, err, aggregate.ErrInvalid)
	})
}
