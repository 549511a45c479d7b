// Package account is the model of the bank: an account, what can happen to it,
// and the commands that make it happen.
package account

//go:generate go tool sourced

import (
	"time"

	"github.com/troupe-go/troupe/aggregate"
)

// Account is one account of one owner. Amounts are in cents.
//
//sourced:aggregate account
//sourced:snapshot schema=1
//sourced:baseline schema=1
type Account struct {
	aggregate.Root

	Owner    string
	Balance  int64
	Opened   time.Time
	Closed   bool
	Bookings int // deposits and withdrawals so far
}

// open gives the account its number and its owner.
//
//sourced:event opened require a.mayOpen(owner)
func (a *Account) open(id, owner string, at time.Time) {
	a.SetID(id)
	a.Owner, a.Opened = owner, at
}

// deposit adds cents to the balance.
//
//sourced:event deposited require a.mayDeposit(cents)
func (a *Account) deposit(cents int64, reference string) {
	a.Balance += cents
	a.Bookings++
}

// withdraw takes cents from the balance, which cannot become negative.
//
//sourced:event withdrawn require a.mayWithdraw(cents)
func (a *Account) withdraw(cents int64, reference string) {
	a.Balance -= cents
	a.Bookings++
}

// close ends the account, which must be empty. An account that is closed stays
// closed.
//
//sourced:event closed when !a.Closed require a.mayClose()
func (a *Account) close() { a.Closed = true }
