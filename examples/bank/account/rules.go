package account

import (
	"fmt"
	"math"
	"strings"

	"github.com/troupe-go/troupe/aggregate"
)

// MaxCents bounds one booking: ten million, in cents.
const MaxCents = 1_000_000_000

// FundsError refuses a withdrawal: the balance is too low.
type FundsError struct {
	Account        string
	Balance, Cents int64
}

func (e *FundsError) Error() string {
	return fmt.Sprintf("account %s has %s, which is less than %s", e.Account, Money(e.Balance), Money(e.Cents))
}

// Money writes cents as an amount: 1050 is "10.50".
func Money(cents int64) string {
	sign := ""
	magnitude := uint64(cents)
	if cents < 0 {
		sign, magnitude = "-", -magnitude
	}
	return fmt.Sprintf("%s%d.%02d", sign, magnitude/100, magnitude%100)
}

func (a *Account) mayOpen(owner string) error {
	switch {
	case a.Version() > 0:
		return aggregate.Reject("account %s is open already", a.ID())
	case strings.TrimSpace(owner) == "":
		return aggregate.Reject("account %s has no owner", a.ID())
	}
	return nil
}

func (a *Account) mayBook(cents int64) error {
	switch {
	case a.Version() == 0:
		return aggregate.Reject("account %s is not open", a.ID())
	case a.Closed:
		return aggregate.Reject("account %s is closed", a.ID())
	case cents <= 0 || cents > MaxCents:
		return aggregate.Reject("%s is no amount between 0.01 and %s", Money(cents), Money(MaxCents))
	}
	return nil
}

func (a *Account) mayDeposit(cents int64) error {
	if err := a.mayBook(cents); err != nil {
		return err
	}
	if a.Balance > math.MaxInt64-cents {
		return aggregate.Reject("account %s is full", a.ID())
	}
	return nil
}

func (a *Account) mayWithdraw(cents int64) error {
	if err := a.mayBook(cents); err != nil {
		return err
	}
	if cents > a.Balance {
		return &FundsError{Account: a.ID(), Balance: a.Balance, Cents: cents}
	}
	return nil
}

func (a *Account) mayClose() error {
	switch {
	case a.Version() == 0:
		return aggregate.Reject("account %s is not open", a.ID())
	case a.Balance != 0:
		return aggregate.Reject("account %s still has %s", a.ID(), Money(a.Balance))
	}
	return nil
}
