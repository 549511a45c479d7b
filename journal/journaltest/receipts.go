package journaltest

import (
	"fmt"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// receiptCases hold that a command with an id has one effect.
var receiptCases = []Case{
	{"DuplicateReceiptWritesNothing", func(w *world) {
		s, other := stream("s"), stream("other")
		w.must(newBatch(events(s, 0, 2), receipt(s, "id", 2)))
		check := func() {
			for _, b := range []*journal.Batch{
				newBatch(events(s, 2, 1), receipt(s, "id", 3)),
				newBatch(events(s, 2, 1), events(other, 0, 1), receipt(s, "id", 3), receipt(s, "new", 3)),
				newBatch(events(other, 0, 1), receipt(s, "id", 9)),
				newBatch(receipt(s, "id", 9), snap(s, 1)),
			} {
				_, err := w.commit(b)
				w.duplicates(err, receipt(s, "id", 2))
			}
			w.versions(s, 2)
			w.versions(other, 0)
			_, found, err := w.j.Receipt(w.ctx, s, "new")
			require.NoError(w, err)
			require.False(w, found, "a duplicate batch left its other receipt")
			latest, err := w.j.LoadLatest(w.ctx, s)
			require.NoError(w, err)
			require.Nil(w, latest.Snapshot, "a duplicate batch left its snapshot")
		}
		w.inEveryLife(check)
	}},
	{"DuplicateErrorHoldsEveryStoredReceipt", func(w *world) {
		s, other := stream("s"), stream("other")
		w.must(newBatch(events(s, 0, 1), receipt(s, "a", 1)))
		w.must(newBatch(events(s, 1, 1), receipt(s, "b", 2), receipt(other, "a", 2)))
		w.inEveryLife(func() {
			_, err := w.commit(newBatch(events(s, 2, 1),
				receipt(s, "new", 7), receipt(other, "a", 7), receipt(s, "b", 7), receipt(s, "newer", 7), receipt(s, "a", 7)))
			w.duplicates(err, receipt(s, "a", 1), receipt(s, "b", 2), receipt(other, "a", 2))
		})
	}},
	{"DuplicateIsToldBeforeConflict", func(w *world) {
		// The stream has moved on since, usually by the first run of the very
		// command: its reply is the answer, not a conflict.
		s := stream("s")
		w.must(newBatch(events(s, 0, 1), receipt(s, "id", 1)))
		w.fillFrom(s, 1, 5)
		w.inEveryLife(func() {
			for _, expected := range []uint64{0, 3, 9} {
				_, err := w.commit(newBatch(events(s, expected, 1), receipt(s, "id", expected+1)))
				w.duplicates(err, receipt(s, "id", 1))
			}
			w.versions(s, 5)
		})
	}},
	{"SameReceiptAtOnceHasOneEffect", func(w *world) {
		const writers, rounds = 6, 40
		for round := range rounds {
			s := stream(fmt.Sprint(round))
			start, answers := make(chan struct{}), make(chan *pending, writers)
			for i := range writers {
				b := newBatch(receipt(s, "id", uint64(i+1)))
				switch round % 3 {
				case 0: // the event and the receipt are of one stream
					b.Appends = append(b.Appends, events(s, 0, 1))
				case 1: // each writes a stream of its own, so that nothing but the receipt stops it
					b.Appends = append(b.Appends, events(stream(fmt.Sprint(round, "-", i)), 0, 1))
				} // else no events: the command was a no-op
				go func() {
					<-start
					answers <- send(w.j, b)
				}()
			}
			close(start)
			var winner *pending
			var losers []*pending
			for range writers {
				p := <-answers
				if _, err := w.outcome(p); err == nil {
					require.Nil(w, winner, "a command had two effects")
					winner = p
				} else {
					losers = append(losers, p)
				}
			}
			require.NotNil(w, winner, "a command had no effect")
			for _, p := range losers {
				w.duplicates(p.err, winner.batch.Receipts[0])
				for _, a := range p.batch.Appends {
					if a.Stream != s {
						w.versions(a.Stream, 0)
					}
				}
			}
			for _, a := range winner.batch.Appends {
				w.versions(a.Stream, 1)
			}
		}
	}},
	{"SameReceiptInOneQueue", func(w *world) {
		// Submitted in order and without waiting: the first has the effect.
		var firsts, repeats []*pending
		for i := range 100 {
			s := stream(fmt.Sprint(i))
			firsts = append(firsts, w.submit(newBatch(events(s, 0, 1), receipt(s, "id", 1))))
			repeats = append(repeats, w.submit(newBatch(events(s, 1, 1), receipt(s, "id", 2))))
		}
		for i := range firsts {
			_, err := w.outcome(firsts[i])
			require.NoError(w, err)
			_, err = w.outcome(repeats[i])
			w.duplicates(err, firsts[i].batch.Receipts[0])
		}
		w.inEveryLife(func() {
			for i := range firsts {
				w.versions(stream(fmt.Sprint(i)), 1)
			}
		})
	}},
	{"ReceiptLookup", func(w *world) {
		s, absent := stream("s"), stream("absent")
		stored := []envelope.Receipt{
			receipt(s, "id", 1),
			{Stream: s, ID: "without a reply", Version: 1, Time: at(4)},
			{Stream: s, ID: "binary", Version: 1 << 40, Time: at(5), Reply: allBytes(), Codec: "raw"},
			{Stream: s, ID: "large", Version: 1, Time: at(6), Reply: make([]byte, envelope.MaxReplyBytes), Codec: "raw"},
			{Stream: stream("ä/ö"), ID: "ü/…", Version: 3, Time: at(7), Reply: []byte("1"), Codec: "json"},
		}
		b := newBatch(events(s, 0, 1))
		b.Receipts = stored
		w.must(b)
		w.inEveryLife(func() {
			for _, want := range stored {
				got, found, err := w.j.Receipt(w.ctx, want.Stream, want.ID)
				require.NoError(w, err)
				require.True(w, found, "receipt %q", want.ID)
				sameReceipt(w, want, got)
			}
			for _, none := range []struct {
				s  envelope.Stream
				id string
			}{{s, "other"}, {absent, "id"}, {s, "ID"}, {s, "id "}, {s, ""}, {envelope.Stream{Type: "todo", ID: "si"}, "d"}} {
				_, found, err := w.j.Receipt(w.ctx, none.s, none.id)
				require.NoError(w, err)
				require.False(w, found, "receipt %q of %s", none.id, none.s)
			}
		})
	}},
	{"ReceiptWithoutEvents", func(w *world) {
		s, absent := stream("s"), stream("absent")
		w.fill(s, 3)
		res := w.must(newBatch(journal.Assert{Stream: s, Expected: 3}, receipt(s, "no-op", 3)))
		require.Zero(w, res.Position, "a receipt is no record")
		w.must(newBatch(receipt(absent, "no-op", 0)))
		w.inEveryLife(func() {
			for _, want := range []envelope.Receipt{receipt(s, "no-op", 3), receipt(absent, "no-op", 0)} {
				_, err := w.commit(newBatch(want))
				w.duplicates(err, want)
				got, found, err := w.j.Receipt(w.ctx, want.Stream, want.ID)
				require.NoError(w, err)
				require.True(w, found)
				sameReceipt(w, want, got)
			}
			w.versions(s, 3)
			w.versions(absent, 0)
			require.Len(w, w.readAll(journal.Position{}, 3), 3)
		})
		w.must(newBatch(events(absent, 0, 1))) // a receipt did not make it exist
	}},
	{"ManyReceiptsAreFound", func(w *world) {
		const n = 5000
		s := stream("s")
		for v := uint64(0); v < n; {
			b := newBatch(events(s, v, 100))
			for range 100 {
				v++
				b.Receipts = append(b.Receipts, receipt(s, fmt.Sprint("id", v), v))
			}
			w.must(b)
		}
		w.inEveryLife(func() {
			for v := uint64(1); v <= n; v += 61 {
				got, found, err := w.j.Receipt(w.ctx, s, fmt.Sprint("id", v))
				require.NoError(w, err)
				require.True(w, found, "receipt %d", v)
				sameReceipt(w, receipt(s, fmt.Sprint("id", v), v), got)
				_, err = w.commit(newBatch(receipt(s, fmt.Sprint("id", v), 0)))
				w.duplicates(err, receipt(s, fmt.Sprint("id", v), v))
			}
		})
	}},
}

// resubmitCases hold how an unknown outcome is settled.
var resubmitCases = []Case{
	{"ResubmitFindsOwnBatch", func(w *world) {
		s, other := stream("s"), stream("other")
		w.fill(other, 2)
		first := newBatch(events(s, 0, 3), events(other, 2, 1), receipt(s, "id", 3), snap(s, 2))
		w.must(first)
		settle := func() {
			res := w.must(again(first))
			require.Zero(w, res.Position, "a resubmission that was settled has no position")
		}
		w.inEveryLife(settle)
		w.fillFrom(s, 3, 80) // long since, and still found
		w.fillFrom(other, 3, 200)
		w.inEveryLife(func() {
			settle()
			w.versions(s, 80)
			w.versions(other, 200)
		})
		require.Len(w, w.readAll(journal.Position{}, 280), 280)
	}},
	{"ResubmitOfWhatWasNeverStoredStoresIt", func(w *world) {
		s := stream("s")
		w.fill(s, 3)
		res := w.must(again(newBatch(events(s, 3, 2), receipt(s, "id", 5))))
		require.NotZero(w, res.Position)
		w.inEveryLife(func() { w.versions(s, 5) })
		// Without the mark, the same id is a batch like any other.
		b := newBatch(events(s, 5, 1))
		w.must(b)
		_, err := w.commit(b)
		w.conflict(err, s, 5, 6)
		w.versions(s, 6)
	}},
	{"ResubmitOfForeignEventConflicts", func(w *world) {
		s, other := stream("s"), stream("other")
		w.fill(s, 3)
		w.must(newBatch(events(s, 3, 1)))
		lost := again(newBatch(events(s, 3, 1), events(other, 0, 1)))
		w.inEveryLife(func() {
			_, err := w.commit(lost)
			w.conflict(err, s, 3, 4)
			w.versions(s, 4)
			w.versions(other, 0)
		})
		high := again(newBatch(events(s, 9, 1)))
		_, err := w.commit(high)
		w.conflict(err, s, 9, 4)
	}},
	{"ResubmitReceiptOnlyBatch", func(w *world) {
		s := stream("s")
		w.fill(s, 2)
		first := newBatch(receipt(s, "id", 2))
		w.must(first)
		asserted := newBatch(journal.Assert{Stream: s, Expected: 2}, receipt(s, "asserted", 2))
		w.must(asserted)
		w.fillFrom(s, 2, 4) // the assert would not hold any more
		w.inEveryLife(func() {
			w.must(again(first))
			w.must(again(asserted))
			foreign := again(newBatch(receipt(s, "id", 9)))
			_, err := w.commit(foreign)
			w.duplicates(err, receipt(s, "id", 2))
			_, err = w.commit(first) // without the mark it is a duplicate
			w.duplicates(err, receipt(s, "id", 2))
		})
		fresh := again(newBatch(receipt(s, "fresh", 4)))
		w.must(fresh)
		w.inEveryLife(func() {
			_, found, err := w.j.Receipt(w.ctx, s, "fresh")
			require.NoError(w, err)
			require.True(w, found)
		})
	}},
	{"ResubmitInOneQueue", func(w *world) {
		// The first is still on its way when the second is submitted.
		for i := range 100 {
			s := stream(fmt.Sprint(i))
			b := newBatch(events(s, 0, 2), receipt(s, "id", 2))
			first, second := w.submit(b), w.submit(again(b))
			next := w.submit(newBatch(events(s, 2, 1)))
			for _, p := range []*pending{first, second, next} {
				_, err := w.outcome(p)
				require.NoError(w, err)
			}
			w.versions(s, 3)
		}
	}},
}

// duplicates demands that err holds exactly these receipts, in any order.
func (w *world) duplicates(err error, want ...envelope.Receipt) {
	w.Helper()
	require.ErrorIs(w, err, journal.ErrDuplicate)
	var facts *journal.DuplicateError
	require.ErrorAs(w, err, &facts)
	require.Len(w, facts.Receipts, len(want), "receipts of a duplicate")
	for _, r := range want {
		found := false
		for i := range facts.Receipts {
			if got := facts.Receipts[i]; got.Stream == r.Stream && got.Consumer == r.Consumer && got.ID == r.ID {
				sameReceipt(w, r, got)
				found = true
			}
		}
		require.True(w, found, "the duplicate does not hold the receipt of %q on %s", r.ID, r.Stream)
	}
}

// fillFrom brings s from version head to version n.
func (w *world) fillFrom(s envelope.Stream, head, n uint64) {
	w.Helper()
	w.must(newBatch(events(s, head, int(n-head))))
}

func allBytes() []byte {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	return all
}
