package journaltest

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// wholeCases hold that a batch is one thing, whatever is in it. Parts that the
// adapter lacks are left out of it.
var wholeCases = []Case{
	{"WholeBatchOfEveryPartIsAllOrNothing", func(w *world) {
		whole := newWhole(w)
		for _, reason := range whole.reasons() {
			b := whole.batch()
			reason.spoil(b)
			_, err := w.commit(b)
			require.ErrorIs(w, err, reason.want, reason.name)
			whole.isNotStored()
		}
		w.inEveryLife(whole.isNotStored)
		w.must(whole.batch())
		w.inEveryLife(whole.isStored)
	}},
	{"RefusalOrder", func(w *world) {
		// One reason after the other is taken away: the next one is told.
		whole := newWhole(w)
		reasons := whole.reasons()
		for len(reasons) > 0 {
			b := whole.batch()
			for _, reason := range reasons {
				reason.spoil(b)
			}
			_, err := w.commit(b)
			require.ErrorIs(w, err, reasons[0].want, "first of %d reasons: %s", len(reasons), reasons[0].name)
			reasons = reasons[1:]
		}
		whole.isNotStored()
	}},
	{"ResubmittedWideBatchIsStoredOnce", func(w *world) {
		whole := newWhole(w)
		b := whole.batch()
		w.must(b)
		w.inEveryLife(func() {
			res := w.must(again(b))
			require.Zero(w, res.Position, "a resubmission that was settled has no position")
			whole.isStored()
		})
		if w.has(truncation) {
			_, err := w.j.Scavenge(w.ctx, nil)
			require.NoError(w, err)
			w.inEveryLife(func() { w.must(again(b)) })
		}
	}},
	{"ResubmittedEffectsAreStoredOnce", func(w *world) {
		// Without events, receipts and messages tell that a batch was stored.
		s := stream("s")
		var sent []*journal.Batch
		if w.has(inbox) {
			sent = append(sent, newBatch(effect("mailer", "alone")), newBatch(journal.Assert{Stream: s}, effect("mailer", "asserted")))
		}
		if w.has(messages) {
			sent = append(sent, newBatch(message("m1", "k"), message("m2", "k")))
		}
		if w.has(rows) && w.has(inbox) {
			sent = append(sent, newBatch(effect("reader", "first"), todo(envelope.RowInsert, "a", col("count", int64(1)))),
				newBatch(effect("reader", "second"), expecting(1, todo(envelope.RowPatch, "a", col("count", int64(2))))))
		}
		if w.has(rows) && w.has(messages) {
			sent = append(sent, newBatch(message("m3", "k"), todo(envelope.RowInsert, "b", col("count", int64(1)))))
		}
		for _, b := range sent {
			w.must(b)
			w.must(again(b))
		}
		w.fill(s, 2) // the assert would not hold any more
		w.inEveryLife(func() {
			for _, b := range sent {
				w.must(again(b))
				for _, r := range b.Receipts {
					w.effectIs(r)
					_, err := w.commit(newBatch(r)) // without the mark it is a duplicate
					w.duplicates(err, r)
					_, err = w.commit(again(newBatch(r))) // and so is a stranger's
					w.duplicates(err, r)
				}
				for _, m := range b.Messages {
					_, err := w.commit(again(newBatch(m)))
					w.messageExists(err, m.ID)
				}
			}
			if w.has(rows) && w.has(inbox) {
				w.rowIs(todo(0, "a"), 2, col("count", int64(2)))
			}
			if w.has(rows) && w.has(messages) {
				w.rowIs(todo(0, "b"), 1, col("count", int64(1)))
			}
		})
		if w.has(messages) {
			ids := []string{"m1", "m2", "m3"}
			if !w.has(rows) {
				ids = ids[:2]
			}
			w.outboxHolds(ids...)
			fresh := again(newBatch(message("fresh", "k")))
			w.must(fresh) // was never stored: it is now
			w.outboxHolds(append(ids, "fresh")...)
		}
	}},
	{"InvalidPartsRefusedBeforeAnyWrite", func(w *world) {
		whole := newWhole(w)
		for _, bad := range invalidParts {
			b := whole.batch()
			if !bad.spoil(b) {
				continue // the adapter lacks the part
			}
			_, err := w.commit(b)
			require.ErrorIs(w, err, journal.ErrInvalid, bad.name)
		}
		w.inEveryLife(whole.isNotStored)
		w.must(whole.batch())
		whole.isStored()
	}},
	{"TooHighExpectedVersionRefusesTheWholeBatch", func(w *world) {
		s, absent, other := stream("s"), stream("absent"), stream("other")
		w.fill(s, 3)
		for i, high := range []uint64{4, 5, 1 << 40, math.MaxUint64 - 1} {
			id := fmt.Sprint(i)
			_, err := w.commit(w.widen(newBatch(events(other, 0, 1), events(s, high, 1)), id))
			w.conflict(err, s, high, 3)
			_, err = w.commit(w.widen(newBatch(events(other, 0, 1), journal.Assert{Stream: absent, Expected: high}), id))
			w.conflict(err, absent, high, 0)
			w.notWidened(id)
		}
		w.inEveryLife(func() {
			w.versions(s, 3)
			w.versions(absent, 0)
			w.versions(other, 0)
		})
	}},
	{"StreamTwiceInAGroup", func(w *world) {
		// Two batches of one queue that touch the same streams, in any way.
		for round := range 50 {
			a, b := stream(fmt.Sprint("a", round)), stream(fmt.Sprint("b", round))
			id := fmt.Sprint(round)
			first := w.submit(w.widen(newBatch(events(a, 0, 2), events(b, 0, 1)), id))
			second := w.submit(newBatch(events(b, 1, 1), events(a, 2, 1), snap(a, 3)))
			third := w.submit(newBatch(journal.Assert{Stream: a, Expected: 3}, events(b, 2, 1), snap(a, 2)))
			stale := w.submit(w.widen(newBatch(events(b, 2, 1), events(stream(id), 0, 1)), "stale"+id))
			for _, p := range []*pending{first, second, third} {
				_, err := w.outcome(p)
				require.NoError(w, err)
			}
			_, err := w.outcome(stale)
			w.conflict(err, b, 2, 3)
			w.snapshotIs(a, snap(a, 3), 3)
			w.versions(b, 3)
			w.versions(stream(id), 0)
		}
	}},
}

// whole is a batch with one of every part that the adapter takes, and what it
// changes.
type whole struct {
	*world
	s, fresh, asserted, dropped, cut envelope.Stream
}

func newWhole(w *world) *whole {
	w.Helper()
	c := &whole{w, stream("s"), stream("fresh"), stream("asserted"), stream("dropped"), stream("cut")}
	w.fill(c.s, 3)
	w.fill(c.asserted, 1)
	w.fill(c.dropped, 2)
	w.fill(c.cut, 4)
	w.must(w.widen(newBatch(snap(c.s, 2), snap(c.dropped, 1), receipt(c.s, "taken", 3)), "taken"))
	return c
}

// batch is one that fits.
func (c *whole) batch() *journal.Batch {
	b := newBatch(events(c.s, 3, 2), events(c.fresh, 0, 1), journal.Assert{Stream: c.asserted, Expected: 1},
		snap(c.s, 4), c.dropped, receipt(c.s, "id", 5))
	c.widen(b, "new")
	if c.has(truncation) {
		begin := events(c.cut, 4, 2)
		begin.Records[1].Name = envelope.BaselineName
		b.Appends = append(b.Appends, begin)
		b.Truncates = append(b.Truncates, journal.Truncate{Stream: c.cut, Before: 6})
	}
	return b
}

type reason struct {
	name  string
	want  error
	spoil func(b *journal.Batch)
}

// reasons to refuse the batch, in the order in which they are told.
func (c *whole) reasons() []reason {
	all := []reason{{"receipt of a command", journal.ErrDuplicate, func(b *journal.Batch) {
		b.Receipts = append(b.Receipts, receipt(c.s, "taken", 9))
	}}}
	if c.has(inbox) {
		all = append(all, reason{"receipt of a message", journal.ErrDuplicate, func(b *journal.Batch) {
			b.Receipts = append(b.Receipts, effect("mailer", "taken"))
		}})
	}
	all = append(all,
		reason{"stale append", journal.ErrConflict, func(b *journal.Batch) { b.Appends[0] = events(c.s, 2, 2) }},
		reason{"append too high", journal.ErrConflict, func(b *journal.Batch) { b.Appends[1] = events(c.fresh, 1, 1) }},
		reason{"assert", journal.ErrConflict, func(b *journal.Batch) { b.Asserts[0].Expected = 2 }})
	if c.has(messages) {
		all = append(all, reason{"message id", journal.ErrMessageExists, func(b *journal.Batch) {
			b.Messages = append(b.Messages, message("taken", "k"))
		}})
	}
	if c.has(rows) {
		all = append(all,
			reason{"row that is present", journal.ErrRowConflict, func(b *journal.Batch) {
				b.Rows = append(b.Rows, todo(envelope.RowInsert, "taken"))
			}},
			reason{"row that is absent", journal.ErrRowConflict, func(b *journal.Batch) {
				b.Rows = append(b.Rows, todo(envelope.RowPatch, "absent"))
			}},
			reason{"row of another version", journal.ErrRowConflict, func(b *journal.Batch) {
				b.Rows = append(b.Rows, envelope.Row{
					Table: "order", Op: envelope.RowDelete, Key: []envelope.Column{col("select", "x"), col("Line", int64(1))},
				})
				b.Rows[len(b.Rows)-1] = expecting(7, b.Rows[len(b.Rows)-1])
			}})
	}
	return all
}

func (c *whole) isNotStored() {
	c.Helper()
	c.snapshotIs(c.s, snap(c.s, 2), 3)
	c.snapshotIs(c.dropped, snap(c.dropped, 1), 2)
	c.versions(c.fresh, 0)
	c.versions(c.cut, 4)
	_, found, err := c.j.Receipt(c.ctx, c.s, "id")
	require.NoError(c, err)
	require.False(c, found, "a refused batch left its receipt")
	c.notWidened("new")
	c.widened("taken")
}

func (c *whole) isStored() {
	c.Helper()
	c.snapshotIs(c.s, snap(c.s, 4), 5)
	c.noSnapshot(c.dropped, 2)
	c.versions(c.fresh, 1)
	got, found, err := c.j.Receipt(c.ctx, c.s, "id")
	require.NoError(c, err)
	require.True(c, found)
	sameReceipt(c, receipt(c.s, "id", 5), got)
	c.widened("taken", "new")
	if c.has(truncation) {
		c.begins(c.cut, 6, 6)
	}
}

// invalidParts spoil a whole batch. spoil returns false if the part is not in it.
var invalidParts = func() []invalidPart {
	ofMessage := func(name string, spoil func(m *envelope.Message)) invalidPart {
		return invalidPart{"message: " + name, func(b *journal.Batch) bool {
			if len(b.Messages) > 0 {
				spoil(&b.Messages[0])
			}
			return len(b.Messages) > 0
		}}
	}
	ofRow := func(name string, spoil func(r *envelope.Row)) invalidPart {
		return invalidPart{"row: " + name, func(b *journal.Batch) bool {
			if len(b.Rows) > 0 {
				spoil(&b.Rows[0])
			}
			return len(b.Rows) > 0
		}}
	}
	value := func(v any) func(r *envelope.Row) { return func(r *envelope.Row) { r.Columns[0].Value = v } }
	zero, one := uint64(0), uint64(1)
	return []invalidPart{
		ofMessage("no id", func(m *envelope.Message) { m.ID = "" }),
		ofMessage("id too long", func(m *envelope.Message) { m.ID = strings.Repeat("x", envelope.MaxMessageIDBytes+1) }),
		ofMessage("no kind", func(m *envelope.Message) { m.Kind = 0 }),
		ofMessage("no name", func(m *envelope.Message) { m.Name = "" }),
		ofMessage("NUL in the key", func(m *envelope.Message) { m.Key = "a\x00b" }),
		ofMessage("half a source", func(m *envelope.Message) { m.Source.ID = "" }),
		ofMessage("data of more than 1 MiB", func(m *envelope.Message) { m.Data = make([]byte, envelope.MaxDataBytes+1) }),
		{"message id twice", func(b *journal.Batch) bool {
			b.Messages = append(b.Messages, b.Messages...)
			return len(b.Messages) > 0
		}},
		ofRow("no table", func(r *envelope.Row) { r.Table = "" }),
		ofRow("no operation", func(r *envelope.Row) { r.Op = 0 }),
		ofRow("no key", func(r *envelope.Row) { r.Key = nil }),
		ofRow("nil in the key", func(r *envelope.Row) { r.Key[0].Value = nil }),
		ofRow("column twice", func(r *envelope.Row) { r.Columns = append(r.Columns, r.Columns[0]) }),
		ofRow("column of the version", func(r *envelope.Row) { r.Columns[0].Name = envelope.RowVersionColumn }),
		ofRow("delete with columns", func(r *envelope.Row) { r.Op = envelope.RowDelete }),
		ofRow("insert that expects a row", func(r *envelope.Row) { r.Expected = &one }),
		ofRow("patch that expects none", func(r *envelope.Row) { r.Op, r.Expected = envelope.RowPatch, &zero }),
		ofRow("int", value(1)), ofRow("struct", value(struct{}{})), ofRow("NaN", value(math.NaN())), ofRow("infinity", value(math.Inf(1))),
		ofRow("uint64 beyond int64", value(uint64(math.MaxInt64+1))), ofRow("malformed JSON", value(json.RawMessage("{"))),
		ofRow("NUL in text", value("a\x00b")), ofRow("text that is no UTF-8", value("\xff")),
		{"row twice", func(b *journal.Batch) bool {
			b.Rows = append(b.Rows, b.Rows...)
			return len(b.Rows) > 0
		}},
		{"receipt of a message twice", func(b *journal.Batch) bool {
			b.Receipts = append(b.Receipts, effect("c", "twice"), effect("c", "twice"))
			return true
		}},
		{"receipt of a message without id", func(b *journal.Batch) bool {
			b.Receipts = append(b.Receipts, effect("c", ""))
			return true
		}},
		{"truncate without a baseline", func(b *journal.Batch) bool {
			b.Truncates = append(b.Truncates, journal.Truncate{Stream: b.Appends[0].Stream, Before: 4})
			return true
		}},
		{"truncate of a stream that the batch does not append to", func(b *journal.Batch) bool {
			b.Truncates = append(b.Truncates, journal.Truncate{Stream: stream("else"), Before: 1})
			return true
		}},
		{"truncate at an event", func(b *journal.Batch) bool {
			if len(b.Truncates) > 0 {
				b.Truncates[0].Before--
			}
			return len(b.Truncates) > 0
		}},
		{"truncate beyond the batch", func(b *journal.Batch) bool {
			if len(b.Truncates) > 0 {
				b.Truncates[0].Before++
			}
			return len(b.Truncates) > 0
		}},
		{"truncate twice", func(b *journal.Batch) bool {
			b.Truncates = append(b.Truncates, b.Truncates...)
			return len(b.Truncates) > 0
		}},
	}
}()

type invalidPart struct {
	name  string
	spoil func(b *journal.Batch) bool
}
