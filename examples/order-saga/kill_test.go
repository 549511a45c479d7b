//go:build unix

package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/examples/internal/killtest"
	"github.com/troupe-go/troupe/examples/internal/services"
	"github.com/troupe-go/troupe/examples/order-saga/payments"
	"github.com/troupe-go/troupe/examples/order-saga/shop"
	"github.com/troupe-go/troupe/examples/order-saga/stock"
	"github.com/troupe-go/troupe/internal/testenv"
	"github.com/troupe-go/troupe/journal"
)

func TestMain(m *testing.M) {
	testenv.RunChild(map[string]func() error{killtest.Child: func() error { return killtest.RunChild(inVariant) }})
	goleak.VerifyTestMain(m)
}

// inVariant is register for "STYLE TIMEOUT".
func inVariant(variant string) services.Register {
	style, timeout, _ := strings.Cut(variant, " ")
	d, _ := time.ParseDuration(timeout) // of a test below
	return register(shop.Plan{Style: shop.Style(style), Timeout: d})
}

// kinds are the orders that the test places, and what tells that one has ended
// and left nothing to do.
var kinds = []struct {
	name  string
	order shop.Order
	ends  map[shop.Style][]string
}{
	{"sells", shop.Order{Quantity: 2, Cents: 40_00}, map[shop.Style][]string{
		shop.Orchestration: {shop.OrderConfirmed},
		shop.Choreography:  {shop.OrderConfirmed},
	}},
	{"declines", shop.Order{Quantity: 1, Cents: payments.Limit + 1}, map[shop.Style][]string{
		shop.Orchestration: {shop.OrderCancelled},
		shop.Choreography:  {shop.OrderCancelled, shop.StockReleased},
	}},
	{"refunds", shop.Order{Quantity: 1_000_000, Cents: 90_00}, map[shop.Style][]string{
		shop.Orchestration: {shop.OrderCancelled, shop.PaymentRefunded},
		shop.Choreography:  {shop.OrderCancelled, shop.PaymentRefunded},
	}},
}

const (
	sku     = "book"
	inStock = 100_000
	fewest  = 2 // orders of each kind, at least
)

// TestKilledBetweenAnyTwoSteps places orders while each service is killed at one
// step after the other, and started again. Every order ends as it must, with one
// charge at most, and with a refund if and only if it was undone.
func TestKilledBetweenAnyTwoSteps(t *testing.T) {
	t.Parallel()
	for _, style := range []shop.Style{shop.Orchestration, shop.Choreography} {
		t.Run("style="+string(style), func(t *testing.T) {
			t.Parallel()
			killtest.OnEachBus(t, func(t *testing.T, w *killtest.World) {
				names, variant := names(style), string(style)+" 1h"
				w.Declare(t, inVariant, variant, names)
				witness := w.Watch(t, shop.StockAdded, shop.OrderConfirmed, shop.OrderCancelled, shop.PaymentRefunded, shop.StockReleased)
				crew := w.Start(t, inVariant, variant, names, w.Kills(names))

				witness.Send(shop.AddStock, shop.Delivery{SKU: sku, Quantity: inStock}, sku)
				witness.Await(crew, sku, shop.StockAdded)
				placed := 0
				for ; placed < fewest*len(kinds) || !crew.Blown(); placed++ {
					kind := kinds[placed%len(kinds)]
					order := kind.order
					order.ID, order.SKU = id(placed), sku
					witness.Send(shop.PlaceOrder, order, order.ID)
					witness.Await(crew, order.ID, kind.ends[style]...)
				}
				t.Log(placed, "orders")
				crew.Finish()
				witness.RequireNoDeadLetters()
				requireOrders(t, w, style, placed)
			})
		})
	}
}

// TestAStepThatTakesTooLong is the same while there is no stock: what its orders
// did is undone when their time is over, and also when the stock hears of them at
// last.
func TestAStepThatTakesTooLong(t *testing.T) {
	t.Parallel()
	for _, style := range []shop.Style{shop.Orchestration, shop.Choreography} {
		t.Run("style="+string(style), func(t *testing.T) {
			t.Parallel()
			killtest.OnEachBus(t, func(t *testing.T, w *killtest.World) {
				all, variant := names(style), string(style)+" 700ms"
				w.Declare(t, inVariant, variant, all)
				witness := w.Watch(t, shop.OrderCancelled, shop.PaymentRefunded)
				killed := []string{shop.Saga} // whose timer it is
				if style == shop.Choreography {
					killed = []string{shop.Orders}
				}
				here := slices.DeleteFunc(all, func(name string) bool { return name == shop.Stock })
				crew := w.Start(t, inVariant, variant, here, w.Kills(killed))
				placed := 0
				for ; placed < fewest || !crew.Blown(); placed++ {
					order := shop.Order{ID: id(placed), SKU: sku, Quantity: 1, Cents: 40_00}
					witness.Send(shop.PlaceOrder, order, order.ID)
					witness.Await(crew, order.ID, shop.PaymentRefunded)
				}
				t.Log(placed, "orders")
				crew.Join(shop.Stock)
				for n := range placed {
					witness.Await(crew, id(n), shop.OrderCancelled)
				}
				crew.Finish()
				witness.RequireNoDeadLetters()
				histories := readAll(t, w, style)
				for n := range placed {
					require.Equal(t, []string{"placed", "cancelled"}, histories[shop.Orders][id(n)])
					require.Contains(t, [][]string{{"charged", "refunded"}, {"refunded", "declined"}}, histories[shop.Payments][id(n)])
				}
				w.Read(t, shop.Stock, func(j journal.Journal) {
					item := load(t, j)
					require.Empty(t, item.Reserved)
					require.Zero(t, item.Available)
				})
			})
		})
	}
}

func id(n int) string { return fmt.Sprint("order-", n) }

// requireOrders reads from the journals what became of each order.
func requireOrders(t *testing.T, w *killtest.World, style shop.Style, placed int) {
	t.Helper()
	histories := readAll(t, w, style)
	want := 0
	for n := range placed {
		kind := kinds[n%len(kinds)]
		payment := []string{"charged"}
		end, sagaEnd := "cancelled", []string{"begun", "paid", "undoing", "refunded", "cancelled"}
		switch kind.name {
		case "sells":
			want += kind.order.Quantity
			end, sagaEnd = "confirmed", []string{"begun", "paid", "finished"}
		case "declines":
			payment, sagaEnd = []string{"declined"}, []string{"begun", "cancelled"}
		case "refunds":
			payment = append(payment, "refunded")
		}
		require.Equal(t, []string{"placed", end}, histories[shop.Orders][id(n)], "%s %s", kind.name, id(n))
		require.Equal(t, payment, histories[shop.Payments][id(n)], "%s %s", kind.name, id(n))
		if style == shop.Orchestration {
			require.Equal(t, sagaEnd, histories[shop.Saga][id(n)], "%s %s", kind.name, id(n))
		}
	}
	w.Read(t, shop.Stock, func(j journal.Journal) {
		item := load(t, j)
		sold := 0
		for _, quantity := range item.Reserved {
			sold += quantity
		}
		require.Equal(t, want, sold, "what the confirmed orders are of")
		require.Equal(t, inStock, item.Available+sold, "nothing got lost")
	})
	require.Len(t, histories[shop.Orders], placed)
	require.Len(t, histories[shop.Payments], placed)
}

// load is the item that all orders are of.
func load(t *testing.T, j journal.Journal) *stock.Item {
	t.Helper()
	items, err := aggregate.NewRepository(j, stock.Spec, nil)
	require.NoError(t, err)
	item, err := items.Load(t.Context(), sku)
	if errors.Is(err, aggregate.ErrNotFound) { // nobody asked for it in time
		return &stock.Item{}
	}
	require.NoError(t, err)
	return item
}

// readAll is the names of the events of each aggregate in each service, none of
// which has anything left to publish.
func readAll(t *testing.T, w *killtest.World, style shop.Style) map[string]map[string][]string {
	t.Helper()
	histories := map[string]map[string][]string{}
	for _, name := range names(style) {
		w.Read(t, name, func(j journal.Journal) { histories[name] = killtest.History(t, j) })
	}
	return histories
}
