package boxoffice

import (
	"testing"
	"time"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/aggregate/aggregatetest"
	"github.com/troupe-go/troupe/examples/seats/theatre"
)

// Seats answer in order, however often; a payment and an expiry cross, and one of
// them counts.
func TestSteps(t *testing.T) {
	t.Parallel()
	o := office{payWithin: time.Minute}
	book := aggregate.NewCommand("book", o.book)
	held, taken := aggregate.NewCommand("held", o.held), aggregate.NewCommand("taken", o.taken)
	paid, expire := aggregate.NewCommand("paid", o.paid), aggregate.NewCommand("expire", o.expire)
	given := func(events ...any) *aggregatetest.Scenario[Booking] {
		return aggregatetest.For(t, Spec).Given(events...)
	}
	booking := theatre.Booking{ID: "1", Guest: "Ada", Seats: []string{"B", "A"}, Cents: 100}
	booked := BookingBooked{ID: "1", Guest: "Ada", Seats: []string{"A", "B"}, Cents: 100}
	a, b := Answer{Seat: "A", Booking: "1"}, Answer{Seat: "B", Booking: "1"}
	heldA, heldB := BookingHeld{Seat: "A"}, BookingHeld{Seat: "B"}
	offered := BookingOffered{Until: aggregatetest.Now.Add(time.Minute)}
	invoice := theatre.Invoice{ID: "1", Cents: 100}

	given().When(book, booking).Then(booked)
	given(booked).When(book, booking).ThenError(aggregate.ErrRejected)
	for _, seats := range [][]string{nil, {"A", "A"}} {
		given().When(book, theatre.Booking{ID: "1", Seats: seats, Cents: 100}).ThenError(aggregate.ErrRejected)
	}
	given().When(book, theatre.Booking{ID: "1", Seats: []string{"A"}}).ThenError(aggregate.ErrRejected)

	given(booked).When(held, a).Then(heldA)
	given(booked).When(held, b).ThenNothing()
	given(booked, heldA).When(held, a).ThenNothing()
	given(booked, heldA).When(taken, a).ThenNothing()
	given(booked, heldA).When(held, b).Then(heldB, offered)
	given(booked, heldA).When(taken, b).Then(BookingRejected{Reason: "B is taken"})
	given(booked).When(taken, a).Then(BookingRejected{Reason: "A is taken"})
	given(booked, BookingRejected{}).When(held, a).ThenNothing()

	given(booked, heldA, heldB, offered).When(paid, invoice).Then(BookingConfirmed{})
	given(booked, heldA, heldB, offered).When(expire, invoice).Then(BookingRejected{Reason: "not paid in time"})
	given(booked, heldA, heldB, offered, BookingConfirmed{}).When(expire, invoice).ThenNothing()
	given(booked, heldA, heldB, offered, BookingRejected{}).When(paid, invoice).ThenNothing()
	given(booked, heldA).When(expire, invoice).ThenNothing()
}
