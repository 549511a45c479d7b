package journal

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Commit submits b and waits for its outcome: the blocking form of
// [Journal.Submit], for everyone but an actor. It waits for credit first.
//
// When ctx ends before b was submitted, the error wraps the context's and b
// was not stored. When it ends later, the error is [ErrUnknownOutcome] and
// wraps the context's: b may be stored, and must not be reused. Other errors
// are those of Submit.
func Commit(ctx context.Context, j Journal, b *Batch) (Result, error) {
	for hurried := 0; ; {
		res, waited, err := commitOnce(ctx, j, b)
		if !errors.Is(err, ErrOverloaded) || hurried == maxHurried {
			return res, err
		}
		// Others were quicker after all; b was not taken. Credit reserves nothing,
		// so many may have been told at once that there is room; now there is
		// none, and whoever asks again has to wait.
		if !waited {
			hurried++
		}
	}
}

// maxHurried bounds how often a batch is submitted that was given credit at once
// and then refused as too much: a journal that goes on so is overloaded.
const maxHurried = 10

// commitOnce waits for credit if it must, submits b, and waits for its outcome.
func commitOnce(ctx context.Context, j Journal, b *Batch) (res Result, waited bool, err error) {
	if err := context.Cause(ctx); err != nil {
		return Result{}, false, fmt.Errorf("journal: batch not submitted: %w", err)
	}
	room := make(chan struct{})
	if !j.Credit(b.Events(), b.SizeBytes(), func() { close(room) }) {
		waited = true
		select {
		case <-room:
		case <-ctx.Done():
			return Result{}, waited, fmt.Errorf("journal: batch not submitted: %w", context.Cause(ctx))
		}
	}
	type outcome struct {
		res Result
		err error
	}
	answer := make(chan outcome, 1)
	j.Submit(b, func(res Result, err error) { answer <- outcome{res, err} })
	select {
	case o := <-answer:
		return o.res, waited, o.err
	case <-ctx.Done():
		return Result{}, waited, errors.Join(ErrUnknownOutcome, context.Cause(ctx))
	}
}

// Settle is [Commit] for whoever must know the outcome: while it is unknown,
// the identical batch is submitted again, until the answer is another one or
// ctx ends.
//
// An answer to a resubmission settles the matter only if it tells of the first
// submission: that the queue is full or the store away now says nothing about
// what it did then.
//
// Errors as Commit. An [ErrUnknownOutcome] that is left means that ctx ended or
// the journal was closed, whose error it wraps.
func Settle(ctx context.Context, j Journal, b *Batch) (Result, error) {
	res, err := Commit(ctx, j, b)
	if !errors.Is(err, ErrUnknownOutcome) {
		return res, err
	}
	again := *b // a journal may still read the first one
	again.Resubmit = true
	for wait := time.Millisecond; ; wait = min(2*wait, time.Second) {
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return Result{}, errors.Join(ErrUnknownOutcome, context.Cause(ctx))
		}
		resubmit := again
		switch res, err = Commit(ctx, j, &resubmit); {
		case errors.Is(err, ErrClosed):
			return Result{}, errors.Join(ErrUnknownOutcome, err)
		case ctx.Err() != nil && errors.Is(err, context.Cause(ctx)):
			return Result{}, errors.Join(ErrUnknownOutcome, context.Cause(ctx))
		case errors.Is(err, ErrUnknownOutcome), errors.Is(err, ErrOverloaded), errors.Is(err, ErrUnavailable):
		default:
			return res, err
		}
	}
}
