package envelope

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
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
	// when inserted, and each write adds one. Nil expects nothing.
	Expected *uint64
}

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

func (c Column) validate() error {
	if err := ValidateName("row column", c.Name, MaxNameBytes); err != nil {
		return err
	}
	size := 0
	switch v := c.Value.(type) {
	case nil, bool, int64, uint64, float64, time.Time:
	case string:
		size = len(v)
	case []byte:
		size = len(v)
	case json.RawMessage:
		size = len(v)
	default:
		return Invalid("row column", c.Name, fmt.Sprintf("holds a %T", c.Value))
	}
	if size > MaxDataBytes {
		return Invalid("row column", c.Name, fmt.Sprintf("has %d bytes, at most %d are allowed", size, MaxDataBytes))
	}
	return nil
}
