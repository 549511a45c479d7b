package actor

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
)

var (
	// ErrLockOrder reports that a caller who holds an aggregate wants another
	// one that comes before it in the order of type and id: two such callers
	// could wait for each other. Give up the first one, or use
	// [System.Transact]. It is [aggregate.ErrLockOrder].
	ErrLockOrder = aggregate.ErrLockOrder

	// ErrNotHeld reports that a checkout is over: committed, aborted, or taken
	// back after [HostOptions.MaxHold]. Nothing was stored; acquire again. It is
	// [aggregate.ErrNotHeld].
	ErrNotHeld = aggregate.ErrNotHeld
)

// Checkout is an aggregate whose turn a caller holds: its commands wait until
// [Checkout.Commit] or [Checkout.Abort]. It belongs to one goroutine.
//
// For most programs a command is the better way, and [System.Transact] for
// several aggregates: neither can forget to let go. A checkout ends by itself
// when the context ends that it was acquired with, and after
// [HostOptions.MaxHold].
type Checkout[A any] struct {
	tx   *Tx
	part *part[A]
	hold *hold
	ctx  context.Context
	stop func() bool // of the watch over ctx

	token string
}

// Acquire waits for the running turn to be committed, and holds the next one.
// Whoever holds an aggregate already acquires with its [Checkout.Context].
//
// Errors: [ErrLockOrder], and those of [aggregate.Command.Ask] that come before
// a command begins.
func (h *Aggregates[A]) Acquire(ctx context.Context, id string) (*Checkout[A], error) {
	s := h.stream(id)
	if err := s.Validate(); err != nil {
		return nil, err
	}
	if before, ok := ctx.Value(insideCheckout{}).(heldStream); ok && before.system == h.system && s.Compare(before.stream) <= 0 {
		return nil, fmt.Errorf("%w: %s is held, and %s wanted", ErrLockOrder, before.stream, s)
	}
	lent, err := h.borrow(ctx, id, h.opts.MaxHold)
	if err != nil {
		return nil, err
	}
	a, err := h.loadCopy(ctx, id)
	if err != nil {
		lent.giveBack()
		return nil, err
	}
	p := &part[A]{host: h, id: id, a: a, base: h.spec.Version(a)}
	h.spec.Lend(a, &p.recorder)
	return &Checkout[A]{
		tx:   &Tx{system: h.system, work: &transaction{held: map[envelope.Stream]*hold{s: lent}}, parts: []txPart{p}},
		part: p, hold: lent, token: rand.Text(),
		ctx:  context.WithValue(ctx, insideCheckout{}, heldStream{h.system, s}),
		stop: context.AfterFunc(ctx, func() { lent.giveBack() }),
	}, nil
}

// insideCheckout marks the context of a checkout; its value is a heldStream.
type insideCheckout struct{}

type heldStream struct {
	system *System
	stream envelope.Stream
}

// State is the aggregate, as committed when it was acquired; what it records is
// stored by Commit. It is the caller's own copy.
func (c *Checkout[A]) State() *A { return c.part.a }

// Version is that of the stream when it was acquired.
func (c *Checkout[A]) Version() uint64 { return c.part.base }

// Token tells this checkout from all others, for logs.
func (c *Checkout[A]) Token() string { return c.token }

// Context is the one that the aggregate was acquired with; acquiring a second
// aggregate with it keeps the order.
func (c *Checkout[A]) Context() context.Context { return c.ctx }

// Publish adds messages for the outbox.
func (c *Checkout[A]) Publish(messages ...envelope.Message) { c.tx.Publish(messages...) }

// Write adds rows of read models.
func (c *Checkout[A]) Write(rows ...envelope.Row) { c.tx.Write(rows...) }

// Truncate records a baseline, so that everything before it is let go with the
// commit: see [aggregate.Repository.Truncate].
//
// Errors: those of [aggregate.Spec.RecordBaseline].
func (c *Checkout[A]) Truncate() error {
	return c.part.begin(c.part.host.spec.RecordBaseline)
}

// Delete records the end of the aggregate, so that with the commit it does not
// exist any more: see [aggregate.Repository.Delete].
//
// Errors: those of [aggregate.Spec.RecordTombstone].
func (c *Checkout[A]) Delete() error {
	return c.part.begin(c.part.host.spec.RecordTombstone)
}

// Commit stores what the aggregate recorded, in one batch with the messages and
// rows, and gives the turn back, whatever the outcome.
//
// Errors: [ErrNotHeld]; [aggregate.ErrConflict] when another process was ahead;
// [aggregate.ErrUnknownOutcome] when the context ended behind the commit; the
// journal's.
func (c *Checkout[A]) Commit() error {
	c.stop()
	if c.tx.over || !c.hold.holds() {
		c.Abort()
		return ErrNotHeld
	}
	c.tx.over = true
	b, emissions, err := c.tx.batch()
	if err != nil {
		c.tx.work.giveBack()
		return err
	}
	if err := c.ctx.Err(); err != nil {
		aggregate.ReleaseEmissions(emissions)
		c.tx.work.giveBack()
		return notRun(c.ctx)
	}
	receipt, err := bus.ClaimInbox(c.ctx, c.part.host.system.journal, b)
	if err != nil {
		aggregate.ReleaseEmissions(emissions)
		c.tx.work.giveBack()
		return err
	}
	return c.part.host.system.commitTx(c.ctx, c.tx, b, emissions, receipt)
}

// Abort gives the turn back and forgets what was recorded. After Commit it does
// nothing.
func (c *Checkout[A]) Abort() {
	c.stop()
	if !c.tx.over {
		c.tx.over = true
		c.tx.work.giveBack()
	}
}

// Peek returns the aggregate as last committed, without waiting for its turn:
// for looking only. An aggregate that does not exist is an
// [aggregate.ErrNotFound].
//
// Errors: those of [aggregate.Repository.Peek].
func (h *Aggregates[A]) Peek(ctx context.Context, id string) (*A, error) {
	repository, err := aggregate.NewRepository(h.system.journal, h.spec, nil)
	if err != nil {
		return nil, err
	}
	return repository.Peek(ctx, id)
}

// Truncate lets go of the history of id: see [aggregate.Repository.Truncate].
// It waits for the aggregate's turn like a command.
//
// Errors: those of [Aggregates.Acquire], of [aggregate.Spec.RecordBaseline] and
// of [Checkout.Commit].
func (h *Aggregates[A]) Truncate(ctx context.Context, id string) error {
	return h.checkout(ctx, id, (*Checkout[A]).Truncate)
}

// Delete ends the aggregate of id: see [aggregate.Repository.Delete]. It waits
// for the aggregate's turn like a command.
//
// Errors: those of [Aggregates.Acquire], [aggregate.ErrNotFound], and those of
// [Checkout.Commit].
func (h *Aggregates[A]) Delete(ctx context.Context, id string) error {
	return h.checkout(ctx, id, (*Checkout[A]).Delete)
}

func (h *Aggregates[A]) checkout(ctx context.Context, id string, do func(*Checkout[A]) error) error {
	c, err := h.Acquire(ctx, id)
	if err != nil {
		return err
	}
	defer c.Abort()
	if err := do(c); err != nil {
		return err
	}
	return c.Commit()
}
