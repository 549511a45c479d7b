package saga

import (
	"slices"
	"testing"
	"time"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/aggregate/aggregatetest"
	"github.com/troupe-go/troupe/examples/order-saga/shop"
)

func behind(events []any, next any) []any { return append(slices.Clip(events), next) }

// Answers come in any order, and late: a saga goes on with what it waits for, and
// lets the rest pass.
func TestSteps(t *testing.T) {
	t.Parallel()
	st := steps{timeout: time.Minute}
	commands := map[string]any{"late": aggregate.NewCommand("late", st.late)}
	for name, step := range map[string]func(*aggregate.Context, *OrderSaga, shop.Order) (none, error){
		"begin": st.begin, "charged": st.charged, "reserved": st.reserved, "declined": st.declined,
		"refused": st.refused, "refunded": st.refunded, "released": st.released,
	} {
		commands[name] = aggregate.NewCommand(name, step)
	}
	const slow = "it took too long"
	charging := []any{OrderSagaBegun{}}
	reserving := behind(charging, OrderSagaPaid{})
	done := behind(reserving, OrderSagaFinished{})
	refunding := behind(reserving, OrderSagaUndoing{Refund: true, Reason: "sold out"})
	lateCharge := behind(charging, OrderSagaUndoing{Refund: true, Reason: slow})
	undoing := behind(reserving, OrderSagaUndoing{Refund: true, Release: true, Reason: slow})
	cancelled := behind(charging, OrderSagaCancelled{Reason: "no"})
	order := shop.Order{ID: "1", SKU: "book", Quantity: 1, Cents: 100}
	to := func(service, name string, payload any) aggregatetest.Message {
		return aggregatetest.Message{Destination: service, Name: name, Payload: payload}
	}
	sends := func(messages ...aggregatetest.Message) []aggregatetest.Message { return messages }
	charge, reserve, confirm := to(shop.Payments, shop.Charge, order), to(shop.Stock, shop.Reserve, order), to(shop.Orders, shop.ConfirmOrder, order)
	refund := func(why string) aggregatetest.Message { return to(shop.Payments, shop.Refund, order.Because(why)) }
	release := func(why string) aggregatetest.Message { return to(shop.Stock, shop.Release, order.Because(why)) }
	cancel := func(why string) aggregatetest.Message { return to(shop.Orders, shop.CancelOrder, order.Because(why)) }
	later := func(step Step) aggregatetest.Message {
		m := to(shop.Saga, lateCommand, Late{order, step})
		m.At = aggregatetest.Now.Add(time.Minute)
		return m
	}
	for _, tt := range []struct {
		given   []any
		command string
		input   any
		then    []any
		sends   []aggregatetest.Message
	}{
		{nil, "begin", order, []any{OrderSagaBegun{}}, sends(charge, later(Charging))},
		{charging, "begin", order, nil, nil},
		{charging, "charged", order, []any{OrderSagaPaid{}}, sends(reserve, later(Reserving))},
		{charging, "declined", order.Because("no"), []any{OrderSagaCancelled{Reason: "no"}}, sends(cancel("no"))},
		{reserving, "reserved", order, []any{OrderSagaFinished{}}, sends(confirm)},
		{reserving, "charged", order, nil, nil},
		{reserving, "refused", order.Because("sold out"), []any{OrderSagaUndoing{Refund: true, Reason: "sold out"}}, sends(refund("sold out"))},
		{refunding, "refunded", order, []any{OrderSagaRefunded{}, OrderSagaCancelled{Reason: "sold out"}}, sends(cancel("sold out"))},
		{refunding, "released", order, nil, nil},

		// Timers.
		{charging, "late", Late{order, Charging}, []any{OrderSagaUndoing{Refund: true, Reason: slow}}, sends(refund(slow))},
		{reserving, "late", Late{order, Charging}, nil, nil},
		{reserving, "late", Late{order, Reserving}, []any{OrderSagaUndoing{Refund: true, Release: true, Reason: slow}}, sends(refund(slow), release(slow))},
		{done, "late", Late{order, Reserving}, nil, nil},
		{cancelled, "late", Late{order, Charging}, nil, nil},

		// What crosses a timer.
		{lateCharge, "charged", order, nil, nil},
		{lateCharge, "refunded", order, []any{OrderSagaRefunded{}, OrderSagaCancelled{Reason: slow}}, sends(cancel(slow))},
		{lateCharge, "declined", order, []any{OrderSagaRefunded{}, OrderSagaCancelled{Reason: slow}}, sends(cancel(slow))},
		{undoing, "reserved", order, nil, nil},
		{undoing, "released", order, []any{OrderSagaReleased{}}, nil},
		{undoing, "refused", order, []any{OrderSagaReleased{}}, nil},
		{behind(undoing, OrderSagaReleased{}), "refunded", order, []any{OrderSagaRefunded{}, OrderSagaCancelled{Reason: slow}}, sends(cancel(slow))},
		{behind(undoing, OrderSagaRefunded{}), "released", order, []any{OrderSagaReleased{}, OrderSagaCancelled{Reason: slow}}, sends(cancel(slow))},
		{behind(undoing, OrderSagaRefunded{}), "refunded", order, nil, nil},

		// What comes behind the end.
		{done, "refused", order, nil, nil},
		{done, "refunded", order, nil, nil},
		{cancelled, "charged", order, nil, nil},
		{cancelled, "declined", order, nil, nil},
	} {
		s := aggregatetest.For(t, Spec).Given(tt.given...).When(commands[tt.command], tt.input)
		if tt.then == nil {
			s.ThenNothing()
		} else {
			s.Then(tt.then...)
		}
		s.ThenMessages(tt.sends...)
	}
}
