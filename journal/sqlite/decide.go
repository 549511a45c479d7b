package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"slices"
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
	session     *session
	ctx         context.Context
	now         time.Time
	retention   time.Duration
	phantoms    *commitqueue.Phantoms
	cache       *headCache
	recent      *recentReceipts
	indexEvery  int
	indexSlices int
	marks       []mark // of the index, that the group moves

	// What is stored, with what the group's batches have added so far.
	heads    map[envelope.Stream]head
	receipts map[receiptKey]heldReceipt
	messages map[string]struct{}
	batches  map[journal.BatchID]struct{} // of the group's, if one is submitted again
	wanted   []int64                      // keys of receipts

	// What is left to write.
	wrote       bool
	rows        bool // some are written
	moved       []envelope.Stream
	isMoved     map[envelope.Stream]struct{}
	events      buffer
	outbox      buffer
	stored      []numbered // receipts, which get their numbers at the end
	receiptRows buffer
	batchRows   buffer
	others      []statement // in order, behind those
}

// heldReceipt is one that is stored, or that the group stores.
type heldReceipt struct {
	found   *foundReceipt
	expired bool // the command is a new one, unless it is the same batch again

	new *envelope.Receipt // if it is one of the group's
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
		t.receipts = make(map[receiptKey]heldReceipt)
		t.messages, t.batches = make(map[string]struct{}), make(map[journal.BatchID]struct{})
	}
	clear(t.heads)
	clear(t.isMoved)
	clear(t.receipts)
	clear(t.messages)
	clear(t.batches)
	clear(t.others)
	for _, b := range []*buffer{&t.events, &t.receiptRows, &t.outbox, &t.batchRows} {
		b.reset()
	}
	t.moved, t.others, t.stored = t.moved[:0], t.others[:0], t.stored[:0]
	t.wrote, t.rows = false, false
	t.indexEvery, t.indexSlices, t.marks = c.journal.opts.indexEvery, c.journal.opts.indexSlices, nil
	t.session, t.ctx, t.now, t.retention = s, c.ctx, c.journal.opts.now(), c.journal.opts.ReceiptRetention
	t.phantoms, t.cache, t.recent = &c.phantoms, &c.heads, c.journal.recent
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
	switch {
	case isRefusal(err):
		return result, err, nil
	case stored || err != nil:
		return result, nil, err
	}
	t.apply(&it.Value)
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
		switch held, ok := t.receipts[keyOf(&b.Receipts[i])]; {
		case !ok || held.expired:
		case held.new != nil:
			duplicates = append(duplicates, asStored(*held.new))
		default:
			duplicates = append(duplicates, held.found.receipt)
		}
	}
	if duplicates != nil {
		return &journal.DuplicateError{Receipts: duplicates}
	}
	return nil
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
		found := t.receipts[keyOf(&b.Receipts[0])].found
		return found != nil && bytes.Equal(found.batch, b.ID[:]), nil
	}
	return t.session.row(t.ctx, "SELECT batch FROM batches WHERE batch = ?", []any{b.ID[:]}, &stored)
}

const (
	headsQuery = `WITH wanted (type, id) AS (VALUES @)
		SELECT h.type, h.id, h.version, h.first FROM wanted CROSS JOIN heads h ON h.type = wanted.type AND h.id = wanted.id`

	messagesQuery = `WITH wanted (message) AS (VALUES @)
		SELECT o.message FROM wanted CROSS JOIN outbox o ON o.message = wanted.message`
)

var (
	lookupHeads    = newSeveral(headsQuery, 2)
	lookupMessages = newSeveral(messagesQuery, 1)
)

// prefetch reads all that the items are measured with, but for rows.
func (t *transaction) prefetch(items []item) error {
	var data int64
	if _, err := t.session.row(t.ctx, "PRAGMA data_version", nil, &data); err != nil {
		return err
	}
	if alone := t.cache.check(t.session, data); !alone {
		_, last := t.recent.find(0, nil)
		if _, err := t.recent.read(t.ctx, t.session, last); err != nil {
			return err
		}
	}
	var heads, messages []any
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
	if err := t.fetchReceipts(items); err != nil {
		return err
	}
	return t.session.lookup(t.ctx, lookupMessages, messages, func(rows *sql.Rows) error {
		var id string
		err := rows.Scan(&id)
		t.messages[id] = struct{}{}
		return err
	})
}

// fetchReceipts reads those that are stored, also the expired ones. Nearly all
// are new, so that it ends with a look at the index.
func (t *transaction) fetchReceipts(items []item) error {
	t.wanted = t.wanted[:0]
	for i := range items {
		t.wanted = append(t.wanted, items[i].Value.hashes...)
	}
	if len(t.wanted) == 0 {
		return nil
	}
	slices.Sort(t.wanted) // as the index is
	var numbers []int64
	keys := make([]any, 0, len(t.wanted))
	for _, key := range t.wanted {
		numbers, _ = t.recent.find(key, numbers)
		keys = append(keys, key)
	}
	numbers, err := t.session.indexedNumbers(t.ctx, keys, numbers)
	if err != nil {
		return err
	}
	return t.session.receiptsOf(t.ctx, numbers, func(f *foundReceipt) {
		if former, ok := t.receipts[f.key]; !ok || former.found.number < f.number {
			t.receipts[f.key] = heldReceipt{found: f, expired: f.expired(t.now, t.retention)}
		}
	})
}

// remember keeps what is committed for the next group.
func (t *transaction) remember() {
	for s, h := range t.heads {
		t.cache.put(s, h)
	}
	if n := len(t.stored); n > 0 {
		t.recent.learn(t.marks, t.stored, t.stored[n-1].number)
	}
}
