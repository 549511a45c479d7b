// Package stock is the service of what there is to sell.
package stock

//go:generate go tool sourced

import "github.com/troupe-go/troupe/aggregate"

// Item is how much there is of one thing, and for which orders it is kept.
//
//sourced:aggregate stock
type Item struct {
	aggregate.Root
	Available int
	Reserved  map[string]int  // order → how many
	Done      map[string]bool // orders that were refused or released
}

// add puts more of it into the store.
//
//sourced:event added require mayAdd(quantity)
func (i *Item) add(quantity int) { i.Available += quantity }

// reserve keeps some for an order.
//
//sourced:event reserved
func (i *Item) reserve(order string, quantity int) {
	if i.Reserved == nil {
		i.Reserved = map[string]int{}
	}
	i.Reserved[order] = quantity
	i.Available -= quantity
}

// refuse keeps nothing for an order.
//
//sourced:event refused
func (i *Item) refuse(order, reason string) { i.finish(order) }

// release gives up what was kept for an order, which may be nothing yet: then
// nothing will be.
//
//sourced:event released
func (i *Item) release(order string, quantity int) {
	i.Available += quantity
	delete(i.Reserved, order)
	i.finish(order)
}

func (i *Item) finish(order string) {
	if i.Done == nil {
		i.Done = map[string]bool{}
	}
	i.Done[order] = true
}

func mayAdd(quantity int) error {
	if quantity <= 0 {
		return aggregate.Reject("%d is nothing to add", quantity)
	}
	return nil
}
