package sqlite

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/internal/commitqueue"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/snapshot"
)

// transaction is the writing one of a group.
type transaction struct {
	session   *session
	ctx       context.Context
	now       time.Time
	retention time.Duration
	phantoms  *commitqueue.Phantoms

	wrote            bool
	events, receipts int // stored
}

// decide stores it, or says why not. refused is the answer to it alone; it
// wrote nothing then. fatal means that the transaction is beyond use.
func (t *transaction) decide(it *item) (result journal.Result, refused, fatal error) {
	stored, err := t.check(it)
	switch {
	case isRefusal(err):
		return result, err, nil
	case stored || err != nil:
		return result, nil, err
	}
	result, fatal = t.write(it.Value.batch)
	return result, nil, fatal
}

// check reads what decides about a batch; it writes nothing. stored means that
// it is a resubmission that had been stored before.
//
// Receipts come before heads: a command that is repeated gets its first reply,
// even though the stream moved on since.
func (t *transaction) check(it *item) (stored bool, err error) {
	b := it.Value.batch
	if b.Resubmit {
		if stored, err := t.isStored(b); stored || err != nil {
			return stored, err
		}
	}
	if err := t.checkReceipts(b); err != nil {
		return false, err
	}
	for i := range b.Appends {
		if err := t.gate(it, b.Appends[i].Stream, b.Appends[i].Expected); err != nil {
			return false, err
		}
	}
	for i := range b.Asserts {
		if err := t.gate(it, b.Asserts[i].Stream, b.Asserts[i].Expected); err != nil {
			return false, err
		}
	}
	return false, nil
}

// gate refuses a batch that expects another version than the stream has, or
// the version that a refused batch would have made.
func (t *transaction) gate(it *item, s envelope.Stream, expected uint64) error {
	head, _, err := t.session.head(t.ctx, s)
	if err != nil {
		return err
	}
	if head != expected || t.phantoms.Has(it.Number, s, expected) {
		return &journal.ConflictError{Stream: s, Expected: expected, Actual: head}
	}
	return nil
}

// checkReceipts refuses a batch with receipts that are stored, and returns all
// of those.
func (t *transaction) checkReceipts(b *journal.Batch) error {
	var duplicates []envelope.Receipt
	for i := range b.Receipts {
		r := &b.Receipts[i]
		stored, _, ok, err := t.session.receipt(t.ctx, r.Stream, r.ID, t.now.Add(-t.retention))
		if err != nil {
			return err
		}
		if ok {
			duplicates = append(duplicates, stored)
		}
	}
	if duplicates != nil {
		return &journal.DuplicateError{Receipts: duplicates}
	}
	return nil
}

// isStored reports whether b was stored when it was submitted before: its id
// is with the first event that it wrote, and a batch is stored as a whole. One
// that wrote neither events nor receipts is simply decided again.
func (t *transaction) isStored(b *journal.Batch) (bool, error) {
	switch {
	case len(b.Appends) > 0:
		first := &b.Appends[0]
		head, batch, err := t.session.head(t.ctx, first.Stream)
		if err != nil || head <= first.Expected {
			return false, err
		}
		if bytes.Equal(batch, b.ID[:]) {
			return true, nil
		}
		ok, err := t.session.row(t.ctx, "SELECT batch FROM events WHERE type = ? AND id = ? AND version = ?",
			[]any{first.Stream.Type, first.Stream.ID, int64(first.Expected + 1)}, &batch)
		return ok && bytes.Equal(batch, b.ID[:]), err
	case len(b.Receipts) > 0:
		first := &b.Receipts[0]
		_, batch, ok, err := t.session.receipt(t.ctx, first.Stream, first.ID, t.now.Add(-t.retention))
		return ok && bytes.Equal(batch, b.ID[:]), err
	}
	return false, nil
}

// write stores b, which passed all checks just now.
func (t *transaction) write(b *journal.Batch) (result journal.Result, err error) {
	for i := range b.Appends {
		position, err := t.append(b.ID, &b.Appends[i])
		if err != nil {
			return result, err
		}
		result.Position = journal.Position{Seq: uint64(position)}
	}
	for i := range b.Receipts {
		if err := t.storeReceipt(b.ID, &b.Receipts[i]); err != nil {
			return result, err
		}
	}
	for _, s := range b.DropSnapshots {
		if err := t.exec("DELETE FROM snapshots WHERE type = ? AND id = ?", s.Type, s.ID); err != nil {
			return result, err
		}
	}
	// Snapshots go in after the events, so that each is measured with the head
	// that its own batch made: one ahead of its stream would be read as the truth.
	for i := range b.Snapshots {
		if err := t.storeSnapshot(&b.Snapshots[i]); err != nil {
			return result, err
		}
	}
	return result, nil
}

const (
	insertEvent = `INSERT INTO events (type, id, version, batch, time, name, schema, codec, data, metadata)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

	moveHead = `INSERT INTO heads (type, id, version, batch) VALUES (?, ?, ?, ?)
		ON CONFLICT (type, id) DO UPDATE SET version = excluded.version, batch = excluded.batch`

	// A receipt that is replaced had expired, or it would have refused the batch.
	insertReceipt = `INSERT OR REPLACE INTO receipts (type, id, command, batch, version, codec, reply, time, stored)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`

	insertSnapshot = `INSERT INTO snapshots (type, id, version, schema, fingerprint, codec, data, time)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (type, id) DO UPDATE SET version = excluded.version, schema = excluded.schema,
			fingerprint = excluded.fingerprint, codec = excluded.codec, data = excluded.data, time = excluded.time
		WHERE excluded.version > snapshots.version`

	sweepReceipts = `DELETE FROM receipts WHERE number IN (SELECT number FROM receipts WHERE stored <= ? ORDER BY stored LIMIT ?)`
)

// append stores the records of a, moves the head, and returns the position of
// the last.
func (t *transaction) append(batch journal.BatchID, a *journal.Append) (position int64, err error) {
	first := batch[:]
	for i := range a.Records {
		rec := &a.Records[i]
		metadata, err := encodeMetadata(&rec.Metadata)
		if err != nil {
			return 0, err
		}
		position, err = t.session.exec(t.ctx, insertEvent, a.Stream.Type, a.Stream.ID, int64(rec.Version), first,
			rec.Time.UnixMicro(), rec.Name, int64(rec.Schema), rec.Codec, notNull(rec.Data), metadata)
		if err != nil {
			return 0, err
		}
		first = nil
	}
	t.events += len(a.Records)
	return position, t.exec(moveHead, a.Stream.Type, a.Stream.ID, int64(a.Expected)+int64(len(a.Records)), batch[:])
}

func (t *transaction) storeReceipt(batch journal.BatchID, r *envelope.Receipt) error {
	t.receipts++
	return t.exec(insertReceipt, r.Stream.Type, r.Stream.ID, r.ID, batch[:], int64(r.Version), r.Codec,
		notNull(r.Reply), r.Time.UnixMicro(), t.now.UnixMicro())
}

func (t *transaction) storeSnapshot(snap *snapshot.Snapshot) error {
	head, _, err := t.session.head(t.ctx, snap.Stream)
	if err != nil || snap.Version > head {
		return err
	}
	return t.exec(insertSnapshot, snap.Stream.Type, snap.Stream.ID, int64(snap.Version), int64(snap.Schema),
		int64(snap.Fingerprint), snap.Codec, notNull(snap.Data), snap.Time.UnixMicro())
}

// sweep deletes expired receipts: more than the group stored, so that their
// number shrinks, and few, so that the first command after a quiet day does
// not wait for all of them.
func (t *transaction) sweep() error {
	if t.receipts == 0 {
		return nil
	}
	return t.exec(sweepReceipts, t.now.Add(-t.retention).UnixMicro(), 4*t.receipts)
}

func (t *transaction) exec(query string, args ...any) error {
	t.wrote = true
	_, err := t.session.exec(t.ctx, query, args...)
	return err
}

// head is the version of s, 0 if it does not exist, and the batch that made it.
func (s *session) head(ctx context.Context, of envelope.Stream) (version uint64, batch []byte, err error) {
	var stored int64
	_, err = s.row(ctx, "SELECT version, batch FROM heads WHERE type = ? AND id = ?", []any{of.Type, of.ID}, &stored, &batch)
	return uint64(stored), batch, err
}

// encodeMetadata returns nil for NULL.
func encodeMetadata(m *envelope.Metadata) (any, error) {
	if m.IsZero() {
		return nil, nil
	}
	text, err := json.Marshal(m)
	return string(text), err
}

// notNull makes an empty BLOB of nil, which would be NULL.
func notNull(data []byte) []byte {
	if data == nil {
		return []byte{}
	}
	return data
}
