// Package imports uses packages by aliases and from several files.
package imports

import (
	"math/big"
	clock "time"

	agg "github.com/troupe-go/troupe/aggregate"
)

//go:generate go tool sourced

var aggregate = "a name that is in the way of the package's own"

// Invoice is what a customer owes.
//
//sourced:aggregate invoice
//sourced:snapshot schema=1
type Invoice struct {
	agg.Root
	Sum  big.Int
	Paid *clock.Time
}

// pay settles the invoice.
//
//sourced:event paid when i.Paid == nil require text.Check(clock, aggregate)
func (i *Invoice) pay(clock clock.Time, steps [2]int) { i.Paid = &clock }
