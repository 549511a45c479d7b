package journaltest

import (
	"fmt"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// delayedCases hold how an outbox holds messages back until their time.
var delayedCases = []Case{
	{"DelayedMessageIsHeldBack", func(w *world) {
		if w.lacks(messages) {
			return
		}
		now := at(0)
		b := newBatch(events(stream("s"), 0, 1), message("a", "k"),
			delayed("tomorrow", "k", now.Add(24*time.Hour)), delayed("yesterday", "k", now.Add(-24*time.Hour)), delayed("soon", "l", now.Add(time.Microsecond)))
		w.must(b)
		again := *b
		again.Resubmit = true
		w.must(&again)
		var due []uint64
		w.inEveryLife(func() {
			w.outboxHolds("a")
			require.Equal(w, []string{"a"}, ids(w.pending(journal.PendingQuery{}).Messages))
			require.Empty(w, w.parked(journal.ParkedFilter{}))
			require.Equal(w, journal.OutboxFigures{Pending: 1, Delayed: 3}, w.figures())
			for _, c := range []struct {
				until time.Time
				due   int
				next  time.Duration
			}{
				{time.Time{}, 0, -24 * time.Hour}, {now.Add(-24*time.Hour - time.Microsecond), 0, -24 * time.Hour},
				{now.Add(-24 * time.Hour), 1, time.Microsecond}, {now, 1, time.Microsecond},
				{now.Add(time.Microsecond), 2, 24 * time.Hour}, {now.Add(25 * time.Hour), 3, 0},
			} {
				page := w.delayed(journal.DelayedQuery{Until: c.until})
				require.Len(w, page.Due, c.due, "until %v", c.until)
				require.Equal(w, c.next == 0, page.Next.IsZero())
				if c.next != 0 {
					require.Equal(w, now.Add(c.next).UTC(), page.Next)
				}
				due = page.Due
			}
			first := w.delayed(journal.DelayedQuery{Until: now.Add(25 * time.Hour), Limit: 1})
			require.Equal(w, journal.DelayedPage{Due: due[:1], Next: now.Add(time.Microsecond).UTC()}, first, "the earliest first")
		})
		_, err := w.commit(newBatch(message("tomorrow", "k")))
		w.messageExists(err, "tomorrow")

		require.ErrorIs(w, w.j.Outbox().Settle(w.ctx, "other", journal.Settlement{Pending: due[:1]}), journal.ErrLeaseLost)
		require.Equal(w, journal.OutboxFigures{Pending: 1, Delayed: 3}, w.figures())
		w.leases(journal.AllSlots)
		w.settlement(journal.Settlement{Pending: due[:1]})
		w.inEveryLife(func() {
			w.outboxHolds("a", "yesterday")
			got := w.pending(journal.PendingQuery{}).Messages
			require.Equal(w, []string{"a", "yesterday"}, ids(got))
			require.Equal(w, due[0], got[1].Position)
			sameMessage(w, message("yesterday", "k"), got[1])
			require.Equal(w, journal.OutboxFigures{Pending: 2, Delayed: 2}, w.figures())
			require.Equal(w, due[1:], w.delayed(journal.DelayedQuery{Until: now.Add(25 * time.Hour)}).Due)
		})
		w.leases(journal.AllSlots)
		w.settlement(journal.Settlement{Pending: due}) // one of them again
		got := w.pending(journal.PendingQuery{}).Messages
		require.Equal(w, []string{"a", "tomorrow", "yesterday", "soon"}, ids(got), "in their old places")
		w.settles(got...)
		w.inEveryLife(func() {
			w.outboxHolds()
			require.Equal(w, journal.OutboxFigures{}, w.figures())
			require.Zero(w, w.delayed(journal.DelayedQuery{Until: now.Add(25 * time.Hour)}))
		})
		w.must(newBatch(delayed("soon", "l", now)))
		require.Equal(w, journal.OutboxFigures{Delayed: 1}, w.figures(), "the id of a published message is free")
	}},
	{"DelayedMessagesOfSomeSlots", func(w *world) {
		if w.lacks(messages) {
			return
		}
		const n = 1200 // times that many have in common, and that come in any order
		var all []envelope.Message
		for i := 0; i < n; i += 100 {
			b := newBatch(events(stream("s"), uint64(i/100), 1))
			for k := i; k < i+100; k++ {
				m := delayed(fmt.Sprint(k), fmt.Sprint("key ", k%50), at(0).Add(time.Duration(k*7919%400)*time.Second))
				b.Messages = append(b.Messages, m)
				all = append(all, m)
			}
			w.must(b)
		}
		until := at(0).Add(150 * time.Second)
		w.inEveryLife(func() {
			for _, slots := range [][]journal.SlotRange{
				{{}}, {journal.AllSlots}, {{From: 0, To: 512}}, {{From: 512, To: 1024}}, {{From: 3, To: 90}, {From: 700, To: 900}},
			} {
				isDue := 0
				for i := range all {
					if !all[i].NotBefore.After(until) && slices.ContainsFunc(slots, func(r journal.SlotRange) bool { return r.Has(all[i].Slot()) }) {
						isDue++
					}
				}
				require.Len(w, w.delayed(journal.DelayedQuery{Slots: slots, Until: until}).Due, isDue, "%v", slots)
			}
		})
		// All of them, in pages and in the order of their times.
		w.leases(journal.AllSlots)
		last := time.Time{}
		for left := n; left > 0; {
			page := w.delayed(journal.DelayedQuery{Until: at(0).Add(time.Hour), Limit: 333})
			require.NotEmpty(w, page.Due)
			left -= len(page.Due)
			require.Equal(w, left == 0, page.Next.IsZero())
			require.False(w, left > 0 && page.Next.Before(last))
			last = page.Next
			w.settlement(journal.Settlement{Pending: page.Due})
			for _, m := range w.outbox(0, 0) {
				i := slices.IndexFunc(all, func(sent envelope.Message) bool { return sent.ID == m.ID })
				require.False(w, left > 0 && all[i].NotBefore.After(page.Next), "message %s came before its turn", m.ID)
			}
		}
		require.Equal(w, journal.OutboxFigures{Pending: n}, w.figures())
		for _, wrong := range []journal.DelayedQuery{
			{Slots: []journal.SlotRange{{From: -1, To: 3}}, Limit: 1}, {Slots: []journal.SlotRange{{From: 0, To: 1025}}, Limit: 1},
			{Slots: []journal.SlotRange{journal.AllSlots}, Limit: -1}, {Slots: []journal.SlotRange{journal.AllSlots}},
		} {
			_, err := w.j.Outbox().Delayed(w.ctx, wrong)
			require.ErrorIs(w, err, journal.ErrInvalid)
		}
	}},
	{"DelayedMessageIsParkedOrDeleted", func(w *world) {
		if w.lacks(messages) {
			return
		}
		w.must(newBatch(delayed("a", "k", at(1)), delayed("b", "k", at(2))))
		due := w.delayed(journal.DelayedQuery{Until: at(3)}).Due
		require.Len(w, due, 2)
		w.leases(journal.AllSlots)
		w.settlement(journal.Settlement{
			Published: due[:1], Parked: []journal.Park{{Position: due[1], Parking: journal.Parking{Reason: "why", Time: at(4)}}},
		})
		w.inEveryLife(func() {
			require.Equal(w, journal.OutboxFigures{Parked: 1}, w.figures())
			got := w.parked(journal.ParkedFilter{})
			require.Len(w, got, 1)
			sameMessage(w, message("b", "k"), got[0].StoredMessage)
			require.Zero(w, w.delayed(journal.DelayedQuery{Until: at(3)}))
		})
		w.leases(journal.AllSlots)
		w.settlement(journal.Settlement{Pending: due})
		w.outboxHolds("b")
	}},
}

// delayed is a message that is held back.
func delayed(id, key string, until time.Time) envelope.Message {
	m := message(id, key)
	m.NotBefore = until
	return m
}

// delayed reads a page, of all slots and large unless q says otherwise.
func (w *world) delayed(q journal.DelayedQuery) journal.DelayedPage {
	w.Helper()
	if q.Slots == nil {
		q.Slots = []journal.SlotRange{journal.AllSlots}
	}
	if q.Limit == 0 {
		q.Limit = 10_000
	}
	page, err := w.j.Outbox().Delayed(w.ctx, q)
	require.NoError(w, err)
	return page
}
