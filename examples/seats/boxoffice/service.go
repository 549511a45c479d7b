package boxoffice

import (
	"strings"
	"time"

	"github.com/troupe-go/troupe/actor"
	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/examples/seats/theatre"
	"github.com/troupe-go/troupe/microsvc"
)

// Answer is what a seat says, on its way to the booking.
type Answer theatre.Seat

// AggregateID is the booking.
func (a Answer) AggregateID() string { return a.Booking }

// none is the reply of a command that nobody waits for.
type none struct{}

// office has the commands of a booking.
type office struct{ payWithin time.Duration }

func (o office) book(ctx *aggregate.Context, b *Booking, in theatre.Booking) (none, error) {
	for _, seat := range in.Seats {
		ctx.Send(theatre.Seating, theatre.HoldSeat, theatre.Seat{Seat: seat, Booking: in.ID})
	}
	return none{}, b.Book(in.ID, in.Guest, in.Seats, in.Cents)
}

func (o office) held(ctx *aggregate.Context, b *Booking, in Answer) (none, error) {
	if b.answered(in.Seat) {
		return none{}, nil
	}
	if err := b.Hold(in.Seat); err != nil {
		return none{}, err
	}
	return none{}, o.decide(ctx, b)
}

func (o office) taken(ctx *aggregate.Context, b *Booking, in Answer) (none, error) {
	if b.answered(in.Seat) {
		return none{}, nil
	}
	if err := b.Miss(in.Seat); err != nil {
		return none{}, err
	}
	return none{}, o.decide(ctx, b)
}

// decide goes on once all seats have answered, and not before: a seat that is
// freed has been held.
func (o office) decide(ctx *aggregate.Context, b *Booking) error {
	switch {
	case len(b.Held)+len(b.Taken) < len(b.Seats):
		return nil
	case len(b.Taken) > 0:
		return giveUp(ctx, b, strings.Join(b.Taken, ", ")+" taken")
	}
	until := ctx.Now().Add(o.payWithin)
	ctx.Send(theatre.Checkout, theatre.OpenInvoice, theatre.Invoice{ID: b.ID(), Cents: b.Cents})
	ctx.Publish(theatre.BookingHeld, b.message())
	return b.Offer(until)
}

func (o office) paid(ctx *aggregate.Context, b *Booking, _ theatre.Invoice) (none, error) {
	if b.Step != Paying {
		return none{}, nil // too late: the invoice was cancelled, and the money goes back
	}
	for _, seat := range b.Held {
		ctx.Send(theatre.Seating, theatre.SellSeat, theatre.Seat{Seat: seat, Booking: b.ID()})
	}
	ctx.Publish(theatre.BookingConfirmed, b.message())
	return none{}, b.Confirm()
}

func (o office) expire(ctx *aggregate.Context, b *Booking, in theatre.Invoice) (none, error) {
	if b.Step != Paying {
		return none{}, nil
	}
	ctx.Send(theatre.Checkout, theatre.CancelInvoice, in)
	return none{}, giveUp(ctx, b, "not paid in time")
}

// giveUp frees what is held.
func giveUp(ctx *aggregate.Context, b *Booking, reason string) error {
	for _, seat := range b.Held {
		ctx.Send(theatre.Seating, theatre.FreeSeat, theatre.Seat{Seat: seat, Booking: b.ID()})
	}
	m := b.message()
	m.Reason = reason
	ctx.Publish(theatre.BookingRejected, m)
	return b.Reject(reason)
}

func (b *Booking) message() theatre.Booking {
	return theatre.Booking{ID: b.ID(), Guest: b.Guest, Seats: b.Seats, Cents: b.Cents}
}

// Register gives svc what it needs to be the box office. Guests have so long to
// pay.
func Register(system *actor.System, svc *microsvc.Service, payWithin time.Duration) error {
	bookings, err := actor.Host(system, Spec, nil)
	if err != nil {
		return err
	}
	o := office{payWithin}
	exists := aggregate.MustExist()
	svc.Register(
		microsvc.Expose(aggregate.NewCommand(theatre.Book, o.book), bookings),
		microsvc.Expose(aggregate.NewCommand(theatre.ExpireBooking, o.expire, exists), bookings),

		microsvc.React(theatre.SeatHeld, aggregate.NewCommand("booking.seat_held", o.held, exists), bookings),
		microsvc.React(theatre.SeatTaken, aggregate.NewCommand("booking.seat_taken", o.taken, exists), bookings),
		microsvc.React(theatre.InvoicePaid, aggregate.NewCommand("booking.paid", o.paid, exists), bookings))
	return nil
}
