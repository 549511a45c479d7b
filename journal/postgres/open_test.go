package postgres_test

import (
	"context"
	"fmt"
	"io/fs"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/postgres"
	"github.com/troupe-go/troupe/migrations"
)

func TestWrongOptions(t *testing.T) {
	t.Parallel()
	for field, c := range map[string]struct {
		opts  postgres.Options
		value string
	}{
		"Schema":           {postgres.Options{Schema: `a"b`}, `"a\"b"`},
		"QueueEvents":      {postgres.Options{QueueEvents: -1}, "-1"},
		"QueueBytes":       {postgres.Options{QueueBytes: -2}, "-2"},
		"MaxGroupEvents":   {postgres.Options{MaxGroupEvents: -3}, "-3"},
		"MaxGroupBytes":    {postgres.Options{MaxGroupBytes: -4}, "-4"},
		"Committers":       {postgres.Options{Committers: 65}, "65"},
		"Readers":          {postgres.Options{Readers: 1_001}, "1001"},
		"ConnectTimeout":   {postgres.Options{ConnectTimeout: time.Microsecond}, "1µs"},
		"StatementTimeout": {postgres.Options{StatementTimeout: 2 * time.Hour}, "2h0m0s"},
		"LockTimeout":      {postgres.Options{LockTimeout: -1}, "-1ns"},
		"ReceiptRetention": {postgres.Options{ReceiptRetention: -time.Hour}, "-1h0m0s"},
	} {
		_, err := postgres.Open(t.Context(), "postgres://localhost/x", &c.opts)
		require.ErrorContains(t, err, "option "+field+" is "+c.value)
	}
	_, err := postgres.Open(t.Context(), "postgres://localhost:no/x", nil)
	require.Error(t, err)
}

func TestMissingSchema(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	_, err := postgres.Open(t.Context(), d.url, d.options())
	require.ErrorIs(t, err, postgres.ErrSchema)
	require.ErrorContains(t, err, "OpenAndMigrate")
	require.Zero(t, d.number("SELECT count(*) FROM pg_namespace WHERE nspname = $1", d.schema), "Open creates nothing")
	require.NoError(t, postgres.Migrate(t.Context(), d.url, d.options()))
	require.NoError(t, postgres.Migrate(t.Context(), d.url, d.options()), "again")
	j, err := postgres.Open(t.Context(), d.url, d.options())
	require.NoError(t, err)
	require.NoError(t, j.Close())
	require.NoError(t, j.Close())
}

func TestNewerSchemaIsLeftAlone(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	require.NoError(t, d.open(nil).Close())
	d.exec("INSERT INTO @troupe_schema (version_id, is_applied) VALUES ($1, true)", postgres.SchemaVersion+1)
	for _, opening := range []func(context.Context, string, *postgres.Options) (*postgres.Journal, error){postgres.Open, postgres.OpenAndMigrate} {
		_, err := opening(t.Context(), d.url, d.options())
		var facts *postgres.SchemaError
		require.ErrorAs(t, err, &facts)
		require.Equal(t, postgres.SchemaError{Schema: d.schema, Found: postgres.SchemaVersion + 1, Want: postgres.SchemaVersion}, *facts)
		require.ErrorContains(t, err, "newer program")
	}
}

func TestSchemaVersionIsTheLastMigration(t *testing.T) {
	t.Parallel()
	files, err := fs.Glob(migrations.Postgres, "postgres/*.sql")
	require.NoError(t, err)
	require.Len(t, files, postgres.SchemaVersion)
}

// A database of schema 1 is told of, and keeps what it has when it is migrated.
func TestOlderSchemaIsMigrated(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	j := d.open(nil)
	b := batch(events(todo("1"), 0, 2))
	b.Messages = []envelope.Message{{ID: "kept", Kind: envelope.KindEvent, Name: "happened"}}
	commit(t, j, b)
	require.NoError(t, j.Close())
	d.exec("DROP INDEX @outbox_due")
	d.exec("ALTER TABLE @outbox DROP COLUMN due")
	d.exec("DELETE FROM @troupe_schema WHERE version_id > 1")

	_, err := postgres.Open(t.Context(), d.url, d.options())
	var facts *postgres.SchemaError
	require.ErrorAs(t, err, &facts)
	require.Equal(t, postgres.SchemaError{Schema: d.schema, Found: 1, Want: postgres.SchemaVersion}, *facts)
	require.ErrorContains(t, err, "OpenAndMigrate")
	j, err = postgres.OpenAndMigrate(t.Context(), d.url, d.options())
	require.NoError(t, err)
	defer j.Close()
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

func TestManyMigrateAtOnce(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			j, err := postgres.OpenAndMigrate(context.Background(), d.url, d.options())
			if err != nil {
				t.Errorf("journal %d: %v", i, err)
				return
			}
			defer j.Close()
			if _, err := journal.Commit(context.Background(), j, batch(events(todo(fmt.Sprint(i)), 0, 1))); err != nil {
				t.Errorf("journal %d: %v", i, err)
			}
		})
	}
	all.Wait()
	require.Len(t, readAll(t, d.open(nil)), 4)
	require.Equal(t, int64(1), d.number("SELECT count(*) FROM @troupe_schema WHERE version_id = 1"))
}

// as is the test's url for another role, with more settings.
func (d *database) as(role string, settings ...string) string {
	u, err := url.Parse(d.url)
	require.NoError(d, err)
	if role != "" {
		u.User = url.User(role)
	}
	q := u.Query()
	for i := 0; i < len(settings); i += 2 {
		q.Set(settings[i], settings[i+1])
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// role makes one that goes with the test.
func (d *database) role(attributes string) string {
	d.exec("CREATE ROLE " + d.schema + " LOGIN " + attributes)
	d.Cleanup(func() {
		d.exec("DROP OWNED BY " + d.schema)
		d.exec("DROP ROLE " + d.schema)
	})
	return d.schema
}

func TestServerAwayAtStart(t *testing.T) {
	t.Parallel()
	for _, opening := range []func(context.Context, string, *postgres.Options) (*postgres.Journal, error){postgres.Open, postgres.OpenAndMigrate} {
		_, err := opening(t.Context(), "postgres://nobody@127.0.0.1:1/none?sslmode=disable", nil)
		require.ErrorIs(t, err, journal.ErrUnavailable)
	}
	d := newDatabase(t)
	_, err := postgres.Open(t.Context(), d.url+"x", &postgres.Options{Schema: "none"})
	require.ErrorIs(t, err, postgres.ErrSchema)
}

func TestPermissionDenied(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	role := d.role("")
	_, err := postgres.OpenAndMigrate(t.Context(), d.as(role), d.options())
	require.ErrorIs(t, err, journal.ErrUnavailable, "the role may not create a schema")
	var sent *pgconn.PgError
	require.ErrorAs(t, err, &sent)
	require.Equal(t, "42501", sent.Code)

	j := d.open(nil)
	commit(t, j, batch(events(todo("1"), 0, 1)))
	_, err = postgres.Open(t.Context(), d.as(role), d.options())
	require.ErrorIs(t, err, journal.ErrUnavailable, "the role may not look into the schema")
	d.exec("GRANT USAGE ON SCHEMA " + d.schema + " TO " + role)
	d.exec("GRANT SELECT ON ALL TABLES IN SCHEMA " + d.schema + " TO " + role)
	_, err = postgres.Open(t.Context(), d.as(role), d.options())
	require.ErrorIs(t, err, journal.ErrUnavailable)
	require.ErrorContains(t, err, "may not write")
	d.exec("GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA " + d.schema + " TO " + role)
	other, err := postgres.Open(t.Context(), d.as(role), d.options())
	require.NoError(t, err, "a role that does not own the tables is enough")
	defer other.Close()
	commit(t, other, batch(events(todo("1"), 1, 1), events(todo("2"), 0, 1)))
	require.Len(t, readAll(t, other), 3)
}

func TestReadOnlyServer(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	require.NoError(t, d.open(nil).Close())
	_, err := postgres.Open(t.Context(), d.as("", "default_transaction_read_only", "on"), d.options())
	require.ErrorIs(t, err, postgres.ErrUnfit)
	require.ErrorIs(t, err, journal.ErrUnavailable)
	require.ErrorContains(t, err, "read_only is on")
}

func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	require.NoError(t, d.open(nil).Close())
	role := d.role("CONNECTION LIMIT 0")
	_, err := postgres.Open(t.Context(), d.as(role), d.options())
	require.ErrorIs(t, err, journal.ErrUnavailable)
	var sent *pgconn.PgError
	require.ErrorAs(t, err, &sent)
	require.Equal(t, "53300", sent.Code)
}

func TestFromPool(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	pool, err := pgxpool.New(context.Background(), d.url)
	require.NoError(t, err)
	defer pool.Close()
	_, err = postgres.FromPool(t.Context(), pool, d.options())
	require.ErrorIs(t, err, postgres.ErrSchema)
	require.NoError(t, postgres.Migrate(t.Context(), d.url, d.options()))
	j, err := postgres.FromPool(t.Context(), pool, d.options())
	require.NoError(t, err)
	commit(t, j, batch(events(todo("1"), 0, 2)))
	require.Len(t, load(t, j, todo("1")), 2)
	require.NoError(t, j.Close())
	require.NoError(t, pool.Ping(context.Background()), "the pool is the caller's")
}

// A pool that speaks the simple protocol, as for a proxy, gets text.
func TestRecordsComeAsTextToo(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	binary := d.open(nil)
	b := batch(events(todo("1"), 0, 3), events(todo("2"), 0, 1))
	b.Appends[0].Records[1].Metadata.CorrelationID = "c\"1"
	commit(t, binary, b)
	config, err := pgxpool.ParseConfig(d.url)
	require.NoError(t, err)
	config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	require.NoError(t, err)
	defer pool.Close()
	text, err := postgres.FromPool(t.Context(), pool, d.options())
	require.NoError(t, err)
	require.Equal(t, load(t, binary, todo("1")), load(t, text, todo("1")))
	require.Equal(t, readAll(t, binary), readAll(t, text))
	require.Len(t, readAll(t, text), 4)
	require.NoError(t, text.Close())
}

func TestReceiptsExpire(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	now := when
	opts := d.options()
	opts.ReceiptRetention = 2 * time.Hour
	opts.Committers = 1
	var mu sync.Mutex
	opts.SetClock(func() time.Time { mu.Lock(); defer mu.Unlock(); return now })
	later := func(to time.Duration) { mu.Lock(); defer mu.Unlock(); now = when.Add(to) }
	j := d.open(opts)
	s := todo("1")
	found := func(id string) bool {
		_, ok, err := j.Receipt(t.Context(), s, id)
		require.NoError(t, err)
		return ok
	}
	commit(t, j, receipt(batch(events(s, 0, 1)), s, "a"))
	commit(t, j, receipt(batch(), s, "b"))
	commit(t, j, receipt(batch(), s, "c"))
	later(time.Hour)
	require.True(t, found("a"))
	_, err := journal.Commit(t.Context(), j, receipt(batch(events(s, 1, 1)), s, "a"))
	require.ErrorIs(t, err, journal.ErrDuplicate)
	later(2 * time.Hour)
	require.False(t, found("a"), "not swept yet, and expired")
	commit(t, j, receipt(batch(events(s, 1, 1)), s, "a")) // replaced by the fast step
	commit(t, j, receipt(batch(), s, "b"))                // and by the slow one
	require.True(t, found("a"))
	require.True(t, found("b"))
	require.NoError(t, j.Sweep(t.Context()))
	require.Equal(t, int64(2), d.number("SELECT count(*) FROM @receipts"))
}

// TestHalfAppliedMigration: the version says that all is there, and a table is
// missing; or tables are there that no migration of ours made.
func TestHalfAppliedMigration(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	require.NoError(t, d.open(nil).Close())
	d.exec("DROP TABLE @outbox")
	_, err := postgres.Open(t.Context(), d.url, d.options())
	require.ErrorIs(t, err, postgres.ErrSchema)
	require.ErrorContains(t, err, "outbox")

	d = newDatabase(t)
	d.exec("CREATE SCHEMA " + d.schema)
	d.exec("CREATE TABLE @events (somebody text)")
	_, err = postgres.OpenAndMigrate(t.Context(), d.url, d.options())
	require.Error(t, err)
	require.ErrorContains(t, err, "events")
	_, err = postgres.Open(t.Context(), d.url, d.options())
	require.ErrorIs(t, err, postgres.ErrSchema, "nothing of the migration stayed")
}
