// Package shop is what the services say to each other: it is all that they share.
package shop

import "time"

// The services.
const (
	Orders   = "orders"
	Payments = "payments"
	Stock    = "stock"
	Saga     = "saga"
)

// Commands, each for the one service that answers it.
const (
	PlaceOrder   = "order.place"
	ConfirmOrder = "order.confirm"
	CancelOrder  = "order.cancel"

	Charge = "payment.charge"
	Refund = "payment.refund"

	AddStock = "stock.add"
	Reserve  = "stock.reserve"
	Release  = "stock.release"
)

// Events, for whoever listens.
const (
	OrderPlaced    = "order.placed"
	OrderConfirmed = "order.confirmed"
	OrderCancelled = "order.cancelled"

	PaymentCharged  = "payment.charged"
	PaymentDeclined = "payment.declined"
	PaymentRefunded = "payment.refunded"

	StockAdded    = "stock.added"
	StockReserved = "stock.reserved"
	StockRefused  = "stock.refused"
	StockReleased = "stock.released"
)

// Order is the payload of every message about an order. Each carries all of it,
// so that who gets one has to ask nobody.
type Order struct {
	ID       string `json:"id"`
	SKU      string `json:"sku"` // what is bought
	Quantity int    `json:"quantity"`
	Cents    int64  `json:"cents"`            // what it costs
	Reason   string `json:"reason,omitempty"` // of what went wrong
}

// AggregateID makes an Order the input of commands to what has the order's id:
// the order itself, its payment, its saga.
func (o Order) AggregateID() string { return o.ID }

// Because returns the order with a reason.
func (o Order) Because(reason string) Order {
	o.Reason = reason
	return o
}

// Delivery is the payload of [AddStock] and [StockAdded].
type Delivery struct {
	SKU      string `json:"sku"`
	Quantity int    `json:"quantity"`
}

// Plan is what the services agree on.
type Plan struct {
	Style   Style
	Timeout time.Duration // of a step of the saga, or of a whole order without one; zero is never
}

// Style is how the services get an order done.
type Style string

// The styles.
const (
	Orchestration Style = "orchestration" // a saga sends commands
	Choreography  Style = "choreography"  // each service listens to the others' events
)
