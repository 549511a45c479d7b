package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/troupe-go/troupe/envelope"
)

// rowWrite is one row of a batch.
type rowWrite struct {
	row      *envelope.Row
	identity string
	shape    *rowShape
	key      []any
	columns  []any
	member   *member
	stored   uint64 // the version before it is written, if that is known
}

func compareRows(a, b *rowWrite) int { return strings.Compare(a.identity, b.identity) }

// rowShape is the statements for rows of one table and with the same columns.
type rowShape struct{ lock, insert, upsert, patch, remove string }

func tableName(name string) string {
	if schema, table, ok := strings.Cut(name, "."); ok {
		return pgx.Identifier{schema, table}.Sanitize()
	}
	return pgx.Identifier{name}.Sanitize()
}

func quoted(name string) string { return pgx.Identifier{name}.Sanitize() }

// shapeOf writes the statements for r. Parameters are the key's values and then
// the columns'. A statement is prepared once per connection.
func shapeOf(r *envelope.Row) *rowShape {
	table, version := tableName(r.Table), quoted(envelope.RowVersionColumn)
	var names, params, keys, where, replace, set []string
	for i, c := range r.Key {
		names, keys = append(names, quoted(c.Name)), append(keys, quoted(c.Name))
		params = append(params, fmt.Sprint("$", i+1))
		where = append(where, fmt.Sprintf("%s = $%d", quoted(c.Name), i+1))
	}
	for i, c := range r.Columns {
		n := len(r.Key) + i + 1
		names, params = append(names, quoted(c.Name)), append(params, fmt.Sprint("$", n))
		replace = append(replace, fmt.Sprintf("%[1]s = excluded.%[1]s", quoted(c.Name)))
		set = append(set, fmt.Sprintf("%s = $%d", quoted(c.Name), n))
	}
	names, params = append(names, version), append(params, "1")
	replace = append(replace, fmt.Sprintf("%[1]s = t.%[1]s + 1", version))
	set = append(set, fmt.Sprintf("%[1]s = t.%[1]s + 1", version))
	this := strings.Join(where, " AND ")
	insert := fmt.Sprintf("INSERT INTO %s AS t (%s) VALUES (%s)", table, strings.Join(names, ", "), strings.Join(params, ", "))
	return &rowShape{
		lock:   fmt.Sprintf("SELECT %s::bigint FROM %s WHERE %s FOR UPDATE", version, table, this),
		insert: insert,
		upsert: fmt.Sprintf("%s ON CONFLICT (%s) DO UPDATE SET %s", insert, strings.Join(keys, ", "), strings.Join(replace, ", ")),
		patch:  fmt.Sprintf("UPDATE %s AS t SET %s WHERE %s", table, strings.Join(set, ", "), this),
		remove: fmt.Sprintf("DELETE FROM %s AS t WHERE %s", table, this),
	}
}

// statement is what writes the row, decided as it is.
func (w *rowWrite) statement() (query string, args []any) {
	all := append(slices.Clone(w.key), w.columns...)
	switch w.row.Op {
	case envelope.RowDelete:
		return w.shape.remove, w.key
	case envelope.RowPatch:
		return w.shape.patch, all
	case envelope.RowInsert:
		return w.shape.insert, all
	}
	if w.row.Expected != nil && *w.row.Expected == 0 {
		return w.shape.insert, all // so that one who inserts it meanwhile is noticed
	}
	return w.shape.upsert, all
}

// value is what the driver is given for the value of a column.
func value(v any) any {
	switch v := v.(type) {
	case uint64:
		return int64(v) // a column's is never beyond
	case time.Time:
		return micros(v)
	}
	return v
}

func values(columns []envelope.Column) []any {
	all := make([]any, len(columns))
	for i := range columns {
		all[i] = value(columns[i].Value)
	}
	return all
}

// prepareRows prepares the statements of all rows, before the transaction, so
// that a table or column that is missing, or a value of a wrong type, is found
// to be the fault of its batch.
func (t *transaction) prepareRows(ctx context.Context, conn *pgx.Conn) error {
	written := map[string]int{}
	shapes := map[string]*rowShape{}
	for _, m := range t.members {
		m.rows = m.rows[:0]
		for i := range m.batch().Rows {
			r := &m.batch().Rows[i]
			w := rowWrite{row: r, identity: r.Identity(), key: values(r.Key), columns: values(r.Columns)}
			w.shape = shapeFor(shapes, r)
			query, args := w.statement()
			err := tryParams(ctx, conn, query, args)
			if err == nil {
				err = tryParams(ctx, conn, w.shape.lock, w.key)
			}
			if err == nil {
				err = t.lane.journal.checkKey(ctx, conn, r.Table, r.Key)
			}
			switch {
			case conn.IsClosed(), err != nil && codeOf(err) != "" && !deterministic(err) && codeOf(err) != codePrivilege:
				return err
			case err != nil && codeOf(err) == codePrivilege:
				m.invalid = typed("batch "+m.batch().ID.String(), err)
			case err != nil && m.invalid == nil:
				m.invalid = invalid(m, err)
			}
			written[w.identity]++
			if r.Op == envelope.RowInsert || r.Op == envelope.RowPatch || r.Expected != nil || written[w.identity] > 1 {
				t.lookAt[w.identity] = true
			}
			m.rows = append(m.rows, w)
		}
	}
	return nil
}

func shapeFor(known map[string]*rowShape, r *envelope.Row) *rowShape {
	var key strings.Builder
	key.WriteString(r.Table)
	for _, columns := range [...][]envelope.Column{r.Key, r.Columns} {
		key.WriteByte(0)
		for _, c := range columns {
			key.WriteString(c.Name)
			key.WriteByte(1) // names have no control characters
		}
	}
	shape := known[key.String()]
	if shape == nil {
		shape = shapeOf(r)
		known[key.String()] = shape
	}
	return shape
}

// tryParams prepares query and encodes args for it.
func tryParams(ctx context.Context, conn *pgx.Conn, query string, args []any) error {
	prepared, err := conn.Prepare(ctx, query, query)
	if err != nil {
		return err
	}
	if len(prepared.ParamOIDs) != len(args) {
		return fmt.Errorf("%d parameters for %d values", len(prepared.ParamOIDs), len(args))
	}
	types := conn.TypeMap()
	for i, arg := range args {
		format := types.FormatCodeForOID(prepared.ParamOIDs[i])
		if _, isText := arg.(string); isText {
			format = pgtype.TextFormatCode
		}
		if arg == nil {
			continue
		}
		if _, err := types.Encode(prepared.ParamOIDs[i], format, arg, nil); err != nil {
			return err
		}
	}
	return nil
}

// rowWrites are those of all members that passed, in the order of identities,
// and several of one row in the order of members.
func (t *transaction) rowWrites() []*rowWrite {
	var all []*rowWrite
	for _, m := range t.writing {
		for i := range m.rows {
			all = append(all, &m.rows[i])
		}
	}
	slices.SortStableFunc(all, compareRows)
	return all
}
