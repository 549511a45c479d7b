// Package seating is the service of the seats: who has which.
package seating

//go:generate go tool sourced

import "github.com/troupe-go/troupe/aggregate"

// Seat is one seat of one evening. Its actor takes one command at a time, so two
// bookings cannot have it, and it is sold once.
//
//sourced:aggregate seat
type Seat struct {
	aggregate.Root
	Booking string // that has it; empty while it is free
	Sold    bool
}

// hold keeps the seat for a booking.
//
//sourced:event held
func (s *Seat) hold(booking string) { s.Booking = booking }

// sell gives the seat to the booking that it is kept for, for good.
//
//sourced:event sold
func (s *Seat) sell(booking string) { s.Sold = true }

// free lets others have the seat.
//
//sourced:event freed
func (s *Seat) free(booking string) { s.Booking = "" }
