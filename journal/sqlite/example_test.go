package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/sqlite"
)

func Example() {
	dir, err := os.MkdirTemp("", "troupe")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	ctx := context.Background()
	j, err := sqlite.OpenAndMigrate(ctx, filepath.Join(dir, "todos.db"), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer j.Close()

	todo := envelope.Stream{Type: "todo", ID: "42"}
	initialize := &journal.Batch{
		ID: journal.NewBatchID(),
		Appends: []journal.Append{{Stream: todo, Expected: 0, Records: []envelope.Record{{
			Stream: todo, Version: 1, Time: time.Now(),
			Name: "initialized", Schema: 1, Codec: envelope.CodecJSON, Data: []byte(`{"task":"water the plants"}`),
		}}}},
	}
	if _, err := journal.Commit(ctx, j, initialize); err != nil {
		fmt.Println(err)
		return
	}
	for rec, err := range j.Load(ctx, todo, 0) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(rec.Version, rec.Name, string(rec.Data))
	}

	initialize.ID = journal.NewBatchID()
	_, err = journal.Commit(ctx, j, initialize)
	fmt.Println(errors.Is(err, journal.ErrConflict), err)
	// Output:
	// 1 initialized {"task":"water the plants"}
	// true journal: stream todo/42 is at version 1, expected 0
}
