package bus

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/troupe-go/troupe/envelope"
)

// step is what comes after one attempt of a lane's first message: the next
// message (the zero step); another attempt after wait; or, with giveBack, the
// lane goes back to the broker, to come again after wait.
type step struct {
	wait     time.Duration
	giveBack bool
}

// handle makes one attempt.
func (r *runner) handle(l *lane, it *item) step {
	if d, ok := it.Delivery.(Revocable); ok {
		if !d.Begin() {
			r.opts.Observe(Settled{Message: it.Message(), Outcome: Unsettled, Attempt: it.attempt(), Err: ErrUnavailable})
			return step{}
		}
		defer d.End()
	}
	it.tries++
	if behind, ok := r.parked.blocks(l.key, it); ok {
		return r.setAside(it, Failure{Reason: "waits behind message " + behind + " of its key", Parked: true}, Parked, nil, 0)
	}
	start := time.Now()
	outcome, err := Handled, it.Malformed()
	if err == nil {
		outcome, err = r.attempt(it.Message())
	}
	return r.conclude(l, it, outcome, err, time.Since(start))
}

// conclude settles the message behind an attempt, unless it is to stay.
func (r *runner) conclude(l *lane, it *item, outcome Outcome, err error, took time.Duration) step {
	m := it.Message()
	if err == nil {
		r.ack(it, outcome, took, nil)
		return step{}
	}
	permanent := IsPermanent(err)
	if !permanent && r.opts.MaxAttempts > 0 && it.attempt() >= r.opts.MaxAttempts {
		permanent = true
	}
	if permanent {
		switch r.opts.Policy {
		case PolicyRetry:
		case PolicyLogAndAck:
			r.log("bus: message failed for good and is dropped", it, err)
			r.ack(it, Dropped, took, err)
			return step{}
		case PolicyStop:
			r.log("bus: message failed for good and stops the run", it, err)
			r.stop(fmt.Errorf("%w: %s %q, id %q: %w", ErrStopped, m.Kind, m.Name, m.ID, err))
			return step{giveBack: true}
		case PolicyPark, PolicyDeadLetter:
			park := r.opts.Policy == PolicyPark && l.key != ""
			outcome = DeadLettered
			if park {
				outcome = Parked
			}
			return r.setAside(it, Failure{Reason: err.Error(), Parked: park}, outcome, err, took)
		}
	}
	return r.again(it, err, took)
}

// attempt runs the handler once.
func (r *runner) attempt(m *envelope.Message) (Outcome, error) {
	ctx := WithMessage(r.work, m)
	if r.opts.HandlerTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.opts.HandlerTimeout)
		defer cancel()
	}
	if r.inbox == nil {
		return outcomeOf(r.protect(ctx, m))
	}
	ctx, done, err := r.inbox.begin(ctx, m)
	switch {
	case err != nil:
		return 0, err
	case done:
		return Duplicate, nil
	}
	outcome, err := outcomeOf(r.protect(ctx, m))
	if err == nil && outcome == Handled {
		err = r.inbox.end(ctx)
	}
	if err != nil {
		// A replica, or an attempt whose outcome was unknown, may have been
		// first: the receipt tells, whatever the handler made of it.
		if done, lookup := r.inbox.done(r.work, m); lookup == nil && done {
			return Duplicate, nil
		}
	}
	return outcome, err
}

func outcomeOf(err error) (Outcome, error) {
	if errors.Is(err, ErrUnhandled) {
		return Unhandled, nil
	}
	return Handled, err
}

// protect runs the handler and makes an error of a panic.
func (r *runner) protect(ctx context.Context, m *envelope.Message) (err error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		p := recover()
		if p == nil {
			return // runtime.Goexit, see worker
		}
		r.opts.Logger.Error("bus: handler panicked", "consumer", r.opts.Consumer, "message", m.ID, "name", m.Name, "panic", p, "stack", string(debug.Stack()))
		err = fmt.Errorf("%w: %v", ErrPanic, p)
	}()
	err = r.handlers.Handle(ctx, m)
	returned = true
	return err
}

// again has a failed message tried again: here, where its key must wait for it,
// or by the broker.
func (r *runner) again(it *item, err error, took time.Duration) step {
	delay := r.opts.backoff(it.attempt())
	r.log("bus: message failed and will be tried again", it, err)
	r.opts.Observe(Settled{Message: it.Message(), Outcome: Retried, Attempt: it.attempt(), Err: err, Took: took})
	if it.failing.IsZero() {
		it.failing = time.Now()
	}
	hold := r.order == OrderedWhileHeld || r.order == OrderedAlways && time.Since(it.failing)+delay <= r.opts.HoldFor
	if hold {
		return step{wait: delay}
	}
	if r.order == OrderedAlways {
		return step{wait: delay, giveBack: true}
	}
	if err := it.settle(func() error { return it.Retry(r.settling, delay) }); err != nil {
		r.unsettled(it, err)
	}
	return step{}
}

func (r *runner) ack(it *item, outcome Outcome, took time.Duration, cause error) {
	if err := it.settle(func() error { return it.Ack(r.settling) }); err != nil {
		r.unsettled(it, err)
		return
	}
	r.parked.handled(it)
	r.opts.Observe(Settled{Message: it.Message(), Outcome: outcome, Attempt: it.attempt(), Err: cause, Took: took})
}

// setAside moves a message to the dead letters. While that fails the message
// stays, and is tried again.
func (r *runner) setAside(it *item, why Failure, outcome Outcome, cause error, took time.Duration) step {
	why.Attempts, why.Time = it.attempt(), time.Now()
	why.Reason = CutReason(why.Reason)
	if cause != nil {
		r.log("bus: message failed for good and is set aside", it, cause)
	}
	if outcome == Parked {
		r.parked.park(it.Message())
	}
	if err := it.settle(func() error { return it.DeadLetter(r.settling, why) }); err != nil {
		if r.settling.Err() != nil || errors.Is(err, ErrClosed) {
			r.unsettled(it, err)
			return step{}
		}
		return r.again(it, fmt.Errorf("cannot be set aside: %w", err), took)
	}
	r.opts.Observe(Settled{Message: it.Message(), Outcome: outcome, Attempt: why.Attempts, Err: cause, Took: took})
	return step{}
}

func (r *runner) unsettled(it *item, err error) {
	if !errors.Is(err, ErrClosed) {
		r.log("bus: the broker could not be told, the message will come again", it, err)
	}
	r.opts.Observe(Settled{Message: it.Message(), Outcome: Unsettled, Attempt: it.attempt(), Err: err})
}

func (r *runner) log(text string, it *item, err error) {
	m := it.Message()
	r.opts.Logger.Warn(text, "consumer", r.opts.Consumer, "kind", m.Kind.String(), "name", m.Name, "message", m.ID,
		"key", m.OrderingKey(), "attempt", it.attempt(), "err", err)
}

// settle runs one settling call, beside which the lease is not extended.
func (it *item) settle(f func() error) error {
	it.mu.Lock()
	defer it.mu.Unlock()
	err := f()
	it.settled = err == nil
	return err
}
