package pgschema

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
)

// Schema is a set of tables in one PostgreSQL schema, made by goose.
type Schema struct {
	Name    string // of the PostgreSQL schema
	Table   string // in which goose keeps what was applied
	Files   fs.FS  // numbered migrations
	Version int64  // the newest of them
}

// NewerError reports a database whose schema is newer than this program.
type NewerError struct{ Found, Want int64 }

func (e *NewerError) Error() string {
	return fmt.Sprintf("the schema is at migration %d, this program works with %d", e.Found, e.Want)
}

// Migrate applies what is missing and returns what was there before. Several
// processes may do so at once: one does the work and the others wait for it, by
// a lock of the session, which goose's own retries do not have to poll for.
//
// Errors: a [NewerError], of a schema that is left alone; the driver's.
func (s *Schema) Migrate(ctx context.Context, config *pgx.ConnConfig) (from int64, err error) {
	conn, err := pgx.ConnectConfig(ctx, config.Copy())
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // gives the lock back
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", s.lockKey()); err != nil {
		return 0, err
	}
	found, err := s.Stored(ctx, conn)
	switch {
	case err != nil:
		return 0, err
	case found > s.Version:
		return found, &NewerError{Found: found, Want: s.Version}
	case found == s.Version:
		return found, nil
	}
	var exists bool
	if err := conn.QueryRow(ctx, "SELECT to_regnamespace(quote_ident($1)) IS NOT NULL", s.Name).Scan(&exists); err != nil {
		return found, err
	}
	if !exists { // CREATE … IF NOT EXISTS asks for the right even where it exists
		if _, err := conn.Exec(ctx, "CREATE SCHEMA "+pgx.Identifier{s.Name}.Sanitize()); err != nil {
			return found, err
		}
	}
	return found, s.up(ctx, config)
}

func (s *Schema) lockKey() int64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(strings.Join([]string{"troupe", s.Name, s.Table, "migrate"}, " "))) // a hash never fails to write
	return int64(h.Sum64())
}

// up runs goose with the schema as the only place for unqualified names.
func (s *Schema) up(ctx context.Context, config *pgx.ConnConfig) (err error) {
	config = config.Copy()
	config.RuntimeParams["search_path"] = pgx.Identifier{s.Name}.Sanitize()
	db := stdlib.OpenDB(*config)
	defer func() { err = errors.Join(err, db.Close()) }()
	store, err := database.NewStore(database.DialectPostgres, s.Table)
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider("", db, s.Files, goose.WithStore(store), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	if _, err = provider.Up(ctx); err != nil {
		return fmt.Errorf("goose: %w", err)
	}
	return nil
}

// Querier is a connection, a pool or a transaction.
type Querier interface {
	QueryRow(ctx context.Context, query string, args ...any) pgx.Row
}

// Stored is the newest migration that was applied, and 0 if none was.
func (s *Schema) Stored(ctx context.Context, q Querier) (version int64, err error) {
	table := pgx.Identifier{s.Name, s.Table}.Sanitize()
	var exists bool
	err = q.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", table).Scan(&exists)
	var sent *pgconn.PgError
	if errors.As(err, &sent) && (sent.Code == "3F000" || sent.Code == "42P01") || err == nil && !exists {
		return 0, nil // no such schema, no such table
	}
	if err != nil {
		return 0, err
	}
	err = q.QueryRow(ctx, "SELECT coalesce(max(version_id), 0) FROM "+table+" WHERE is_applied").Scan(&version)
	return version, err
}
