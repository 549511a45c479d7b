package sqlite_test

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/sqlite"
)

// openWAL opens a database as a program would.
func openWAL(t testing.TB, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", path+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func TestFromDB(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	db := openWAL(t, path)
	_, err := sqlite.FromDB(t.Context(), db, nil)
	require.ErrorIs(t, err, sqlite.ErrSchema)
	require.ErrorContains(t, err, "call sqlite.Migrate")
	var tables int
	require.NoError(t, db.QueryRow("SELECT count(*) FROM sqlite_master").Scan(&tables))
	require.Zero(t, tables, "FromDB creates nothing")
	require.NoError(t, sqlite.Migrate(t.Context(), db))
	require.NoError(t, sqlite.Migrate(t.Context(), db), "once more")
	db.SetMaxOpenConns(3)
	for version := range uint64(2) {
		j, err := sqlite.FromDB(t.Context(), db, nil)
		require.NoError(t, err)
		require.True(t, j.Features().Durable)
		commit(t, j, batch(events(todo("1"), version, 1)))
		var n uint64
		require.NoError(t, db.QueryRow("SELECT count(*) FROM events").Scan(&n), "the program's own connection")
		require.Equal(t, version+1, n)
		require.NoError(t, j.Close())
	}
	require.NoError(t, db.Ping(), "the handle is the program's")
	var synchronous int
	require.NoError(t, db.QueryRow("PRAGMA synchronous").Scan(&synchronous))
	require.Equal(t, 2, synchronous)
	records, err := readAll(t, open(t, path, nil))
	require.NoError(t, err)
	require.Len(t, records, 2)
}

func TestFromDBThatDoesNotFit(t *testing.T) {
	t.Parallel()
	_, err := sqlite.FromDB(t.Context(), nil, nil)
	require.ErrorContains(t, err, "is nil")

	stranger := sql.OpenDB(noConnector{})
	defer stranger.Close()
	_, err = sqlite.FromDB(t.Context(), stranger, nil)
	require.ErrorContains(t, err, "want that of modernc.org/sqlite")

	path := newPath(t)
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	defer db.Close()
	err = sqlite.Migrate(t.Context(), db)
	require.ErrorIs(t, err, journal.ErrUnavailable)
	require.ErrorContains(t, err, "journal_mode(WAL)")

	few := openWAL(t, path)
	require.NoError(t, sqlite.Migrate(t.Context(), few))
	few.SetMaxOpenConns(2)
	_, err = sqlite.FromDB(t.Context(), few, nil)
	require.ErrorContains(t, err, "SetMaxOpenConns is 2")
}

// noConnector is of a driver that is not SQLite's.
type noConnector struct{ driver.Connector }

func (noConnector) Driver() driver.Driver { return noDriver{} }

type noDriver struct{}

func (noDriver) Open(string) (driver.Conn, error) { return nil, errors.New("no driver") }

// TestFromDBInMemory shares its one connection with the program, which writes
// the journal's tables too.
func TestFromDBInMemory(t *testing.T) {
	t.Parallel()
	db := raw(t, ":memory:")
	db.SetMaxOpenConns(1)
	require.NoError(t, sqlite.Migrate(t.Context(), db))
	j, err := sqlite.FromDB(t.Context(), db, nil)
	require.NoError(t, err)
	defer j.Close()
	require.False(t, j.Features().Durable)
	s := todo("1")
	commit(t, j, batch(events(s, 0, 1)))
	_, err = db.Exec(`INSERT INTO events (slice, type, id, version, time, name, schema, codec, data) VALUES (?, ?, ?, 2, 0, 'x', 1, 'json', '')`,
		s.Slice(), s.Type, s.ID)
	require.ErrorContains(t, err, "cannot store TEXT", "the tables are strict")
	_, err = db.Exec(`INSERT INTO events (slice, type, id, version, time, name, schema, codec, data) VALUES (?, ?, ?, 2, 0, 'x', 1, 'json', x'')`,
		s.Slice(), s.Type, s.ID)
	require.NoError(t, err)
	_, err = db.Exec("UPDATE heads SET version = 2")
	require.NoError(t, err)
	_, err = journal.Commit(t.Context(), j, batch(events(s, 1, 1)))
	require.ErrorIs(t, err, journal.ErrConflict, "no head is remembered")
	commit(t, j, batch(events(s, 2, 1)))
}

func TestForeignCommitIsSeen(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	ours, theirs := open(t, path, nil), open(t, path, nil)
	s := todo("1")
	for version := uint64(0); version < 20; version += 2 {
		commit(t, ours, batch(events(s, version, 1)))
		_, err := journal.Commit(t.Context(), theirs, batch(events(s, version, 1)))
		require.ErrorIs(t, err, journal.ErrConflict)
		commit(t, theirs, batch(events(s, version+1, 1)))
		_, err = journal.Commit(t.Context(), ours, batch(events(s, version+1, 1)))
		require.ErrorIs(t, err, journal.ErrConflict)
	}
}
