package outbox_test

import (
	"context"
	"fmt"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/membus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/memory"
	"github.com/troupe-go/troupe/outbox"
)

func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	j, err := memory.Open(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	// A command leaves such a message by Context.Publish, with its events.
	shipped := envelope.Message{ID: "42:shipped:1", Kind: envelope.KindEvent, Name: "order.shipped", Key: "42", Data: []byte(`{"id":"42"}`)}
	if _, err := journal.Commit(ctx, j, &journal.Batch{ID: journal.NewBatchID(), Messages: []envelope.Message{shipped}}); err != nil {
		fmt.Println(err)
		return
	}

	broker := membus.New()
	dispatcher, err := outbox.New(j, broker, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	go dispatcher.Run(ctx)

	handled := make(chan string)
	go broker.Subscribe(ctx, bus.NewHandlers().OnEvent("order.shipped", func(_ context.Context, m *envelope.Message) error {
		handled <- string(m.Data)
		return nil
	}), bus.Idempotent())
	fmt.Println(<-handled)
	// Output: {"id":"42"}
}
