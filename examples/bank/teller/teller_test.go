package teller_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/examples/bank/account"
	"github.com/troupe-go/troupe/examples/bank/teller"
	"github.com/troupe-go/troupe/journal/memory"
)

// asker passes commands on, unless it answers them itself.
type asker struct {
	aggregate.Asker[account.Account]
	before func(h *aggregate.Header) error
}

func (a asker) Ask(ctx context.Context, inv aggregate.Invocation[account.Account]) error {
	if err := a.before(inv.Header()); err != nil {
		return err
	}
	return a.Asker.Ask(ctx, inv)
}

func setup(t *testing.T) *aggregate.Repository[account.Account] {
	t.Helper()
	j, err := memory.Open(nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, j.Close()) })
	r, err := aggregate.NewRepository(j, account.Spec, nil)
	require.NoError(t, err)
	return r
}

func balance(t *testing.T, r *aggregate.Repository[account.Account], id string) int64 {
	t.Helper()
	a, err := r.Load(t.Context(), id)
	require.NoError(t, err)
	return a.Balance
}

const twoAccounts = "open,A,,Ann,\nopen,B,,Bob,\ndeposit,A,10.00,,\n"

// Each step of a transfer has an id of its own.
func TestCommandIDs(t *testing.T) {
	t.Parallel()
	r := setup(t)
	ids := make(chan string, 100)
	to := asker{r, func(h *aggregate.Header) error { ids <- h.CommandID; return nil }}
	report, err := teller.Book(t.Context(), to, "stmt-1", strings.NewReader(twoAccounts+"transfer,A,4.00,B,\ntransfer,A,1.00,C,"), nil)
	require.NoError(t, err)
	require.Equal(t, 1, report.Returned)
	close(ids)
	var got []string
	for id := range ids {
		got = append(got, id)
	}
	require.ElementsMatch(t, []string{
		"stmt-1:1:open", "stmt-1:2:open", "stmt-1:3:deposit", "stmt-1:4:withdraw", "stmt-1:4:deposit",
		"stmt-1:5:withdraw", "stmt-1:5:deposit", "stmt-1:5:return",
	}, got)
	require.EqualValues(t, 600, balance(t, r, "A"))
	require.EqualValues(t, 400, balance(t, r, "B"))
}

// A run that broke down between the two steps of a transfer is completed by
// the next one, whatever was refused or booked meanwhile.
func TestGoesOnAfterAFailure(t *testing.T) {
	t.Parallel()
	const text = twoAccounts + "withdraw,B,1.00,,too early\ntransfer,A,4.00,B,\nwithdraw,A,7.00,,too much\n"
	r := setup(t)
	broken := errors.New("the bank burns")
	to := asker{r, func(h *aggregate.Header) error {
		if h.CommandID == "s:5:deposit" {
			return broken
		}
		return nil
	}}
	_, err := teller.Book(t.Context(), to, "s", strings.NewReader(text), nil)
	require.ErrorIs(t, err, broken)
	require.ErrorContains(t, err, "line 5: deposit B: the bank burns")
	require.EqualValues(t, 600, balance(t, r, "A"), "the money is under way")
	require.EqualValues(t, 0, balance(t, r, "B"))

	for range 2 {
		report, err := teller.Book(t.Context(), r, "s", strings.NewReader(text), nil)
		require.NoError(t, err)
		require.Equal(t, []teller.Rejected{
			{Line: 4, Reason: "account B has 0.00, which is less than 1.00"},
			{Line: 6, Reason: "account A has 6.00, which is less than 7.00"},
		}, report.Rejected)
		require.EqualValues(t, 600, balance(t, r, "A"))
		require.EqualValues(t, 400, balance(t, r, "B"))
	}
}

// A bank that is busy, or whose answer got lost, is asked again.
func TestAsksAgain(t *testing.T) {
	t.Parallel()
	for _, code := range []error{aggregate.ErrOverloaded, aggregate.ErrUnavailable, aggregate.ErrUnknownOutcome} {
		t.Run(code.Error(), func(t *testing.T) {
			t.Parallel()
			r := setup(t)
			var n atomic.Int64
			to := asker{r, func(*aggregate.Header) error {
				if n.Add(1)%2 == 1 {
					return fmt.Errorf("%w: not now", code)
				}
				return nil
			}}
			report, err := teller.Book(t.Context(), to, "s", strings.NewReader(twoAccounts), nil)
			require.NoError(t, err)
			require.Equal(t, 3, report.Booked)
			require.EqualValues(t, 1000, balance(t, r, "A"))
		})
	}
}

// No line is booked behind one of its account that failed.
func TestNothingBehindAFailure(t *testing.T) {
	t.Parallel()
	r := setup(t)
	to := asker{r, func(h *aggregate.Header) error {
		if h.CommandID == "s:2:deposit" {
			return aggregate.ErrStopped
		}
		return nil
	}}
	_, err := teller.Book(t.Context(), to, "s", strings.NewReader("open,A,,Ann,\ndeposit,A,1.00,,\n"+strings.Repeat("deposit,A,2.00,,\n", 2000)), nil)
	require.ErrorIs(t, err, aggregate.ErrStopped)
	require.EqualValues(t, 0, balance(t, r, "A"))
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	report, err := teller.Book(ctx, setup(t), "s", strings.NewReader(twoAccounts), nil)
	require.NoError(t, err)
	require.True(t, report.Interrupted)
	require.Zero(t, report.Settled)
}
