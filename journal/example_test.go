package journal_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/memory"
)

// A command with an id has one effect, however often it comes.
func ExampleDuplicateError() {
	j, err := memory.Open(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer j.Close()
	account := envelope.Stream{Type: "account", ID: "7"}
	withdraw := func(version uint64) error {
		_, err := journal.Commit(context.Background(), j, &journal.Batch{
			ID: journal.NewBatchID(),
			Appends: []journal.Append{{Stream: account, Expected: version, Records: []envelope.Record{{
				Stream: account, Version: version + 1, Name: "withdrawn", Schema: 1, Codec: "json", Data: []byte(`{"amount":5}`),
			}}}},
			Receipts: []envelope.Receipt{{Stream: account, ID: "w-1", Reply: []byte(`{"left":95}`), Codec: "json"}},
		})
		return err
	}
	fmt.Println(withdraw(0))

	err = withdraw(1) // the same command again
	fmt.Println(err)
	var duplicate *journal.DuplicateError
	if errors.As(err, &duplicate) {
		fmt.Println("the first reply was", string(duplicate.Receipts[0].Reply))
	}
	// Output:
	// <nil>
	// journal: command "w-1" had its effect on stream account/7 already
	// the first reply was {"left":95}
}
