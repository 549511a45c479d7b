package bench_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"testing"

	"github.com/troupe-go/troupe/actor"
	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/journal"
)

// The workload W: one event of about 100 bytes of JSON per command.

type account struct {
	aggregate.Root
	Balance int64
	Count   int64
}

type deposited struct {
	Account   string `json:"account"`
	Amount    int64  `json:"amount"`
	Currency  string `json:"currency"`
	Reference string `json:"reference"`
	Channel   string `json:"channel"`
}

type accountState struct {
	Balance int64 `json:"balance"`
	Count   int64 `json:"count"`
}

var (
	depositedEvent = aggregate.On("deposited", func(a *account, e deposited) {
		a.Balance += e.Amount
		a.Count++
	})
	accounts = aggregate.Define("account", depositedEvent,
		aggregate.Snapshots(1, func(a *account) accountState { return accountState{a.Balance, a.Count} },
			func(a *account, s accountState) { a.Balance, a.Count = s.Balance, s.Count }))
)

type deposit struct {
	ID     string
	Amount int64 // zero is refused
}

func (d deposit) AggregateID() string { return d.ID }

var depositCommand = aggregate.NewCommand("account.deposit",
	func(_ *aggregate.Context, a *account, d deposit) (int64, error) {
		if d.Amount <= 0 {
			return 0, errAmount
		}
		err := depositedEvent.Record(a, event(d.ID, d.Amount))
		return a.Balance, err
	})

var errAmount = aggregate.Reject("the amount is not positive")

func event(id string, amount int64) deposited {
	return deposited{Account: id, Amount: amount, Currency: "EUR", Reference: "INV-2026-000417", Channel: "transfer"}
}

func accountID(n int) string { return fmt.Sprintf("acc-%07d", n) }

func accountIDs(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = accountID(i)
	}
	return ids
}

// host starts a system over j; the returned function stops it.
func host(b *testing.B, j journal.Journal, opts *actor.HostOptions) (*actor.Aggregates[account], func()) {
	b.Helper()
	s, h := system(b, j, opts)
	return h, func() {
		if err := s.Stop(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}

func system(b *testing.B, j journal.Journal, opts *actor.HostOptions) (*actor.System, *actor.Aggregates[account]) {
	b.Helper()
	s, err := actor.NewSystem(j, &actor.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		b.Fatal(err)
	}
	h, err := actor.Host(s, accounts, opts)
	if err != nil {
		b.Fatal(err)
	}
	return s, h
}
