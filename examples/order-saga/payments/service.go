package payments

import (
	"github.com/troupe-go/troupe/actor"
	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/examples/order-saga/shop"
	"github.com/troupe-go/troupe/microsvc"
)

// none is the reply of a command that nobody waits for.
type none struct{}

// The commands of a payment. What they decide is an event, also where it is a
// refusal: an error would make a dead letter of the message, and the saga would
// wait for ever.
var (
	Charge = aggregate.NewCommand(shop.Charge,
		func(ctx *aggregate.Context, p *Payment, in shop.Order) (none, error) {
			reason := ""
			switch {
			case p.Cents > 0 || p.Declined:
				return none{}, nil // decided before
			case p.Refunded:
				reason = "the order was given up"
			case in.Cents > Limit:
				reason = "the card's limit"
			}
			if reason != "" {
				ctx.Publish(shop.PaymentDeclined, in.Because(reason))
				return none{}, p.Decline(reason)
			}
			ctx.Publish(shop.PaymentCharged, in)
			return none{}, p.Charge(in.Cents)
		})

	// Refund may come before the charge: messages of two services have no
	// order among each other. Then there will be no charge.
	Refund = aggregate.NewCommand(shop.Refund,
		func(ctx *aggregate.Context, p *Payment, in shop.Order) (none, error) {
			if p.Refunded || p.Declined {
				return none{}, nil // there is nothing to give back
			}
			ctx.Publish(shop.PaymentRefunded, in)
			return none{}, p.Refund(p.Cents)
		})
)

// Register gives svc what it needs to be the service of payments.
func Register(system *actor.System, svc *microsvc.Service, plan shop.Plan) error {
	payments, err := actor.Host(system, Spec, nil)
	if err != nil {
		return err
	}
	svc.Register(
		microsvc.Expose(Charge, payments),
		microsvc.Expose(Refund, payments))
	if plan.Style == shop.Choreography {
		svc.Register(
			microsvc.React(shop.OrderPlaced, Charge, payments),
			microsvc.React(shop.OrderCancelled, Refund, payments))
	}
	return nil
}
