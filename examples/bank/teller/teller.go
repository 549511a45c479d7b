package teller

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/examples/bank/account"
	"github.com/troupe-go/troupe/examples/bank/statement"
)

// window is how many lines are under way at once. It bounds memory, and lets
// the lines of many accounts share one sync of the disk.
const window = 512

// Options tune [Book]. A nil *Options means all defaults.
type Options struct {
	// Settled is called after each line of the statement with the number of
	// lines settled so far, from several goroutines. Nil means nobody listens.
	Settled func(n int)
}

// Book books the statement that r holds and that is called id. When ctx ends it
// takes no further line, finishes those under way, and returns what it has,
// with [Report.Interrupted] set.
//
// An error means that the bank could not do its work. What was booked so far
// stays, and booking the same statement again goes on from there.
func Book(ctx context.Context, accounts aggregate.Asker[account.Account], id string, r io.Reader, opts *Options) (*Report, error) {
	t := &teller{accounts: accounts, statement: id, began: time.Now(), tails: map[string]chan struct{}{}, report: newReport()}
	if opts != nil {
		t.settled = opts.Settled
	}
	// Lines under way are finished, so they do not hear of ctx; they do hear
	// of a failure, after which no later line of the account may be booked.
	var work context.Context
	work, t.fail = context.WithCancelCause(context.WithoutCancel(ctx))
	defer t.fail(nil)
	slots := make(chan struct{}, window)
	for line, err := range statement.Read(r) {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
		case <-work.Done():
		}
		if ctx.Err() != nil || work.Err() != nil {
			t.report.Interrupted = ctx.Err() != nil
			break
		}
		var bad *statement.LineError
		switch {
		case errors.As(err, &bad):
			t.report.reject(bad.Number, bad.Reason)
			t.done()
			<-slots
		case err != nil:
			t.fail(err)
		default:
			t.start(work, line, func() { <-slots })
		}
	}
	t.lines.Wait()
	if cause := context.Cause(work); cause != nil {
		return t.report, cause
	}
	t.report.finish(time.Since(t.began))
	return t.report, nil
}

// teller is one run of [Book].
type teller struct {
	accounts  aggregate.Asker[account.Account]
	statement string
	began     time.Time
	settled   func(n int)
	report    *Report

	fail  context.CancelCauseFunc // ends the lines' context
	lines sync.WaitGroup          // under way

	mu    sync.Mutex
	tails map[string]chan struct{} // by account: closed when the last line so far that touches it is settled
}

// start books line as soon as the earlier lines of its accounts are settled. It
// is called in the order of the statement, so a line waits only for lines that
// have started.
func (t *teller) start(ctx context.Context, line statement.Line, release func()) {
	settled := make(chan struct{})
	var before []chan struct{}
	t.mu.Lock()
	for _, id := range line.Accounts() {
		if tail := t.tails[id]; tail != nil {
			before = append(before, tail)
		}
		t.tails[id] = settled
	}
	t.mu.Unlock()
	t.lines.Go(func() {
		defer release()
		defer t.leave(line.Accounts(), settled)
		for _, earlier := range before {
			<-earlier
		}
		if ctx.Err() != nil {
			return
		}
		began := time.Now()
		if err := t.book(ctx, line); err != nil {
			t.fail(fmt.Errorf("line %d: %w", line.Number, err))
			return
		}
		t.report.took(time.Since(began))
		t.done()
	})
}

// leave lets the next line of each account begin.
func (t *teller) leave(ids []string, settled chan struct{}) {
	t.mu.Lock()
	for _, id := range ids {
		if t.tails[id] == settled {
			delete(t.tails, id)
		}
	}
	t.mu.Unlock()
	close(settled)
}

// done counts a settled line.
func (t *teller) done() {
	n := t.report.settle()
	if t.settled != nil {
		t.settled(n)
	}
}
