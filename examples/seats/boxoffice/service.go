package boxoffice

import (
	"slices"
	"time"

	"github.com/troupe-go/troupe/actor"
	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/examples/seats/theatre"
	"github.com/troupe-go/troupe/microsvc"
)

// Answer is what a seat says of itself, on its way to the booking.
type Answer theatre.Seat

// AggregateID is the booking.
func (a Answer) AggregateID() string { return a.Booking }

// none is the reply of a command that nobody waits for.
type none struct{}

// office has the commands of a booking.
type office struct{ payWithin time.Duration }

// book has the seats kept one after the other, in order: of two bookings of the
// same seats one gets all, and not each one of them.
func (o office) book(ctx *aggregate.Context, b *Booking, in theatre.Booking) (none, error) {
	if err := b.Book(in.ID, in.Guest, slices.Sorted(slices.Values(in.Seats)), in.Cents); err != nil {
		return none{}, err
	}
	holdNext(ctx, b)
	return none{}, nil
}

func holdNext(ctx *aggregate.Context, b *Booking) {
	ctx.Send(theatre.Seating, theatre.HoldSeat, theatre.Seat{Seat: b.next(), Booking: b.ID()})
}

func (o office) held(ctx *aggregate.Context, b *Booking, in Answer) (none, error) {
	if in.Seat != b.next() {
		return none{}, nil
	}
	if err := b.Hold(in.Seat); err != nil {
		return none{}, err
	}
	if b.next() != "" {
		holdNext(ctx, b)
		return none{}, nil
	}
	// The timer is part of this commit, too. Nothing takes it back: when it
	// comes it asks whether it still matters.
	invoice, until := theatre.Invoice{ID: b.ID(), Cents: b.Cents}, ctx.Now().Add(o.payWithin)
	ctx.Send(theatre.Checkout, theatre.OpenInvoice, invoice)
	ctx.SendAt(until, theatre.BoxOffice, theatre.ExpireBooking, invoice)
	ctx.Publish(theatre.BookingHeld, b.message())
	return none{}, b.Offer(until)
}

func (o office) taken(ctx *aggregate.Context, b *Booking, in Answer) (none, error) {
	if in.Seat != b.next() {
		return none{}, nil
	}
	return none{}, giveUp(ctx, b, in.Seat+" is taken")
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
