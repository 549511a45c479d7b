package postgres

import (
	"context"
	"fmt"
	"hash/fnv"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"

	"github.com/troupe-go/troupe/migrations"
)

// schemaVersion is the newest migration: what this program works with.
const schemaVersion = 2

// schemaTable is where goose keeps what was applied.
const schemaTable = "troupe_schema"

// Migrate creates the journal's schema in the database at url, or brings it up
// to date, and returns. Several processes may do so at once: one does the work
// and the others wait for it. The role needs the right to create the schema, or
// owns it.
//
// Errors: as [Open]. A schema that is newer than this program is left alone.
func Migrate(ctx context.Context, url string, opts *Options) error {
	o, err := opts.withDefaults()
	if err != nil {
		return err
	}
	config, err := parse(url)
	if err != nil {
		return err
	}
	return migrate(ctx, config, &o)
}

// lockKey is the advisory lock of what nobody may do twice at once to a schema.
func lockKey(schema, what string) int64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte("troupe " + schema + " " + what)) // a hash never fails to write
	return int64(h.Sum64())
}

// migrate applies what is missing, under a lock of the session that goose's
// own retries do not have to poll for.
func migrate(ctx context.Context, config *pgx.ConnConfig, o *Options) error {
	dial := config.Copy()
	if dial.ConnectTimeout == 0 {
		dial.ConnectTimeout = o.ConnectTimeout
	}
	conn, err := pgx.ConnectConfig(ctx, dial)
	if err != nil {
		return typed("connect", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // gives the lock back
	if err := checkServer(ctx, conn); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", lockKey(o.Schema, "migrate")); err != nil {
		return typed("migrate", err)
	}
	found, err := storedSchema(ctx, conn, o.Schema)
	switch {
	case err != nil:
		return typed("migrate", err)
	case found > schemaVersion:
		return &SchemaError{Schema: o.Schema, Found: found, Want: schemaVersion}
	case found == schemaVersion:
		return nil
	}
	var exists bool
	if err := conn.QueryRow(ctx, "SELECT to_regnamespace(quote_ident($1)) IS NOT NULL", o.Schema).Scan(&exists); err != nil {
		return typed("migrate", err)
	}
	if !exists { // CREATE … IF NOT EXISTS asks for the right even where it exists
		if _, err := conn.Exec(ctx, "CREATE SCHEMA "+pgx.Identifier{o.Schema}.Sanitize()); err != nil {
			return typed("create schema "+o.Schema, err)
		}
	}
	if err := up(ctx, dial, o.Schema); err != nil {
		return typed("migrate", err)
	}
	o.Logger.Info("postgres: migrated", "schema", o.Schema, "from", found, "to", schemaVersion)
	return nil
}

// up runs goose with the schema as the only place for unqualified names.
func up(ctx context.Context, config *pgx.ConnConfig, schema string) (err error) {
	config = config.Copy()
	config.RuntimeParams["search_path"] = pgx.Identifier{schema}.Sanitize()
	db := stdlib.OpenDB(*config)
	defer func() {
		if closing := db.Close(); err == nil {
			err = closing
		}
	}()
	files, err := fs.Sub(migrations.Postgres, "postgres")
	if err != nil {
		return err
	}
	store, err := database.NewStore(database.DialectPostgres, schemaTable)
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider("", db, files, goose.WithStore(store), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	if _, err = provider.Up(ctx); err != nil {
		return fmt.Errorf("goose: %w", err)
	}
	return nil
}

// querier is a connection, a pool or a transaction.
type querier interface {
	QueryRow(ctx context.Context, query string, args ...any) pgx.Row
}

// storedSchema is the newest migration that was applied, and 0 if none was.
func storedSchema(ctx context.Context, q querier, schema string) (version int64, err error) {
	table := pgx.Identifier{schema, schemaTable}.Sanitize()
	var exists bool
	err = q.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", table).Scan(&exists)
	if code := codeOf(err); code == codeInvalidSchema || code == codeUndefinedTable || err == nil && !exists {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	err = q.QueryRow(ctx, "SELECT coalesce(max(version_id), 0) FROM "+table+" WHERE is_applied").Scan(&version)
	return version, err
}
