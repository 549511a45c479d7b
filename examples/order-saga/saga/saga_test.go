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
	for _, tt := range []struct {
		given   []any
		command string
		input   any
		then    []any
	}{
		{nil, "begin", order, []any{OrderSagaBegun{}}},
		{charging, "begin", order, nil},
		{charging, "charged", order, []any{OrderSagaPaid{}}},
		{charging, "declined", order.Because("no"), []any{OrderSagaCancelled{Reason: "no"}}},
		{reserving, "reserved", order, []any{OrderSagaFinished{}}},
		{reserving, "charged", order, nil},
		{reserving, "refused", order.Because("sold out"), []any{OrderSagaUndoing{Refund: true, Reason: "sold out"}}},
		{refunding, "refunded", order, []any{OrderSagaRefunded{}, OrderSagaCancelled{Reason: "sold out"}}},
		{refunding, "released", order, nil},

		// Timers.
		{charging, "late", Late{order, Charging}, []any{OrderSagaUndoing{Refund: true, Reason: slow}}},
		{reserving, "late", Late{order, Charging}, nil},
		{reserving, "late", Late{order, Reserving}, []any{OrderSagaUndoing{Refund: true, Release: true, Reason: slow}}},
		{done, "late", Late{order, Reserving}, nil},
		{cancelled, "late", Late{order, Charging}, nil},

		// What crosses a timer.
		{lateCharge, "charged", order, nil},
		{lateCharge, "refunded", order, []any{OrderSagaRefunded{}, OrderSagaCancelled{Reason: slow}}},
		{lateCharge, "declined", order, []any{OrderSagaRefunded{}, OrderSagaCancelled{Reason: slow}}},
		{undoing, "reserved", order, nil},
		{undoing, "released", order, []any{OrderSagaReleased{}}},
		{undoing, "refused", order, []any{OrderSagaReleased{}}},
		{behind(undoing, OrderSagaReleased{}), "refunded", order, []any{OrderSagaRefunded{}, OrderSagaCancelled{Reason: slow}}},
		{behind(undoing, OrderSagaRefunded{}), "released", order, []any{OrderSagaReleased{}, OrderSagaCancelled{Reason: slow}}},
		{behind(undoing, OrderSagaRefunded{}), "refunded", order, nil},

		// What comes behind the end.
		{done, "refused", order, nil},
		{done, "refunded", order, nil},
		{cancelled, "charged", order, nil},
		{cancelled, "declined", order, nil},
	} {
		s := aggregatetest.For(t, Spec).Given(tt.given...).When(commands[tt.command], tt.input)
		if tt.then == nil {
			s.ThenNothing()
			continue
		}
		s.Then(tt.then...)
	}
}
