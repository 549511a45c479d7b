package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/postgres"
)

// This example needs a server: DATABASE_URL is where it is.
func Example() {
	ctx := context.Background()
	j, err := postgres.OpenAndMigrate(ctx, os.Getenv("DATABASE_URL"), nil)
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
		// Published later, if and only if the event is stored.
		Messages: []envelope.Message{{
			ID: "42:initialized:1", Kind: envelope.KindEvent, Name: "todo.initialized", Time: time.Now(),
			ContentType: "application/json", Codec: envelope.CodecJSON, Data: []byte(`{"id":"42"}`), Source: todo, SourceVersion: 1,
		}},
	}
	_, err = journal.Commit(ctx, j, initialize)
	switch {
	case errors.Is(err, journal.ErrConflict):
		fmt.Println("somebody else was first:", err)
	case err != nil:
		fmt.Println(err)
	}
	for rec, err := range j.Load(ctx, todo, 0) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(rec.Version, rec.Name, string(rec.Data))
	}
}
