package actor

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/troupe-go/troupe/aggregate"
)

// The states of a call. The actor takes queued → begun, the caller queued →
// abandoned, each by compare-and-swap, so exactly one of them wins: an
// abandoned command never runs, and one that began is never reported as
// failed. There is no third case.
const (
	callQueued uint32 = iota
	callBegun
	callAbandoned
)

// call is one command in an aggregate's queue, with its reply slot.
//
// It is pooled. The caller returns it once nobody else refers to it: after the
// reply, or after taking it out of the queue itself. A call that its caller
// left otherwise is the actor's, and the garbage collector's after that.
type call[A any] struct {
	ctx   context.Context
	inv   aggregate.Invocation[A]
	reply chan error // holds the one answer; never blocks the actor
	state atomic.Uint32
	tries int   // of the actor
	hold  *hold // if set, this is no command: the turn is to be lent

	// In the queue, guarded by the entry's lock.
	next, prev *call[A]
	linked     bool
}

func newCall[A any]() *call[A] { return &call[A]{reply: make(chan error, 1)} }

// begin reports whether the command is to be decided now. A command that is
// decided anew has begun already; it is dropped when its caller is gone, who
// was told that the outcome is unknown.
func (c *call[A]) begin() bool {
	err := c.ctx.Err()
	if c.state.Load() == callBegun {
		return err == nil
	}
	if err != nil {
		// The caller has not noticed yet: it never runs all the same.
		if c.state.CompareAndSwap(callQueued, callAbandoned) {
			c.answer(notRun(c.ctx))
		}
		return false
	}
	return c.state.CompareAndSwap(callQueued, callBegun)
}

func (c *call[A]) answer(err error) { c.reply <- err }

func notRun(ctx context.Context) error {
	return fmt.Errorf("%w: %w", aggregate.ErrNotRun, context.Cause(ctx))
}

func unknownOutcome(ctx context.Context) error {
	return fmt.Errorf("%w: %w", aggregate.ErrUnknownOutcome, context.Cause(ctx))
}
