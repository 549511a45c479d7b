package sqlite

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/internal/outboxsql"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/snapshot"
)

// buffer holds the arguments of rows that are inserted together.
type buffer struct {
	n    int // rows
	args []any
}

func (b *buffer) add(args ...any) {
	b.n++
	b.args = append(b.args, args...)
}

func (b *buffer) reset() {
	clear(b.args)
	b.n, b.args = 0, b.args[:0]
}

const (
	insertSnapshot = `INSERT INTO snapshots (type, id, version, schema, fingerprint, codec, data, time)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id, type) DO UPDATE SET version = excluded.version, schema = excluded.schema,
			fingerprint = excluded.fingerprint, codec = excluded.codec, data = excluded.data, time = excluded.time
		WHERE excluded.version > snapshots.version`

	insertTruncated = `INSERT INTO truncated (type, id, first) VALUES (?, ?, ?)
		ON CONFLICT (id, type) DO UPDATE SET first = excluded.first`
)

// OR FAIL, since a failure ends the transaction anyway: SQLite need not prepare
// to undo the statement alone.
var (
	insertEvents = newSeveral(`INSERT OR FAIL INTO events
		(slice, type, id, version, batch, time, name, schema, codec, data, metadata) VALUES @`, 11)

	moveHeads = newSeveral(`INSERT OR FAIL INTO heads (type, id, version, first) VALUES @
		ON CONFLICT (id, type) DO UPDATE SET version = excluded.version, first = excluded.first`, 4)

	insertReceipts = newSeveral(`INSERT OR FAIL INTO receipts
		(key, type, id, command, batch, version, codec, reply, time, stored) VALUES @`, 10)

	insertOutbox = newSeveral(`INSERT OR FAIL INTO outbox (slot, message, kind, name, destination, key, content_type, codec,
		data, time, source_type, source_id, source_version, metadata, due) VALUES @`, 15)

	insertBatches = newSeveral(`INSERT OR IGNORE INTO batches (batch, stored) VALUES @`, 2)
)

// apply plans to write a batch, which passed all checks just now and whose rows
// are written.
func (t *transaction) apply(sub *submission) {
	b := sub.batch
	id := any(b.ID[:])
	for i := range b.Appends {
		t.append(id, &b.Appends[i])
	}
	for i := range b.Receipts {
		of := id
		if len(b.Appends) > 0 {
			of = nil // it is with the events
		}
		t.storeReceipt(sub.hashes[i], of, &b.Receipts[i])
	}
	for i := range b.Messages {
		t.storeMessage(&b.Messages[i])
	}
	for i := range b.Truncates {
		t.truncate(&b.Truncates[i])
	}
	for _, s := range b.DropSnapshots {
		t.later("DELETE FROM snapshots WHERE type = ? AND id = ?", s.Type, s.ID)
	}
	// Snapshots come after the events, so that each is measured with the head
	// that its own batch made: one ahead of its stream would be read as the truth.
	for i := range b.Snapshots {
		t.storeSnapshot(&b.Snapshots[i])
	}
	if len(b.Appends)+len(b.Receipts) == 0 && len(b.Messages)+len(b.Rows) > 0 {
		t.batchRows.add(id, t.now.UnixMicro())
	}
	if len(b.Appends)+len(b.Receipts)+len(b.Messages)+len(b.Rows) > 0 {
		t.wrote = true
		t.batches[b.ID] = struct{}{}
	}
}

// later plans a statement of its own.
func (t *transaction) later(query string, args ...any) {
	t.wrote = true
	t.others = append(t.others, statement{query, args})
}

func (t *transaction) append(batch any, a *journal.Append) {
	slice, first := int64(a.Stream.Slice()), batch
	typ, id := any(a.Stream.Type), any(a.Stream.ID)
	for i := range a.Records {
		rec := &a.Records[i]
		t.events.add(slice, typ, id, int64(rec.Version), first, rec.Time.UnixMicro(), rec.Name, int64(rec.Schema), rec.Codec,
			notNull(rec.Data), encodeMetadata(&rec.Metadata))
		first = nil
	}
	h := t.heads[a.Stream]
	h.version, h.first = a.Expected+uint64(len(a.Records)), h.begin()
	t.move(a.Stream, h)
}

// move plans to store the head of s.
func (t *transaction) move(s envelope.Stream, h head) {
	t.heads[s] = h
	if _, known := t.isMoved[s]; !known {
		t.isMoved[s] = struct{}{}
		t.moved = append(t.moved, s)
	}
}

// truncate lets go of the events below that, which a scavenger deletes, and of
// a snapshot that would be continued by them.
func (t *transaction) truncate(c *journal.Truncate) {
	h := t.heads[c.Stream]
	h.first = c.Before
	t.move(c.Stream, h)
	t.later("DELETE FROM snapshots WHERE type = ? AND id = ? AND version < ?", c.Stream.Type, c.Stream.ID, int64(c.Before))
	t.later(insertTruncated, c.Stream.Type, c.Stream.ID, int64(c.Before))
}

func (t *transaction) storeReceipt(hash int64, batch any, r *envelope.Receipt) {
	k := keyOf(r)
	t.receipts[k] = heldReceipt{new: r}
	t.stored = append(t.stored, numbered{key: hash})
	t.receiptRows.add(hash, k.typ, k.id, k.command, batch, int64(r.Version), r.Codec, notNull(r.Reply),
		r.Time.UnixMicro(), t.now.UnixMicro())
}

func (t *transaction) storeMessage(m *envelope.Message) {
	t.messages[m.ID] = struct{}{}
	t.outbox.add(int64(m.Slot()), m.ID, int64(m.Kind), m.Name, m.Destination, m.Key, m.ContentType, m.Codec,
		notNull(m.Data), m.Time.UnixMicro(), m.Source.Type, m.Source.ID, int64(m.SourceVersion), encodeMetadata(&m.Metadata), outboxsql.Due(m.NotBefore))
}

func (t *transaction) storeSnapshot(snap *snapshot.Snapshot) {
	if h := t.heads[snap.Stream]; snap.Version > h.version || snap.Version < h.first {
		return
	}
	t.later(insertSnapshot, snap.Stream.Type, snap.Stream.ID, int64(snap.Version), int64(snap.Schema),
		int64(snap.Fingerprint), snap.Codec, notNull(snap.Data), snap.Time.UnixMicro())
}

// flush writes what is planned. An event's position is its number within the
// transaction, from 1, and base: SQLite numbers the rows of one transaction
// without gaps.
func (t *transaction) flush() (base uint64, err error) {
	if err := t.flushReceipts(); err != nil {
		return 0, err
	}
	last, err := t.session.insert(t.ctx, insertEvents, t.events.args)
	if err != nil {
		return 0, err
	}
	slices.SortFunc(t.moved, func(a, b envelope.Stream) int { // as the tree is
		return cmp.Or(strings.Compare(a.ID, b.ID), strings.Compare(a.Type, b.Type))
	})
	heads := make([]any, 0, 4*len(t.moved))
	for _, s := range t.moved {
		h := t.heads[s]
		heads = append(heads, s.Type, s.ID, int64(h.version), int64(h.first))
	}
	if _, err := t.session.insert(t.ctx, moveHeads, heads); err != nil {
		return 0, err
	}
	for _, part := range []struct {
		query *several
		rows  *buffer
	}{{insertOutbox, &t.outbox}, {insertBatches, &t.batchRows}} {
		if _, err := t.session.insert(t.ctx, part.query, part.rows.args); err != nil {
			return 0, err
		}
	}
	for _, st := range t.others {
		if err := t.session.exec(t.ctx, st.query, st.args...); err != nil {
			return 0, err
		}
	}
	_, err = sweepBatches.run(t.ctx, t.session, t.batchRows.n, t.now.Add(-t.retention))
	return uint64(last) - uint64(t.events.n), err
}

// flushReceipts stores those of the group, sweeps, and adds to the index what is
// due.
func (t *transaction) flushReceipts() error {
	n := len(t.stored)
	if n == 0 {
		return nil
	}
	last, err := t.session.insert(t.ctx, insertReceipts, t.receiptRows.args)
	if err != nil {
		return err
	}
	for i := range t.stored {
		t.stored[i].number = last - int64(n-1-i) // without gaps, as events are
	}
	first, err := sweepReceipts.run(t.ctx, t.session, n, t.now.Add(-t.retention))
	if err != nil {
		return err
	}
	marks, entries := t.recent.due(t.indexEvery, t.indexSlices, first)
	t.marks = marks
	return t.session.index(t.ctx, marks, entries, first, last)
}

// sweep deletes what is expired of a table whose numbers grow with age.
type sweep struct{ oldest, delete string }

var (
	sweepReceipts = newSweep("receipts")
	sweepBatches  = newSweep("batches")
)

func newSweep(table string) sweep {
	return sweep{
		oldest: "SELECT number, stored FROM " + table + " ORDER BY number LIMIT 1",
		delete: "DELETE FROM " + table + " WHERE stored <= ? AND number IN (SELECT number FROM " + table + " ORDER BY number LIMIT ?)",
	}
}

// run deletes more than were stored just now, so that it shrinks, and few, so
// that the first command after a quiet day does not wait for all of it. first is
// the lowest number that was there.
func (w sweep) run(ctx context.Context, s *session, stored int, expired time.Time) (first int64, err error) {
	if stored == 0 {
		return 0, nil
	}
	var oldest int64
	ok, err := s.row(ctx, w.oldest, nil, &first, &oldest)
	if err == nil && ok && oldest <= expired.UnixMicro() {
		err = s.exec(ctx, w.delete, expired.UnixMicro(), 4*stored)
	}
	return first, err
}

// encodeMetadata returns nil for NULL.
func encodeMetadata(m *envelope.Metadata) any {
	if m.IsZero() {
		return nil
	}
	return string(m.AppendJSON(nil))
}

// notNull makes an empty BLOB of nil, which would be NULL.
func notNull(data []byte) []byte {
	if data == nil {
		return []byte{}
	}
	return data
}
