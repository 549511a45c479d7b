package stock

import (
	"testing"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/aggregate/aggregatetest"
)

// An order's reservation and its release come in any order.
func TestReservations(t *testing.T) {
	t.Parallel()
	order := Order{ID: "1", SKU: "book", Quantity: 2}
	given := func(events ...any) *aggregatetest.Scenario[Item] {
		return aggregatetest.For(t, Spec).Given(append([]any{ItemAdded{Quantity: 3}}, events...)...)
	}
	given().When(Reserve, order).Then(ItemReserved{Order: "1", Quantity: 2})
	given(ItemReserved{Order: "1", Quantity: 2}).When(Reserve, order).ThenNothing()
	given(ItemReserved{Order: "2", Quantity: 2}).When(Reserve, order).Then(ItemRefused{Order: "1", Reason: "sold out"})
	given(ItemReserved{Order: "1", Quantity: 2}).When(Release, order).Then(ItemReleased{Order: "1", Quantity: 2})
	given(ItemReserved{Order: "1", Quantity: 2}, ItemReleased{Order: "1", Quantity: 2}).When(Release, order).ThenNothing()
	given(ItemReserved{Order: "2", Quantity: 2}, ItemReleased{Order: "2", Quantity: 2}).When(Reserve, order).Then(ItemReserved{Order: "1", Quantity: 2})

	given().When(Release, order).Then(ItemReleased{Order: "1"})
	given(ItemReleased{Order: "1"}).When(Reserve, order).ThenNothing()
	given(ItemRefused{Order: "1"}).When(Release, order).ThenNothing()

	given().When(Add, Delivery{SKU: "book", Quantity: 0}).ThenError(aggregate.ErrRejected)
}
