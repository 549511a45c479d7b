// Package payments is the service that takes money and gives it back.
package payments

//go:generate go tool sourced

import "github.com/troupe-go/troupe/aggregate"

// Limit is the most that a customer can pay at once, in cents.
const Limit = 100_000

// Payment is that of one order, and has its id. A charge is made once, and given
// back once.
//
//sourced:aggregate payment
type Payment struct {
	aggregate.Root
	Cents    int64 // charged
	Declined bool
	Refunded bool // and never to be charged again
}

// charge takes the money.
//
//sourced:event charged
func (p *Payment) charge(cents int64) {
	p.Cents = cents
}

// decline refuses to take it.
//
//sourced:event declined
func (p *Payment) decline(reason string) {
	p.Declined = true
}

// refund gives back what was charged, which may be nothing yet: then nothing
// will be.
//
//sourced:event refunded
func (p *Payment) refund(cents int64) {
	p.Refunded = true
}
