package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/examples/internal/services"
	"github.com/troupe-go/troupe/examples/order-saga/payments"
	"github.com/troupe-go/troupe/examples/order-saga/shop"
)

// customer places one order of each kind and tells how they end. It knows nothing
// but the bus.
func customer(ctx context.Context, b *bus.Bus, out io.Writer) error {
	source, err := b.Transport().Subscribe(ctx, []string{shop.OrderCancelled, shop.OrderConfirmed, shop.StockAdded})
	if err != nil {
		return err
	}
	run := rand.Text()[:6] // other orders, of another book, than those of the last run
	book := "book-" + run
	orders := map[string]shop.Order{
		run + "-1": {SKU: book, Quantity: 2, Cents: 40_00},
		run + "-2": {SKU: book, Quantity: 1, Cents: payments.Limit + 1},
		run + "-3": {SKU: book, Quantity: 9, Cents: 180_00},
	}
	if err := services.Send(ctx, b, shop.AddStock, shop.Delivery{SKU: book, Quantity: 5}, book); err != nil {
		return errors.Join(err, source.Close(ctx))
	}

	ctx, done := context.WithCancel(ctx)
	defer done()
	delivered := func(ctx context.Context, in shop.Delivery, _ *envelope.Message) error {
		if in.SKU != book {
			return nil // another customer's
		}
		for id, order := range orders {
			order.ID = id
			if err := services.Send(ctx, b, shop.PlaceOrder, order, id); err != nil {
				return err
			}
		}
		return nil
	}
	ended := func(_ context.Context, order shop.Order, m *envelope.Message) error {
		if _, ok := orders[order.ID]; !ok {
			return nil // another customer's, or told before
		}
		delete(orders, order.ID)
		fmt.Fprintf(out, "%-16s %d × %s for %d.%02d %s\n", m.Name, order.Quantity, order.SKU, order.Cents/100, order.Cents%100, order.Reason)
		if len(orders) == 0 {
			done()
		}
		return nil
	}
	opts := bus.Idempotent()
	opts.Concurrency = 1
	return bus.RunSource(ctx, source, bus.NewHandlers().
		OnEvent(shop.StockAdded, bus.Typed(nil, delivered)).
		OnEvent(shop.OrderConfirmed, bus.Typed(nil, ended)).
		OnEvent(shop.OrderCancelled, bus.Typed(nil, ended)), opts)
}
