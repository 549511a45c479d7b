package payments

import (
	"testing"

	"github.com/troupe-go/troupe/aggregate/aggregatetest"
	"github.com/troupe-go/troupe/examples/order-saga/shop"
)

// A charge and its refund come in any order; nothing is charged twice, and nothing
// that is given back stays.
func TestCharges(t *testing.T) {
	t.Parallel()
	order := shop.Order{ID: "1", Cents: 100}
	given := func(events ...any) *aggregatetest.Scenario[Payment] {
		return aggregatetest.For(t, Spec).Given(events...)
	}
	given().When(Charge, order).Then(PaymentCharged{Cents: 100})
	given(PaymentCharged{Cents: 100}).When(Charge, order).ThenNothing()
	given(PaymentCharged{Cents: 100}).When(Refund, order).Then(PaymentRefunded{Cents: 100})
	given(PaymentCharged{Cents: 100}, PaymentRefunded{Cents: 100}).When(Refund, order).ThenNothing()
	given(PaymentCharged{Cents: 100}, PaymentRefunded{Cents: 100}).When(Charge, order).ThenNothing()

	given().When(Refund, order).Then(PaymentRefunded{})
	given(PaymentRefunded{}).When(Charge, order).Then(PaymentDeclined{Reason: "the order was given up"})

	order.Cents = Limit + 1
	given().When(Charge, order).Then(PaymentDeclined{Reason: "the card's limit"})
	given(PaymentDeclined{}).When(Charge, order).ThenNothing()
	given(PaymentDeclined{}).When(Refund, order).ThenNothing()
}
