package pgbus_test

import (
	"context"
	"fmt"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/pgbus"
	"github.com/troupe-go/troupe/envelope"
)

// A service that notes what another one published, in a database that both reach.
// It prints "shipped 42", and is not run with the tests, since it needs a server.
func Example() {
	ctx := context.Background()
	const url = "postgres://postgres@localhost/app"
	shipping, err := pgbus.OpenAndMigrate(ctx, url, pgbus.Options{Group: "shipping", Namespace: "app"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = shipping.Close() }()
	billing, err := pgbus.Connect(ctx, url, pgbus.Options{Group: "billing", Namespace: "app"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = billing.Close() }()

	if err := shipping.Publish(ctx, "order.shipped", "42", bus.WithKey("42")); err != nil {
		fmt.Println(err)
		return
	}
	handlers := bus.NewHandlers().OnEvent("order.shipped", bus.Typed(nil, func(_ context.Context, order string, _ *envelope.Message) error {
		fmt.Println("shipped", order)
		return nil
	}))
	opts := bus.Idempotent()
	opts.Limit = 1 // a service runs until its context ends
	if err := billing.Subscribe(ctx, handlers, opts); err != nil {
		fmt.Println(err)
	}
}
