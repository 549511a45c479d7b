package teller

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/examples/bank/account"
	"github.com/troupe-go/troupe/examples/bank/statement"
)

// book books one line. An error is the bank's; a refusal goes into the report.
func (t *teller) book(ctx context.Context, line statement.Line) error {
	t.report.touch(line.Accounts())
	if line.Action == statement.Transfer {
		return t.transfer(ctx, line)
	}
	entry := account.Entry{ID: line.Account, Action: account.Action(line.Action), Cents: line.Cents, Owner: line.Owner, Text: line.Text}
	booked, err := t.ask(ctx, line, line.Action, entry)
	if err != nil {
		return err
	}
	t.settle(line, booked, booked.Refused)
	return nil
}

// transfer takes the money first: the other way round a refusal would find it
// spent already.
func (t *teller) transfer(ctx context.Context, line statement.Line) error {
	entry := account.Entry{ID: line.Account, Action: account.ActionWithdraw, Cents: line.Cents, Text: line.Text}
	taken, err := t.ask(ctx, line, "withdraw", entry)
	if err != nil {
		return err
	}
	if taken.Refused != "" {
		t.settle(line, taken, taken.Refused)
		return nil
	}
	entry.ID, entry.Action = line.To, account.ActionDeposit
	given, err := t.ask(ctx, line, "deposit", entry)
	if err != nil {
		return err
	}
	if given.Refused == "" {
		t.settle(line, taken, "")
		return nil
	}
	entry.ID, entry.Text = line.Account, "returned: "+given.Refused
	back, err := t.ask(ctx, line, "return", entry)
	switch {
	case err != nil:
		return err
	case back.Refused != "":
		return fmt.Errorf("%s could not be returned to %s: %s", account.Money(line.Cents), line.Account, back.Refused)
	}
	t.report.compensated()
	t.settle(line, taken, fmt.Sprintf("%s; %s went back to account %s", given.Refused, account.Money(line.Cents), line.Account))
	return nil
}

// settle notes what became of line. A reply older than this run was remembered
// from an earlier one.
func (t *teller) settle(line statement.Line, first account.Booked, refused string) {
	if first.At.Before(t.began) {
		t.report.remembered()
	}
	if refused != "" {
		t.report.reject(line.Number, refused)
		return
	}
	t.report.book(line)
}

// ask sends one step of a line, again and again while the bank is busy or the
// outcome unknown: with its id the step has one effect. Only a bank that stays
// away ends the run.
func (t *teller) ask(ctx context.Context, line statement.Line, step string, entry account.Entry) (account.Booked, error) {
	const tries = 12 // with the waits below, about 8 s
	id := aggregate.WithCommandID(fmt.Sprintf("%s:%d:%s", t.statement, line.Number, step))
	for try := 1; ; try++ {
		booked, err := account.Book.Ask(ctx, t.accounts, entry, id)
		if err == nil {
			return booked, nil
		}
		again := aggregate.CodeOf(err).Retryable() || errors.Is(err, aggregate.ErrUnknownOutcome)
		if !again || errors.Is(err, aggregate.ErrStopped) || try == tries || ctx.Err() != nil {
			return booked, fmt.Errorf("%s %s: %w", step, entry.ID, err)
		}
		pause := time.NewTimer(min(time.Millisecond<<try, time.Second))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
		}
	}
}
