package sqlite_test

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/sqlite"
)

// The program opens the database and owns the table; the journal writes a row
// together with what else the batch holds.
func ExampleFromDB() {
	ctx := context.Background()
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()
	db.SetMaxOpenConns(1) // a database in memory is its connection
	if err := sqlite.Migrate(ctx, db); err != nil {
		fmt.Println(err)
		return
	}
	_, err = db.ExecContext(ctx, "CREATE TABLE todos (id TEXT PRIMARY KEY, task TEXT, _sourced_version INTEGER NOT NULL)")
	if err != nil {
		fmt.Println(err)
		return
	}
	j, err := sqlite.FromDB(ctx, db, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer j.Close()

	key := []envelope.Column{{Name: "id", Value: "42"}}
	_, err = journal.Commit(ctx, j, &journal.Batch{ID: journal.NewBatchID(), Rows: []envelope.Row{{
		Table: "todos", Op: envelope.RowInsert, Key: key, Columns: []envelope.Column{{Name: "task", Value: "water the plants"}},
	}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	row, ok, err := j.Row(ctx, "todos", key)
	fmt.Println(row.Columns, row.Version, ok, err)
	// Output: [{task water the plants}] 1 true <nil>
}
