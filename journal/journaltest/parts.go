package journaltest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// AllPartsTaken demands that j takes every part of a batch but fences, so that
// no case of the suite passes by a typed [journal.ErrUnsupported] instead of
// the promise itself.
func AllPartsTaken(t testing.TB, j journal.Journal) {
	t.Helper()
	f := j.Features()
	for _, part := range optionalParts {
		require.True(t, part.taken(f), "%s does not store %s", f.Name, part.name)
	}
	_, err := j.Lag(t.Context(), journal.Position{})
	require.NoError(t, err, "lag of %s", f.Name)
}

// part is a part of a batch that an adapter may lack.
type part struct {
	name  string // as an UnsupportedError calls it
	taken func(f journal.Features) bool
	add   func(b *journal.Batch) // to one that begins with an append
	read  func(w *world) error   // asks for it by the journal's other methods
}

var (
	messages = part{
		name: "messages", taken: func(f journal.Features) bool { return f.Messages },
		add: func(b *journal.Batch) {
			b.Messages = append(b.Messages, envelope.Message{ID: "m1", Kind: envelope.KindEvent, Name: "happened"})
		},
		read: func(w *world) error {
			for _, err := range w.j.Messages(w.ctx, 0, 1) {
				return err
			}
			return nil
		},
	}
	rows = part{
		name: "rows", taken: func(f journal.Features) bool { return f.Rows },
		add: func(b *journal.Batch) { b.Rows = append(b.Rows, todo(envelope.RowUpsert, "1")) },
		read: func(w *world) error {
			_, _, err := w.j.Row(w.ctx, "todos", todo(envelope.RowUpsert, "1").Key)
			return err
		},
	}
	inbox = part{
		name: "message receipts", taken: func(f journal.Features) bool { return f.Inbox },
		add: func(b *journal.Batch) { b.Receipts = append(b.Receipts, effect("mailer", "m1")) },
		read: func(w *world) error {
			_, _, err := w.j.MessageReceipt(w.ctx, "mailer", "m1")
			return err
		},
	}
	truncation = part{
		name: "truncation", taken: func(f journal.Features) bool { return f.Truncation },
		add: func(b *journal.Batch) {
			rec := &b.Appends[0].Records[0]
			rec.Name = envelope.BaselineName
			b.Truncates = append(b.Truncates, journal.Truncate{Stream: rec.Stream, Before: rec.Version})
		},
		read: func(w *world) error {
			_, err := w.j.Scavenge(w.ctx, nil)
			return err
		},
	}
	fencesPart = part{
		name: "fences", taken: func(f journal.Features) bool { return f.Fencing },
		add: func(b *journal.Batch) { b.Fence = &journal.Fence{Epoch: 1} },
	}

	optionalParts = []part{messages, rows, inbox, truncation}
)

// has reports whether the adapter takes a part. For rows it makes the tables.
func (w *world) has(p part) bool {
	w.Helper()
	if !p.taken(w.j.Features()) {
		return false
	}
	if p.name == rows.name && w.harness.Tables != nil && !w.tables {
		w.harness.Tables(w.TB, Tables())
		w.tables = true
	}
	return true
}

// lacks reports whether the adapter lacks one of the parts. If so, its answer
// to each use of that part is typed, which is all that a case can ask of it.
func (w *world) lacks(parts ...part) bool {
	w.Helper()
	some := false
	for _, p := range parts {
		if w.has(p) {
			continue
		}
		some = true
		b := newBatch(events(stream("lacks "+p.name), 0, 1))
		p.add(b)
		_, err := w.commit(b)
		w.unsupported(err, p.name)
		w.unsupported(p.read(w), p.name)
	}
	return some
}

func (w *world) unsupported(err error, part string) {
	w.Helper()
	require.ErrorIs(w, err, journal.ErrUnsupported, part)
	var facts *journal.UnsupportedError
	require.ErrorAs(w, err, &facts)
	require.Equal(w, journal.UnsupportedError{Adapter: w.j.Features().Name, Part: part}, *facts)
}

// widen adds to b whatever part the adapter takes, each named by id: a
// message, a row, a receipt of a message.
func (w *world) widen(b *journal.Batch, id string) *journal.Batch {
	w.Helper()
	if w.has(messages) {
		b.Messages = append(b.Messages, message(id, id))
	}
	if w.has(rows) {
		b.Rows = append(b.Rows, todo(envelope.RowInsert, id, col("task", id)))
	}
	if w.has(inbox) {
		b.Receipts = append(b.Receipts, effect("mailer", id))
	}
	return b
}

// widened demands that what widen added with these ids is stored, and no
// other message.
func (w *world) widened(ids ...string) {
	w.Helper()
	if w.has(messages) {
		w.outboxHolds(ids...)
	}
	for _, id := range ids {
		if w.has(rows) {
			w.rowIs(todo(envelope.RowInsert, id), 1, col("task", id))
		}
		if w.has(inbox) {
			w.effectIs(effect("mailer", id))
		}
	}
}

// notWidened demands that nothing of what widen added with this id is stored.
func (w *world) notWidened(id string) {
	w.Helper()
	if w.has(messages) {
		for _, m := range w.outbox(0, 0) {
			require.NotEqual(w, id, m.ID, "a refused batch left its message")
		}
	}
	if w.has(rows) {
		w.noRow(todo(envelope.RowInsert, id))
	}
	if w.has(inbox) {
		_, found, err := w.j.MessageReceipt(w.ctx, "mailer", id)
		require.NoError(w, err)
		require.False(w, found, "a refused batch left its receipt of a message")
	}
}
