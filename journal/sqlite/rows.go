package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// writeRows writes the batch's rows, or none of them if it returns an error.
// They come after all other checks, so that nothing refuses the batch then.
func (t *transaction) writeRows(b *journal.Batch) error {
	if len(b.Rows) == 0 {
		return nil
	}
	if err := t.session.exec(t.ctx, "SAVEPOINT rows"); err != nil {
		return err
	}
	err := t.tryRows(b.Rows)
	if err == nil {
		t.rows = true
	} else if undone := t.session.exec(t.ctx, "ROLLBACK TO rows"); undone != nil {
		return lostTransaction(err, undone)
	}
	if released := t.session.exec(t.ctx, "RELEASE rows"); released != nil {
		return lostTransaction(err, released)
	}
	return err
}

// lostTransaction is the error when the savepoint is gone, and with it the
// whole transaction, as a trigger or a constraint may ask for. The others of
// the group are tried again without that batch.
func lostTransaction(cause, undone error) error {
	if isOurs(cause) {
		return &lostError{fmt.Errorf("the table ends the whole transaction: %w: %w", cause, undone)}
	}
	return errors.Join(cause, undone)
}

// lostError is one batch's fault and yet no refusal while there are others.
type lostError struct{ err error }

func (e *lostError) Error() string { return e.err.Error() }
func (e *lostError) Unwrap() error { return e.err }

// tryRows writes the rows if all are as expected.
func (t *transaction) tryRows(rows []envelope.Row) error {
	writers := make([]rowWriter, len(rows))
	for i := range rows {
		w, err := t.session.rowWriter(t.ctx, &rows[i])
		if err != nil {
			return ofRow(&rows[i], err)
		}
		if err := w.expected(); err != nil {
			return err
		}
		writers[i] = w
	}
	for i := range writers {
		if err := writers[i].write(t.ctx, t.session); err != nil {
			return ofRow(&rows[i], err)
		}
	}
	return nil
}

// ofRow makes the batch's fault of an error that the row's table is the reason
// for. What the database itself suffers from stays what it is.
func ofRow(r *envelope.Row, err error) error {
	switch codeOf(err) {
	case codeError, codeConstraint, codeMismatch, codeTooBig:
		return fmt.Errorf("sqlite: %w: %w", envelope.Invalid("row", r.Identity(), "its table does not take this "+r.Op.String()), err)
	}
	return err
}

// rowWriter knows what a row is about to do.
type rowWriter struct {
	row     *envelope.Row
	table   *table
	key     []any
	values  []any
	present bool
	version uint64 // of the stored row
}

func (s *session) rowWriter(ctx context.Context, r *envelope.Row) (w rowWriter, err error) {
	w.row = r
	if w.table, err = s.table(ctx, r.Table); err != nil {
		return w, err
	}
	if w.key, err = w.table.keyValues(r.Key); err != nil {
		return w, err
	}
	if w.values, err = w.table.values(r.Columns); err != nil {
		return w, err
	}
	var version sql.NullInt64
	w.present, err = s.row(ctx, "SELECT "+quoted(envelope.RowVersionColumn)+" FROM "+quoted(r.Table)+where(r.Key), w.key, &version)
	if w.present {
		w.version = uint64(max(version.Int64, 1)) // somebody else's row may lack one
	}
	return w, err
}

// expected refuses a row that is not as its writer saw it.
func (w *rowWriter) expected() error {
	r, ok := w.row, true
	switch {
	case r.Op == envelope.RowInsert:
		ok = !w.present
	case r.Op == envelope.RowPatch && !w.present:
		ok = false
	case r.Expected != nil:
		ok = *r.Expected == w.version
	}
	if !ok {
		return &journal.RowConflictError{Table: r.Table, Key: r.Identity(), Op: r.Op, Expected: r.Expected, Actual: w.version}
	}
	return nil
}

func (w *rowWriter) write(ctx context.Context, s *session) error {
	query, args := w.statement()
	if query == "" {
		return nil
	}
	n, err := s.count(ctx, query, args...)
	if err == nil && n != 1 { // ON CONFLICT IGNORE, or a trigger
		err = envelope.Invalid("row", w.row.Identity(), fmt.Sprintf("%s changed %d rows", w.row.Op, n))
	}
	return err
}

// statement is what writes the row, and empty if nothing does.
func (w *rowWriter) statement() (query string, args []any) {
	r := w.row
	switch {
	case r.Op == envelope.RowDelete && !w.present:
		return "", nil
	case r.Op == envelope.RowDelete:
		return "DELETE FROM " + quoted(r.Table) + where(r.Key), w.key
	case w.present:
		var set strings.Builder
		for _, c := range r.Columns {
			set.WriteString(quoted(c.Name) + " = ?, ")
		}
		args = append(append(args, w.values...), int64(w.version+1))
		return "UPDATE " + quoted(r.Table) + " SET " + set.String() + quoted(envelope.RowVersionColumn) + " = ?" + where(r.Key), append(args, w.key...)
	}
	var names strings.Builder
	for _, columns := range [...][]envelope.Column{r.Key, r.Columns} {
		for _, c := range columns {
			names.WriteString(quoted(c.Name) + ", ")
		}
	}
	args = append(append(append(args, w.key...), w.values...), int64(1))
	return "INSERT INTO " + quoted(r.Table) + " (" + names.String() + quoted(envelope.RowVersionColumn) + ") VALUES (" +
		strings.Repeat("?, ", len(args)-1) + "?)", args
}

// where selects the row of a key.
func where(key []envelope.Column) string {
	var b strings.Builder
	for i, c := range key {
		if b.WriteString(" AND "); i == 0 {
			b.Reset()
			b.WriteString(" WHERE ")
		}
		b.WriteString(quoted(c.Name) + " = ?")
	}
	return b.String()
}

// Row implements [journal.Journal]. Values are by the columns' declared types:
// int64 of INTEGER and BOOLEAN (0 or 1), float64 of REAL, string of TEXT, bytes
// of BLOB, [time.Time] of TIMESTAMP and DATETIME, [json.RawMessage] of JSON.
func (j *Journal) Row(ctx context.Context, name string, key []envelope.Column) (row envelope.StoredRow, ok bool, err error) {
	err = j.view(ctx, "row of "+name, func(ctx context.Context, s *session) error {
		t, err := s.table(ctx, name)
		if err != nil {
			return err
		}
		args, err := t.keyValues(key)
		if err != nil {
			return err
		}
		row, ok, err = s.readRow(ctx, t, key, args)
		return err
	})
	if err != nil || !ok {
		return envelope.StoredRow{}, false, err
	}
	return row, true, nil
}

// readRow reads the row of that key.
func (s *session) readRow(ctx context.Context, t *table, key []envelope.Column, args []any) (envelope.StoredRow, bool, error) {
	var query strings.Builder
	query.WriteString("SELECT " + quoted(envelope.RowVersionColumn))
	for _, name := range t.names {
		query.WriteString(", " + quoted(name))
	}
	query.WriteString(" FROM " + quoted(t.name) + where(key))
	var version sql.NullInt64
	values := make([]any, len(t.names))
	dest := []any{&version}
	for i := range values {
		dest = append(dest, &values[i])
	}
	ok, err := s.row(ctx, query.String(), args, dest...)
	if err != nil || !ok {
		return envelope.StoredRow{}, false, err
	}
	row := envelope.StoredRow{Table: t.name, Key: make([]envelope.Column, len(key)), Version: uint64(max(version.Int64, 1))}
	for i, name := range t.names {
		c := envelope.Column{Name: name, Value: t.columns[name].decode(values[i])}
		isKey := false
		for k := range key {
			if key[k].Name == name {
				row.Key[k], isKey = c, true
			}
		}
		if !isKey {
			row.Columns = append(row.Columns, c)
		}
	}
	return row, true, nil
}
