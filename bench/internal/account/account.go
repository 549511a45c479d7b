// Package account is the model that the benchmarks drive: the workload W
// records one event of about 100 bytes of JSON per command.
package account

//go:generate go tool sourced

import (
	"time"

	"github.com/troupe-go/troupe/aggregate"
)

// Account adds up what it gets.
//
//sourced:aggregate account
//sourced:snapshot schema=1
type Account struct {
	aggregate.Root
	Balance int64
	Count   int64
}

// deposit is the event of W.
//
//sourced:event deposited
func (a *Account) deposit(account string, amount int64, currency, reference, channel string) {
	a.Balance += amount
	a.Count++
}

// state is an event of about 1,000 bytes of JSON.
//
//sourced:event stated
func (a *Account) state(account string, from, to time.Time, opening, closing int64, rate float64, final bool, amounts []int64, texts []string) {
	a.Count++
}
