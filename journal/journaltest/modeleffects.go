package journaltest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

type modelMessage struct {
	message envelope.Message
	batch   journal.BatchID
}

type modelRow struct {
	columns map[string]any
	version uint64
}

// drawEffects adds truncations, messages, rows and receipts of messages, as
// far as the adapter takes them.
func (m *model) drawEffects(t *rapid.T, b *journal.Batch) {
	f := m.r.j.Features()
	if f.Truncation {
		for _, a := range b.Appends {
			if rapid.IntRange(0, 4).Draw(t, "truncate if 0") == 0 {
				rec := &a.Records[rapid.IntRange(0, len(a.Records)-1).Draw(t, "at the n-th")]
				rec.Name = rapid.SampledFrom([]string{envelope.BaselineName, envelope.TombstoneName}).Draw(t, "beginning")
				b.Truncates = append(b.Truncates, journal.Truncate{Stream: a.Stream, Before: rec.Version})
			}
		}
	}
	if f.Messages {
		for i := range rapid.SampledFrom([]int{0, 0, 1, 2}).Draw(t, "messages") {
			id := fmt.Sprintf("%d-%d-%d", m.r.used, len(m.sent), i)
			if n := len(m.messages); n > 0 && i == 0 && rapid.IntRange(0, 9).Draw(t, "taken id if 0") == 0 {
				id = m.messages[rapid.IntRange(0, n-1).Draw(t, "message")].message.ID
			}
			msg := message(id, fmt.Sprint("key", rapid.IntRange(0, 2).Draw(t, "key")))
			if rapid.IntRange(0, 3).Draw(t, "delayed if 0") == 0 {
				msg.NotBefore = at(rapid.Uint64Range(0, 5).Draw(t, "until"))
			}
			b.Messages = append(b.Messages, msg)
		}
	}
	if f.Rows {
		for range rapid.SampledFrom([]int{0, 0, 1, 2}).Draw(t, "rows") {
			r := m.drawRow(t)
			same := func(other envelope.Row) bool { return other.Identity() == r.Identity() }
			if !slices.ContainsFunc(b.Rows, same) {
				b.Rows = append(b.Rows, r)
			}
		}
	}
	if f.Inbox && rapid.IntRange(0, 3).Draw(t, "message receipt if 0") == 0 {
		b.Receipts = append(b.Receipts, m.drawEffect(t))
	}
}

func (m *model) drawEffect(t *rapid.T) envelope.Receipt {
	return effect(rapid.SampledFrom([]string{"mailer", "printer"}).Draw(t, "consumer"),
		fmt.Sprint(m.r.used, "-", rapid.IntRange(0, 10).Draw(t, "message")))
}

// keys lists every row that a sequence writes, of two tables, without an
// operation.
func (m *model) keys() []envelope.Row {
	var all []envelope.Row
	for i := range 2 {
		id := fmt.Sprint(m.r.used, "-", i)
		all = append(all, todo(0, id))
		for line := range int64(2) {
			all = append(all, envelope.Row{Table: "order", Key: []envelope.Column{col("select", id), col("Line", line)}})
		}
	}
	return all
}

// drawRow is a write that mostly fits.
func (m *model) drawRow(t *rapid.T) envelope.Row {
	r := rapid.SampledFrom(m.keys()).Draw(t, "row")
	actual := uint64(0)
	if stored := m.rows[r.Identity()]; stored != nil {
		actual = stored.version
	}
	r.Op = envelope.RowOp(rapid.IntRange(int(envelope.RowInsert), int(envelope.RowDelete)).Draw(t, "operation"))
	if r.Op == envelope.RowInsert && actual > 0 && rapid.IntRange(0, 4).Draw(t, "insert all the same if 0") > 0 {
		r.Op = envelope.RowPatch
	}
	if r.Op != envelope.RowDelete {
		names := []string{"task", "note", "count"}
		if r.Table == "order" {
			names = []string{"group", "Amount"}
		}
		for _, name := range names {
			if rapid.Bool().Draw(t, "write "+name) {
				var value any = fmt.Sprint("by ", len(m.sent))
				if name == "count" || name == "Amount" {
					value = int64(len(m.sent))
				}
				r.Columns = append(r.Columns, col(name, value))
			}
		}
	}
	expected := actual
	switch rapid.IntRange(0, 9).Draw(t, "expects its version if 0 to 3, another if 4") {
	case 4:
		expected += 1 - 2*min(1, actual)*uint64(rapid.IntRange(0, 1).Draw(t, "older if 1"))
	case 0, 1, 2, 3:
	default:
		return r
	}
	if (&envelope.Row{Table: r.Table, Op: r.Op, Key: r.Key, Expected: &expected}).Validate() == nil {
		r.Expected = &expected
	}
	return r
}

func (m *model) message(id string) *modelMessage {
	for i := range m.messages {
		if m.messages[i].message.ID == id {
			return &m.messages[i]
		}
	}
	return nil
}

func (m *model) checkEffects(b *journal.Batch) error {
	for _, msg := range b.Messages {
		if m.message(msg.ID) != nil {
			return journal.ErrMessageExists
		}
	}
	for _, r := range b.Rows {
		actual := uint64(0)
		if stored := m.rows[r.Identity()]; stored != nil {
			actual = stored.version
		}
		stale := r.Expected != nil && *r.Expected != actual
		if stale || r.Op == envelope.RowInsert && actual > 0 || r.Op == envelope.RowPatch && actual == 0 {
			return journal.ErrRowConflict
		}
	}
	return nil
}

func (m *model) storeEffects(b *journal.Batch) {
	for _, msg := range b.Messages {
		m.messages = append(m.messages, modelMessage{msg, b.ID})
	}
	for _, r := range b.Rows {
		id := r.Identity()
		if r.Op == envelope.RowDelete {
			delete(m.rows, id)
			continue
		}
		if m.rows[id] == nil {
			m.rows[id] = &modelRow{columns: map[string]any{}}
		}
		m.rows[id].version++
		for _, c := range r.Columns {
			m.rows[id].columns[c.Name] = c.Value
		}
	}
}

// sameRefusal compares the facts of a refusal for a message id or a row.
func (m *model) sameRefusal(t *rapid.T, want error, p *pending) bool {
	if errors.Is(want, journal.ErrMessageExists) {
		var exists *journal.MessageExistsError
		require.ErrorAs(t, p.err, &exists)
		require.NotNil(t, m.message(exists.ID), "message %q", exists.ID)
		return true
	}
	if !errors.Is(want, journal.ErrRowConflict) {
		return false
	}
	var conflict *journal.RowConflictError
	require.ErrorAs(t, p.err, &conflict)
	actual := uint64(0)
	if stored := m.rows[conflict.Key]; stored != nil {
		actual = stored.version
	}
	require.Equal(t, actual, conflict.Actual, "version of row %s", conflict.Key)
	return true
}

// tells reports whether the journal can tell if b was stored: not by rows
// alone, and not by records that were scavenged since.
func (m *model) tells(b *journal.Batch) bool {
	for _, a := range b.Appends {
		if a.Expected < m.streams[a.Stream].scavenged {
			return false
		}
	}
	return len(b.Rows) == 0 || len(b.Appends)+len(b.Receipts)+len(b.Messages) > 0
}

// effect reads any receipt of a message.
func (m *model) effect(t *rapid.T) {
	if !m.r.j.Features().Inbox {
		t.Skip("no inbox")
	}
	r := m.drawEffect(t)
	want, stored := m.receipts[keyOf(r)]
	got, found, err := m.r.j.MessageReceipt(context.Background(), r.Consumer, r.ID)
	require.NoError(t, err)
	require.Equal(t, stored, found, "receipt of message %q by %s", r.ID, r.Consumer)
	if stored {
		sameReceipt(t, want.receipt, got)
	}
}

// checkRows demands that every row is as the model has it.
func (m *model) checkRows(t *rapid.T) {
	if !m.r.j.Features().Rows {
		return
	}
	for _, r := range m.keys() {
		want := m.rows[r.Identity()]
		got, found, err := m.r.j.Row(context.Background(), r.Table, r.Key)
		require.NoError(t, err)
		require.Equal(t, want != nil, found, "row %s", r.Identity())
		if want == nil {
			continue
		}
		var columns []envelope.Column
		for name, value := range want.columns {
			columns = append(columns, col(name, value))
		}
		sameRow(t, r, want.version, columns, got)
	}
}

// checkMessages demands that the outbox holds exactly the model's messages of
// this sequence, each key's in order, at the places where they were seen before.
func (m *model) checkMessages(t *rapid.T) {
	if !m.r.j.Features().Messages {
		return
	}
	got, err := drainMessages(m.r.j.Messages(context.Background(), m.r.afterMessage, 0))
	require.NoError(t, err)
	byKey, pending := map[string][]envelope.Message{}, 0
	for _, msg := range m.messages {
		if msg.message.NotBefore.IsZero() {
			byKey[msg.message.Key] = append(byKey[msg.message.Key], msg.message)
			pending++
		}
	}
	require.Len(t, got, pending, "messages")
	m.lastMessage = m.r.afterMessage
	for _, msg := range got {
		require.Greater(t, msg.Position, m.lastMessage, "position of message %q", msg.ID)
		m.lastMessage = msg.Position
		require.NotEmpty(t, byKey[msg.Key], "message %q", msg.ID)
		sameMessage(t, byKey[msg.Key][0], msg)
		byKey[msg.Key] = byKey[msg.Key][1:]
		if before, seen := m.outbox[msg.ID]; seen {
			require.Equal(t, before, msg.Position, "the position of message %q changed", msg.ID)
		}
		m.outbox[msg.ID] = msg.Position
	}
	for _, position := range m.due(t, at(5)) {
		m.lastMessage = max(m.lastMessage, position)
	}
}

// due reads where the messages of this sequence are that are held back until then
// or before, and demands that it is as many as there are.
func (m *model) due(t *rapid.T, until time.Time) []uint64 {
	page, err := m.r.j.Outbox().Delayed(context.Background(), journal.DelayedQuery{
		Slots: []journal.SlotRange{journal.AllSlots}, Until: until, Limit: math.MaxInt32,
	})
	require.NoError(t, err)
	due := slices.DeleteFunc(page.Due, func(position uint64) bool { return position <= m.r.afterMessage })
	want := 0
	for _, msg := range m.messages {
		if before := msg.message.NotBefore; !before.IsZero() && !before.After(until) {
			want++
		}
	}
	require.Len(t, due, want, "messages held back until %v", until)
	return due
}

// release has those pending whose time has come.
func (m *model) release(t *rapid.T) {
	if !m.r.j.Features().Messages {
		t.Skip("no messages")
	}
	until := at(rapid.Uint64Range(0, 5).Draw(t, "now"))
	due := m.due(t, until)
	o, ctx := m.r.j.Outbox(), context.Background()
	ok, err := o.Lease(ctx, journal.OutboxLease{Token: "model", Owner: "model", Slots: journal.AllSlots}, time.Hour)
	require.NoError(t, err)
	require.True(t, ok)
	require.NoError(t, o.Settle(ctx, "model", journal.Settlement{Pending: due}))
	require.NoError(t, o.Release(ctx, "model", journal.AllSlots))
	for i := range m.messages {
		if msg := &m.messages[i].message; !msg.NotBefore.After(until) {
			msg.NotBefore = time.Time{}
		}
	}
	m.checkMessages(t)
}

// letGo counts the records that the next Scavenge deletes.
func (m *model) letGo() int {
	n := 0
	for _, s := range m.streams {
		n += int(s.first - 1 - s.scavenged)
	}
	return n
}

// scavenge deletes what was let go, one time in three.
func (m *model) scavenge(t *rapid.T) {
	if !m.r.j.Features().Truncation || rapid.IntRange(0, 2).Draw(t, "scavenge if 0") > 0 {
		t.Skip("not now")
	}
	m.checkAll(t) // notes where the records are that stay
	archived := 0
	n, err := m.r.j.Scavenge(context.Background(), func(_ context.Context, page []envelope.Record) error {
		archived += len(page)
		for _, rec := range page {
			if s, ours := m.streams[rec.Stream]; ours {
				sameRecord(t, s.records[rec.Version-1], rec)
			}
		}
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, m.letGo()+m.r.letGo, n, "records scavenged")
	require.Equal(t, n, archived)
	m.r.letGo = 0
	for _, s := range m.streams {
		s.scavenged = s.first - 1
	}
	m.places = slices.DeleteFunc(m.places, func(p modelPlace) bool { return p.version <= m.streams[p.stream].scavenged })
	m.checkAll(t)
}
