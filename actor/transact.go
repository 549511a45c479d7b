package actor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"time"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// maxTransactTries bounds how often a transaction is decided anew. With the
// turns of its aggregates held, only another process can be ahead of it.
const maxTransactTries = 8

// errRestart ends an attempt that needs another aggregate than it holds.
var errRestart = errors.New("actor: the transaction begins anew")

// Tx is one attempt of [System.Transact]. It belongs to the goroutine that its
// function runs on, and ends with it.
type Tx struct {
	ctx    context.Context
	system *System
	work   *transaction
	over   bool

	parts  []txPart
	places map[envelope.Stream]int

	messages []envelope.Message
	rows     []envelope.Row
	receipts []envelope.Receipt
}

// txPart is one aggregate that a transaction works on, whatever its type.
type txPart interface {
	stream() envelope.Stream
	borrow(ctx context.Context) (*hold, error)
	add(b *journal.Batch, now time.Time) error
	reserve() ([]aggregate.Emission, error)
	enter() bool
	leave()
	committed()
}

// transaction is what outlives the attempts of one Transact.
type transaction struct {
	known map[envelope.Stream]txPart // what it turned out to need
	held  map[envelope.Stream]*hold  // nil in the optimistic attempt
	last  envelope.Stream            // the greatest held
}

// Transact runs fn and commits what it did to several aggregates in one batch,
// all or nothing: what the aggregates recorded, and the messages, rows and
// receipts that fn added. That an aggregate which fn only looked at stayed as
// it was is part of the batch too.
//
// fn may run more than once, each time on fresh private copies: at first beside
// the actors, and if something else was committed meanwhile again with their
// turns held, so that a busy aggregate does not starve it. It must not keep the
// copies, and must not ask aggregates: with a turn held, they would wait for
// it. The context of [Tx.Context] makes such a mistake an [envelope.ErrInvalid].
//
// When fn returns an error or panics, nothing has happened and no turn is held;
// so it is when ctx ends before the batch was submitted.
//
// In a handler that runs by [bus.Inbox] on the system's journal, the message's
// receipt is part of the batch: it is the last thing the handler commits.
//
// Errors: fn's own; [aggregate.ErrPanic]; [aggregate.ErrConflict] when other
// processes were ahead every time: begin anew; [journal.ErrDuplicate] for a
// receipt that was stored before: the effect is there already;
// [aggregate.ErrUnknownOutcome] when ctx ended behind the commit, and those of
// [aggregate.Command.Ask] that come before a command begins.
func (s *System) Transact(ctx context.Context, fn func(tx *Tx) error) error {
	if s.stopping.Load() {
		return aggregate.ErrStopped
	}
	s.transacting.Add(1)
	defer s.transacting.Add(-1)
	t := &transaction{known: make(map[envelope.Stream]txPart)}
	var err error
	for try := range maxTransactTries {
		if ctx.Err() != nil {
			return notRun(ctx)
		}
		if try > 0 {
			if err = s.holdAll(ctx, t); err != nil {
				return err
			}
		}
		err = s.attempt(ctx, t, fn)
		if !errors.Is(err, errRestart) && !errors.Is(err, journal.ErrConflict) {
			return err
		}
	}
	return err
}

// holdAll holds the turns of everything that the transaction is known to need,
// in the order of streams: no two transactions can wait for each other.
func (s *System) holdAll(ctx context.Context, t *transaction) error {
	t.giveBack()
	t.held = make(map[envelope.Stream]*hold, len(t.known))
	streams := make([]envelope.Stream, 0, len(t.known))
	for stream := range t.known {
		streams = append(streams, stream)
	}
	slices.SortFunc(streams, envelope.Stream.Compare)
	for _, stream := range streams {
		if err := t.hold(ctx, t.known[stream]); err != nil {
			t.giveBack()
			return err
		}
	}
	return nil
}

func (t *transaction) hold(ctx context.Context, p txPart) error {
	h, err := p.borrow(ctx)
	if err != nil {
		return err
	}
	t.held[p.stream()], t.last = h, p.stream()
	return nil
}

// giveBack gives all turns back.
func (t *transaction) giveBack() {
	for _, h := range t.held {
		h.giveBack()
	}
	t.held, t.last = nil, envelope.Stream{}
}

// holds reports whether every turn is still held.
func (t *transaction) holds() bool {
	for _, h := range t.held {
		if !h.holds() {
			return false
		}
	}
	return true
}

// attempt runs fn once and commits.
func (s *System) attempt(ctx context.Context, t *transaction, fn func(tx *Tx) error) (err error) {
	committing := false
	defer func() {
		if !committing {
			t.giveBack()
		}
	}()
	tx := &Tx{
		ctx: context.WithValue(ctx, insideTransact{}, s), system: s, work: t,
		places: make(map[envelope.Stream]int),
	}
	err = tx.run(fn)
	tx.over = true
	for _, p := range tx.parts {
		t.known[p.stream()] = p
	}
	if err != nil {
		return err
	}
	b, emissions, err := tx.batch()
	if err != nil || b == nil {
		return err
	}
	if ctx.Err() != nil || !t.holds() {
		aggregate.ReleaseEmissions(emissions)
		if ctx.Err() != nil {
			return notRun(ctx)
		}
		return errRestart // it took too long
	}
	if t.held == nil && !tx.enter() {
		aggregate.ReleaseEmissions(emissions)
		return errRestart // somebody holds a turn
	}
	receipt, err := bus.ClaimInbox(ctx, s.journal, b)
	if err != nil {
		if t.held == nil {
			tx.leave(len(tx.parts))
		}
		aggregate.ReleaseEmissions(emissions)
		return err
	}
	committing = true
	return s.commitTx(ctx, tx, b, emissions, receipt)
}

// commitTx commits b, on a goroutine that stays when the caller leaves: until
// the outcome is known the turns stay held, and then the actors learn of it.
func (s *System) commitTx(ctx context.Context, tx *Tx, b *journal.Batch, emissions []aggregate.Emission, receipt bus.InboxClaim) error {
	answer := make(chan error, 1)
	s.settling.Add(1)
	go func() {
		defer s.settling.Done()
		_, err := journal.Settle(s.life, s.journal, b)
		receipt.Done(err)
		if err == nil {
			for _, p := range tx.parts {
				p.committed()
			}
		}
		if tx.work.held == nil {
			tx.leave(len(tx.parts))
		}
		tx.work.giveBack()
		if err == nil {
			aggregate.EmitReserved(emissions)
		} else {
			aggregate.ReleaseEmissions(emissions)
		}
		answer <- err
	}()
	select {
	case err := <-answer:
		if errors.Is(err, journal.ErrClosed) {
			return fmt.Errorf("%w: %w", aggregate.ErrUnavailable, err)
		}
		return err
	case <-ctx.Done():
		return unknownOutcome(ctx)
	}
}

// enter lets the attempt commit beside the turns of its aggregates, unless
// somebody holds one.
func (tx *Tx) enter() bool {
	for i, p := range tx.parts {
		if !p.enter() {
			tx.leave(i)
			return false
		}
	}
	return true
}

// leave ends enter, for the first n.
func (tx *Tx) leave(n int) {
	for _, p := range tx.parts[:n] {
		p.leave()
	}
}

// run calls the user's function.
func (tx *Tx) run(fn func(tx *Tx) error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			stack := debug.Stack()
			tx.system.stats.panics.Add(1)
			tx.system.opts.Logger.Error("transaction panicked", slog.Any("panic", v), slog.String("stack", string(stack)))
			err = &aggregate.PanicError{Command: "transact", Value: v, Stack: stack}
		}
	}()
	err = fn(tx)
	for stream := range tx.work.known { // whatever fn made of the error that it got
		if _, held := tx.work.held[stream]; tx.work.held != nil && !held {
			return errRestart
		}
	}
	return err
}

// batch is what the attempt came to, or nil if that is nothing.
func (tx *Tx) batch() (*journal.Batch, []aggregate.Emission, error) {
	b := &journal.Batch{ID: journal.NewBatchID(), Messages: tx.messages, Rows: tx.rows, Receipts: tx.receipts}
	now := time.Now()
	for _, p := range tx.parts {
		if err := p.add(b, now); err != nil {
			return nil, nil, err
		}
	}
	if len(b.Appends)+len(b.Asserts)+len(b.Messages)+len(b.Rows)+len(b.Receipts) == 0 {
		return nil, nil, nil
	}
	if err := b.Validate(); err != nil {
		return nil, nil, err
	}
	var all []aggregate.Emission
	for _, p := range tx.parts {
		emissions, err := p.reserve()
		if err != nil {
			aggregate.ReleaseEmissions(all)
			return nil, nil, err
		}
		all = append(all, emissions...)
	}
	return b, all, nil
}

// Context is that of the caller, marked so that asking an aggregate with it is
// refused.
func (tx *Tx) Context() context.Context { return tx.ctx }

// Publish adds messages for the outbox.
func (tx *Tx) Publish(messages ...envelope.Message) { tx.messages = append(tx.messages, messages...) }

// Write adds rows of read models.
func (tx *Tx) Write(rows ...envelope.Row) { tx.rows = append(tx.rows, rows...) }

// Consume adds the receipt of a message: the transaction has its effect once
// per consumer and message id, and is a [journal.ErrDuplicate] after that.
func (tx *Tx) Consume(consumer, messageID string) {
	tx.receipts = append(tx.receipts, envelope.Receipt{Consumer: consumer, ID: messageID, Time: time.Now()})
}

// insideTransact marks the context of a transaction; its value is the system.
type insideTransact struct{}

// errAskInside refuses what would wait for itself.
func errAskInside(s envelope.Stream) error {
	return envelope.Invalid("ask of "+s.String(), "inside Transact", "load the aggregate with In instead")
}

// In returns the aggregate of id for the transaction: a private copy, as
// committed, the same one each time. An aggregate that does not exist has
// version 0. What it records is committed with the transaction.
//
// Errors: [envelope.ErrInvalid] for a malformed id and for a Tx that is over,
// those of [aggregate.Repository.Load] but [aggregate.ErrNotFound], and one that the function must return: the
// transaction then begins anew.
func (h *Aggregates[A]) In(tx *Tx, id string) (*A, error) {
	s := h.stream(id)
	if err := s.Validate(); err != nil {
		return nil, err
	}
	if tx.over || tx.system != h.system {
		return nil, envelope.Invalid("transaction", s.String(), "is over, or another system's")
	}
	if i, again := tx.places[s]; again {
		return tx.parts[i].(*part[A]).a, nil
	}
	p := &part[A]{host: h, id: id}
	t := tx.work
	if _, held := t.held[s]; t.held != nil && !held {
		t.known[s] = p
		if s.Compare(t.last) < 0 { // waiting for it now could be waiting in a circle
			return nil, errRestart
		}
		if err := t.hold(tx.ctx, p); err != nil {
			return nil, err
		}
	}
	a, err := h.loadCopy(tx.ctx, id)
	if err != nil {
		return nil, err
	}
	p.a, p.base = a, h.spec.Version(a)
	h.spec.Lend(a, &p.recorder)
	h.spec.Inherit(tx.ctx, a)
	tx.places[s] = len(tx.parts)
	tx.parts = append(tx.parts, p)
	return a, nil
}

// part is one aggregate of an attempt.
type part[A any] struct {
	host     *Aggregates[A]
	id       string
	a        *A
	base     uint64 // the version that it was loaded at
	version  uint64 // behind the commit
	recorder aggregate.Recorder
	entered  *entry[A]
	first    uint64 // the version that history is to begin with; 0 for no change
}

func (p *part[A]) stream() envelope.Stream { return p.host.stream(p.id) }

func (p *part[A]) borrow(ctx context.Context) (*hold, error) {
	return p.host.borrow(ctx, p.id, p.host.opts.MaxHold)
}

// add puts what was recorded into b, or the version that was looked at.
func (p *part[A]) add(b *journal.Batch, now time.Time) error {
	h := p.host
	records, err := h.collect(p.id, &p.recorder, now)
	if err != nil {
		return err
	}
	p.version = p.base + uint64(len(records))
	if len(records) == 0 {
		b.Asserts = append(b.Asserts, journal.Assert{Stream: p.stream(), Expected: p.base})
		return nil
	}
	b.Appends = append(b.Appends, journal.Append{Stream: p.stream(), Expected: p.base, Records: records})
	if p.first > 0 {
		b.Truncates = append(b.Truncates, journal.Truncate{Stream: p.stream(), Before: p.first})
		return nil // what was recorded is as good as a snapshot
	}
	if h.spec.HasSnapshots() && h.opts.Snapshots.Due(p.version, h.spec.SnapshotVersion(p.a)) {
		// A snapshot is a cache: one that cannot be taken must not keep the
		// events from being stored.
		if snap, err := h.spec.Snapshot(p.a, now); err == nil && len(snap.Data) <= maxTurnSnapshotBytes {
			b.Snapshots = append(b.Snapshots, snap)
		}
	}
	return nil
}

func (p *part[A]) enter() bool {
	p.entered = p.host.enter(p.id)
	return p.entered != nil
}

func (p *part[A]) leave() { p.entered.leave() }

// begin records what history begins with.
func (p *part[A]) begin(record func(*A) error) error {
	if err := record(p.a); err != nil {
		return err
	}
	p.first = p.host.spec.Version(p.a)
	return nil
}

func (p *part[A]) reserve() ([]aggregate.Emission, error) {
	return aggregate.ReserveEmissions(p.host.opts.Emitter, p.stream(), p.recorder.Emissions)
}

// committed has the actor catch up before its next turn.
func (p *part[A]) committed() { p.host.raise(p.id, p.version) }
