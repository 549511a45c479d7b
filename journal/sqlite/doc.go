// Package sqlite keeps a journal in an SQLite database.
//
// A single goroutine, the committer, takes every batch that is waiting, stores
// them in one transaction, and answers them when the disk has it: the more
// callers, the more batches share one sync.
//
//	journal, err := sqlite.OpenAndMigrate(ctx, "todos.db", nil)
//	if err != nil {
//		return err
//	}
//	defer journal.Close()
//
// [OpenAndMigrate] creates the database or brings it up to date; [Open] only
// opens one that is. The schema is migrations/sqlite, applied by goose, whose
// table is troupe_schema. docs/formats/sqlite.md describes it.
//
// A program that has opened a database itself calls [Migrate] and [FromDB].
//
// The path ":memory:" gives a database in memory that is gone after Close. It
// is for tests: [journal.Features] says that it is not durable. Reads and
// writes share its one connection. For one with tables of read models, open it
// with database/sql and use FromDB.
//
// # Read models
//
// A batch's rows go to the program's own tables in the same transaction. A
// table has a primary key and the column named by [envelope.RowVersionColumn]:
//
//	CREATE TABLE todos (
//		id               TEXT PRIMARY KEY,
//		task             TEXT,
//		due              TIMESTAMP,
//		_sourced_version INTEGER NOT NULL
//	)
//
// A row that its table does not take, because of a column that is missing, a
// value of another type or a constraint, is a [journal.ErrInvalid] of its batch
// alone. docs/formats/sqlite.md lists types and values. [Open] leaves SQLite's
// foreign keys off; a handle for FromDB may have them on.
//
// # Several processes
//
// The database is in WAL mode, each commit is synced (synchronous=FULL), and
// each transaction begins as a writing one, so that SQLite's lock, held while
// the heads are read and moved, is the gate. Several processes on one machine
// may therefore write to one database: who comes second gets a
// [journal.ErrConflict]. The committer remembers versions of streams between
// its transactions, and forgets them when SQLite says, under that lock, that
// somebody else has committed. It remembers the newest receipts, too, and then
// reads those of others. A process hears of another one's events by polling,
// not by Changed.
//
// # What can go wrong
//
// A full disk, and a lock that is held longer than [Options.BusyTimeout], are a
// [journal.ErrUnavailable]. An I/O error of the COMMIT itself is a
// [journal.ErrUnknownOutcome]: the commit may show after a crash. Submit the
// identical batch again. SQLite has no checksums: damage is a
// [journal.ErrCorrupt] only where SQLite notices it, or where a stream has a
// gap.
//
// A command's receipt is stored with its events and found again for
// [Options.ReceiptRetention]; clocks of processes that share a database must
// agree that far.
package sqlite
