package sqlite

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"strings"
	"time"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/internal/commitqueue"
	"github.com/troupe-go/troupe/journal"
)

// transaction is the writing one of a group. What decides is read for the whole
// group at its beginning, and what is written is written for the whole group at
// its end: between, the batches are decided one after the other in memory. Only
// the rows of read models are read and written with their batch, since what
// happens to them is up to tables that are not ours.
type transaction struct {
	session   *session
	ctx       context.Context
	now       time.Time
	retention time.Duration
	phantoms  *commitqueue.Phantoms
	cache     *headCache

	// careful says that stored receipts are looked up before anything is
	// decided. Otherwise those of the group are taken to be new, as nearly all
	// are, and only when they are stored SQLite tells of one that is not: then
	// everything is undone and done again with care.
	careful bool

	// What is stored, with what the group's batches have added so far.
	heads    map[envelope.Stream]head
	receipts map[receiptKey]envelope.Receipt
	messages map[string]struct{}
	batches  map[journal.BatchID]struct{} // of the group's, if one is submitted again

	// What is left to write.
	wrote     bool
	rows      bool // some are written
	moved     []envelope.Stream
	isMoved   map[envelope.Stream]struct{}
	events    buffer
	outbox    buffer
	stored    []storedReceipt
	batchRows buffer
	others    []statement // in order, behind those
}

// receiptKey is a receipt's place in the table: type is empty and id the
// consumer for a message's.
type receiptKey struct{ typ, id, command string }

func (k receiptKey) compare(o receiptKey) int {
	return cmp.Or(strings.Compare(k.id, o.id), strings.Compare(k.typ, o.typ), strings.Compare(k.command, o.command))
}

func keyOf(r *envelope.Receipt) receiptKey {
	if r.IsMessage() {
		return receiptKey{"", r.Consumer, r.ID}
	}
	return receiptKey{r.Stream.Type, r.Stream.ID, r.ID}
}

// statement is one that is executed alone.
type statement struct {
	query string
	args  []any
}

// reset makes t a new transaction of s, which has begun.
func (t *transaction) reset(c *committer, s *session) {
	if t.heads == nil {
		t.heads, t.isMoved = make(map[envelope.Stream]head), make(map[envelope.Stream]struct{})
		t.receipts = make(map[receiptKey]envelope.Receipt)
		t.messages, t.batches = make(map[string]struct{}), make(map[journal.BatchID]struct{})
	}
	clear(t.heads)
	clear(t.isMoved)
	clear(t.receipts)
	clear(t.messages)
	clear(t.batches)
	clear(t.others)
	clear(t.stored)
	for _, b := range []*buffer{&t.events, &t.outbox, &t.batchRows} {
		b.reset()
	}
	t.moved, t.others, t.stored = t.moved[:0], t.others[:0], t.stored[:0]
	t.wrote, t.rows, t.careful = false, false, c.careful > 0
	t.session, t.ctx, t.now, t.retention = s, c.ctx, c.journal.opts.now(), c.journal.opts.ReceiptRetention
	t.phantoms, t.cache = &c.phantoms, &c.heads
}

// decide plans to store it, or says why not. refused is the answer to it alone;
// it wrote nothing then. fatal means that the transaction is beyond use. The
// result's position counts from the transaction's first event.
func (t *transaction) decide(it *item) (result journal.Result, refused, fatal error) {
	b := it.Value.batch
	stored, err := t.check(it)
	if err == nil && !stored {
		err = t.writeRows(b)
	}
	if isRefusal(err) && !t.careful {
		err = t.duplicateOr(b, err)
	}
	switch {
	case isRefusal(err):
		return result, err, nil
	case stored || err != nil:
		return result, nil, err
	}
	t.apply(b)
	if len(b.Appends) > 0 {
		result.Position.Seq = uint64(t.events.n)
	}
	return result, nil, nil
}

// check finds out about all but the rows; it writes nothing. stored means that
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
	for i := range b.Messages {
		if _, taken := t.messages[b.Messages[i].ID]; taken {
			return false, &journal.MessageExistsError{ID: b.Messages[i].ID}
		}
	}
	return false, nil
}

// gate refuses a batch that expects another version than the stream has, or
// the version that a refused batch would have made.
func (t *transaction) gate(it *item, s envelope.Stream, expected uint64) error {
	h := t.heads[s]
	if h.version != expected || t.phantoms.Has(it.Number, s, expected) {
		return &journal.ConflictError{Stream: s, Expected: expected, Actual: h.version}
	}
	return nil
}

// checkReceipts refuses a batch with receipts that are stored, and returns all
// of those.
func (t *transaction) checkReceipts(b *journal.Batch) error {
	var duplicates []envelope.Receipt
	for i := range b.Receipts {
		if stored, ok := t.receipts[keyOf(&b.Receipts[i])]; ok {
			duplicates = append(duplicates, stored)
		}
	}
	if duplicates != nil {
		return &journal.DuplicateError{Receipts: duplicates}
	}
	return nil
}

// duplicateOr is the refusal for receipts of b that are stored, which comes
// before any other, or else err.
func (t *transaction) duplicateOr(b *journal.Batch, err error) error {
	var wanted []any
	for i := range b.Receipts {
		k := keyOf(&b.Receipts[i])
		wanted = append(wanted, k.typ, k.id, k.command)
	}
	if failed := t.fetchReceipts(wanted); failed != nil {
		return failed
	}
	if duplicate := t.checkReceipts(b); duplicate != nil {
		return duplicate
	}
	return err
}

// isStored reports whether b was stored when it was submitted before. A batch
// is stored as a whole, so that it is enough to find its id with one part: its
// first event, its first receipt, or else among the batches. One that left
// nothing behind, such as a snapshot, is simply decided again.
func (t *transaction) isStored(b *journal.Batch) (bool, error) {
	if _, ok := t.batches[b.ID]; ok {
		return true, nil
	}
	var stored []byte
	switch {
	case len(b.Appends) > 0:
		first := &b.Appends[0]
		if t.heads[first.Stream].version <= first.Expected {
			return false, nil
		}
		ok, err := t.session.row(t.ctx, "SELECT batch FROM events WHERE type = ? AND id = ? AND version = ?",
			[]any{first.Stream.Type, first.Stream.ID, int64(first.Expected + 1)}, &stored)
		if ok || err != nil {
			return bytes.Equal(stored, b.ID[:]), err
		}
	case len(b.Receipts) > 0:
		k := keyOf(&b.Receipts[0])
		ok, err := t.session.row(t.ctx, "SELECT batch FROM receipts WHERE type = ? AND id = ? AND command = ?",
			[]any{k.typ, k.id, k.command}, &stored)
		return ok && bytes.Equal(stored, b.ID[:]), err
	}
	return t.session.row(t.ctx, "SELECT batch FROM batches WHERE batch = ?", []any{b.ID[:]}, &stored)
}

const (
	headsQuery = `WITH wanted (type, id) AS (VALUES @)
		SELECT h.type, h.id, h.version, h.first FROM wanted CROSS JOIN heads h ON h.type = wanted.type AND h.id = wanted.id`

	receiptsQuery = `WITH wanted (type, id, command) AS (VALUES @)
		SELECT r.type, r.id, r.command, r.version, r.codec, r.reply, r.time, r.stored FROM wanted CROSS JOIN receipts r
		ON r.type = wanted.type AND r.id = wanted.id AND r.command = wanted.command`

	messagesQuery = `WITH wanted (message) AS (VALUES @)
		SELECT o.message FROM wanted CROSS JOIN outbox o ON o.message = wanted.message`
)

var (
	lookupHeads    = newSeveral(headsQuery, 2)
	lookupReceipts = newSeveral(receiptsQuery, 3)
	lookupMessages = newSeveral(messagesQuery, 1)
)

// prefetch reads all that the items are measured with, but for rows.
func (t *transaction) prefetch(items []item) error {
	var data int64
	if _, err := t.session.row(t.ctx, "PRAGMA data_version", nil, &data); err != nil {
		return err
	}
	t.cache.check(t.session, data)
	var heads, receipts, messages []any
	want := func(s envelope.Stream) {
		if _, known := t.heads[s]; known {
			return
		}
		h, known := t.cache.get(s)
		if t.heads[s] = h; !known {
			heads = append(heads, s.Type, s.ID)
		}
	}
	for i := range items {
		b := items[i].Value.batch
		for k := range b.Appends {
			want(b.Appends[k].Stream)
		}
		for k := range b.Asserts {
			want(b.Asserts[k].Stream)
		}
		for k := range b.Snapshots {
			want(b.Snapshots[k].Stream)
		}
		for k := range b.Receipts {
			if t.careful {
				key := keyOf(&b.Receipts[k])
				receipts = append(receipts, key.typ, key.id, key.command)
			}
		}
		for k := range b.Messages {
			messages = append(messages, b.Messages[k].ID)
		}
	}
	err := t.session.lookup(t.ctx, lookupHeads, heads, func(rows *sql.Rows) error {
		var s envelope.Stream
		var version, first int64
		err := rows.Scan(&s.Type, &s.ID, &version, &first)
		t.heads[s] = head{version: uint64(version), first: uint64(first)}
		return err
	})
	if err != nil {
		return err
	}
	if err := t.fetchReceipts(receipts); err != nil {
		return err
	}
	return t.session.lookup(t.ctx, lookupMessages, messages, func(rows *sql.Rows) error {
		var id string
		err := rows.Scan(&id)
		t.messages[id] = struct{}{}
		return err
	})
}

// fetchReceipts reads those that are stored and not expired.
func (t *transaction) fetchReceipts(wanted []any) error {
	expired := t.now.Add(-t.retention).UnixMicro()
	return t.session.lookup(t.ctx, lookupReceipts, wanted, func(rows *sql.Rows) error {
		var k receiptKey
		var stored int64
		var r envelope.Receipt
		if err := scanReceipt(rows.Scan, &r, &stored, &k); err != nil || stored <= expired {
			return err
		}
		t.receipts[k] = r
		return nil
	})
}

// remember keeps the heads for the next group.
func (t *transaction) remember(cache *headCache) {
	for s, h := range t.heads {
		cache.put(s, h)
	}
}
