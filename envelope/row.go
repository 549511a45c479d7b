package envelope

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// RowOp says what a [Row] does to its table.
type RowOp uint8

// The row operations. The zero RowOp is invalid.
const (
	RowInsert RowOp = 1 // the key must be absent
	RowUpsert RowOp = 2 // insert, or replace all named columns
	RowPatch  RowOp = 3 // the key must be present; only the named columns change
	RowDelete RowOp = 4 // no columns; an absent key is no error unless Expected says otherwise
)

// String is the operation's lower-case name.
func (op RowOp) String() string {
	switch op {
	case RowInsert:
		return "insert"
	case RowUpsert:
		return "upsert"
	case RowPatch:
		return "patch"
	case RowDelete:
		return "delete"
	}
	return "row op " + strconv.Itoa(int(op))
}

// RowVersionColumn is the column in which the tables of SQL journals keep the
// version of a row. No other column may have its name.
const RowVersionColumn = "_sourced_version"

// MaxRowColumns bounds the columns of one row, key included.
const MaxRowColumns = 256

// Column is one named value of a [Row]. Value is nil, bool, int64, uint64,
// float64, string, []byte, [time.Time] or [json.RawMessage].
type Column struct {
	Name  string
	Value any
}

// Row is one write to a read model's table, part of a batch.
type Row struct {
	Table   string
	Op      RowOp
	Key     []Column // the primary key, at least one column
	Columns []Column // what to write; none for a delete

	// Expected is the row version that the writer saw: a row is at version 1
	// when inserted, and each write adds one. Nil expects nothing; 0 expects
	// the row to be absent, which only an insert and an upsert can.
	Expected *uint64
}

// StoredRow is a row as a journal holds it. Values have the types of [Column],
// as far as the store tells them apart: SQLite has no bool and keeps 0 and 1.
type StoredRow struct {
	Table   string
	Key     []Column // in the order that was asked for
	Columns []Column // all others but the version, in the order of names
	Version uint64
}

// Identity tells r from the rows of other tables and keys: equal identities
// are the same row, in whatever order the key's columns stand.
func (r *Row) Identity() string { return RowIdentity(r.Table, r.Key) }

// RowIdentity is the [Row.Identity] of the row of that key.
func RowIdentity(table string, key []Column) string {
	b := strconv.AppendQuote(nil, table)
	sorted := key
	if !slices.IsSortedFunc(key, byName) {
		sorted = slices.SortedFunc(slices.Values(key), byName)
	}
	for _, c := range sorted {
		b = append(b, ' ')
		b = append(b, c.Name...)
		b = append(b, '=')
		switch v := c.Value.(type) {
		case string:
			b = strconv.AppendQuote(b, v)
		case []byte:
			b = append(b, "0x"...)
			b = hex.AppendEncode(b, v)
		case time.Time:
			b = v.UTC().Truncate(time.Microsecond).AppendFormat(b, time.RFC3339Nano)
		case json.RawMessage:
			b = append(b, v...)
		default:
			b = fmt.Append(b, v)
		}
	}
	return string(b)
}

func byName(a, b Column) int { return strings.Compare(a.Name, b.Name) }

// Validate checks names, value types and that the columns fit the operation.
//
// Errors: [ErrInvalid].
func (r *Row) Validate() error {
	if err := ValidateName("row table", r.Table, MaxNameBytes); err != nil {
		return err
	}
	if r.Op < RowInsert || r.Op > RowDelete {
		return Invalid("row operation", r.Op.String(), "want insert, upsert, patch or delete")
	}
	if len(r.Key) == 0 {
		return Invalid("row key", r.Table, "has no column")
	}
	if n := len(r.Key) + len(r.Columns); n > MaxRowColumns {
		return Invalid("row columns", strconv.Itoa(n), fmt.Sprintf("at most %d are allowed", MaxRowColumns))
	}
	if r.Op == RowDelete && len(r.Columns) > 0 {
		return Invalid("row columns", r.Columns[0].Name, "a delete writes no columns")
	}
	if err := r.validateExpected(); err != nil {
		return err
	}
	for _, c := range r.Key {
		if c.Value == nil {
			return Invalid("row key", c.Name, "is nil")
		}
	}
	seen := make(map[string]struct{}, len(r.Key)+len(r.Columns))
	for _, cols := range [...][]Column{r.Key, r.Columns} {
		for _, c := range cols {
			if err := c.validate(); err != nil {
				return err
			}
			if _, twice := seen[c.Name]; twice {
				return Invalid("row column", c.Name, "is named twice")
			}
			seen[c.Name] = struct{}{}
		}
	}
	return nil
}

func (r *Row) validateExpected() error {
	switch {
	case r.Expected == nil, *r.Expected == 0 && r.Op == RowUpsert, *r.Expected > 0 && r.Op != RowInsert:
		return nil
	case r.Op == RowInsert && *r.Expected == 0:
		return nil
	case r.Op == RowInsert:
		return Invalid("row version", strconv.FormatUint(*r.Expected, 10), "an insert expects no row")
	}
	return Invalid("row version", "0", "a "+r.Op.String()+" expects a row")
}

// SizeBytes is about what the row takes in a queue or on disk.
func (r *Row) SizeBytes() int {
	n := len(r.Table) + 32
	for _, cols := range [...][]Column{r.Key, r.Columns} {
		for _, c := range cols {
			n += len(c.Name) + 16
			switch v := c.Value.(type) {
			case string:
				n += len(v)
			case []byte:
				n += len(v)
			case json.RawMessage:
				n += len(v)
			}
		}
	}
	return n
}

func (c Column) validate() error {
	if err := ValidateName("row column", c.Name, MaxNameBytes); err != nil {
		return err
	}
	if c.Name == RowVersionColumn {
		return Invalid("row column", c.Name, "holds the row's version: use Expected")
	}
	size := 0
	switch v := c.Value.(type) {
	case nil, bool, int64, time.Time:
	case uint64:
		if v > math.MaxInt64 {
			return Invalid("row column", c.Name, fmt.Sprint(v, " is more than a database's integer holds"))
		}
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return Invalid("row column", c.Name, fmt.Sprint(v, " is no number that every store keeps"))
		}
	case string:
		if !utf8.ValidString(v) || strings.ContainsRune(v, 0) {
			return Invalid("row column", c.Name, "holds text that is no UTF-8, or a zero byte")
		}
		size = len(v)
	case []byte:
		size = len(v)
	case json.RawMessage:
		if !json.Valid(v) {
			return Invalid("row column", c.Name, "holds malformed JSON")
		}
		size = len(v)
	default:
		return Invalid("row column", c.Name, fmt.Sprintf("holds a %T", c.Value))
	}
	if size > MaxDataBytes {
		return Invalid("row column", c.Name, fmt.Sprintf("has %d bytes, at most %d are allowed", size, MaxDataBytes))
	}
	return nil
}
