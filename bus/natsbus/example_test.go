package natsbus_test

import (
	"context"
	"fmt"
	"time"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/natsbus"
	"github.com/troupe-go/troupe/envelope"
)

// Two services on one server: what one publishes, the other handles. It prints
// "ship tea for customer-1", and is not run with the tests, since it needs a
// server.
func Example() {
	const url = "nats://localhost:4222"
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	namespace := fmt.Sprint("example-", time.Now().UnixNano()) // an application has one name
	limits := natsbus.Limits{MaxAge: 24 * time.Hour, MaxBytes: 1 << 20}
	orders, err := natsbus.Connect(ctx, url, natsbus.Options{Group: "orders", Namespace: namespace, Stream: limits})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = orders.Close() }()
	shipping, err := natsbus.Connect(ctx, url, natsbus.Options{Group: "shipping", Namespace: namespace, Stream: limits})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = shipping.Close() }()

	type placed struct {
		Item string `json:"item"`
	}
	handlers := bus.NewHandlers().OnEvent("order.placed",
		bus.Typed(nil, func(_ context.Context, order placed, m *envelope.Message) error {
			fmt.Println("ship", order.Item, "for", m.Key)
			return nil
		}))
	if err := orders.Publish(ctx, "order.placed", placed{"tea"}, bus.WithKey("customer-1")); err != nil {
		fmt.Println(err)
		return
	}
	opts := bus.Idempotent()
	opts.Limit = 1 // a service runs until its context ends
	if err := shipping.Run(ctx, handlers, opts); err != nil {
		fmt.Println(err)
	}
}
