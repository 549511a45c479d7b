package orders

import (
	"github.com/troupe-go/troupe/actor"
	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/examples/order-saga/shop"
	"github.com/troupe-go/troupe/microsvc"
)

// none is the reply of a command that nobody waits for.
type none struct{}

// The commands of an order. Each leaves its event for other services in the same
// commit as its own.
var (
	Confirm = aggregate.NewCommand(shop.ConfirmOrder,
		func(ctx *aggregate.Context, o *Order, in shop.Order) (none, error) {
			if o.ended() {
				return none{}, nil // what comes too late changes nothing
			}
			ctx.Publish(shop.OrderConfirmed, in)
			return none{}, o.Confirm()
		}, aggregate.MustExist())

	Cancel = aggregate.NewCommand(shop.CancelOrder,
		func(ctx *aggregate.Context, o *Order, in shop.Order) (none, error) {
			if o.ended() {
				return none{}, nil
			}
			ctx.Publish(shop.OrderCancelled, in)
			return none{}, o.Cancel(in.Reason)
		}, aggregate.MustExist())
)

// place returns the command that begins an order. Where no saga does, the order
// itself looks whether it took too long.
func place(plan shop.Plan) *aggregate.Command[Order, shop.Order, none] {
	return aggregate.NewCommand(shop.PlaceOrder,
		func(ctx *aggregate.Context, o *Order, in shop.Order) (none, error) {
			ctx.Publish(shop.OrderPlaced, in)
			if plan.Style == shop.Choreography && plan.Timeout > 0 {
				ctx.SendAt(ctx.Now().Add(plan.Timeout), shop.Orders, shop.CancelOrder, in.Because("it took too long"))
			}
			return none{}, o.Place(in.ID, in.SKU, in.Quantity, in.Cents)
		})
}

// Register gives svc what it needs to be the service of orders.
func Register(system *actor.System, svc *microsvc.Service, plan shop.Plan) error {
	orders, err := actor.Host(system, Spec, nil)
	if err != nil {
		return err
	}
	svc.Register(
		microsvc.Expose(place(plan), orders),
		microsvc.Expose(Confirm, orders),
		microsvc.Expose(Cancel, orders))
	if plan.Style == shop.Choreography {
		svc.Register(
			microsvc.React(shop.StockReserved, Confirm, orders),
			microsvc.React(shop.PaymentDeclined, Cancel, orders),
			microsvc.React(shop.StockRefused, Cancel, orders))
	}
	return nil
}
