package postgres

import (
	"context"
	"math"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// transaction is one of the slow step: it looks, decides, and writes, in two
// round trips. Locks are taken in one order by everybody: heads by name, rows by
// identity, then what is inserted: receipts, inbox, outbox.
type transaction struct {
	lane     *lane
	members  []*member
	sql      *statements
	now      int64
	expired  int64
	streams  map[envelope.Stream]*head
	receipts int
	events   int

	known    map[receiptKey]*knownReceipt
	messages map[string]bool // ids that the outbox holds
	versions map[string]uint64
	lookAt   map[string]bool          // rows whose version must be known
	stored   map[journal.BatchID]bool // by an earlier life of a resubmitted batch, or in this transaction
	columns  *slowColumns
	appended []*member // whose events are in columns, one for each
	writing  []*member
	last     []queued // statements that come behind all others
}

// slowColumns are what is stored with one statement for all members.
type slowColumns struct {
	heads    headColumns
	events   eventColumns
	replies  receiptColumns
	inbox    receiptColumns
	messages messageColumns
	absent   headColumns // locked, and not there
}

// head is what the transaction knows of one stream.
type head struct {
	version, first uint64
	batch          journal.BatchID // that made the version
	locked         bool
	moved          uint64 // events that this transaction appends
	absent         bool   // it was when it was locked
}

type receiptKey struct{ first, second, id string }

func keyOf(r *envelope.Receipt) receiptKey {
	if r.IsMessage() {
		return receiptKey{r.Consumer, "", r.ID}
	}
	return receiptKey{r.Stream.Type, r.Stream.ID, r.ID}
}

type knownReceipt struct {
	receipt envelope.Receipt
	batch   journal.BatchID
}

func newTransaction(l *lane, members []*member) *transaction {
	return &transaction{
		lane: l, members: members, sql: &l.journal.sql,
		now: l.journal.opts.now().UnixMicro(), expired: l.journal.opts.expired(),
		streams: make(map[envelope.Stream]*head), known: make(map[receiptKey]*knownReceipt),
		messages: make(map[string]bool), versions: make(map[string]uint64), lookAt: make(map[string]bool),
		stored: make(map[journal.BatchID]bool), columns: &slowColumns{},
	}
}

// look begins the transaction, locks the heads that the members gate on, and
// reads whatever decides about them.
func (t *transaction) look(ctx context.Context, conn *pgx.Conn) error {
	var b pgx.Batch
	b.Queue("BEGIN")
	b.Queue(t.sql.lockEvents)
	t.queueHeads(&b)
	t.queueReceipts(&b)
	t.queueMessages(&b)
	t.queueResubmissions(&b)
	t.queueRows(&b)
	return conn.SendBatch(ctx, &b).Close()
}

// queueHeads locks the heads of all appends and asserts, in the order of their
// names, and reads those of other snapshots.
func (t *transaction) queueHeads(b *pgx.Batch) {
	for _, m := range t.members {
		batch := m.batch()
		for i := range batch.Appends {
			t.streams[batch.Appends[i].Stream] = &head{first: 1, locked: true}
		}
		for i := range batch.Asserts {
			t.streams[batch.Asserts[i].Stream] = &head{first: 1, locked: true}
		}
	}
	for _, m := range t.members {
		for i := range m.batch().Snapshots {
			if s := m.batch().Snapshots[i].Stream; t.streams[s] == nil {
				t.streams[s] = &head{first: 1}
			}
		}
	}
	var names [2]struct{ types, ids []string } // read, locked
	for _, s := range sortedStreams(t.streams) {
		n := &names[0]
		if t.streams[s].locked {
			n = &names[1]
		}
		n.types, n.ids = append(n.types, s.Type), append(n.ids, s.ID)
	}
	read := func(rows pgx.Rows) error {
		var s envelope.Stream
		var version, first int64
		var batch []byte
		_, err := pgx.ForEachRow(rows, []any{&s.Type, &s.ID, &version, &first, &batch}, func() error {
			h := t.streams[s]
			h.version, h.first = uint64(version), uint64(first)
			copy(h.batch[:], batch)
			h.absent = version == 0
			return nil
		})
		return err
	}
	if n := &names[1]; len(n.types) > 0 {
		b.Queue(t.sql.lockHeads, n.types, n.ids).Query(read)
	}
	if n := &names[0]; len(n.types) > 0 {
		b.Queue(t.sql.readHeads, n.types, n.ids).Query(read)
	}
}

func sortedStreams(all map[envelope.Stream]*head) []envelope.Stream {
	sorted := make([]envelope.Stream, 0, len(all))
	for s := range all {
		sorted = append(sorted, s)
	}
	slices.SortFunc(sorted, envelope.Stream.Compare)
	return sorted
}

// queueReceipts reads which receipts are stored already.
func (t *transaction) queueReceipts(b *pgx.Batch) {
	var commands, inbox []*envelope.Receipt
	for _, m := range t.members {
		for i := range m.batch().Receipts {
			if r := &m.batch().Receipts[i]; r.IsMessage() {
				inbox = append(inbox, r)
			} else {
				commands = append(commands, r)
			}
		}
	}
	read := func(asked []*envelope.Receipt) func(pgx.Rows) error {
		return func(rows pgx.Rows) error {
			var ord, version int64
			var k knownReceipt
			var batch []byte
			_, err := pgx.ForEachRow(rows, []any{&ord, &batch, &version, &k.receipt.Codec, &k.receipt.Reply, &k.receipt.Time}, func() error {
				found := k
				r := asked[ord-1]
				found.receipt.Stream, found.receipt.Consumer, found.receipt.ID = r.Stream, r.Consumer, r.ID
				found.receipt.Version, found.receipt.Time = uint64(version), k.receipt.Time.UTC()
				copy(found.batch[:], batch)
				t.known[keyOf(r)] = &found
				k.receipt.Reply, batch = nil, nil
				return nil
			})
			return err
		}
	}
	names := func(of []*envelope.Receipt) (first, second, ids []string) {
		for _, r := range of {
			k := keyOf(r)
			first, second, ids = append(first, k.first), append(second, k.second), append(ids, k.id)
		}
		return first, second, ids
	}
	if len(commands) > 0 {
		types, of, ids := names(commands)
		b.Queue(t.sql.findReceipts, types, of, ids, t.expired).Query(read(commands))
	}
	if len(inbox) > 0 {
		consumers, _, ids := names(inbox)
		b.Queue(t.sql.findInbox, consumers, ids, t.expired).Query(read(inbox))
	}
}

// queueMessages reads which message ids the outbox holds already.
func (t *transaction) queueMessages(b *pgx.Batch) {
	var ids []string
	for _, m := range t.members {
		for i := range m.batch().Messages {
			ids = append(ids, m.batch().Messages[i].ID)
		}
	}
	if len(ids) == 0 {
		return
	}
	b.Queue(t.sql.findMessages, ids).Query(func(rows pgx.Rows) error {
		var id string
		_, err := pgx.ForEachRow(rows, []any{&id}, func() error {
			t.messages[id] = true
			return nil
		})
		return err
	})
}

// queueResubmissions reads which resubmitted batches were stored before. A
// batch is known by the first event that it wrote, or by a receipt, or by its
// own row.
func (t *transaction) queueResubmissions(b *pgx.Batch) {
	for _, m := range t.members {
		batch := m.batch()
		if !batch.Resubmit {
			continue
		}
		found := func(row pgx.Row) error {
			var n int
			err := row.Scan(&n)
			if n > 0 {
				t.stored[batch.ID] = true
			}
			return err
		}
		switch {
		case len(batch.Appends) > 0:
			if first := &batch.Appends[0]; first.Expected < math.MaxInt64 {
				b.Queue(t.sql.findEvent, first.Stream.Type, first.Stream.ID, int64(first.Expected+1), batch.ID[:]).QueryRow(found)
			}
		case len(batch.Receipts) == 0:
			b.Queue(t.sql.findBatch, batch.ID[:]).QueryRow(found)
		}
	}
}

// queueRows locks the rows whose version decides, and reads it.
func (t *transaction) queueRows(b *pgx.Batch) {
	var rows []*rowWrite
	for _, m := range t.members {
		for i := range m.rows {
			if w := &m.rows[i]; m.invalid == nil && t.lookAt[w.identity] {
				rows = append(rows, w)
				delete(t.lookAt, w.identity) // once
				t.versions[w.identity] = 0
			}
		}
	}
	slices.SortFunc(rows, compareRows)
	for _, w := range rows {
		b.Queue(w.shape.lock, w.key...).Query(func(rows pgx.Rows) error {
			var version int64
			_, err := pgx.ForEachRow(rows, []any{&version}, func() error {
				t.versions[w.identity] = uint64(version)
				return nil
			})
			return err
		})
	}
}
