package journaltest

import "slices"

// Table describes a table of a read model that the suite writes to. Names are
// to be quoted: some are reserved words of SQL, and their case counts.
type Table struct {
	Name    string
	Key     []TableColumn // the primary key
	Columns []TableColumn // all others; each may be without a value
}

// TableColumn is one column of a [Table].
type TableColumn struct {
	Name string
	Type ColumnType
}

// ColumnType says which values of an [envelope.Column] a column holds.
type ColumnType string

// The types of columns. A column of ColumnInt holds int64 and uint64.
const (
	ColumnBool  ColumnType = "bool"
	ColumnInt   ColumnType = "int"
	ColumnFloat ColumnType = "float"
	ColumnText  ColumnType = "text"
	ColumnBytes ColumnType = "bytes"
	ColumnTime  ColumnType = "time"
	ColumnJSON  ColumnType = "json"
)

// Tables lists every table that the suite writes to. Beside the columns listed
// here, a table of an SQL store has the one named [envelope.RowVersionColumn].
func Tables() []Table { return slices.Clone(suiteTables) }

var suiteTables = []Table{
	{
		Name: "todos",
		Key:  []TableColumn{{"id", ColumnText}},
		Columns: []TableColumn{
			{"task", ColumnText}, {"done", ColumnBool}, {"count", ColumnInt}, {"note", ColumnText},
		},
	},
	{
		Name: "kinds",
		Key:  []TableColumn{{"id", ColumnText}},
		Columns: []TableColumn{
			{"b", ColumnBool}, {"i", ColumnInt}, {"u", ColumnInt}, {"f", ColumnFloat}, {"s", ColumnText},
			{"x", ColumnBytes}, {"t", ColumnTime}, {"j", ColumnJSON},
		},
	},
	{
		Name:    "order",
		Key:     []TableColumn{{"select", ColumnText}, {"Line", ColumnInt}},
		Columns: []TableColumn{{"group", ColumnText}, {"Amount", ColumnInt}},
	},
}
