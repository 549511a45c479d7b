package postgres

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// decide says why m is refused, or notes what it writes, so that those behind
// it are decided as if it were stored.
func (t *transaction) decide(m *member) error {
	b := m.batch()
	if b.Resubmit && t.isStored(b) {
		return nil
	}
	if err := t.checkReceipts(b); err != nil {
		return err
	}
	for i := range b.Appends {
		if err := t.gate(m, b.Appends[i].Stream, b.Appends[i].Expected); err != nil {
			return err
		}
	}
	for i := range b.Asserts {
		if err := t.gate(m, b.Asserts[i].Stream, b.Asserts[i].Expected); err != nil {
			return err
		}
	}
	for i := range b.Messages {
		if t.messages[b.Messages[i].ID] {
			return &journal.MessageExistsError{ID: b.Messages[i].ID}
		}
	}
	if m.invalid != nil {
		return m.invalid
	}
	for i := range m.rows {
		if err := t.checkRow(&m.rows[i]); err != nil {
			return err
		}
	}
	t.note(m)
	return nil
}

// isStored reports whether b was stored when it was submitted before.
func (t *transaction) isStored(b *journal.Batch) bool {
	if t.stored[b.ID] {
		return true
	}
	if len(b.Appends) > 0 { // its first event may have been scavenged since
		h := t.streams[b.Appends[0].Stream]
		return h.batch == b.ID && h.version > b.Appends[0].Expected
	}
	for i := range b.Receipts {
		if k := t.known[keyOf(&b.Receipts[i])]; k != nil && k.batch == b.ID {
			return true
		}
	}
	return false
}

func (t *transaction) checkReceipts(b *journal.Batch) error {
	var duplicates []envelope.Receipt
	for i := range b.Receipts {
		if k := t.known[keyOf(&b.Receipts[i])]; k != nil {
			duplicates = append(duplicates, k.receipt)
		}
	}
	if duplicates != nil {
		return &journal.DuplicateError{Receipts: duplicates}
	}
	return nil
}

// gate refuses a batch that expects another version than the stream has, or
// the version that a refused batch would have made.
func (t *transaction) gate(m *member, s envelope.Stream, expected uint64) error {
	if h := t.streams[s]; h.version != expected || t.lane.journal.refusals.has(m.route.item.Number, s, expected) {
		return &journal.ConflictError{Stream: s, Expected: expected, Actual: h.version}
	}
	return nil
}

func (t *transaction) checkRow(w *rowWrite) error {
	actual, known := t.versions[w.identity]
	if !known {
		return nil // nothing is expected of it
	}
	refused := w.row.Expected != nil && *w.row.Expected != actual
	switch w.row.Op {
	case envelope.RowInsert:
		refused = actual > 0
	case envelope.RowPatch:
		refused = refused || actual == 0
	}
	if refused {
		return &journal.RowConflictError{Table: w.row.Table, Key: w.identity, Op: w.row.Op, Expected: w.row.Expected, Actual: actual}
	}
	return nil
}

// note adds what m writes to the transaction.
func (t *transaction) note(m *member) {
	b, c := m.batch(), t.columns
	t.stored[b.ID] = true
	for i := range b.Appends {
		a := &b.Appends[i]
		c.events.add(b.ID[:], a)
		for range a.Records {
			t.appended = append(t.appended, m)
		}
		h := t.streams[a.Stream]
		h.version += uint64(len(a.Records))
		h.moved += uint64(len(a.Records))
		h.batch = b.ID
	}
	t.events += b.Events()
	for i := range b.Receipts {
		r := b.Receipts[i]
		if r.IsMessage() {
			c.inbox.add(ownBatch(b), &r, t.now)
		} else {
			c.replies.add(ownBatch(b), &r, t.now)
		}
		r.Time = micros(r.Time)
		t.known[keyOf(&r)] = &knownReceipt{receipt: r, batch: b.ID}
		t.receipts++
	}
	for i := range b.Messages {
		c.messages.add(&b.Messages[i])
		t.messages[b.Messages[i].ID] = true
	}
	for i := range m.rows {
		w := &m.rows[i]
		w.member = m
		if v, known := t.versions[w.identity]; known {
			w.stored = v
			t.versions[w.identity] = v + 1
			if w.row.Op == envelope.RowDelete {
				t.versions[w.identity] = 0
			}
		}
	}
	t.noteSnapshots(b)
	if len(b.Appends)+len(b.Receipts)+len(b.Messages)+len(b.Rows) > 0 {
		t.writing = append(t.writing, m)
	}
}

// noteSnapshots comes after the appends: each snapshot is measured with the head
// that its own batch made. One ahead of its stream, or from before a
// truncation, would be read as the truth.
func (t *transaction) noteSnapshots(b *journal.Batch) {
	for i := range b.Truncates {
		s, before := b.Truncates[i].Stream, b.Truncates[i].Before
		t.streams[s].first = before
		t.later(t.sql.truncate, s.Type, s.ID, int64(before))
		t.later(t.sql.dropSnapshot, s.Type, s.ID, int64(before))
	}
	for _, s := range b.DropSnapshots {
		t.later(t.sql.dropSnapshot, s.Type, s.ID, int64(math.MaxInt64))
	}
	for i := range b.Snapshots {
		snap := &b.Snapshots[i]
		if h := t.streams[snap.Stream]; snap.Version > h.version || snap.Version < h.first {
			continue
		}
		t.later(t.sql.insertSnapshot, snap.Stream.Type, snap.Stream.ID, int64(snap.Version), int64(snap.Schema),
			int64(snap.Fingerprint), snap.Codec, notNull(snap.Data), micros(snap.Time))
	}
}

// later queues a statement that comes behind all others.
func (t *transaction) later(query string, args ...any) {
	t.last = append(t.last, queued{query, args})
}

type queued struct {
	query string
	args  []any
}

// wants reports whether there is anything to write.
func (t *transaction) wants() bool {
	return len(t.writing) > 0 || len(t.last) > 0
}

// write stores what the members wrote, and commits.
func (t *transaction) write(ctx context.Context, conn *pgx.Conn) error {
	var b pgx.Batch
	var culprit *member
	c := t.columns
	t.queueMoves(&b)
	if len(c.events.types) > 0 {
		b.Queue(t.sql.insertEvents, c.events.args(nil)...).Query(t.readPositions)
	}
	for _, w := range t.rowWrites() {
		query, args := w.statement()
		b.Queue(query, args...).Query(func(rows pgx.Rows) error {
			rows.Close()
			if rows.Err() != nil && culprit == nil {
				culprit = w.member
			}
			return rows.Err()
		})
	}
	if len(c.replies.types) > 0 {
		b.Queue(t.sql.insertReceipts, append(c.replies.args(nil), t.expired)...)
	}
	if len(c.inbox.types) > 0 {
		b.Queue(t.sql.insertInbox, append(c.inbox.inboxArgs(), t.expired)...)
	}
	if len(c.messages.ids) > 0 {
		b.Queue(t.sql.insertOutbox, c.messages.args(nil)...)
	}
	for _, m := range t.writing {
		if batch := m.batch(); len(batch.Appends)+len(batch.Receipts) == 0 {
			b.Queue(t.sql.insertBatch, batch.ID[:], t.now)
		}
	}
	for _, q := range t.last {
		b.Queue(q.query, q.args...)
	}
	b.Queue("COMMIT")
	err := conn.SendBatch(ctx, &b).Close()
	if err != nil && culprit != nil {
		return &culpritError{culprit, err}
	}
	return err
}

// queueMoves moves the heads, and lets go of the rows that were made to lock
// streams which do not exist.
func (t *transaction) queueMoves(b *pgx.Batch) {
	c := t.columns
	for _, s := range sortedStreams(t.streams) {
		switch h := t.streams[s]; {
		case h.moved > 0:
			c.heads.add(s, h.version, h.moved, slices.Clone(h.batch[:]))
		case h.absent && h.locked:
			c.absent.add(s, 0, 0, nil)
		}
	}
	if len(c.heads.types) > 0 {
		b.Queue(t.sql.moveHeads, c.heads.args(nil)...)
	}
	if len(c.absent.types) > 0 {
		b.Queue(t.sql.dropAbsent, c.absent.types, c.absent.ids)
	}
}

// readPositions reads the answer of insertEvents: a row for each, in order.
func (t *transaction) readPositions(rows pgx.Rows) error {
	n := 0
	var typ, id string
	var version, xid, position int64
	_, err := pgx.ForEachRow(rows, []any{&typ, &id, &version, &xid, &position}, func() error {
		if n == len(t.appended) {
			return corrupt("the server stored more events than were sent")
		}
		t.appended[n].result.Position = journal.Position{Epoch: uint64(xid), Seq: uint64(position)}
		n++
		return nil
	})
	if err == nil && n != len(t.appended) {
		err = fmt.Errorf("%d of %d events were stored", n, len(t.appended))
	}
	return err
}
