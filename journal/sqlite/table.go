package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/troupe-go/troupe/envelope"
)

// tables is what one connection knows of the read models' tables.
type tables struct {
	schema int64 // PRAGMA schema_version when it was read
	byName map[string]*table
}

// table is one of a read model.
type table struct {
	name    string
	columns map[string]valueType // all but the version
	names   []string             // of columns, in order
	key     []string             // the primary key, in order
}

// table reads what is known of the table of that name, again after any change
// to the database's schema.
//
// Errors: [journal.ErrInvalid] when there is none, or when it is not made for
// rows.
func (s *session) table(ctx context.Context, name string) (*table, error) {
	var schema int64
	if _, err := s.row(ctx, "PRAGMA schema_version", nil, &schema); err != nil {
		return nil, err
	}
	if s.tables.byName == nil || s.tables.schema != schema {
		s.tables = tables{schema: schema, byName: make(map[string]*table)}
	}
	if t, ok := s.tables.byName[name]; ok {
		return t, nil
	}
	t, err := s.readTable(ctx, name)
	if err != nil {
		return nil, err
	}
	s.tables.byName[name] = t
	return t, nil
}

func (s *session) readTable(ctx context.Context, name string) (*table, error) {
	t := &table{name: name, columns: make(map[string]valueType)}
	keys, versioned := map[int]string{}, false
	const query = `SELECT x.name, x.type, x.pk, x.hidden FROM sqlite_master m, pragma_table_xinfo(m.name) x WHERE m.type = 'table' AND m.name = ?`
	err := s.rows(ctx, query, []any{name}, func(rows *sql.Rows) (bool, error) {
		var column, declared string
		var pk, hidden int
		if err := rows.Scan(&column, &declared, &pk, &hidden); err != nil {
			return false, err
		}
		switch {
		case column == envelope.RowVersionColumn:
			versioned = true
			return true, nil
		case hidden == 1: // of a virtual table
			return true, nil
		case pk > 0:
			keys[pk] = column
		}
		t.columns[column] = typeOf(declared)
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	for _, pk := range slices.Sorted(maps.Keys(keys)) {
		t.key = append(t.key, keys[pk])
	}
	t.names = slices.Sorted(maps.Keys(t.columns))
	switch {
	case len(t.names) == 0:
		return nil, envelope.Invalid("row table", name, "the database has no such table")
	case !versioned:
		return nil, envelope.Invalid("row table", name, "has no column "+envelope.RowVersionColumn+" INTEGER NOT NULL")
	case len(t.key) == 0:
		return nil, envelope.Invalid("row table", name, "has no primary key")
	}
	return t, nil
}

// values makes what the driver is given for columns.
//
// Errors: [journal.ErrInvalid] for one that the table does not have, and for a
// value of another type.
func (t *table) values(columns []envelope.Column) ([]any, error) {
	values := make([]any, len(columns))
	for i, c := range columns {
		typ, ok := t.columns[c.Name]
		if !ok {
			return nil, envelope.Invalid("row column", c.Name, "table "+t.name+" has no such column")
		}
		if values[i], ok = typ.encode(c.Value); !ok {
			return nil, envelope.Invalid("row column", c.Name, fmt.Sprintf("a %T does not fit the column's type in table %s, %s", c.Value, t.name, typ))
		}
	}
	return values, nil
}

// keyValues is values for the key, which must be the table's whole primary key.
func (t *table) keyValues(key []envelope.Column) ([]any, error) {
	if len(key) != len(t.key) || slices.ContainsFunc(key, func(c envelope.Column) bool { return !slices.Contains(t.key, c.Name) }) {
		names := make([]string, len(key))
		for i := range key {
			names[i] = key[i].Name
		}
		return nil, envelope.Invalid("row key", strings.Join(names, ","), "the primary key of table "+t.name+" is "+strings.Join(t.key, ","))
	}
	return t.values(key)
}

// valueType is what a column holds, by its declared type.
type valueType string

const (
	typeInteger valueType = "INTEGER"
	typeReal    valueType = "REAL"
	typeText    valueType = "TEXT"
	typeBlob    valueType = "BLOB"
	typeBool    valueType = "BOOLEAN"
	typeTime    valueType = "TIMESTAMP"
	typeJSON    valueType = "JSON"
	typeAny     valueType = "any" // as SQLite sees fit
)

// typeOf knows the names that SQLite has rules for, in the order of those
// rules (https://sqlite.org/datatype3.html, 3.1), behind three that SQLite has
// none for.
func typeOf(declared string) valueType {
	declared = strings.ToUpper(declared)
	has := func(parts ...string) bool {
		return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(declared, p) })
	}
	switch {
	case strings.HasPrefix(declared, "TIMESTAMP"), strings.HasPrefix(declared, "DATETIME"):
		return typeTime
	case strings.HasPrefix(declared, "JSON"):
		return typeJSON
	case strings.HasPrefix(declared, "BOOL"):
		return typeBool
	case has("INT"):
		return typeInteger
	case has("CHAR", "CLOB", "TEXT"):
		return typeText
	case has("BLOB"):
		return typeBlob
	case has("REAL", "FLOAT", "DOUBLE"):
		return typeReal
	}
	return typeAny
}

// timeLayout has one width, so that times sort as text, in all years of four
// digits. SQLite's date functions read it.
const timeLayout = "2006-01-02 15:04:05.000000Z"

// encode makes the driver's value of v, and reports whether v fits.
func (typ valueType) encode(v any) (any, bool) {
	switch v := v.(type) {
	case nil:
		return nil, true
	case bool:
		return v, typ.in(typeBool, typeInteger)
	case int64:
		return v, typ.in(typeInteger, typeReal, typeBool)
	case uint64:
		return int64(v), typ.in(typeInteger, typeReal, typeBool)
	case float64:
		return v, typ.in(typeReal)
	case string:
		return v, typ.in(typeText)
	case []byte:
		return notNull(v), typ.in(typeBlob)
	case time.Time:
		v = v.UTC()
		return v.Truncate(time.Microsecond).Format(timeLayout), v.Year() >= 0 && v.Year() <= 9999 && typ.in(typeTime, typeText)
	case json.RawMessage:
		if typ == typeJSON && isNumber(v) {
			return []byte(v), true // as text, SQLite would make a number of it, and round it
		}
		return string(v), typ.in(typeJSON, typeText)
	}
	return nil, false
}

func (typ valueType) in(types ...valueType) bool {
	return typ == typeAny || slices.Contains(types, typ)
}

// decode makes a column's value of the driver's.
func (typ valueType) decode(v any) any {
	switch v := v.(type) {
	case []byte:
		if typ == typeJSON {
			return json.RawMessage(v)
		}
		return notNull(v)
	case string:
		if typ == typeJSON {
			return json.RawMessage(v)
		}
	case time.Time:
		return v.UTC()
	case int64:
		if typ == typeReal {
			return float64(v)
		}
	}
	return v
}

// isNumber reports whether valid JSON is a number.
func isNumber(v json.RawMessage) bool {
	text := strings.TrimLeft(string(v), " \t\r\n")
	return text != "" && (text[0] == '-' || text[0] >= '0' && text[0] <= '9')
}

// quoted is an identifier for SQL.
func quoted(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
