package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"

	"github.com/troupe-go/troupe/migrations"
)

// schemaVersion is the newest migration: what this program works with.
const schemaVersion = 2

// schemaTable is where goose keeps what was applied.
const schemaTable = "troupe_schema"

// schemaTables are those of the schema, in the order in which they are made.
var schemaTables = []string{"events", "heads", "truncated", "snapshots", "receipts", "receipt_keys", "receipts_indexed", "outbox", "outbox_leases", "batches"}

// Migrate creates the journal's tables in db or brings them up to date, for a
// [FromDB] that follows. Several processes may do so at once. ctx is for the
// time of the call.
//
// Errors: as [FromDB]. A schema that is newer than this program is left alone.
func Migrate(ctx context.Context, db *sql.DB) error {
	path, _, err := inspect(ctx, db)
	if err != nil {
		return err
	}
	return ensureSchema(ctx, db, path, "sqlite.Migrate", true)
}

// ensureSchema makes sure of the schema, and makes it if migrating. call is
// what the program calls for that.
func ensureSchema(ctx context.Context, db *sql.DB, path, call string, migrating bool) error {
	found, err := storedSchema(ctx, db)
	if err == nil && migrating && found < schemaVersion {
		found, err = migrate(ctx, db)
	}
	if err != nil {
		return typed("open "+path, err)
	}
	if found != schemaVersion {
		return &SchemaError{Path: path, Found: found, Want: schemaVersion, Call: call}
	}
	for _, name := range schemaTables {
		there, err := hasTable(ctx, db, name)
		if err != nil {
			return typed("open "+path, err)
		}
		if !there {
			return &SchemaError{Path: path, Found: found, Want: schemaVersion, Call: call, Missing: name}
		}
	}
	return nil
}

func hasTable(ctx context.Context, db *sql.DB, name string) (there bool, err error) {
	err = db.QueryRowContext(ctx, "SELECT count(*) > 0 FROM sqlite_master WHERE type = 'table' AND name = ?", name).Scan(&there)
	return there, err
}

// storedSchema is the newest migration that was applied, and 0 if none was. It
// writes nothing, as goose would.
func storedSchema(ctx context.Context, db *sql.DB) (version int64, err error) {
	if there, err := hasTable(ctx, db, schemaTable); err != nil || !there {
		return 0, err
	}
	err = db.QueryRowContext(ctx, "SELECT coalesce(max(version_id), 0) FROM "+schemaTable+" WHERE is_applied").Scan(&version)
	return version, err
}

// migrate applies what is missing. Goose locks nothing in SQLite, so of two
// processes that migrate at once one finds the table there that it wanted to
// create; what counts is the schema afterwards.
func migrate(ctx context.Context, db *sql.DB) (int64, error) {
	files, err := fs.Sub(migrations.SQLite, "sqlite")
	if err != nil {
		return 0, err
	}
	store, err := database.NewStore(database.DialectSQLite3, schemaTable)
	if err != nil {
		return 0, err
	}
	var failed error
	for range 3 {
		provider, err := goose.NewProvider("", db, files,
			goose.WithStore(store), goose.WithDisableGlobalRegistry(true))
		if err != nil {
			return 0, err
		}
		_, failed = provider.Up(ctx)
		found, err := storedSchema(ctx, db)
		if err == nil && found >= schemaVersion {
			return found, nil
		}
		if failed == nil {
			failed = err
		}
	}
	var partial *goose.PartialError // which hides its cause from errors.As
	if errors.As(failed, &partial) && partial.Err != nil {
		failed = partial.Err
	}
	if codeOf(failed) == codeError {
		return 0, fmt.Errorf("%w: migrate: %w", ErrSchema, failed) // a table of that name that is not ours
	}
	return 0, fmt.Errorf("migrate: %w", failed)
}
