package sqlite_test

import (
	"database/sql"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/sqlite"
	"github.com/troupe-go/troupe/migrations"
)

// quiet is for tests in which commits fail.
func quiet() *sqlite.Options { return &sqlite.Options{Logger: slog.New(slog.DiscardHandler)} }

// raw opens the database beside the journal.
func raw(t testing.TB, path string) *sql.DB {
	t.Helper()
	if path != ":memory:" {
		path += "?_pragma=busy_timeout(10000)"
	}
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func TestWrongOptions(t *testing.T) {
	t.Parallel()
	for field, c := range map[string]struct {
		opts  sqlite.Options
		value string
	}{
		"QueueEvents":      {sqlite.Options{QueueEvents: -1}, "-1"},
		"QueueBytes":       {sqlite.Options{QueueBytes: -2}, "-2"},
		"MaxGroupEvents":   {sqlite.Options{MaxGroupEvents: -3}, "-3"},
		"MaxGroupBytes":    {sqlite.Options{MaxGroupBytes: -4}, "-4"},
		"Readers":          {sqlite.Options{Readers: 1_001}, "1001"},
		"BusyTimeout":      {sqlite.Options{BusyTimeout: time.Microsecond}, "1µs"},
		"ReceiptRetention": {sqlite.Options{ReceiptRetention: -time.Hour}, "-1h0m0s"},
	} {
		_, err := sqlite.OpenAndMigrate(t.Context(), ":memory:", &c.opts)
		require.ErrorContains(t, err, "option "+field+" is "+c.value)
	}
	_, err := sqlite.OpenAndMigrate(t.Context(), "", nil)
	require.ErrorContains(t, err, "path is empty")
}

func TestMissingSchema(t *testing.T) {
	t.Parallel()
	missing, empty := newPath(t), newPath(t)
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	for _, path := range []string{missing, empty, ":memory:"} {
		_, err := sqlite.Open(t.Context(), path, nil)
		require.ErrorIs(t, err, sqlite.ErrSchema)
		require.ErrorContains(t, err, "OpenAndMigrate")
	}
	_, err := os.Stat(missing)
	require.ErrorIs(t, err, fs.ErrNotExist, "Open creates nothing")
	open(t, empty, nil)
	j, err := sqlite.Open(t.Context(), empty, nil)
	require.NoError(t, err)
	require.NoError(t, j.Close())
}

func TestNewerSchemaIsLeftAlone(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	require.NoError(t, open(t, path, nil).Close())
	_, err := raw(t, path).Exec("INSERT INTO troupe_schema (version_id, is_applied) VALUES (?, true)", sqlite.SchemaVersion+1)
	require.NoError(t, err)
	for _, opening := range []func() (*sqlite.Journal, error){
		func() (*sqlite.Journal, error) { return sqlite.Open(t.Context(), path, nil) },
		func() (*sqlite.Journal, error) { return sqlite.OpenAndMigrate(t.Context(), path, nil) },
	} {
		_, err := opening()
		var facts *sqlite.SchemaError
		require.ErrorAs(t, err, &facts)
		require.Equal(t, sqlite.SchemaError{Path: path, Found: sqlite.SchemaVersion + 1, Want: sqlite.SchemaVersion, Call: "sqlite.OpenAndMigrate"}, *facts)
		require.ErrorContains(t, err, "newer program")
	}
}

func TestSchemaVersionIsTheLastMigration(t *testing.T) {
	t.Parallel()
	files, err := fs.Glob(migrations.SQLite, "sqlite/*.sql")
	require.NoError(t, err)
	require.Len(t, files, sqlite.SchemaVersion)
}

// A database of schema 1 is told of, and keeps what it has when it is migrated.
func TestOlderSchemaIsMigrated(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	j := open(t, path, nil)
	b := batch(events(todo("1"), 0, 2))
	b.Messages = []envelope.Message{{ID: "kept", Kind: envelope.KindEvent, Name: "happened"}}
	commit(t, j, b)
	require.NoError(t, j.Close())
	db := raw(t, path)
	for _, undo := range []string{
		"DROP INDEX outbox_due", "ALTER TABLE outbox DROP COLUMN due", "DELETE FROM troupe_schema WHERE version_id > 1",
	} {
		_, err := db.Exec(undo)
		require.NoError(t, err)
	}

	_, err := sqlite.Open(t.Context(), path, nil)
	var facts *sqlite.SchemaError
	require.ErrorAs(t, err, &facts)
	require.Equal(t, []int64{1, sqlite.SchemaVersion}, []int64{facts.Found, facts.Want})
	require.ErrorContains(t, err, "OpenAndMigrate")
	j = open(t, path, nil)
	b = batch(events(todo("1"), 2, 1))
	b.Messages = []envelope.Message{{ID: "delayed", Kind: envelope.KindEvent, Name: "happened", NotBefore: time.Now().Add(time.Hour)}}
	commit(t, j, b)
	for m, err := range j.Messages(t.Context(), 0, 0) {
		require.NoError(t, err)
		require.Equal(t, "kept", m.ID)
	}
	f, err := j.Outbox().Figures(t.Context())
	require.NoError(t, err)
	require.Equal(t, []int{1, 1}, []int{f.Pending, f.Delayed})
}

func TestNoDatabase(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	require.NoError(t, os.WriteFile(path, []byte(strings.Repeat("no database ", 1_000)), 0o600))
	_, err := sqlite.OpenAndMigrate(t.Context(), path, nil)
	require.ErrorIs(t, err, journal.ErrCorrupt)
	_, err = sqlite.OpenAndMigrate(t.Context(), filepath.Join(path, "below"), nil)
	require.ErrorIs(t, err, journal.ErrUnavailable)
}

func TestPathsWithSpecialCharacters(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a journal?mode=memory&x=%41#1.db")
	commit(t, open(t, path, nil), batch(events(todo("1"), 0, 1)))
	_, err := os.Stat(path)
	require.NoError(t, err)
}

func TestLockedIsUnavailable(t *testing.T) {
	t.Parallel()
	path, opts := newPath(t), quiet()
	opts.BusyTimeout = 20 * time.Millisecond
	j := open(t, path, opts)
	conn, err := raw(t, path).Conn(t.Context())
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.ExecContext(t.Context(), "BEGIN IMMEDIATE")
	require.NoError(t, err)
	b := batch(events(todo("1"), 0, 1))
	_, err = journal.Commit(t.Context(), j, b)
	require.ErrorIs(t, err, journal.ErrUnavailable)
	records, err := readAll(t, j)
	require.NoError(t, err, "readers do not wait for a writer")
	require.Empty(t, records)
	_, err = conn.ExecContext(t.Context(), "ROLLBACK")
	require.NoError(t, err)
	commit(t, j, b)
}

func TestFullIsUnavailable(t *testing.T) {
	t.Parallel()
	j := open(t, newPath(t), quiet())
	commit(t, j, batch(events(todo("1"), 0, 1)))
	large := batch(events(todo("1"), 1, 1))
	large.Appends[0].Records[0].Data = make([]byte, 500<<10)
	require.NoError(t, j.ExecOnWriter(t.Context(), "PRAGMA max_page_count = 40")) // of this connection
	_, err := journal.Commit(t.Context(), j, large)
	require.ErrorIs(t, err, journal.ErrUnavailable)
	require.ErrorContains(t, err, "full")
	commit(t, j, large) // with a new connection there is room
	records, err := readAll(t, j)
	require.NoError(t, err)
	require.Len(t, records, 2)
}

func TestDamageFailsWhoMeetsIt(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	j := open(t, path, quiet())
	for _, id := range []string{"gap", "behind", "good"} {
		commit(t, j, batch(events(todo(id), 0, 3)))
	}
	db := raw(t, path)
	_, err := db.Exec("DELETE FROM events WHERE id = 'gap' AND version = 2")
	require.NoError(t, err)
	_, err = db.Exec("UPDATE heads SET version = 2 WHERE id = 'behind'")
	require.NoError(t, err)
	for _, err = range j.Load(t.Context(), todo("gap"), 0) {
	}
	require.ErrorIs(t, err, journal.ErrCorrupt)
	require.ErrorContains(t, err, "gap has no version 2")

	// In one group with others, if they meet: only the culprit fails.
	answers := map[string]chan error{}
	for _, id := range []string{"good", "behind", "new"} {
		expected := map[string]uint64{"good": 3, "behind": 2}[id]
		answer := make(chan error, 1)
		answers[id] = answer
		j.Submit(batch(events(todo(id), expected, 1)), func(_ journal.Result, err error) { answer <- err })
	}
	require.NoError(t, <-answers["good"])
	require.ErrorIs(t, <-answers["behind"], journal.ErrCorrupt)
	require.NoError(t, <-answers["new"])
}

func TestReceiptsExpire(t *testing.T) {
	t.Parallel()
	var hours atomic.Int64
	opts := &sqlite.Options{ReceiptRetention: 2 * time.Hour}
	opts.SetClock(func() time.Time { return when.Add(time.Duration(hours.Load()) * time.Hour) })
	path := newPath(t)
	j := open(t, path, opts)
	s := todo("1")
	found := func(id string) bool {
		_, ok, err := j.Receipt(t.Context(), s, id)
		require.NoError(t, err)
		return ok
	}
	for _, id := range []string{"a", "b", "c"} {
		commit(t, j, receipt(&journal.Batch{ID: journal.NewBatchID()}, s, id))
	}
	hours.Store(1)
	require.True(t, found("a"))
	hours.Store(2)
	require.False(t, found("a"), "not swept yet, and expired")
	commit(t, j, receipt(&journal.Batch{ID: journal.NewBatchID()}, s, "a")) // it comes again
	require.True(t, found("a"))
	var stored int
	require.NoError(t, raw(t, path).QueryRow("SELECT count(*) FROM receipts").Scan(&stored))
	require.Equal(t, 1, stored, "b and c were swept")
}

func TestMemoryIsNotDurable(t *testing.T) {
	t.Parallel()
	require.False(t, open(t, ":memory:", nil).Features().Durable)
	require.True(t, open(t, newPath(t), nil).Features().Durable)
}
