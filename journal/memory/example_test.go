package memory_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/memory"
)

func Example() {
	ctx := context.Background()
	j, err := memory.Open(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer j.Close()

	todo := envelope.Stream{Type: "todo", ID: "42"}
	initialized := envelope.Record{
		Stream: todo, Version: 1, Name: "initialized", Schema: 1, Codec: envelope.CodecJSON, Data: []byte(`{"task":"write"}`),
	}
	batch := &journal.Batch{
		ID:      journal.NewBatchID(),
		Appends: []journal.Append{{Stream: todo, Expected: 0, Records: []envelope.Record{initialized}}},
	}
	res, err := journal.Commit(ctx, j, batch)
	fmt.Println(res.Position, err)

	// Another writer that has not seen the first event writes nothing.
	late := *batch
	late.ID = journal.NewBatchID()
	_, err = journal.Commit(ctx, j, &late)
	fmt.Println(err, errors.Is(err, journal.ErrConflict))

	for rec, err := range j.Load(ctx, todo, 0) {
		fmt.Println(rec.Version, rec.Name, string(rec.Data), err)
	}
	// Output:
	// 0-1 <nil>
	// journal: stream todo/42 is at version 1, expected 0 true
	// 1 initialized {"task":"write"} <nil>
}
