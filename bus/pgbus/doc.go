// Package pgbus is a message bus in PostgreSQL, for services that have a
// database and want no broker.
//
// Events are a log, which each group reads at its own pace: one replica at a
// time, that holds a lease, so the messages of an ordering key are handled in
// order. One that fails waits in the database, and those behind it in its key
// with it, while the others go on. Commands are a queue, which replicas compete
// for.
//
// The tables are made by [Migrate] or [OpenAndMigrate]; [Connect] makes none.
// They may be in the database of a journal, even in its schema, or in another
// one. docs/formats/pgbus.md has every table, lease and offset.
package pgbus
