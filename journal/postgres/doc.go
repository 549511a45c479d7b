// Package postgres keeps a journal in a PostgreSQL database.
//
//	journal, err := postgres.OpenAndMigrate(ctx, "postgres://localhost/shop", nil)
//	if err != nil {
//		return err
//	}
//	defer journal.Close()
//
// [OpenAndMigrate] creates the tables or brings them up to date, in a schema of
// their own; [Open] and [FromPool] only open what is there. The schema is
// migrations/postgres, applied by goose, whose table is troupe_schema.
// docs/formats/postgres.md describes it. PostgreSQL 13 or later.
//
// # How a batch is stored
//
// A committer takes every batch that is waiting, stores them together, and
// answers: the more callers, the more batches share one flush. There are two
// committers, each with a share of the streams, and one for batches that touch
// several streams. Plain batches, of one stream and without rows, are stored in
// one statement. It moves the head of each stream that has the expected version,
// and what else it writes joins those. Batches that it refuses, and all that
// are not plain, are decided one by one in a transaction that locks the heads,
// looks, and then writes.
//
// # Several processes
//
// Any number of processes may write to one database. The head of a stream, a
// row, is the gate: who comes second gets a [journal.ErrConflict]. Nothing about
// the database is cached in memory. A process hears of another one's events by
// NOTIFY, sent by a connection of its own at most every 20 ms, and readers also
// poll.
//
// Records are read in the order of (transaction, position), and only those below
// every transaction that may still add some, so that nothing is ever skipped.
// That a stranger's transaction is open, even a forgotten one, does not stop
// readers.
//
// # Connections
//
// A journal has Readers connections in a pool, and Committers and three more.
// They keep prepared statements and settings, and one listens, so they go to the
// server directly or through a proxy that pools sessions. Through one that pools
// transactions, as PgBouncer does with pool_mode=transaction, a journal does not
// work.
//
// # Rows
//
// Tables of read models are the user's: "todos", which the connection's
// search_path finds, or "shop.todos". Such a table has the column
// _sourced_version bigint NOT NULL, and a primary key or unique index over the
// columns that are the key of a row. Names are quoted, so their case counts.
//
// # What can go wrong
//
// A server that is away, read-only, full, or out of connections is a
// [journal.ErrUnavailable]; the journal serves again when the server does. A
// connection that is lost while a commit is on its way is a
// [journal.ErrUnknownOutcome]: submit the identical batch again. Before the
// committer stores anything else, it ends the server's process of the lost
// connection, so that what it finds then is final. A server that does not
// answer at all is an unknown outcome after [Options.StatementTimeout] and 5 s.
//
// A row that does not fit its table is a [journal.ErrInvalid] of its batch.
//
// Receipts are found for [Options.ReceiptRetention]; clocks of processes that
// share a database must agree that far.
package postgres
