package journaltest

import (
	"fmt"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// inboxCases hold that a message has one effect per consumer.
var inboxCases = []Case{
	{"InboxReceiptRefusesTheSecondEffect", func(w *world) {
		if w.lacks(inbox) {
			return
		}
		s := stream("s")
		w.must(newBatch(events(s, 0, 2), effect("mailer", "m1")))
		w.must(newBatch(effect("mailer", "alone")))
		w.inEveryLife(func() {
			for _, b := range []*journal.Batch{
				newBatch(events(s, 2, 1), effect("mailer", "m1")), newBatch(effect("mailer", "m1"), effect("mailer", "new")),
				newBatch(events(s, 0, 1), effect("mailer", "m1")), // told before the conflict
				newBatch(events(stream("other"), 0, 1), effect("mailer", "m1")),
			} {
				b.Receipts[0].Time = at(99)
				_, err := w.commit(b)
				w.duplicates(err, effect("mailer", "m1"))
			}
			_, err := w.commit(newBatch(effect("mailer", "alone"), effect("mailer", "new"), effect("mailer", "m1")))
			w.duplicates(err, effect("mailer", "alone"), effect("mailer", "m1"))
			w.versions(s, 2)
			w.versions(stream("other"), 0)
			w.effectIs(effect("mailer", "m1"))
			w.effectIs(effect("mailer", "alone"))
			w.noEffect("mailer", "new")
		})
	}},
	{"InboxReceiptsOfTwoConsumersAreTwo", func(w *world) {
		if w.lacks(inbox) {
			return
		}
		// Nor is a consumer a stream, nor are names joined.
		s := stream("m1")
		stored := []envelope.Receipt{
			effect("mailer", "m1"), effect("printer", "m1"), effect("mailer", "m11"), effect("mailerm", "11"), effect("Mailer", "m1"),
			effect("todo", "m1"), effect("todo/m1", "id"), effect("ä", "ü/…"), effect("mailer", "m1 "),
		}
		for i, r := range stored {
			w.must(newBatch(events(stream("s"), uint64(i), 1), r))
		}
		w.must(newBatch(receipt(s, "id", 0), receipt(stream("s"), "m1", 1)))
		w.inEveryLife(func() {
			for _, r := range stored {
				w.effectIs(r)
			}
			for _, none := range [][2]string{{"mailer", "M1"}, {"mailer", ""}, {"", "m1"}, {"nobody", "m1"}, {"todo", "id"}, {"todo", "s"}} {
				w.noEffect(none[0], none[1])
			}
			_, found, err := w.j.Receipt(w.ctx, stream("m1"), "m1")
			require.NoError(w, err)
			require.False(w, found)
		})
		b := newBatch(receipt(s, "new", 1), effect("mailer", "new"), receipt(s, "id", 1), effect("todo", "m1"))
		_, err := w.commit(b)
		w.duplicates(err, receipt(s, "id", 0), effect("todo", "m1"))
	}},
	{"SameMessageAtOnceHasOneEffect", func(w *world) {
		if w.lacks(inbox) {
			return
		}
		const consumers, rounds = 6, 30
		for round := range rounds {
			start, answers := make(chan struct{}), make(chan *pending, consumers)
			for i := range consumers {
				b := newBatch(events(stream(fmt.Sprint(round, "-", i)), 0, 1), effect("mailer", fmt.Sprint(round)))
				go func() {
					<-start
					answers <- send(w.j, b)
				}()
			}
			close(start)
			effects := 0
			for range consumers {
				p := <-answers
				want := uint64(0)
				if _, err := w.outcome(p); err == nil {
					want = 1
					effects++
				} else {
					w.duplicates(err, effect("mailer", fmt.Sprint(round)))
				}
				w.versions(p.batch.Appends[0].Stream, want)
			}
			require.Equal(w, 1, effects, "effects of one message")
		}
	}},
}

// effect is the receipt of a message.
func effect(consumer, id string) envelope.Receipt {
	return envelope.Receipt{Consumer: consumer, ID: id, Time: at(uint64(len(id)))}
}

func (w *world) effectIs(want envelope.Receipt) {
	w.Helper()
	got, found, err := w.j.MessageReceipt(w.ctx, want.Consumer, want.ID)
	require.NoError(w, err)
	require.True(w, found, "receipt of message %q by %s", want.ID, want.Consumer)
	sameReceipt(w, want, got)
}

func (w *world) noEffect(consumer, id string) {
	w.Helper()
	_, found, err := w.j.MessageReceipt(w.ctx, consumer, id)
	require.NoError(w, err)
	require.False(w, found, "receipt of message %q by %q", id, consumer)
}
