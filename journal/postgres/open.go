package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/troupe-go/troupe/journal"
)

// oldestServer is the first version that numbers transactions with 64 bits in
// SQL.
const oldestServer = 130000

// Open opens the journal in the database at url, which is in one of the forms
// that pgx takes: "postgres://user:password@host:5432/database?sslmode=require".
// It creates no tables. ctx is for the time of the call.
//
// Errors: [ErrSchema] when the journal is missing, or of another version than
// this program's; [ErrUnfit] when the server is too old, read-only, or does not
// sync its files; [journal.ErrUnavailable] when the server is away, has no
// connection left, or does not let this role in or write; a wrong url or
// option. The server's own answer is wrapped, as a *pgconn.PgError.
func Open(ctx context.Context, url string, opts *Options) (*Journal, error) {
	return openURL(ctx, url, opts, false)
}

// OpenAndMigrate is [Migrate], then [Open].
func OpenAndMigrate(ctx context.Context, url string, opts *Options) (*Journal, error) {
	return openURL(ctx, url, opts, true)
}

// FromPool opens the journal in the database of a pool that the caller has, and
// reads through that pool. The committers, and what listens to other processes,
// make connections of their own with the pool's configuration, Committers and
// three in all. Close leaves the pool open.
//
// Errors: as [Open].
func FromPool(ctx context.Context, pool *pgxpool.Pool, opts *Options) (*Journal, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	return openPool(ctx, pool, false, o)
}

func parse(url string) (*pgx.ConnConfig, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err) // pgx leaves the password out
	}
	return config, nil
}

func openURL(ctx context.Context, url string, opts *Options, migrating bool) (*Journal, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	config.MaxConns = int32(o.Readers)
	if config.ConnConfig.ConnectTimeout == 0 {
		config.ConnConfig.ConnectTimeout = o.ConnectTimeout
	}
	setTimeouts(config.ConnConfig, &o)
	if migrating {
		if err := migrate(ctx, config.ConnConfig, &o); err != nil {
			return nil, err
		}
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	j, err := openPool(ctx, pool, true, o)
	if err != nil {
		pool.Close()
		return nil, err
	}
	return j, nil
}

// setTimeouts makes the server give up on the sessions' statements.
func setTimeouts(config *pgx.ConnConfig, o *Options) {
	for name, value := range map[string]string{
		"statement_timeout": strconv.FormatInt(o.StatementTimeout.Milliseconds(), 10),
		"lock_timeout":      strconv.FormatInt(o.LockTimeout.Milliseconds(), 10),
	} {
		if _, set := config.RuntimeParams[name]; !set {
			config.RuntimeParams[name] = value
		}
	}
}

func openPool(ctx context.Context, pool *pgxpool.Pool, own bool, o Options) (*Journal, error) {
	if err := checkJournal(ctx, pool, &o); err != nil {
		return nil, err
	}
	j := newJournal(pool, own, o)
	if err := j.raiseEpoch(ctx); err != nil {
		return nil, err
	}
	j.start()
	return j, nil
}

// tables are the journal's own.
var tables = []string{"events", "heads", "snapshots", "receipts", "inbox", "outbox", "outbox_leases", "batches", "settings", "locks"}

func checkJournal(ctx context.Context, pool *pgxpool.Pool, o *Options) error {
	if err := checkServer(ctx, pool); err != nil {
		return err
	}
	found, err := storedSchema(ctx, pool, o.Schema)
	if err != nil {
		return typed("open schema "+o.Schema, err)
	}
	if found != schemaVersion {
		return &SchemaError{Schema: o.Schema, Found: found, Want: schemaVersion}
	}
	var missing []string
	err = pool.QueryRow(ctx, `SELECT coalesce(array_agg(t), '{}') FROM unnest($2::text[]) AS t
		WHERE to_regclass(quote_ident($1) || '.' || quote_ident(t)) IS NULL`, o.Schema, tables).Scan(&missing)
	if err != nil {
		return typed("open schema "+o.Schema, err)
	}
	if len(missing) > 0 {
		return &SchemaError{Schema: o.Schema, Found: found, Want: schemaVersion, Missing: missing}
	}
	// What the first commit would be told, told now.
	var may bool
	err = pool.QueryRow(ctx, `SELECT has_table_privilege($1, 'INSERT') AND has_table_privilege($1, 'SELECT')
		AND has_table_privilege($2, 'INSERT') AND has_table_privilege($2, 'UPDATE') AND has_table_privilege($2, 'SELECT')`,
		pgx.Identifier{o.Schema, "events"}.Sanitize(), pgx.Identifier{o.Schema, "heads"}.Sanitize()).Scan(&may)
	if err != nil {
		return typed("open schema "+o.Schema, err)
	}
	if !may {
		return fmt.Errorf("postgres: open schema %s: %w: this role may not write to its tables", o.Schema, journal.ErrUnavailable)
	}
	return nil
}

// checkServer refuses a server that cannot keep what it acknowledges.
func checkServer(ctx context.Context, q querier) error {
	var version int
	var fsync, readOnly string
	var standby bool
	err := q.QueryRow(ctx, `SELECT current_setting('server_version_num')::int, current_setting('fsync'),
		current_setting('transaction_read_only'), pg_is_in_recovery()`).Scan(&version, &fsync, &readOnly, &standby)
	switch {
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("postgres: connect: %w", err)
	case err != nil:
		return typed("connect", err)
	case version < oldestServer:
		return &UnfitError{Setting: "server_version_num", Found: strconv.Itoa(version), Want: strconv.Itoa(oldestServer) + " or later"}
	case standby:
		return &UnfitError{Setting: "role", Found: "a standby, which only reads", Want: "the primary"}
	case readOnly == "on":
		return &UnfitError{Setting: "default_transaction_read_only", Found: "on", Want: "off"}
	case fsync == "off":
		return &UnfitError{Setting: "fsync", Found: "off", Want: "on"}
	}
	return nil
}
