package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	driver "modernc.org/sqlite"

	"github.com/troupe-go/troupe/journal"
)

// FromDB opens the journal in a database that the program has opened itself,
// with the driver modernc.org/sqlite. It creates nothing: call [Migrate] first.
// db stays the program's, to close after the journal. ctx is for the time of
// the call.
//
// The database must be in WAL mode, or in memory. The journal keeps one
// connection for the committer and up to [Options.Readers] more, sets
// synchronous=FULL and its own busy time-out on them, and never gives them
// back to db's pool; db must allow at least three. A database in memory is one
// connection (db.SetMaxOpenConns(1)), which the journal takes for each group
// and each page, and which the program must not hold for long.
//
// Errors: as [Open]; and what is wrong with db.
func FromDB(ctx context.Context, db *sql.DB, opts *Options) (*Journal, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	path, memory, err := inspect(ctx, db)
	if err != nil {
		return nil, err
	}
	if err := ensureSchema(ctx, db, path, "sqlite.Migrate", false); err != nil {
		return nil, err
	}
	j := newJournal(path, o)
	if memory {
		j.writer = newPool(db, poolOptions{size: 1, memory: true, foreign: true, patience: o.BusyTimeout})
		j.readers = j.writer
	} else {
		size := o.Readers
		if most := db.Stats().MaxOpenConnections; most > 0 {
			if most < 3 {
				return nil, fmt.Errorf("sqlite: FromDB: SetMaxOpenConns is %d, want 3 or more: one for commits, one for reads, one for the program", most)
			}
			size = min(size, most-2)
		}
		writing := []pragma{o.busyPragma()}
		reading := writing[:1:1]
		j.writer = newPool(db, poolOptions{size: 1, foreign: true, patience: o.BusyTimeout, pragmas: append(writing, writerPragmas...)})
		j.readers = newPool(db, poolOptions{size: size, foreign: true, patience: o.BusyTimeout, pragmas: reading})
	}
	j.start(!memory)
	return j, nil
}

// inspect finds out whether a journal can live in db, and where that is.
func inspect(ctx context.Context, db *sql.DB) (path string, memory bool, err error) {
	if db == nil {
		return "", false, errors.New("sqlite: FromDB: the database is nil")
	}
	if _, ok := db.Driver().(*driver.Driver); !ok {
		return "", false, fmt.Errorf("sqlite: FromDB: the driver is a %T, want that of modernc.org/sqlite", db.Driver())
	}
	err = db.QueryRowContext(ctx, "SELECT coalesce(file, '') FROM pragma_database_list WHERE name = 'main'").Scan(&path)
	if err != nil {
		return "", false, typed("FromDB", err)
	}
	if path == "" {
		return memoryPath, true, nil
	}
	for _, want := range []struct{ pragma, value, remedy string }{
		{"journal_mode", "wal", "open it with _pragma=journal_mode(WAL)"},
		{"locking_mode", "normal", "other connections cannot read it"},
		{"query_only", "0", "the journal writes"},
	} {
		var value string
		if err := db.QueryRowContext(ctx, "PRAGMA "+want.pragma).Scan(&value); err != nil {
			return "", false, typed("open "+path, err)
		}
		if value != want.value {
			return "", false, fmt.Errorf("sqlite: open %s: %w: its %s is %s, want %s: %s",
				path, journal.ErrUnavailable, want.pragma, value, want.value, want.remedy)
		}
	}
	return path, false, nil
}
