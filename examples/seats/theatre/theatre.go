// Package theatre is what the services say to each other: it is all that they
// share.
package theatre

// The services.
const (
	BoxOffice = "boxoffice"
	Seating   = "seating"
	Checkout  = "checkout"
)

// Services are all of them.
var Services = []string{BoxOffice, Seating, Checkout}

// Commands, each for the one service that answers it.
const (
	Book          = "booking.book"
	ExpireBooking = "booking.expire"

	HoldSeat = "seat.hold"
	SellSeat = "seat.sell"
	FreeSeat = "seat.free"

	OpenInvoice   = "invoice.open"
	PayInvoice    = "invoice.pay"
	CancelInvoice = "invoice.cancel"
)

// Events, for whoever listens.
const (
	BookingHeld      = "booking.held" // all seats are kept: time to pay
	BookingConfirmed = "booking.confirmed"
	BookingRejected  = "booking.rejected"

	SeatHeld  = "seat.held"
	SeatTaken = "seat.taken"
	SeatSold  = "seat.sold"

	InvoicePaid     = "invoice.paid"
	InvoiceRefunded = "invoice.refunded"
)

// Booking is the payload of [Book] and of the events of bookings.
type Booking struct {
	ID     string   `json:"id"`
	Guest  string   `json:"guest"`
	Seats  []string `json:"seats"`
	Cents  int64    `json:"cents"`
	Reason string   `json:"reason,omitempty"` // of a rejection
}

// AggregateID is the booking.
func (b Booking) AggregateID() string { return b.ID }

// Seat is the payload of commands to seats and of their events.
type Seat struct {
	Seat    string `json:"seat"`
	Booking string `json:"booking"`
}

// Invoice is the payload of commands to invoices and of their events. It has the
// booking's id.
type Invoice struct {
	ID    string `json:"id"`
	Cents int64  `json:"cents"`
}

// AggregateID is the booking, or its invoice.
func (i Invoice) AggregateID() string { return i.ID }
