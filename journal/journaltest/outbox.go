package journaltest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// outboxCases hold what dispatchers need of an outbox: slots that one of them
// has, pages, and messages that are settled or set aside.
var outboxCases = []Case{
	{"PublishedMessagesAreGone", func(w *world) {
		if w.lacks(messages) {
			return
		}
		w.must(newBatch(events(stream("s"), 0, 1), message("a", "k"), message("b", "k"), message("c", "l")))
		w.leases(journal.AllSlots)
		all := w.pending(journal.PendingQuery{}).Messages
		require.Equal(w, []string{"a", "b", "c"}, ids(all))
		w.settles(all[0], all[2])
		w.inEveryLife(func() {
			w.outboxHolds("b")
			require.Equal(w, []string{"b"}, ids(w.pending(journal.PendingQuery{}).Messages))
		})
		w.leases(journal.AllSlots)
		w.settles(all[0]) // again, by one that did not hear the answer
		w.must(newBatch(message("a", "k")))
		w.inEveryLife(func() {
			got := w.pending(journal.PendingQuery{}).Messages
			require.Equal(w, []string{"b", "a"}, ids(got), "the id of a published message is free")
			require.Greater(w, got[1].Position, all[2].Position, "no position is given out twice")
		})
		w.leases(journal.AllSlots)
		w.settles(w.pending(journal.PendingQuery{}).Messages...)
		w.must(newBatch(message("z", "k")))
		w.inEveryLife(func() {
			w.outboxHolds("z")
			require.Greater(w, w.outbox(0, 0)[0].Position, all[2].Position+1, "not even those of an outbox that was empty")
		})
	}},
	{"ResubmittedMessageIsNotStoredOnceItWasPublished", func(w *world) {
		if w.lacks(messages) {
			return
		}
		alone := newBatch(message("alone", "k"))
		event := newBatch(events(stream("s"), 0, 1), message("with event", "k"))
		for _, b := range []*journal.Batch{alone, event} {
			w.must(b)
		}
		w.leases(journal.AllSlots)
		w.settles(w.pending(journal.PendingQuery{}).Messages...)
		again := func() {
			for _, b := range []*journal.Batch{alone, event} {
				repeated := *b
				repeated.Resubmit = true
				w.must(&repeated)
			}
			w.outboxHolds()
		}
		again()
		if w.harness.Reopen != nil {
			w.reopen()
			again()
		}
	}},
	{"SlotsHaveOneDispatcherAtATime", func(w *world) {
		if w.lacks(messages) {
			return
		}
		o := w.j.Outbox()
		lease := func(token string, from, to int) bool {
			ok, err := o.Lease(w.ctx, journal.OutboxLease{Token: token, Owner: "host/" + token, Slots: journal.SlotRange{From: from, To: to}}, time.Minute)
			require.NoError(w, err)
			return ok
		}
		require.True(w, lease("a", 0, 512))
		require.True(w, lease("a", 0, 512), "again")
		for _, taken := range [][2]int{{0, 512}, {0, 1024}, {511, 512}, {511, 600}, {0, 1}, {100, 200}} {
			require.False(w, lease("b", taken[0], taken[1]), "%v", taken)
		}
		require.True(w, lease("b", 512, 768))
		require.True(w, lease("c", 0, 0), "no slots are in nobody's way")
		require.True(w, lease("b", 0, 0))
		held, err := o.Renew(w.ctx, "b", time.Minute)
		require.NoError(w, err)
		require.ElementsMatch(w, []journal.SlotRange{{From: 512, To: 768}, {}}, held)
		held, err = o.Renew(w.ctx, "nobody", time.Minute)
		require.NoError(w, err)
		require.Empty(w, held)
		all, err := o.Leases(w.ctx)
		require.NoError(w, err)
		require.Len(w, all, 4)
		require.Equal(w, journal.SlotRange{From: 512, To: 768}, all[3].Slots, "in the order of slots")
		require.Equal(w, "host/b", all[3].Owner)
		require.Equal(w, "b", all[3].Token)
		require.InDelta(w, time.Minute, all[3].Left, float64(30*time.Second))

		require.NoError(w, o.Release(w.ctx, "b", journal.SlotRange{From: 0, To: 512}), "another's")
		require.NoError(w, o.Release(w.ctx, "a", journal.SlotRange{From: 0, To: 511}), "not exactly these")
		require.False(w, lease("b", 0, 512))
		require.NoError(w, o.Release(w.ctx, "a", journal.SlotRange{From: 0, To: 512}))
		require.True(w, lease("b", 0, 512))

		// One that ends by itself.
		ok, err := o.Lease(w.ctx, journal.OutboxLease{Token: "d", Owner: "d", Slots: journal.SlotRange{From: 768, To: 1024}}, 30*time.Millisecond)
		require.NoError(w, err)
		require.True(w, ok)
		require.Eventually(w, func() bool { return lease("a", 1000, 1024) }, patience, 5*time.Millisecond)
		held, err = o.Renew(w.ctx, "d", time.Minute)
		require.NoError(w, err)
		require.Empty(w, held, "a lease that has ended is not renewed")
	}},
	{"SettlingNeedsTheLease", func(w *world) {
		if w.lacks(messages) {
			return
		}
		w.must(newBatch(message("a", "k"), message("b", "k"), message("c", "l")))
		all := w.outbox(0, 0)
		o := w.j.Outbox()
		lost := func(token string, s journal.Settlement) {
			w.Helper()
			require.ErrorIs(w, o.Settle(w.ctx, token, s), journal.ErrLeaseLost)
		}
		lost("nobody", published(all...))
		require.NotEqual(w, all[0].Slot, all[2].Slot, "choose other keys")
		k := journal.SlotRange{From: all[0].Slot, To: all[0].Slot + 1}
		w.leases(k)
		lost("other", published(all...))
		w.outboxHolds("a", "b", "c")
		lost("d", published(all[0], all[2])) // it has one of the two
		w.outboxHolds("b", "c")
		lost("d", journal.Settlement{Parked: []journal.Park{parked(all[2], "why", false)}})
		w.outboxHolds("b", "c")

		require.NoError(w, o.Release(w.ctx, "d", k))
		lost("d", published(all[1]))
		ok, err := o.Lease(w.ctx, journal.OutboxLease{Token: "short", Owner: "s", Slots: k}, 20*time.Millisecond)
		require.NoError(w, err)
		require.True(w, ok)
		require.Eventually(w, func() bool {
			leases, err := o.Leases(w.ctx)
			require.NoError(w, err)
			return len(leases) == 0
		}, patience, 5*time.Millisecond)
		lost("short", published(all[1]))
		w.outboxHolds("b", "c")
	}},
	{"PendingMessagesOfSomeSlots", func(w *world) {
		if w.lacks(messages) {
			return
		}
		const n = 300
		b := newBatch(events(stream("s"), 0, 1))
		for i := range n {
			b.Messages = append(b.Messages, message(fmt.Sprint(i), fmt.Sprint("key ", i%50)))
		}
		bySource := envelope.Message{ID: "by source", Kind: envelope.KindEvent, Name: "n", Source: stream("the source")}
		b.Messages = append(b.Messages, bySource)
		w.must(b)
		all := w.outbox(0, 0)
		w.inEveryLife(func() {
			for _, ranges := range [][]journal.SlotRange{
				nil, {{}}, {journal.AllSlots}, {{From: 0, To: 512}}, {{From: 512, To: 1024}}, {{From: 100, To: 101}, {From: 3, To: 90}, {From: 700, To: 900}},
			} {
				got := w.pendingOf(journal.PendingQuery{Slots: ranges, Limit: 2 * n})
				var want []string
				for _, m := range all {
					if slices.ContainsFunc(ranges, func(r journal.SlotRange) bool { return r.Has(m.Slot) }) {
						want = append(want, m.ID)
					}
				}
				require.Equal(w, want, ids(got.Messages), "%v", ranges)
				require.False(w, got.More)
			}
			require.Eventually(w, func() bool { return w.pending(journal.PendingQuery{}).Complete >= all[len(all)-1].Position }, patience, 5*time.Millisecond)
			got := w.pending(journal.PendingQuery{Limit: 10})
			require.Equal(w, ids(all[:10]), ids(got.Messages))
			require.True(w, got.More)
			got = w.pending(journal.PendingQuery{After: all[n-5].Position, Limit: 10})
			require.Equal(w, ids(all[n-4:]), ids(got.Messages))
			require.False(w, got.More)
			for i := range got.Messages[:3] {
				sameMessage(w, b.Messages[n-4+i], got.Messages[i])
			}

			skipped := []string{"key 0", "key 7", "no such key", "the source"}
			for _, m := range w.pending(journal.PendingQuery{Skip: skipped, Limit: 2 * n}).Messages {
				require.NotContains(w, skipped, m.OrderingKey())
			}
			require.Len(w, w.pending(journal.PendingQuery{Skip: skipped, Limit: 2 * n}).Messages, n-2*n/50)
		})
		for _, wrong := range []journal.PendingQuery{
			{Slots: []journal.SlotRange{{From: -1, To: 3}}, Limit: 1}, {Slots: []journal.SlotRange{{From: 0, To: 1025}}, Limit: 1},
			{Slots: []journal.SlotRange{journal.AllSlots}, Limit: -1}, {Slots: []journal.SlotRange{journal.AllSlots}},
		} {
			_, err := w.j.Outbox().Pending(w.ctx, wrong)
			require.ErrorIs(w, err, journal.ErrInvalid)
		}
	}},
	{"PageOfPendingMessagesIsBoundedInBytes", func(w *world) {
		if w.lacks(messages) {
			return
		}
		const n = 6
		for i := range n {
			m := message(fmt.Sprint(i), "k")
			m.Data = make([]byte, envelope.MaxDataBytes)
			w.must(newBatch(m))
		}
		var got []string
		pages := 0
		for after := uint64(0); ; pages++ {
			page := w.pending(journal.PendingQuery{After: after})
			got = append(got, ids(page.Messages)...)
			if !page.More {
				break
			}
			require.NotEmpty(w, page.Messages)
			after = page.Messages[len(page.Messages)-1].Position
		}
		require.Len(w, got, n)
		require.Positive(w, pages, "%d messages of %d bytes in one page", n, envelope.MaxDataBytes)
	}},
	{"ParkedMessagesWaitForOrders", func(w *world) {
		if w.lacks(messages) {
			return
		}
		w.must(newBatch(events(stream("s"), 0, 1), message("a", "k"), message("b", "k"), message("c", "l"), message("d", "m")))
		w.leases(journal.AllSlots)
		all := w.outbox(0, 0)
		first, behind := parked(all[0], "too\nlarge\x00", false), parked(all[1], "waits behind a", true)
		w.settlement(journal.Settlement{
			Published: []uint64{all[2].Position}, Parked: []journal.Park{first, behind},
		})
		w.inEveryLife(func() {
			w.outboxHolds("d")
			require.Equal(w, []string{"d"}, ids(w.pending(journal.PendingQuery{}).Messages))
			got := w.parked(journal.ParkedFilter{})
			require.Len(w, got, 2)
			first.Reason = "too large "
			for i, want := range []journal.Park{first, behind} {
				sameMessage(w, all[i].Message, got[i].StoredMessage)
				require.Equal(w, all[i].Position, got[i].Position)
				require.Equal(w, want.Time.Truncate(time.Microsecond).UTC(), got[i].Time)
				require.Equal(w, want.Reason, got[i].Reason)
				require.Equal(w, want.Attempts, got[i].Attempts)
				require.Equal(w, want.Behind, got[i].Behind)
				require.Equal(w, journal.OrderNone, got[i].Order)
			}
			require.Equal(w, journal.OutboxFigures{Pending: 1, Parked: 2}, w.figures())
			for _, f := range []struct {
				filter journal.ParkedFilter
				want   int
			}{
				{journal.ParkedFilter{ID: "b"}, 1}, {journal.ParkedFilter{ID: "d"}, 0}, {journal.ParkedFilter{Key: "k"}, 2}, {journal.ParkedFilter{Key: "l"}, 0},
				{journal.ParkedFilter{Name: all[0].Name}, 2}, {journal.ParkedFilter{Name: "other"}, 0}, {journal.ParkedFilter{Ordered: true}, 0},
				{journal.ParkedFilter{Slots: journal.SlotRange{From: all[0].Slot, To: all[0].Slot + 1}}, 2},
				{journal.ParkedFilter{Slots: journal.SlotRange{From: all[0].Slot + 1, To: 1024}}, 0},
			} {
				require.Len(w, w.parked(f.filter), f.want, "%+v", f.filter)
			}
		})
		_, err := w.commit(newBatch(message("a", "k")))
		w.messageExists(err, "a")

		w.orders(journal.ParkedFilter{ID: "a"}, journal.OrderRequeue, 1)
		w.orders(journal.ParkedFilter{ID: "no such message"}, journal.OrderRequeue, 0)
		w.inEveryLife(func() {
			got := w.parked(journal.ParkedFilter{Ordered: true})
			require.Len(w, got, 1)
			require.Equal(w, journal.OrderRequeue, got[0].Order)
			require.Len(w, w.parked(journal.ParkedFilter{}), 2, "an order moves nothing")
			w.outboxHolds("d")
		})
		w.leases(journal.AllSlots)
		first.Reason, first.Attempts = "again", 9
		w.settlement(journal.Settlement{Parked: []journal.Park{first}})
		w.inEveryLife(func() {
			got := w.parked(journal.ParkedFilter{ID: "a"})
			require.Equal(w, []any{"again", 9, journal.OrderNone}, []any{got[0].Reason, got[0].Attempts, got[0].Order}, "a new reason takes the order back")
		})
		w.orders(journal.ParkedFilter{}, journal.OrderDiscard, 2)
		w.leases(journal.AllSlots)
		w.settles(all[0], all[1])
		w.inEveryLife(func() {
			require.Empty(w, w.parked(journal.ParkedFilter{}))
			w.outboxHolds("d")
		})
		w.must(newBatch(message("a", "k")))
		w.outboxHolds("d", "a")
	}},
	{"ParkedMessageIsPendingAgain", func(w *world) {
		if w.lacks(messages) {
			return
		}
		w.must(newBatch(message("a", "k"), message("b", "k"), message("c", "l"), message("d", "k")))
		all := w.outbox(0, 0)
		w.leases(journal.AllSlots)
		w.settlement(journal.Settlement{Parked: []journal.Park{parked(all[0], "why", false), parked(all[1], "", true)}})
		w.orders(journal.ParkedFilter{}, journal.OrderRequeue, 2)
		require.ErrorIs(w, w.j.Outbox().Settle(w.ctx, "other", journal.Settlement{Pending: []uint64{all[0].Position}}), journal.ErrLeaseLost)
		require.Equal(w, journal.OutboxFigures{Pending: 2, Parked: 2}, w.figures())
		w.settlement(journal.Settlement{Pending: []uint64{all[0].Position, all[1].Position, all[1].Position + 1000}, Published: []uint64{all[2].Position}})
		w.inEveryLife(func() {
			w.outboxHolds("a", "b", "d")
			got := w.pending(journal.PendingQuery{}).Messages
			require.Equal(w, []string{"a", "b", "d"}, ids(got), "in their old places")
			require.Equal(w, all[0], got[0])
			require.Empty(w, w.parked(journal.ParkedFilter{}))
			require.Equal(w, journal.OutboxFigures{Pending: 3}, w.figures())
		})
		w.leases(journal.AllSlots)
		w.settlement(journal.Settlement{Parked: []journal.Park{parked(all[0], "again", false)}})
		require.Equal(w, journal.OrderNone, w.parked(journal.ParkedFilter{})[0].Order)
		w.settles(all...)
		w.inEveryLife(func() { w.outboxHolds() })
	}},
	{"ManyMessagesAreParked", func(w *world) {
		if w.lacks(messages) {
			return
		}
		const n = 1500
		for i := 0; i < n; i += 100 {
			b := newBatch()
			for k := range 100 {
				b.Messages = append(b.Messages, message(fmt.Sprint(i+k), "k"))
			}
			w.must(b)
		}
		w.leases(journal.AllSlots)
		var s journal.Settlement
		for _, m := range w.outbox(0, 0) {
			s.Parked = append(s.Parked, parked(m, "because", m.ID != "0"))
		}
		w.settlement(s)
		w.inEveryLife(func() {
			got := w.parked(journal.ParkedFilter{})
			require.Len(w, got, n)
			for i := range got {
				require.Equal(w, fmt.Sprint(i), got[i].ID)
			}
			require.Empty(w, w.pending(journal.PendingQuery{}).Messages)
			w.outboxHolds()
		})
		w.orders(journal.ParkedFilter{Key: "k"}, journal.OrderRequeue, n)
	}},
	{"DispatcherMissesNoMessage", func(w *world) {
		if w.lacks(messages) {
			return
		}
		// Writers of several streams, which may commit in another order than
		// they got their positions in; and a dispatcher that goes on behind
		// what is complete.
		const writers, each = 8, 60
		w.leases(journal.AllSlots)
		var writing sync.WaitGroup
		for k := range writers {
			writing.Go(func() {
				for i := range each {
					p := send(w.j, newBatch(events(stream(fmt.Sprint(k)), uint64(i), 1), message(fmt.Sprintf("%d-%d", k, i), fmt.Sprint(k))))
					<-p.done
				}
			})
		}
		next := map[string]int{}
		floor := uint64(0)
		for got := 0; got < writers*each; {
			require.NoError(w, w.ctx.Err(), "%d of %d messages seen", got, writers*each)
			page := w.pending(journal.PendingQuery{After: floor, Limit: 7})
			for _, m := range page.Messages {
				require.Equal(w, fmt.Sprintf("%s-%d", m.Key, next[m.Key]), m.ID)
				next[m.Key]++
				got++
			}
			w.settles(page.Messages...)
			if n := len(page.Messages); page.More {
				floor = max(floor, min(page.Complete, page.Messages[n-1].Position))
			} else {
				floor = max(floor, page.Complete)
			}
		}
		writing.Wait()
		w.outboxHolds()
	}},
	{"ClosedOutboxSaysSo", func(w *world) {
		if w.lacks(messages) {
			return
		}
		o := w.j.Outbox()
		require.NoError(w, w.j.Close())
		for name, call := range map[string]func(ctx context.Context) error{
			"lease": func(ctx context.Context) error {
				_, err := o.Lease(ctx, journal.OutboxLease{Token: "t", Owner: "o"}, time.Second)
				return err
			},
			"renew":   func(ctx context.Context) error { _, err := o.Renew(ctx, "t", time.Second); return err },
			"release": func(ctx context.Context) error { return o.Release(ctx, "t", journal.AllSlots) },
			"leases":  func(ctx context.Context) error { _, err := o.Leases(ctx); return err },
			"pending": func(ctx context.Context) error {
				_, err := o.Pending(ctx, journal.PendingQuery{Slots: []journal.SlotRange{journal.AllSlots}, Limit: 1})
				return err
			},
			"delayed": func(ctx context.Context) error {
				_, err := o.Delayed(ctx, journal.DelayedQuery{Slots: []journal.SlotRange{journal.AllSlots}, Limit: 1})
				return err
			},
			"settle": func(ctx context.Context) error { return o.Settle(ctx, "t", journal.Settlement{Published: []uint64{1}}) },
			"parked": func(ctx context.Context) error {
				for _, err := range o.Parked(ctx, journal.ParkedFilter{}) {
					return err
				}
				return nil
			},
			"order": func(ctx context.Context) error {
				_, err := o.OrderParked(ctx, journal.ParkedFilter{}, journal.OrderRequeue)
				return err
			},
			"figures": func(ctx context.Context) error { _, err := o.Figures(ctx); return err },
		} {
			require.ErrorIs(w, call(w.ctx), journal.ErrClosed, name)
		}
	}},
}

// leases gives slots to dispatcher "d", for long.
func (w *world) leases(slots journal.SlotRange) {
	w.Helper()
	ok, err := w.j.Outbox().Lease(w.ctx, journal.OutboxLease{Token: "d", Owner: "d", Slots: slots}, time.Hour)
	require.NoError(w, err)
	require.True(w, ok, "slots %v are another's", slots)
}

// pending reads a page, of all slots unless q says otherwise.
func (w *world) pending(q journal.PendingQuery) journal.PendingPage {
	w.Helper()
	if q.Slots == nil {
		q.Slots = []journal.SlotRange{journal.AllSlots}
	}
	return w.pendingOf(q)
}

func (w *world) pendingOf(q journal.PendingQuery) journal.PendingPage {
	w.Helper()
	if q.Limit == 0 {
		q.Limit = 1000
	}
	page, err := w.j.Outbox().Pending(w.ctx, q)
	require.NoError(w, err)
	for i := range page.Messages {
		require.Greater(w, page.Messages[i].Position, q.After)
		if i > 0 {
			require.Greater(w, page.Messages[i].Position, page.Messages[i-1].Position)
		}
	}
	return page
}

func published(messages ...envelope.StoredMessage) (s journal.Settlement) {
	for _, m := range messages {
		s.Published = append(s.Published, m.Position)
	}
	return s
}

func parked(m envelope.StoredMessage, reason string, behind bool) journal.Park {
	return journal.Park{Position: m.Position, Parking: journal.Parking{Reason: reason, Attempts: len(m.ID), Time: at(m.Position), Behind: behind}}
}

func (w *world) settles(done ...envelope.StoredMessage) {
	w.Helper()
	w.settlement(published(done...))
}

// settlement is of dispatcher "d".
func (w *world) settlement(s journal.Settlement) {
	w.Helper()
	require.NoError(w, w.j.Outbox().Settle(w.ctx, "d", s))
}

func (w *world) parked(filter journal.ParkedFilter) (all []journal.ParkedMessage) {
	w.Helper()
	for m, err := range w.j.Outbox().Parked(w.ctx, filter) {
		require.NoError(w, err)
		all = append(all, m)
	}
	return all
}

func (w *world) orders(filter journal.ParkedFilter, order journal.ParkedOrder, want int) {
	w.Helper()
	n, err := w.j.Outbox().OrderParked(w.ctx, filter, order)
	require.NoError(w, err)
	require.Equal(w, want, n, "parked messages that %+v picks", filter)
}

// figures are the outbox's, but for the age.
func (w *world) figures() journal.OutboxFigures {
	w.Helper()
	f, err := w.j.Outbox().Figures(w.ctx)
	require.NoError(w, err)
	require.Equal(w, f.Pending > 0, f.Oldest > 0, "age of the oldest of %d", f.Pending)
	f.Oldest = 0
	return f
}

func ids(messages []envelope.StoredMessage) []string {
	var all []string
	for _, m := range messages {
		all = append(all, m.ID)
	}
	return all
}
