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
	"strconv"
	"strings"

	_ "modernc.org/sqlite" // registers the driver

	"github.com/troupe-go/troupe/journal"
)

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
			return nil, &SchemaError{Path: path, Want: schemaVersion, Call: "sqlite.OpenAndMigrate"}
		}
	}
	j := newJournal(path, o)
	db, err := openDB(path, "rwc", &o)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	if !memory {
		err = requireWAL(ctx, db, path)
	}
	if err == nil {
		err = ensureSchema(ctx, db, path, "sqlite.OpenAndMigrate", migrating)
	}
	if err != nil {
		_ = db.Close()
		return nil, err
	}
	j.writer = newPool(db, poolOptions{size: 1, memory: memory, patience: o.BusyTimeout})
	if j.readers = j.writer; !memory {
		db, err := openDB(path, "ro", &o)
		if err != nil {
			_ = j.writer.close()
			return nil, err
		}
		db.SetMaxOpenConns(o.Readers)
		db.SetMaxIdleConns(o.Readers)
		j.readers = newPool(db, poolOptions{size: o.Readers, patience: o.BusyTimeout})
	}
	j.start(!memory)
	return j, nil
}

// What the committer's connection is set to, besides the busy time-out. Temporary
// files in memory: the part of a batch that may be undone would go to a file
// else, a fifth of all time. A cache of 64 MB, which holds the index of two
// million receipts, and checkpoints that come every 16 MB: pages are read and
// copied less often.
var writerPragmas = []pragma{
	{"synchronous", "FULL"}, {"temp_store", "MEMORY"}, {"cache_size", "-64000"}, {"wal_autocheckpoint", "4000"},
}

type pragma struct{ name, value string }

func (o *Options) busyPragma() pragma {
	return pragma{"busy_timeout", strconv.FormatInt(o.BusyTimeout.Milliseconds(), 10)}
}

// openDB makes a handle whose connections are all set up alike. mode is that
// of the file: "rwc" or "ro".
func openDB(path, mode string, o *Options) (*sql.DB, error) {
	settings := []pragma{o.busyPragma()}
	if mode != "ro" {
		settings = append(settings, writerPragmas...)
	}
	var pragmas []string
	for _, p := range settings {
		pragmas = append(pragmas, p.name+"("+p.value+")")
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

// requireWAL fails where the file system has no shared memory.
func requireWAL(ctx context.Context, db *sql.DB, path string) error {
	var mode string
	if err := db.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&mode); err != nil {
		return typed("open "+path, err)
	}
	if mode != "wal" {
		return fmt.Errorf("sqlite: open %s: %w: its journal mode is %s and cannot be WAL", path, journal.ErrUnavailable, mode)
	}
	return nil
}
