package journal

import (
	"context"
	"errors"
	"fmt"
)

// Commit submits b and waits for its outcome: the blocking form of
// [Journal.Submit], for everyone but an actor. It waits for credit first.
//
// When ctx ends before b was submitted, the error wraps the context's and b
// was not stored. When it ends later, the error is [ErrUnknownOutcome] and
// wraps the context's: b may be stored, and must not be reused. Other errors
// are those of Submit.
func Commit(ctx context.Context, j Journal, b *Batch) (Result, error) {
	events, bytes := b.Events(), b.SizeBytes()
	if err := context.Cause(ctx); err != nil {
		return Result{}, fmt.Errorf("journal: batch not submitted: %w", err)
	}
	room := make(chan struct{})
	if !j.Credit(events, bytes, func() { close(room) }) {
		select {
		case <-room:
		case <-ctx.Done():
			return Result{}, fmt.Errorf("journal: batch not submitted: %w", context.Cause(ctx))
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
		return o.res, o.err
	case <-ctx.Done():
		return Result{}, errors.Join(ErrUnknownOutcome, context.Cause(ctx))
	}
}
