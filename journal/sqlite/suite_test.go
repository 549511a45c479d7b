package sqlite_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/internal/testenv"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/journaltest"
	"github.com/troupe-go/troupe/journal/sqlite"
)

func TestMain(m *testing.M) {
	testenv.RunChild(map[string]func() error{"load": childLoad, "contend": childContend, "faulty": childFaulty, "race": childRace})
	goleak.VerifyTestMain(m)
}

const queueBytes = 1 << 20

func inFile(t testing.TB) journaltest.Harness {
	path, opts := newPath(t), &sqlite.Options{QueueBytes: queueBytes}
	if strings.HasPrefix(t.Name(), "TestModel") {
		opts.SetIndexing(bound, 256)
	}
	open := func(t testing.TB) journal.Journal {
		j, err := sqlite.OpenAndMigrate(t.Context(), path, opts)
		require.NoError(t, err)
		return j
	}
	return journaltest.Harness{
		Journal: open(t), Reopen: open, Second: open, QueueBytes: queueBytes,
		Tables: func(t testing.TB, tables []journaltest.Table) { createTables(t, raw(t, path), tables) },
		Hold:   func(t testing.TB, b *journal.Batch) func(bool) { return hold(t, raw(t, path), b) },
	}
}

// inMemory has groups of a few events, so that what happens between groups
// happens often, and few receipts that are not in the index. The database is the test's: there is no other way to give it
// tables.
func inMemory(t testing.TB) journaltest.Harness {
	db := raw(t, ":memory:")
	db.SetMaxOpenConns(1)
	require.NoError(t, sqlite.Migrate(t.Context(), db))
	opts := &sqlite.Options{QueueBytes: queueBytes, MaxGroupEvents: 7}
	opts.SetIndexing(bound, 256)
	j, err := sqlite.FromDB(t.Context(), db, opts)
	require.NoError(t, err)
	return journaltest.Harness{
		Journal: j, QueueBytes: queueBytes,
		Tables: func(t testing.TB, tables []journaltest.Table) { createTables(t, db, tables) },
	}
}

var columnTypes = map[journaltest.ColumnType]string{
	journaltest.ColumnBool: "BOOLEAN", journaltest.ColumnInt: "INTEGER", journaltest.ColumnFloat: "REAL",
	journaltest.ColumnText: "TEXT", journaltest.ColumnBytes: "BLOB", journaltest.ColumnTime: "TIMESTAMP",
	journaltest.ColumnJSON: "JSON",
}

func createTables(t testing.TB, db *sql.DB, tables []journaltest.Table) {
	t.Helper()
	for _, table := range tables {
		var columns, key []string
		for _, c := range table.Key {
			columns = append(columns, fmt.Sprintf("%q %s NOT NULL", c.Name, columnTypes[c.Type]))
			key = append(key, fmt.Sprintf("%q", c.Name))
		}
		for _, c := range table.Columns {
			columns = append(columns, fmt.Sprintf("%q %s", c.Name, columnTypes[c.Type]))
		}
		_, err := db.ExecContext(t.Context(), fmt.Sprintf("CREATE TABLE %q (%s, %q INTEGER NOT NULL, PRIMARY KEY (%s))",
			table.Name, strings.Join(columns, ", "), envelope.RowVersionColumn, strings.Join(key, ", ")))
		require.NoError(t, err)
	}
}

// hold writes the events of b as a stranger would, in a transaction that stays
// open.
func hold(t testing.TB, db *sql.DB, b *journal.Batch) (release func(commit bool)) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	conn, err := db.Conn(ctx)
	require.NoError(t, err)
	exec := func(query string, args ...any) {
		_, err := conn.ExecContext(ctx, query, args...)
		require.NoError(t, err)
	}
	exec("BEGIN IMMEDIATE")
	for _, a := range b.Appends {
		for _, r := range a.Records {
			exec("INSERT INTO events (slice, type, id, version, batch, time, name, schema, codec, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
				r.Stream.Slice(), r.Stream.Type, r.Stream.ID, r.Version, b.ID[:], r.Time.UnixMicro(), r.Name, r.Schema, r.Codec, r.Data)
		}
		exec("INSERT INTO heads (type, id, version, first) VALUES (?, ?, ?, 1) ON CONFLICT DO UPDATE SET version = excluded.version",
			a.Stream.Type, a.Stream.ID, a.Expected+uint64(len(a.Records)))
	}
	return func(commit bool) {
		if commit {
			exec("COMMIT")
		} else {
			exec("ROLLBACK")
		}
		require.NoError(t, conn.Close())
	}
}

func TestSuite(t *testing.T) { journaltest.Run(t, inFile) }

func TestSuiteInMemory(t *testing.T) { journaltest.Run(t, inMemory) }

func TestModel(t *testing.T) { journaltest.RunModel(t, inFile) }

func TestAllPartsAreTaken(t *testing.T) { journaltest.AllPartsTaken(t, open(t, newPath(t), nil)) }

func newPath(t testing.TB) string { return filepath.Join(t.TempDir(), "journal.db") }
