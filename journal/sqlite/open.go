package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
	_ "modernc.org/sqlite" // registers the driver

	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/migrations"
)

// schemaVersion is the newest migration: what this program works with.
const schemaVersion = 1

// schemaTable is where goose keeps what was applied.
const schemaTable = "troupe_schema"

// memoryPath is the path of a database in memory.
const memoryPath = ":memory:"

// Open opens the journal in the database at path, and creates nothing. ctx is
// for the time of the call.
//
// Errors: [ErrSchema] when the journal is missing, or of another version than
// this program's; [journal.ErrCorrupt] when the file is no database;
// [journal.ErrUnavailable] when it cannot be opened or is locked; a wrong
// option.
func Open(ctx context.Context, path string, opts *Options) (*Journal, error) {
	return open(ctx, path, opts, false)
}

// OpenAndMigrate opens the journal in the database at path, after creating it
// or bringing its schema up to date. Several processes may do so at once. The
// path ":memory:" gives a journal that is gone after Close.
//
// Errors: as [Open]. A schema that is newer than this program is left alone.
func OpenAndMigrate(ctx context.Context, path string, opts *Options) (*Journal, error) {
	return open(ctx, path, opts, true)
}

func open(ctx context.Context, path string, opts *Options, migrating bool) (_ *Journal, err error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	memory := path == memoryPath
	if path == "" {
		return nil, errors.New(`sqlite: the path is empty; ":memory:" is a database in memory`)
	}
	if !memory && !migrating {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return nil, &SchemaError{Path: path, Want: schemaVersion}
		}
	}
	j := newJournal(path, o)
	db, err := openDB(path, "rwc", &o)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	if err := prepare(ctx, db, path, migrating); err != nil {
		_ = db.Close()
		return nil, err
	}
	j.writer = newPool(db, 1, memory)
	if j.readers = j.writer; !memory {
		db, err := openDB(path, "ro", &o)
		if err != nil {
			_ = j.writer.close()
			return nil, err
		}
		db.SetMaxOpenConns(o.Readers)
		db.SetMaxIdleConns(o.Readers)
		j.readers = newPool(db, o.Readers, false)
	}
	j.features.Durable = !memory
	go newCommitter(j).run()
	return j, nil
}

// openDB makes a handle whose connections are all set up alike. mode is that
// of the file: "rwc" or "ro".
func openDB(path, mode string, o *Options) (*sql.DB, error) {
	pragmas := []string{
		fmt.Sprintf("busy_timeout(%d)", o.BusyTimeout.Milliseconds()),
		"synchronous(FULL)",
	}
	name := memoryPath
	if path != memoryPath {
		absolute, err := filepath.Abs(path)
		if err != nil {
			return nil, fmt.Errorf("sqlite: open %s: %w", path, err)
		}
		absolute = filepath.ToSlash(absolute)
		if !strings.HasPrefix(absolute, "/") { // C:/…
			absolute = "/" + absolute
		}
		name = (&url.URL{Path: absolute}).EscapedPath() // a path may have a ? or a %
		if mode == "ro" {
			pragmas = append(pragmas, "query_only(1)")
		} else {
			pragmas = append(pragmas, "journal_mode(WAL)")
		}
	}
	query := url.Values{"_pragma": pragmas, "_txlock": {"immediate"}}
	if path != memoryPath {
		query.Set("mode", mode)
	}
	db, err := sql.Open("sqlite", "file:"+name+"?"+query.Encode())
	if err != nil {
		return nil, fmt.Errorf("sqlite: open %s: %w", path, err)
	}
	return db, nil
}

// prepare makes sure of the schema.
func prepare(ctx context.Context, db *sql.DB, path string, migrating bool) error {
	if path != memoryPath {
		var mode string
		if err := db.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&mode); err != nil {
			return typed("open "+path, err)
		}
		if mode != "wal" { // a file system without shared memory
			return fmt.Errorf("sqlite: open %s: %w: its journal mode is %s and cannot be WAL", path, journal.ErrUnavailable, mode)
		}
	}
	found, err := storedSchema(ctx, db)
	if err == nil && migrating && found < schemaVersion {
		found, err = migrate(ctx, db)
	}
	if err != nil {
		return typed("open "+path, err)
	}
	if found != schemaVersion {
		return &SchemaError{Path: path, Found: found, Want: schemaVersion}
	}
	return nil
}

// storedSchema is the newest migration that was applied, and 0 if none was. It
// writes nothing, as goose would.
func storedSchema(ctx context.Context, db *sql.DB) (version int64, err error) {
	var tables int
	err = db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?", schemaTable).Scan(&tables)
	if err != nil || tables == 0 {
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
	return 0, fmt.Errorf("migrate: %w", failed)
}
