package saga

import (
	"github.com/troupe-go/troupe/actor"
	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/examples/order-saga/shop"
	"github.com/troupe-go/troupe/microsvc"
)

// Register gives svc what it needs to be the service of sagas.
func Register(system *actor.System, svc *microsvc.Service, plan shop.Plan) error {
	sagas, err := actor.Host(system, Spec, nil)
	if err != nil {
		return err
	}
	st := steps{plan.Timeout}
	begin := aggregate.NewCommand("order_saga.begin", st.begin)
	late := aggregate.NewCommand(lateCommand, st.late, aggregate.MustExist())
	svc.Register(microsvc.React(shop.OrderPlaced, begin, sagas), microsvc.Expose(late, sagas))
	for event, step := range map[string]func(*aggregate.Context, *OrderSaga, shop.Order) (none, error){
		shop.PaymentCharged:  st.charged,
		shop.StockReserved:   st.reserved,
		shop.PaymentDeclined: st.declined,
		shop.StockRefused:    st.refused,
		shop.PaymentRefunded: st.refunded,
		shop.StockReleased:   st.released,
	} {
		command := aggregate.NewCommand("order_saga."+event, step, aggregate.MustExist())
		svc.Register(microsvc.React(event, command, sagas))
	}
	return nil
}
