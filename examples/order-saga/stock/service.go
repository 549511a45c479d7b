package stock

import (
	"github.com/troupe-go/troupe/actor"
	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/examples/order-saga/shop"
	"github.com/troupe-go/troupe/microsvc"
)

// none is the reply of a command that nobody waits for.
type none struct{}

// Delivery is [shop.Delivery] on its way to the item.
type Delivery shop.Delivery

// AggregateID is the item.
func (d Delivery) AggregateID() string { return d.SKU }

// Order is a [shop.Order] on its way to the item.
type Order shop.Order

// AggregateID is the item.
func (o Order) AggregateID() string { return o.SKU }

// The commands of an item.
var (
	Add = aggregate.NewCommand(shop.AddStock,
		func(ctx *aggregate.Context, i *Item, in Delivery) (none, error) {
			ctx.Publish(shop.StockAdded, in)
			return none{}, i.Add(in.Quantity)
		})

	Reserve = aggregate.NewCommand(shop.Reserve,
		func(ctx *aggregate.Context, i *Item, in Order) (none, error) {
			order := shop.Order(in)
			switch {
			case i.Reserved[in.ID] > 0 || i.Done[in.ID]:
				return none{}, nil // decided before, or given up before it came
			case i.Available < in.Quantity:
				const reason = "sold out"
				ctx.Publish(shop.StockRefused, order.Because(reason))
				return none{}, i.Refuse(in.ID, reason)
			}
			ctx.Publish(shop.StockReserved, order)
			return none{}, i.Reserve(in.ID, in.Quantity)
		})

	// Release may come before the order: then nothing will be reserved for it.
	Release = aggregate.NewCommand(shop.Release,
		func(ctx *aggregate.Context, i *Item, in Order) (none, error) {
			if i.Done[in.ID] {
				return none{}, nil
			}
			ctx.Publish(shop.StockReleased, shop.Order(in))
			return none{}, i.Release(in.ID, i.Reserved[in.ID])
		})
)

// Register gives svc what it needs to be the service of stock.
func Register(system *actor.System, svc *microsvc.Service, plan shop.Plan) error {
	items, err := actor.Host(system, Spec, nil)
	if err != nil {
		return err
	}
	svc.Register(
		microsvc.Expose(Add, items),
		microsvc.Expose(Reserve, items),
		microsvc.Expose(Release, items))
	if plan.Style == shop.Choreography {
		svc.Register(
			microsvc.React(shop.PaymentCharged, Reserve, items),
			microsvc.React(shop.OrderCancelled, Release, items))
	}
	return nil
}
