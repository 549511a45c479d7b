package order

import (
	"time"

	"github.com/troupe-go/troupe/aggregate"
)

// Place asks for an order.
type Place struct {
	ID       string `json:"id"`
	Customer string `json:"customer"`
	Items    []Item `json:"items"`
}

// AggregateID is the order's number.
func (c Place) AggregateID() string { return c.ID }

// Number names an order.
type Number string

// AggregateID is the number.
func (n Number) AggregateID() string { return string(n) }

const prefix = "order."

// PlaceOrder places an order.
var PlaceOrder = aggregate.NewCommand("order.place",
	func(_ *aggregate.Context, o *Order, c Place) (OrderSnapshot, error) {
		err := o.Place(c.Customer, c.Items)
		return o.Snapshot(), err
	})

// The commands of an order that exists.
var (
	SendOrder = aggregate.NewCommand(prefix+"send", send, aggregate.MustExist())

	// Refund gives money back. Nothing is asked.
	Refund = aggregate.NewCommand[Order, Number, time.Time]("order.refund", func(ctx *aggregate.Context, o *Order, _ Number) (time.Time, error) {
		return ctx.Now(), o.Refund(1)
	}, aggregate.MustExist())
)

func send(ctx *aggregate.Context, o *Order, _ Number) (struct{}, error) {
	return struct{}{}, o.Send(ctx.Now())
}

// unnamed are commands without a variable of their own.
var unnamed = []any{
	aggregate.NewCommand(`note."quoted" [x]`, (*keeper)(nil).keep),
}

type keeper struct{}

func (*keeper) keep(_ *aggregate.Context, n *Note, id Number) ([]OrderEvent, error) { return nil, nil }
