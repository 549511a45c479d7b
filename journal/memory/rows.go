package memory

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// rows is every read model: each row under its identity.
type rows struct {
	byIdentity map[string]*storedRow
}

type storedRow struct {
	columns map[string]any // all but the key
	version uint64
}

// check refuses a batch with a row that is not as expected.
func (r *rows) check(b *journal.Batch) error {
	for i := range b.Rows {
		row := &b.Rows[i]
		id := row.Identity()
		actual := uint64(0)
		if stored := r.byIdentity[id]; stored != nil {
			actual = stored.version
		}
		refused := row.Expected != nil && *row.Expected != actual
		switch row.Op {
		case envelope.RowInsert:
			refused = actual > 0
		case envelope.RowPatch:
			refused = refused || actual == 0
		}
		if refused {
			return &journal.RowConflictError{Table: row.Table, Key: id, Op: row.Op, Expected: row.Expected, Actual: actual}
		}
	}
	return nil
}

// write applies the rows of b, which were checked.
func (r *rows) write(b *journal.Batch) {
	if len(b.Rows) == 0 {
		return
	}
	if r.byIdentity == nil {
		r.byIdentity = make(map[string]*storedRow)
	}
	for i := range b.Rows {
		row := &b.Rows[i]
		id := row.Identity()
		if row.Op == envelope.RowDelete {
			delete(r.byIdentity, id)
			continue
		}
		stored := r.byIdentity[id]
		if stored == nil {
			stored = &storedRow{columns: make(map[string]any, len(row.Columns))}
			r.byIdentity[id] = stored
		}
		stored.version++
		for _, c := range row.Columns {
			stored.columns[c.Name] = kept(c.Value)
		}
	}
}

// kept is a column's value as the durable journals keep it.
func kept(value any) any {
	if t, ok := value.(time.Time); ok {
		return t.UTC().Truncate(time.Microsecond)
	}
	return value
}

// Row reads one row of a read model. Any table exists.
func (j *Journal) Row(ctx context.Context, table string, key []envelope.Column) (envelope.StoredRow, bool, error) {
	if err := context.Cause(ctx); err != nil {
		return envelope.StoredRow{}, false, fmt.Errorf("memory: row of %s: %w", table, err)
	}
	asked := envelope.Row{Table: table, Op: envelope.RowDelete, Key: key}
	if err := asked.Validate(); err != nil {
		return envelope.StoredRow{}, false, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return envelope.StoredRow{}, false, journal.ErrClosed
	}
	stored := j.rows.byIdentity[asked.Identity()]
	if stored == nil {
		return envelope.StoredRow{}, false, nil
	}
	row := envelope.StoredRow{Table: table, Key: slices.Clone(key), Version: stored.version}
	for _, name := range slices.Sorted(maps.Keys(stored.columns)) {
		row.Columns = append(row.Columns, envelope.Column{Name: name, Value: stored.columns[name]})
	}
	return row, true, nil
}
