package sqlite_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/sqlite"
)

const rowTables = `
	CREATE TABLE plain (id INTEGER PRIMARY KEY, "at" TIMESTAMP, r REAL, j JSON, flag BOOLEAN, t TEXT, x BLOB, free, _sourced_version INTEGER NOT NULL);
	CREATE TABLE strictly (id TEXT PRIMARY KEY, n INTEGER NOT NULL, _sourced_version INTEGER NOT NULL) STRICT;
	CREATE TABLE checked (id TEXT PRIMARY KEY, n INTEGER CHECK (n < 10), _sourced_version INTEGER NOT NULL);
	CREATE TABLE ignoring (id TEXT PRIMARY KEY, n INTEGER UNIQUE ON CONFLICT IGNORE, _sourced_version INTEGER NOT NULL);
	CREATE TABLE abrupt (id TEXT PRIMARY KEY, n INTEGER UNIQUE ON CONFLICT ROLLBACK, _sourced_version INTEGER NOT NULL);
	CREATE TABLE unversioned (id TEXT PRIMARY KEY);
	CREATE TABLE keyless (id TEXT, _sourced_version INTEGER NOT NULL);
	CREATE VIEW seen AS SELECT * FROM strictly;
	CREATE TABLE parent (id TEXT PRIMARY KEY);
	CREATE TABLE child (id TEXT PRIMARY KEY, parent TEXT REFERENCES parent DEFERRABLE INITIALLY DEFERRED, _sourced_version INTEGER NOT NULL);`

func openWithRows(t *testing.T) *sqlite.Journal {
	path := newPath(t)
	j := open(t, path, quiet())
	_, err := raw(t, path).Exec(rowTables)
	require.NoError(t, err)
	return j
}

func upsert(table string, id any, columns ...envelope.Column) envelope.Row {
	return envelope.Row{Table: table, Op: envelope.RowUpsert, Key: []envelope.Column{{Name: "id", Value: id}}, Columns: columns}
}

// n is the column of that name.
func n(value any) envelope.Column { return envelope.Column{Name: "n", Value: value} }

// TestRowsThatDoNotFit submits each misfit between good batches: it alone is
// refused, and its events with it.
func TestRowsThatDoNotFit(t *testing.T) {
	t.Parallel()
	db, err := sql.Open("sqlite", newPath(t)+"?_pragma=journal_mode(WAL)&_pragma=foreign_keys(1)")
	require.NoError(t, err)
	defer db.Close()
	require.NoError(t, sqlite.Migrate(t.Context(), db))
	_, err = db.Exec(rowTables)
	require.NoError(t, err)
	j, err := sqlite.FromDB(t.Context(), db, quiet())
	require.NoError(t, err)
	defer j.Close()
	commit(t, j, rowsOnly(upsert("ignoring", "first", n(int64(1))), upsert("abrupt", "first", n(int64(1)))))
	misfits := []envelope.Row{
		upsert("strictly", "x", n("text")),
		upsert("strictly", "x", n(nil)),
		upsert("strictly", "x"),
		upsert("strictly", int64(1), n(int64(1))),
		upsert("strictly", "x", envelope.Column{Name: "N", Value: int64(1)}),
		upsert("checked", "x", n(int64(10))),
		upsert("checked", "x", n(1.5)),
		upsert("ignoring", "x", n(int64(1))),
		upsert("abrupt", "x", n(int64(1))),
		upsert("unversioned", "x"), upsert("keyless", "x"), upsert("seen", "x"), upsert("Strictly", "x", n(int64(1))),
		upsert("heads", "x"), upsert(`no "such" table`, "x"),
		upsert("plain", int64(1), envelope.Column{Name: "at", Value: time.Date(12026, 1, 1, 0, 0, 0, 0, time.UTC)}),
		upsert("plain", int64(1), envelope.Column{Name: "at", Value: "noon"}),
		upsert("child", "x", envelope.Column{Name: "parent", Value: "missing"}), // known at COMMIT
	}
	var answers []chan error
	for i := range 3 * len(misfits) {
		b := rowsOnly(upsert("strictly", fmt.Sprint("good", i), n(int64(i))))
		b.Appends = []journal.Append{events(todo(fmt.Sprint(i)), 0, 1)}
		if i%3 == 1 {
			b.Rows = append(b.Rows, misfits[i/3])
		}
		answer := make(chan error, 1)
		answers = append(answers, answer)
		j.Submit(b, func(_ journal.Result, err error) { answer <- err })
	}
	for i, answer := range answers {
		err, stored := <-answer, i%3 != 1
		if stored {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, journal.ErrInvalid, "%+v", misfits[i/3])
		}
		latest, err := j.LoadLatest(t.Context(), todo(fmt.Sprint(i)))
		require.NoError(t, err)
		require.Equal(t, stored, latest.Version == 1)
		_, ok, err := j.Row(t.Context(), "strictly", []envelope.Column{{Name: "id", Value: fmt.Sprint("good", i)}})
		require.NoError(t, err)
		require.Equal(t, stored, ok)
	}
}

func rowsOnly(rows ...envelope.Row) *journal.Batch {
	return &journal.Batch{ID: journal.NewBatchID(), Rows: rows}
}

func TestRowValuesComeBackByDeclaredType(t *testing.T) {
	t.Parallel()
	j := openWithRows(t)
	at := time.Date(2026, 2, 3, 4, 5, 6, 700_000_999, time.FixedZone("", 3600))
	for i, want := range map[int64]map[string]any{
		1: {"at": at, "r": 2.0, "j": json.RawMessage(`{"a": 1}`), "flag": true, "t": "007", "x": []byte{}, "free": "12"},
		2: {"at": time.Time{}, "r": int64(3), "j": json.RawMessage(`12345678901234567890`), "flag": false, "t": "", "x": []byte{0}, "free": []byte("12")},
		3: {"at": nil, "r": nil, "j": json.RawMessage(`"text"`), "flag": nil, "t": nil, "x": nil, "free": int64(12)},
	} {
		row := upsert("plain", i)
		for name, v := range want {
			row.Columns = append(row.Columns, envelope.Column{Name: name, Value: v})
		}
		commit(t, j, rowsOnly(row))
		got, ok, err := j.Row(t.Context(), "plain", row.Key)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, row.Key, got.Key)
		require.Len(t, got.Columns, len(want))
		for _, c := range got.Columns {
			expected := want[c.Name]
			switch v := expected.(type) {
			case time.Time:
				expected = v.UTC().Truncate(time.Microsecond)
			case bool:
				expected = map[bool]int64{true: 1}[v]
			case int64:
				if c.Name == "r" {
					expected = float64(v)
				}
			}
			require.Equal(t, expected, c.Value, "row %d, column %s", i, c.Name)
		}
	}
}

func TestTimesSortAsTheyAreStored(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	j := open(t, path, nil)
	db := raw(t, path)
	_, err := db.Exec(rowTables)
	require.NoError(t, err)
	for i, nanos := range []int{0, 1_000, 10_000, 100_000_000, 999_999_000} {
		commit(t, j, rowsOnly(upsert("plain", int64(i), envelope.Column{Name: "at", Value: time.Date(2026, 1, 1, 0, 0, 0, nanos, time.UTC)})))
	}
	rows, err := db.Query(`SELECT id, strftime('%Y', "at") FROM plain ORDER BY "at"`)
	require.NoError(t, err)
	defer rows.Close()
	for want := 0; rows.Next(); want++ {
		var id int
		var year string
		require.NoError(t, rows.Scan(&id, &year))
		require.Equal(t, want, id)
		require.Equal(t, "2026", year, "SQLite's date functions read it")
	}
	require.NoError(t, rows.Err())
}

// TestTableThatChanges adds a column while the journal is open.
func TestTableThatChanges(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	j := open(t, path, quiet())
	db := raw(t, path)
	_, err := db.Exec(rowTables)
	require.NoError(t, err)
	commit(t, j, rowsOnly(upsert("checked", "x", n(int64(1)))))
	more := rowsOnly(upsert("checked", "x", n(int64(2)), envelope.Column{Name: "more", Value: "y"}))
	_, err = journal.Commit(t.Context(), j, more)
	require.ErrorIs(t, err, journal.ErrInvalid)
	_, err = db.Exec("ALTER TABLE checked ADD COLUMN more TEXT")
	require.NoError(t, err)
	more.ID = journal.NewBatchID()
	commit(t, j, more)
	row, ok, err := j.Row(t.Context(), "checked", more.Rows[0].Key)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, []envelope.Column{{Name: "more", Value: "y"}, n(int64(2))}, row.Columns)
	require.Equal(t, uint64(2), row.Version)
}
