package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// Row implements [journal.Journal]. A table is a name that the session's
// search_path finds, or "schema.table". Values come as bool, int64, float64,
// []byte, [json.RawMessage], UTC [time.Time], or else as text.
func (j *Journal) Row(ctx context.Context, table string, key []envelope.Column) (envelope.StoredRow, bool, error) {
	asked := envelope.Row{Table: table, Op: envelope.RowDelete, Key: key}
	if err := asked.Validate(); err != nil {
		return envelope.StoredRow{}, false, err
	}
	var where []string
	for i, c := range key {
		where = append(where, fmt.Sprintf("%s = $%d", quoted(c.Name), i+1))
	}
	query := fmt.Sprintf("SELECT * FROM %s WHERE %s", tableName(table), strings.Join(where, " AND "))
	row := envelope.StoredRow{Table: table, Key: slices.Clone(key)}
	found := false
	err := j.read(ctx, "row of "+table, func(ctx context.Context, conn *pgx.Conn) error {
		// Not a prepared statement: "SELECT *" of one would fail once after
		// each change of the table.
		row.Columns = nil
		if err := j.checkKey(ctx, conn, table, key); err != nil {
			return err
		}
		rows, err := conn.Query(ctx, query, append([]any{pgx.QueryExecModeDescribeExec}, values(key)...)...)
		if err != nil {
			return err
		}
		defer rows.Close()
		if found = rows.Next(); found {
			err = fillRow(&row, conn.TypeMap(), rows)
		}
		rows.Close()
		return errors.Join(err, rows.Err())
	})
	switch {
	case errors.Is(err, journal.ErrInvalid):
		return envelope.StoredRow{}, false, err
	case deterministic(err), err != nil && codeOf(err) == "" && strings.Contains(err.Error(), "encode"):
		return envelope.StoredRow{}, false, fmt.Errorf("postgres: row of %s: %w: %w", table, journal.ErrInvalid, err)
	case err != nil || !found:
		return envelope.StoredRow{}, false, err
	}
	return row, true, nil
}

// fillRow reads the columns of a row that are not of its key.
func fillRow(row *envelope.StoredRow, types *pgtype.Map, rows pgx.Rows) error {
	versioned := false
	raw := rows.RawValues()
	for i, field := range rows.FieldDescriptions() {
		if slices.ContainsFunc(row.Key, func(c envelope.Column) bool { return c.Name == field.Name }) {
			continue
		}
		v, err := readValue(types, field.DataTypeOID, field.Format, raw[i])
		if err != nil {
			return err
		}
		if field.Name != envelope.RowVersionColumn {
			row.Columns = append(row.Columns, envelope.Column{Name: field.Name, Value: v})
			continue
		}
		version, ok := v.(int64)
		row.Version, versioned = uint64(version), ok
	}
	if !versioned {
		return envelope.Invalid("row table", row.Table, "has no integer column "+envelope.RowVersionColumn)
	}
	slices.SortFunc(row.Columns, func(a, b envelope.Column) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

// readValue decodes one value; it shares no memory with raw.
func readValue(types *pgtype.Map, oid uint32, format int16, raw []byte) (any, error) {
	if raw == nil {
		return nil, nil
	}
	switch oid {
	case pgtype.BoolOID:
		return scan[bool](types, oid, format, raw)
	case pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID:
		return scan[int64](types, oid, format, raw)
	case pgtype.Float4OID, pgtype.Float8OID:
		return scan[float64](types, oid, format, raw)
	case pgtype.ByteaOID:
		return scan[[]byte](types, oid, format, raw)
	case pgtype.JSONOID, pgtype.JSONBOID:
		text, err := scan[[]byte](types, oid, format, raw)
		if err != nil {
			return nil, err
		}
		return json.RawMessage(text.([]byte)), nil
	case pgtype.TimestamptzOID, pgtype.TimestampOID, pgtype.DateOID:
		t, err := scan[time.Time](types, oid, format, raw)
		if err != nil {
			return nil, err
		}
		return t.(time.Time).UTC(), nil
	}
	if format == pgtype.TextFormatCode {
		return string(raw), nil
	}
	return scan[string](types, oid, format, raw)
}

func scan[T any](types *pgtype.Map, oid uint32, format int16, raw []byte) (any, error) {
	var v T
	err := types.Scan(oid, format, raw, &v)
	return v, err
}

// checkKey refuses columns that are not a whole key of the table: more than one
// row could be meant. A key that was found is remembered.
func (j *Journal) checkKey(ctx context.Context, conn *pgx.Conn, table string, key []envelope.Column) error {
	names := make([]string, len(key))
	for i := range key {
		names[i] = key[i].Name
	}
	slices.Sort(names)
	known := table + "\x00" + strings.Join(names, "\x00")
	if _, ok := j.keys.Load(known); ok {
		return nil
	}
	const query = `SELECT EXISTS (SELECT FROM pg_index i
		WHERE i.indrelid = to_regclass($1) AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
		AND $2::text[] = (SELECT array_agg(a.attname::text ORDER BY a.attname::text COLLATE "C") FROM pg_attribute a
			WHERE a.attrelid = i.indrelid AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])))`
	var unique bool
	if err := conn.QueryRow(ctx, query, tableName(table), names).Scan(&unique); err != nil {
		return err
	}
	if !unique {
		return envelope.Invalid("row key", strings.Join(names, ", "), "is not the primary key of a table "+table+", nor unique")
	}
	j.keys.Store(known, struct{}{})
	return nil
}
