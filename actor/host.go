package actor

import (
	"context"
	"fmt"
	"sync"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/envelope"
)

var (
	errMailboxFull     = fmt.Errorf("%w: too many commands wait for this aggregate", aggregate.ErrOverloaded)
	errActivationsFull = fmt.Errorf("%w: too many aggregates wait to be loaded", aggregate.ErrOverloaded)

	errStoppedUnfinished = fmt.Errorf("%w: the time for stopping was over before the command began", aggregate.ErrStopped)
)

// Aggregates are the virtual aggregates of one type: each exists whether or
// not it is in memory. The first command activates one, idleness passivates
// it. It is an [aggregate.Asker], safe for concurrent use.
type Aggregates[A any] struct {
	system *System
	spec   *aggregate.Spec[A]
	opts   HostOptions
	router *router[A]
	spawn  spawner[A]
	owner  *ownership // nil unless Exclusive

	// The pools belong to the host and not to the package: channels must not
	// leave the testing/synctest bubble that they were made in.
	calls sync.Pool // of *call[A]
	turns sync.Pool // of *turn[A]
}

// Host makes the aggregates that spec describes available on s.
//
// Errors: [envelope.ErrInvalid] for a wrong option, and for a type that s
// hosts already; [aggregate.ErrStopped].
func Host[A any](s *System, spec *aggregate.Spec[A], opts *HostOptions) (*Aggregates[A], error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	h := &Aggregates[A]{system: s, spec: spec, opts: o, router: newRouter[A]()}
	h.calls.New = func() any { return newCall[A]() }
	h.turns.New = func() any { return newTurn[A]() }
	h.spawn.init(s)
	if o.Exclusive != nil {
		h.owner = newOwnership(o.Exclusive, spec.Type(), s.opts.Logger)
	}
	if err := s.register(spec.Type(), h); err != nil {
		h.closeOwner()
		return nil, err
	}
	return h, nil
}

// Spec returns what the aggregates are described by.
func (h *Aggregates[A]) Spec() *aggregate.Spec[A] { return h.spec }

// Ask runs inv inside the actor of the aggregate that its header names; see
// [aggregate.Command.Ask], which callers use.
func (h *Aggregates[A]) Ask(ctx context.Context, inv aggregate.Invocation[A]) error {
	header := inv.Header()
	if err := header.Validate(h.spec.Type()); err != nil {
		return err
	}
	if hooks := h.system.opts.Hooks; hooks != nil {
		var end func(error)
		ctx, end = hooks.Ask(ctx, h.spec.Stream(header.AggregateID), header.Command)
		err := h.ask(ctx, inv, header)
		end(err)
		return err
	}
	return h.ask(ctx, inv, header)
}

func (h *Aggregates[A]) ask(ctx context.Context, inv aggregate.Invocation[A], header *aggregate.Header) error {
	if ctx.Err() != nil {
		return notRun(ctx)
	}
	if h.owner != nil && !h.owner.holds() {
		return errNotOwner
	}
	if h.system.transacting.Load() > 0 && ctx.Value(insideTransact{}) == h.system {
		return errAskInside(h.spec.Stream(header.AggregateID))
	}
	c := h.calls.Get().(*call[A])
	c.ctx, c.inv, c.tries = ctx, inv, 0
	c.state.Store(callQueued)
	var e *entry[A]
	for {
		e = h.router.entry(h, header.AggregateID)
		retry, err := e.push(c)
		if err != nil {
			h.release(c)
			e.removeIfUnused() // it may have been made for this call
			return err
		}
		if !retry {
			break
		}
	}
	if ctx.Done() == nil {
		err := <-c.reply
		h.release(c)
		return err
	}
	select {
	case err := <-c.reply:
		h.release(c)
		return err
	case <-ctx.Done():
		return h.abandon(ctx, e, c)
	}
}

// abandon ends the waiting of a caller whose context ended.
func (h *Aggregates[A]) abandon(ctx context.Context, e *entry[A], c *call[A]) error {
	if c.state.CompareAndSwap(callQueued, callAbandoned) {
		if e.unlink(c) {
			h.release(c)
		}
		return notRun(ctx)
	}
	if c.state.Load() == callAbandoned { // the actor's side was first, and answers at once
		err := <-c.reply
		h.release(c)
		return err
	}
	select {
	case err := <-c.reply: // it came in the same moment, and the truth is better than a guess
		h.release(c)
		return err
	default:
		return unknownOutcome(ctx)
	}
}

func (h *Aggregates[A]) release(c *call[A]) {
	c.ctx, c.inv, c.hold = nil, nil, nil
	h.calls.Put(c)
}

func (h *Aggregates[A]) stream(id string) envelope.Stream { return h.spec.Stream(id) }

// Waiting counts the commands that wait in queues now.
func (h *Aggregates[A]) Waiting() int {
	n := 0
	for _, e := range h.router.all(nil) {
		e.mu.Lock()
		n += e.waiting
		e.mu.Unlock()
	}
	return n
}
