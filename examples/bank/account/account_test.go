package account_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/aggregate/aggregatetest"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/examples/bank/account"
	"github.com/troupe-go/troupe/journal/memory"
)

var (
	opened = account.AccountOpened{ID: "a", Owner: "Ann", At: aggregatetest.Now}
	ten    = account.AccountDeposited{Cents: 1000}
)

func TestOpen(t *testing.T) {
	t.Parallel()
	aggregatetest.For(t, account.Spec).
		When(account.OpenAccount, account.Open{ID: "a", Owner: "Ann"}).
		Then(opened).
		ThenReply(account.View{ID: "a", Owner: "Ann"}).
		When(account.OpenAccount, account.Open{ID: "a", Owner: "Bob"}).
		ThenError(aggregate.ErrRejected)
	aggregatetest.For(t, account.Spec).
		When(account.OpenAccount, account.Open{ID: "a", Owner: " "}).
		ThenError(aggregate.ErrRejected)
}

func TestDeposit(t *testing.T) {
	t.Parallel()
	aggregatetest.For(t, account.Spec).
		When(account.Deposit, account.Booking{ID: "a", Cents: 1}).ThenError(aggregate.ErrNotFound)
	aggregatetest.For(t, account.Spec).Given(opened).
		When(account.Deposit, account.Booking{ID: "a", Cents: 500, Reference: "gift"}).
		Then(account.AccountDeposited{Cents: 500, Reference: "gift"}).
		When(account.Deposit, account.Booking{ID: "a", Cents: 0}).ThenError(aggregate.ErrRejected).
		When(account.Deposit, account.Booking{ID: "a", Cents: -1}).ThenError(aggregate.ErrRejected).
		When(account.Deposit, account.Booking{ID: "a", Cents: account.MaxCents + 1}).ThenError(aggregate.ErrRejected).
		When(account.Show, account.Number{ID: "a"}).ThenNothing().
		ThenReply(account.View{ID: "a", Owner: "Ann", Balance: 500})
}

func TestWithdraw(t *testing.T) {
	t.Parallel()
	aggregatetest.For(t, account.Spec).Given(opened, ten).
		When(account.Withdraw, account.Booking{ID: "a", Cents: 1001}).ThenError(aggregate.ErrRejected).
		When(account.Withdraw, account.Booking{ID: "a", Cents: 1000}).
		Then(account.AccountWithdrawn{Cents: 1000}).
		When(account.Withdraw, account.Booking{ID: "a", Cents: 1}).ThenError(aggregate.ErrRejected)
}

func TestClose(t *testing.T) {
	t.Parallel()
	aggregatetest.For(t, account.Spec).Given(opened, ten).
		When(account.CloseAccount, account.Number{ID: "a"}).ThenError(aggregate.ErrRejected)
	aggregatetest.For(t, account.Spec).Given(opened).
		When(account.CloseAccount, account.Number{ID: "a"}).Then(account.AccountClosed{}).
		When(account.CloseAccount, account.Number{ID: "a"}).ThenNothing().
		When(account.Deposit, account.Booking{ID: "a", Cents: 1}).ThenError(aggregate.ErrRejected)
}

// A line of a statement gets its refusal as a reply.
func TestBook(t *testing.T) {
	t.Parallel()
	now := aggregatetest.Now
	aggregatetest.For(t, account.Spec).
		When(account.Book, account.Entry{ID: "a", Action: account.ActionDeposit, Cents: 5}).ThenNothing().
		ThenReply(account.Booked{Refused: "account a is not open", At: now}).
		When(account.Book, account.Entry{ID: "a", Action: account.ActionOpen, Owner: "Ann"}).Then(opened).
		When(account.Book, account.Entry{ID: "a", Action: account.ActionDeposit, Cents: 1000}).Then(ten).
		ThenReply(account.Booked{Balance: 1000, At: now}).
		When(account.Book, account.Entry{ID: "a", Action: account.ActionWithdraw, Cents: 1050}).ThenNothing().
		ThenReply(account.Booked{Refused: "account a has 10.00, which is less than 10.50", Balance: 1000, At: now}).
		When(account.Book, account.Entry{ID: "a", Action: account.ActionWithdraw, Cents: 1000}).
		Then(account.AccountWithdrawn{Cents: 1000}).
		When(account.Book, account.Entry{ID: "a", Action: "burn"}).ThenNothing().
		ThenReply(account.Booked{Refused: `"burn" is nothing that can be done to an account`, At: now}).
		When(account.Book, account.Entry{ID: "a", Action: account.ActionClose}).Then(account.AccountClosed{})
}

// Years of bookings can be let go: the account goes on from its baseline.
func TestTruncatedAccountGoesOn(t *testing.T) {
	t.Parallel()
	j, err := memory.Open(nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, j.Close()) }()
	accounts, err := aggregate.NewRepository(j, account.Spec, nil)
	require.NoError(t, err)
	_, err = account.OpenAccount.Ask(t.Context(), accounts, account.Open{ID: "a", Owner: "Ann"})
	require.NoError(t, err)
	for range 10 {
		_, err = account.Deposit.Ask(t.Context(), accounts, account.Booking{ID: "a", Cents: 100})
		require.NoError(t, err)
	}

	require.NoError(t, accounts.Truncate(t.Context(), "a"))
	var archived []string
	deleted, err := j.Scavenge(t.Context(), func(_ context.Context, page []envelope.Record) error {
		for _, rec := range page {
			archived = append(archived, rec.Name)
		}
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, 11, deleted)
	require.Len(t, archived, deleted)

	view, err := account.Withdraw.Ask(t.Context(), accounts, account.Booking{ID: "a", Cents: 900})
	require.NoError(t, err)
	require.Equal(t, account.View{ID: "a", Owner: "Ann", Balance: 100}, view)
	_, err = account.Withdraw.Ask(t.Context(), accounts, account.Booking{ID: "a", Cents: 101})
	require.ErrorIs(t, err, aggregate.ErrRejected)
	a, err := accounts.Load(t.Context(), "a")
	require.NoError(t, err)
	require.Equal(t, uint64(13), a.Version())
	require.Equal(t, 11, a.Bookings)
}

func TestMoney(t *testing.T) {
	t.Parallel()
	for cents, want := range map[int64]string{0: "0.00", 5: "0.05", 1050: "10.50", -1: "-0.01", -1 << 63: "-92233720368547758.08"} {
		require.Equal(t, want, account.Money(cents))
	}
}
