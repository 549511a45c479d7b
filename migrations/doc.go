// Package migrations holds the numbered schemas of the SQL journals and of the
// bus in PostgreSQL, in the form that goose reads. A released file is never edited: a change is the next
// number.
package migrations

import "embed"

// SQLite holds the schema of journal/sqlite, in the folder sqlite.
//
//go:embed sqlite/*.sql
var SQLite embed.FS

// Postgres holds the schema of journal/postgres, in the folder postgres.
//
//go:embed postgres/*.sql
var Postgres embed.FS

// PgBus holds the schema of bus/pgbus, in the folder pgbus.
//
//go:embed pgbus/*.sql
var PgBus embed.FS
