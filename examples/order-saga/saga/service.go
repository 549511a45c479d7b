package saga

import (
	"github.com/troupe-go/troupe/actor"
	"github.com/troupe-go/troupe/examples/order-saga/shop"
	"github.com/troupe-go/troupe/microsvc"
)

// Register gives svc what it needs to be the service of sagas.
func Register(system *actor.System, svc *microsvc.Service) error {
	sagas, err := actor.Host(system, Spec, nil)
	if err != nil {
		return err
	}
	svc.Register(
		microsvc.React(shop.OrderPlaced, Begin, sagas),
		microsvc.React(shop.PaymentCharged, Charged, sagas),
		microsvc.React(shop.StockReserved, Reserved, sagas),

		microsvc.React(shop.PaymentDeclined, Declined, sagas),
		microsvc.React(shop.StockRefused, Refused, sagas),
		microsvc.React(shop.PaymentRefunded, Refunded, sagas),
		microsvc.React(shop.StockReleased, Released, sagas))
	return nil
}
