// Package orders is the service of customers' orders.
package orders

//go:generate go tool sourced

import "github.com/troupe-go/troupe/aggregate"

// Order is one order of a customer. It ends confirmed or cancelled, once.
//
//sourced:aggregate order
type Order struct {
	aggregate.Root
	SKU       string
	Quantity  int
	Cents     int64
	Confirmed bool
	Cancelled bool
	Reason    string
}

// place begins the order.
//
//sourced:event placed require o.mayPlace(quantity, cents)
func (o *Order) place(id, sku string, quantity int, cents int64) {
	o.SetID(id)
	o.SKU, o.Quantity, o.Cents = sku, quantity, cents
}

// confirm ends the order well.
//
//sourced:event confirmed
func (o *Order) confirm() { o.Confirmed = true }

// cancel ends the order, and says why.
//
//sourced:event cancelled
func (o *Order) cancel(reason string) { o.Cancelled, o.Reason = true, reason }

func (o *Order) mayPlace(quantity int, cents int64) error {
	switch {
	case o.Version() > 0:
		return aggregate.Reject("order %s was placed before", o.ID())
	case quantity <= 0 || cents <= 0:
		return aggregate.Reject("an order is of something, for something")
	}
	return nil
}

// ended reports whether nothing can change any more.
func (o *Order) ended() bool { return o.Confirmed || o.Cancelled }
