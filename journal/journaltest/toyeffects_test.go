package journaltest

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

type toyMessage struct {
	message envelope.StoredMessage
	batch   journal.BatchID

	gone    bool // published
	parking *journal.Parking
	order   journal.ParkedOrder
}

type toyRow struct {
	columns map[string]any
	version uint64
	deleted bool // with the fault "deleted rows keep their columns"
}

// checkEffects refuses messages and rows that are not as the batch expects.
func (d *disk) checkEffects(y *toy, b *journal.Batch) error {
	checks := []func(*toy, *journal.Batch) error{d.checkMessages, d.checkRows}
	if y.fault == "rows before messages" {
		slices.Reverse(checks)
	}
	for _, check := range checks {
		if err := check(y, b); err != nil && !strings.HasSuffix(y.fault, "checked at submit") {
			return err
		}
	}
	return nil
}

func (d *disk) checkMessages(y *toy, b *journal.Batch) error {
	for _, m := range b.Messages {
		if d.message(y, m.ID) != nil && y.fault != "message ids taken twice" {
			return &journal.MessageExistsError{ID: m.ID}
		}
	}
	return nil
}

func (d *disk) message(y *toy, id string) *toyMessage {
	for i := range d.outbox {
		if m := &d.outbox[i]; m.message.ID == id && !m.gone && (m.parking == nil || y.fault != "parked ids are free") &&
			(m.message.NotBefore.IsZero() || y.fault != "delayed ids are free") {
			return m
		}
	}
	return nil
}

func (d *disk) storeMessages(y *toy, b *journal.Batch) {
	all := slices.Clone(b.Messages)
	if y.fault == "messages last first" {
		slices.Reverse(all)
	}
	for _, m := range all {
		position := uint64(1)
		for i := range d.outbox {
			if !d.outbox[i].gone || y.fault != "published positions are given out again" {
				position = d.outbox[i].message.Position + 2
			}
		}
		stored := toyMessage{message: envelope.StoredMessage{Message: m, Position: position, Slot: m.Slot()}, batch: b.ID}
		stored.message.Time = m.Time.Truncate(time.Microsecond)
		if y.fault == "delayed messages are pending" {
			stored.message.NotBefore = time.Time{}
		}
		switch y.fault {
		case "message metadata dropped":
			stored.message.Metadata.Keys = nil
		case "message source dropped":
			stored.message.Source = envelope.Stream{}
		case "message times in milliseconds":
			stored.message.Time = m.Time.Truncate(time.Millisecond)
		case "slots of ids":
			stored.message.Slot = (&envelope.Message{ID: m.ID}).Slot()
		}
		d.outbox = append(d.outbox, stored)
	}
}

func (y *toy) Messages(ctx context.Context, after uint64, limit int) iter.Seq2[envelope.StoredMessage, error] {
	return func(yield func(envelope.StoredMessage, error) bool) {
		if err := y.check(ctx); err != nil {
			yield(envelope.StoredMessage{}, err)
			return
		}
		y.disk.mu.Lock()
		all := slices.Clone(y.disk.outbox)
		y.disk.mu.Unlock()
		for i := range all {
			m := all[i].message
			if all[i].gone || all[i].parking != nil || !m.NotBefore.IsZero() || m.Position < after || m.Position == after && y.fault != "messages inclusive" {
				continue
			}
			if !yield(m, nil) {
				return
			}
			if limit--; limit == 0 && y.fault != "message limit ignored" {
				return
			}
		}
	}
}

func (y *toy) identity(table string, key []envelope.Column) string {
	if y.fault == "row keys joined" {
		key = slices.SortedFunc(slices.Values(key), func(a, b envelope.Column) int { return cmp.Compare(b.Name, a.Name) })
		joined := table
		for _, c := range key {
			joined += fmt.Sprint(c.Value)
		}
		return joined
	}
	return envelope.RowIdentity(table, key)
}

// fits compares a row with its table.
func (d *disk) fits(y *toy, table string, key, columns []envelope.Column) error {
	if y.fault == "any row fits" {
		return nil
	}
	for _, t := range d.tables {
		if t.Name != table {
			continue
		}
		if !named(key, t.Key) || len(key) != len(t.Key) || !named(columns, t.Columns) {
			break
		}
		return nil
	}
	return envelope.Invalid("row", table, "does not fit its table")
}

func named(columns []envelope.Column, of []TableColumn) bool {
	for _, c := range columns {
		if !slices.ContainsFunc(of, func(t TableColumn) bool { return t.Name == c.Name }) {
			return false
		}
	}
	return true
}

func (d *disk) checkRows(y *toy, b *journal.Batch) error {
	for i := range b.Rows {
		r := &b.Rows[i]
		if err := d.fits(y, r.Table, r.Key, r.Columns); err != nil {
			return err
		}
		actual := uint64(0)
		if stored := d.rows[y.identity(r.Table, r.Key)]; stored != nil && !stored.deleted {
			actual = stored.version
		}
		refused := r.Expected != nil && *r.Expected != actual && y.fault != "row versions ignored"
		switch r.Op {
		case envelope.RowInsert:
			refused = actual > 0 && y.fault != "insert replaces"
		case envelope.RowPatch:
			refused = refused || actual == 0 && y.fault != "patch inserts"
		case envelope.RowDelete:
			refused = refused || actual == 0 && y.fault == "delete needs a row"
		}
		if refused {
			return &journal.RowConflictError{Table: r.Table, Key: r.Identity(), Op: r.Op, Expected: r.Expected, Actual: actual}
		}
	}
	return nil
}

func (d *disk) writeRows(y *toy, b *journal.Batch) {
	for _, r := range b.Rows {
		id := y.identity(r.Table, r.Key)
		stored := d.rows[id]
		switch {
		case y.fault == "rows ignored":
			continue
		case r.Op == envelope.RowDelete && y.fault == "deleted rows keep their columns":
			if stored != nil {
				stored.deleted, stored.version = true, 0
			}
			continue
		case r.Op == envelope.RowDelete:
			delete(d.rows, id)
			continue
		case stored == nil, y.fault == "upsert replaces the row" && r.Op == envelope.RowUpsert:
			version := uint64(0)
			if stored != nil {
				version = stored.version
			}
			stored = &toyRow{columns: map[string]any{}, version: version}
			d.rows[id] = stored
		}
		stored.deleted = false
		if y.fault != "patch keeps the version" || r.Op != envelope.RowPatch {
			stored.version++
		}
		for _, c := range r.Columns {
			if c.Value != nil && y.fault == "rows are text" {
				c.Value = fmt.Sprint(c.Value)
			}
			stored.columns[c.Name] = c.Value
		}
	}
}

func (y *toy) Row(ctx context.Context, table string, key []envelope.Column) (envelope.StoredRow, bool, error) {
	if err := y.check(ctx); err != nil {
		return envelope.StoredRow{}, false, err
	}
	if len(key) == 0 {
		return envelope.StoredRow{}, false, envelope.Invalid("row key", table, "has no column")
	}
	y.disk.mu.Lock()
	defer y.disk.mu.Unlock()
	if err := y.disk.fits(y, table, key, nil); err != nil {
		return envelope.StoredRow{}, false, err
	}
	stored := y.disk.rows[y.identity(table, key)]
	if stored == nil || stored.deleted {
		return envelope.StoredRow{}, false, nil
	}
	row := envelope.StoredRow{Table: table, Key: slices.Clone(key), Version: stored.version}
	for _, name := range slices.Sorted(maps.Keys(stored.columns)) {
		row.Columns = append(row.Columns, col(name, stored.columns[name]))
	}
	return row, true, nil
}

// hold writes b and leaves it uncommitted. The toy has one writer at a time.
func (d *disk) hold(fault string, b *journal.Batch) func(commit bool) {
	y := &toy{fault: fault, disk: d}
	d.writing.Lock()
	write := func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if _, err := y.decide(&toyItem{batch: b}); err != nil {
			panic(err)
		}
	}
	if fault == "uncommitted records are read" {
		write()
	}
	return func(commit bool) {
		defer d.writing.Unlock()
		switch {
		case commit && fault != "uncommitted records are read":
			write()
		case !commit && fault == "uncommitted records are read":
			d.mu.Lock()
			defer d.mu.Unlock()
			for _, a := range b.Appends {
				d.log = d.log[:len(d.log)-len(a.Records)]
				d.streams[a.Stream] = d.streams[a.Stream][:a.Expected]
			}
		}
	}
}

func toyHarness(fault string) Harness {
	d := newDisk()
	return Harness{
		Journal:    openToy(fault, d),
		Reopen:     func(testing.TB) journal.Journal { return openToy(fault, d.reopened(fault)) },
		QueueBytes: toyQueueBytes,
		Tables:     func(_ testing.TB, tables []Table) { d.tables = tables },
		Second:     func(testing.TB) journal.Journal { return openToy(fault, d) },
		Hold:       func(_ testing.TB, b *journal.Batch) func(bool) { return d.hold(fault, b) },
	}
}
