package aggregate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/snapshot"
)

// RepositoryOptions tune a [Repository]. A nil *RepositoryOptions means all
// defaults.
type RepositoryOptions struct {
	// Snapshots says when Commit stores a snapshot with the events, for
	// aggregates that define them. The zero policy means every 100 events.
	Snapshots snapshot.Policy

	// Emitter gets what the aggregates enqueue, after the commit. Nil drops it.
	Emitter *Emitter

	// MaxTries bounds how often Ask decides anew after a conflict before it
	// answers [ErrConflict]. Zero means 8.
	MaxTries int
}

// Repository loads and commits aggregates without actors: for tests, batch
// tools, and programs with few writers. It is safe for concurrent use; the
// aggregates that it returns are not.
//
// Between Load and Commit nobody is kept out. When somebody else committed
// first, Commit answers [ErrConflict]: load again and decide again, or let Ask
// do it.
type Repository[A any] struct {
	journal journal.Journal
	spec    *Spec[A]
	opts    RepositoryOptions
}

// NewRepository makes a repository of the aggregates that spec describes.
//
// Errors: [ErrInvalid] for a negative MaxTries.
func NewRepository[A any](j journal.Journal, spec *Spec[A], opts *RepositoryOptions) (*Repository[A], error) {
	r := &Repository[A]{journal: j, spec: spec}
	if opts != nil {
		r.opts = *opts
	}
	if r.opts.MaxTries < 0 {
		return nil, envelope.Invalid("MaxTries", fmt.Sprint(r.opts.MaxTries), "is negative")
	}
	if r.opts.MaxTries == 0 {
		r.opts.MaxTries = 8
	}
	return r, nil
}

// Load returns the aggregate of that id, as committed.
//
// Errors: [ErrNotFound], [ErrInvalid] for a malformed id, [ErrReplay],
// [ErrUnavailable], and the context's.
func (r *Repository[A]) Load(ctx context.Context, id string) (*A, error) {
	a, err := r.load(ctx, id)
	if err == nil && !rootOf(a).Exists() {
		return nil, NotFound(r.spec.Stream(id))
	}
	return a, err
}

// LoadMany returns the aggregates of those ids in one round trip of the
// journal, in the order of ids; nil for one that does not exist.
//
// Errors as Load, without [ErrNotFound].
func (r *Repository[A]) LoadMany(ctx context.Context, ids ...string) ([]*A, error) {
	streams := make([]envelope.Stream, len(ids))
	for i, id := range ids {
		streams[i] = r.spec.Stream(id)
		if err := streams[i].Validate(); err != nil {
			return nil, err
		}
	}
	latest, err := r.journal.LoadMany(ctx, streams)
	if err != nil {
		return nil, err
	}
	all := make([]*A, len(ids))
	for i := range latest {
		a, _, err := r.spec.Rebuild(ctx, r.journal, latest[i])
		if err != nil {
			return nil, err
		}
		if rootOf(a).Exists() {
			r.spec.Inherit(ctx, a)
			all[i] = a
		}
	}
	return all, nil
}

// Peek is Load for looking only: recording an event on the result is an
// [ErrInvalid].
func (r *Repository[A]) Peek(ctx context.Context, id string) (*A, error) {
	a, err := r.Load(ctx, id)
	if err == nil {
		rootOf(a).recorder().readOnly = true
	}
	return a, err
}

// Commit stores what the aggregates recorded, all in one batch, with a
// snapshot of each that is due. Aggregates that recorded nothing are left out.
// Afterwards they can be used on. In a handler that runs by [bus.Inbox] the
// message's receipt is part of the batch: it is the last thing the handler
// commits.
//
// Errors: [ErrConflict] (load again, decide again), [ErrInvalid],
// [ErrUnavailable], [ErrUnknownOutcome] when ctx ended while the outcome was
// open; [ErrOverloaded] also when too much waits for listeners. In an inbox also
// [journal.ErrDuplicate], when the message had its effect before, and
// [bus.ErrInboxCommitted]. On an error the aggregates keep what they recorded.
func (r *Repository[A]) Commit(ctx context.Context, aggregates ...*A) error {
	return r.CommitWith(ctx, nil, aggregates...)
}

// CommitWith is Commit with messages for the outbox in the same batch, such as
// those that [Spec.EventMessage] makes. They are stored also if no aggregate
// recorded anything.
//
// Errors: as Commit, and [journal.ErrMessageExists].
func (r *Repository[A]) CommitWith(ctx context.Context, messages []envelope.Message, aggregates ...*A) error {
	b := &journal.Batch{ID: journal.NewBatchID(), Messages: messages}
	now := time.Now()
	for _, a := range aggregates {
		r.add(b, a, now)
	}
	emissions, err := r.reserve(aggregates...)
	if err != nil {
		return err
	}
	if len(b.Appends)+len(b.Messages) > 0 {
		if err := bus.SettleInbox(ctx, r.journal, b); err != nil {
			ReleaseEmissions(emissions)
			return err
		}
	}
	EmitReserved(emissions)
	for i := range b.Snapshots {
		for _, a := range aggregates {
			if r.spec.Stream(rootOf(a).id) == b.Snapshots[i].Stream {
				rootOf(a).snapshot = b.Snapshots[i].Version
			}
		}
	}
	for _, a := range aggregates {
		r.spec.Committed(a)
	}
	return nil
}

// DeleteSnapshot deletes the stored snapshot of that id, if there is one. The
// next load replays the whole stream.
//
// Errors: [ErrInvalid], [ErrUnavailable], and the context's.
func (r *Repository[A]) DeleteSnapshot(ctx context.Context, id string) error {
	_, err := journal.Settle(ctx, r.journal, &journal.Batch{
		ID: journal.NewBatchID(), DropSnapshots: []envelope.Stream{r.spec.Stream(id)},
	})
	return err
}

// Ask loads the aggregate, runs the command and commits, anew after a
// conflict. It is the [Asker] of programs without actors.
func (r *Repository[A]) Ask(ctx context.Context, inv Invocation[A]) error {
	h := inv.Header()
	if err := h.Validate(r.spec.typ); err != nil {
		return err
	}
	var err error
	for range r.opts.MaxTries {
		if cause := context.Cause(ctx); cause != nil {
			return fmt.Errorf("%w: %w", ErrNotRun, cause)
		}
		if err = r.try(ctx, inv, h); !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return err
}

// try runs inv once on the newest state.
func (r *Repository[A]) try(ctx context.Context, inv Invocation[A], h *Header) error {
	a, err := r.load(ctx, h.AggregateID)
	if err != nil {
		return notRun(ctx, err)
	}
	now := time.Now()
	root := rootOf(a)
	before := root.version
	root.SetMetadata(h.Metadata)
	decision := RunGuarded(ctx, r.spec, inv, a, now)
	if decision != nil {
		return r.refused(ctx, inv, h, decision)
	}
	b := &journal.Batch{ID: journal.NewBatchID()}
	r.add(b, a, now)
	var err2 error
	if b.Messages, err2 = root.rec.TakeMessages(nil, r.spec.Stream(h.AggregateID), root.version, root.version > before, now); err2 != nil {
		return err2
	}
	if h.CommandID != "" {
		reply, err := inv.EncodeReply(r.spec.codec)
		if err != nil {
			return err
		}
		b.Receipts = append(b.Receipts, envelope.Receipt{
			Stream: r.spec.Stream(h.AggregateID), ID: h.CommandID,
			Reply: reply, Codec: r.spec.codec.Name(), Version: root.version, Time: now,
		})
	}
	if len(b.Appends) == 0 {
		// Nobody keeps other writers out: even an answer that changes nothing
		// is only given on the version that it was decided on.
		b.Asserts = append(b.Asserts, journal.Assert{Stream: r.spec.Stream(h.AggregateID), Expected: before})
	}
	emissions, err := r.reserve(a)
	if err != nil {
		return err
	}
	_, err = journal.Settle(ctx, r.journal, b)
	err = notRun(ctx, err)
	if err == nil {
		EmitReserved(emissions)
		return nil
	}
	ReleaseEmissions(emissions)
	var dup *journal.DuplicateError
	if errors.As(err, &dup) && len(dup.Receipts) > 0 {
		return DecodeReceipt(r.spec, inv, &dup.Receipts[0])
	}
	return err
}

// reserve takes room in the emitters for what aggregates enqueued. They keep it,
// in case the commit fails.
func (r *Repository[A]) reserve(aggregates ...*A) (all []Emission, err error) {
	for _, a := range aggregates {
		root := rootOf(a)
		if root.rec == nil || len(root.rec.Emissions) == 0 {
			continue
		}
		reserved, err := ReserveEmissions(r.opts.Emitter, r.spec.Stream(root.id), slices.Clone(root.rec.Emissions))
		if err != nil {
			ReleaseEmissions(all)
			return nil, err
		}
		all = append(all, reserved...)
	}
	return all, nil
}

// refused answers with decision, unless the command had its effect before: the
// repeat of a withdrawal must not say that there are no funds.
func (r *Repository[A]) refused(ctx context.Context, inv Invocation[A], h *Header, decision error) error {
	if h.CommandID == "" {
		return decision
	}
	receipt, found, err := r.journal.Receipt(ctx, r.spec.Stream(h.AggregateID), h.CommandID)
	switch {
	case err != nil:
		return notRun(ctx, err)
	case found:
		return DecodeReceipt(r.spec, inv, &receipt)
	}
	return decision
}

func (r *Repository[A]) load(ctx context.Context, id string) (*A, error) {
	s := r.spec.Stream(id)
	if err := s.Validate(); err != nil {
		return nil, err
	}
	latest, err := r.journal.LoadLatest(ctx, s)
	if err != nil {
		return nil, err
	}
	a, _, err := r.spec.Rebuild(ctx, r.journal, latest)
	if err == nil {
		r.spec.Inherit(ctx, a)
	}
	return a, err
}

// add puts what a recorded into b.
func (r *Repository[A]) add(b *journal.Batch, a *A, now time.Time) {
	root := rootOf(a)
	pending := r.spec.Pending(a)
	if len(pending) == 0 {
		return
	}
	s := r.spec.Stream(root.id)
	for i := range pending {
		pending[i].Stream = s // the first event may have been recorded before the id was set
		if pending[i].Time.IsZero() {
			pending[i].Time = now
		}
	}
	b.Appends = append(b.Appends, journal.Append{
		Stream: s, Expected: root.version - uint64(len(pending)), Records: pending,
	})
	if r.spec.HasSnapshots() && r.opts.Snapshots.Due(root.version, root.snapshot) {
		// A snapshot is a cache: one that cannot be taken, or is too large,
		// must not keep the events from being stored.
		if snap, err := r.spec.Snapshot(a, now); err == nil {
			b.Snapshots = append(b.Snapshots, snap)
		}
	}
}

// notRun makes err, which a command met before it had any effect, an
// [ErrNotRun] where the reason is that ctx ended.
func notRun(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && errors.Is(err, cause) && !errors.Is(err, ErrUnknownOutcome) {
		return fmt.Errorf("%w: %w", ErrNotRun, err)
	}
	return err
}
