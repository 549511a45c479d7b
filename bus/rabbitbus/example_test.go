package rabbitbus_test

import (
	"context"
	"fmt"
	"time"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/rabbitbus"
	"github.com/troupe-go/troupe/envelope"
)

// Two services on one broker: what one sends, the other handles. It prints "ship
// tea for customer-1", and is not run with the tests, since it needs a broker.
func Example() {
	const url = "amqp://guest:guest@localhost:5672/"
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	namespace := fmt.Sprint("example-", time.Now().UnixNano()) // an application has one name
	orders, err := rabbitbus.Connect(ctx, url, rabbitbus.Options{Group: "orders", Namespace: namespace})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = orders.Close() }()
	shipping, err := rabbitbus.Connect(ctx, url, rabbitbus.Options{Group: "shipping", Namespace: namespace})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = shipping.Close() }()

	type shipment struct {
		Item string `json:"item"`
	}
	handlers := bus.NewHandlers().OnCommand("shipping.ship",
		bus.Typed(nil, func(_ context.Context, what shipment, m *envelope.Message) error {
			fmt.Println("ship", what.Item, "for", m.Key)
			return nil
		}))
	opts := bus.Idempotent()
	opts.Limit = 1 // a service runs until its context ends
	ended := make(chan error, 1)
	go func() { ended <- shipping.Run(ctx, handlers, opts) }()

	// Until the other service has begun to listen there is nobody to send to; an
	// outbox does this for you.
	send := func() error {
		return orders.Send(ctx, "shipping.ship", shipment{"tea"}, bus.WithKey("customer-1"), bus.WithID("order-1"))
	}
	for err = send(); err != nil && !bus.IsPermanent(err) && ctx.Err() == nil; err = send() {
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		fmt.Println(err)
	}
	if err := <-ended; err != nil {
		fmt.Println(err)
	}
}
