package bench_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"testing"

	"github.com/troupe-go/troupe/actor"
	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/bench/internal/account"
	"github.com/troupe-go/troupe/journal"
)

// The workload W: one event of about 100 bytes of JSON per command.

type deposit struct {
	ID     string
	Amount int64 // zero is refused
}

func (d deposit) AggregateID() string { return d.ID }

var depositCommand = aggregate.NewCommand("account.deposit",
	func(_ *aggregate.Context, a *account.Account, d deposit) (int64, error) {
		if d.Amount <= 0 {
			return 0, errAmount
		}
		e := event(d.ID, d.Amount)
		err := a.Deposit(e.Account, e.Amount, e.Currency, e.Reference, e.Channel)
		return a.Balance, err
	})

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

var errAmount = aggregate.Reject("the amount is not positive")

func event(id string, amount int64) account.AccountDeposited {
	return account.AccountDeposited{Account: id, Amount: amount, Currency: "EUR", Reference: "INV-2026-000417", Channel: "transfer"}
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
func host(b *testing.B, j journal.Journal, opts *actor.HostOptions) (*actor.Aggregates[account.Account], func()) {
	b.Helper()
	s, h := system(b, j, opts)
	return h, func() {
		if err := s.Stop(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}

func system(b *testing.B, j journal.Journal, opts *actor.HostOptions) (*actor.System, *actor.Aggregates[account.Account]) {
	b.Helper()
	s, err := actor.NewSystem(j, &actor.Options{Logger: quiet})
	if err != nil {
		b.Fatal(err)
	}
	h, err := actor.Host(s, account.Spec, opts)
	if err != nil {
		b.Fatal(err)
	}
	return s, h
}
