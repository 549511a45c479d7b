// Package boxoffice is the service that sells tickets: it has the seats kept, the
// money taken, and the seats sold, or all of it undone.
package boxoffice

//go:generate go tool sourced

import (
	"slices"
	"time"

	"github.com/troupe-go/troupe/aggregate"
)

// Step is what a booking waits for, or how it ended.
type Step string

// The steps.
const (
	Holding   Step = "holding" // for the next seat
	Paying    Step = "paying"  // for the guest
	Confirmed Step = "confirmed"
	Rejected  Step = "rejected"
)

// Booking is the seats that one guest wants, all or none. It is its own saga.
//
//sourced:aggregate booking
type Booking struct {
	aggregate.Root
	Guest string
	Seats []string
	Cents int64

	Step Step
	Held []string // seats that are kept for it
}

// book begins the booking.
//
//sourced:event booked require b.mayBook(seats, cents)
func (b *Booking) book(id, guest string, seats []string, cents int64) {
	b.SetID(id)
	b.Guest, b.Seats, b.Cents = guest, seats, cents
	b.Step = Holding
}

// hold notes that a seat is kept.
//
//sourced:event held
func (b *Booking) hold(seat string) { b.Held = append(b.Held, seat) }

// offer asks the guest to pay until then.
//
//sourced:event offered
func (b *Booking) offer(until time.Time) { b.Step = Paying }

// confirm ends the booking well.
//
//sourced:event confirmed
func (b *Booking) confirm() { b.Step = Confirmed }

// reject ends the booking with no seat.
//
//sourced:event rejected
func (b *Booking) reject(reason string) { b.Step = Rejected }

func (b *Booking) mayBook(seats []string, cents int64) error {
	sorted := slices.Sorted(slices.Values(seats))
	switch {
	case b.Exists():
		return aggregate.Reject("booking %s was made before", b.ID())
	case len(seats) == 0 || len(slices.Compact(sorted)) < len(seats):
		return aggregate.Reject("a booking is of seats, each once")
	case cents <= 0:
		return aggregate.Reject("seats are not free")
	}
	return nil
}

// next is the seat that is to be kept next, or was asked for and has not answered
// yet; empty if all are.
func (b *Booking) next() string {
	if b.Step != Holding || len(b.Held) == len(b.Seats) {
		return ""
	}
	return b.Seats[len(b.Held)]
}
