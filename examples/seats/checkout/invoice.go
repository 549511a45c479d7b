// Package checkout is the service that takes the guests' money.
package checkout

//go:generate go tool sourced

import "github.com/troupe-go/troupe/aggregate"

// Invoice is that of one booking, and has its id. It is paid once, and the money
// given back once.
//
//sourced:aggregate invoice
type Invoice struct {
	aggregate.Root
	Cents     int64
	Paid      bool
	Cancelled bool // also: the money was given back
}

// open asks for the money.
//
//sourced:event opened
func (i *Invoice) open(cents int64) { i.Cents = cents }

// pay takes it.
//
//sourced:event paid
func (i *Invoice) pay(cents int64) { i.Cents, i.Paid = cents, true }

// cancel asks no more.
//
//sourced:event cancelled
func (i *Invoice) cancel() { i.Cancelled = true }

// refund gives it back.
//
//sourced:event refunded
func (i *Invoice) refund(cents int64) { i.Cancelled = true }
