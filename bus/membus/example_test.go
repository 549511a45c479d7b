package membus_test

import (
	"context"
	"fmt"
	"time"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/membus"
	"github.com/troupe-go/troupe/envelope"
)

// Two services of one program share a broker.
func Example() {
	broker := membus.NewBroker(nil)
	orders := broker.Connect(&membus.Options{Group: "orders"})
	shipping := broker.Connect(&membus.Options{Group: "shipping"})

	type placed struct {
		Item string `json:"item"`
	}
	handlers := bus.NewHandlers().OnEvent("order.placed",
		bus.Typed(nil, func(_ context.Context, order placed, m *envelope.Message) error {
			fmt.Println("ship", order.Item, "for", m.Key)
			return nil
		}))

	ctx := context.Background()
	if err := orders.Publish(ctx, "order.placed", placed{"tea"}, bus.WithKey("customer-1")); err != nil {
		fmt.Println(err)
	}
	opts := bus.Idempotent()
	opts.UntilIdle = 10 * time.Millisecond // a service runs until its context ends
	if err := shipping.Run(ctx, handlers, opts); err != nil {
		fmt.Println(err)
	}
	// Output: ship tea for customer-1
}
