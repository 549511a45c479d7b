package actor

import (
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	proto "github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/journal"
)

// resident is one aggregate in memory: the actor. Everything in it but the
// completion slot belongs to the goroutine that runs its mailbox.
//
// It is a state machine that never waits. At most one operation is under way:
// a commit, a reload, a wait for credit or for a moment. Its outcome comes into
// the completion slot, which always has room, and wakes the resident. While an
// operation is under way, commands stay in the entry's queue.
type resident[A any] struct {
	mailbox
	host  *Aggregates[A]
	entry *entry[A]

	state   *A     // nil: to be rebuilt from the journal before the next turn
	shadow  *A     // the copy that [HostOptions.CheckState] compares with; nil without it
	version uint64 // committed

	op        operation
	completed atomic.Bool // the completion slot: err and loaded are set before it
	watching  atomic.Bool // the actor looks at the slot once more before it sleeps
	err       error
	loaded    *A
	loadedTwo *A                          // the shadow
	finish    func(journal.Result, error) // fills the slot, made once

	turn  *turn[A]   // decided or being decided
	retry []*call[A] // begun, to be decided anew, ahead of the queue
	limit int        // commands in the next turn while a culprit is looked for; 0 for no limit

	savepoint  *savepoint[A]
	rolledBack time.Time // the last time that a command had to be undone

	bigSnapshot bool // the state is too large to be encoded in a turn
	credited    bool // the journal has said that there is room
	left        bool // detached from the entry
	lastUsed    int64
	term        uint64 // of the lease under which the state was loaded, see ownership
}

// operation is what a resident waits for.
type operation uint8

const (
	opNone     operation = iota
	opCredit             // room in the journal's queue
	opCommit             // the turn's batch
	opResubmit           // a moment, before the turn's batch is submitted again
	opReload             // the state, from the journal
	opSnapshot           // the snapshot before passivation
	opLent               // whoever the turn is lent to
)

// newResident makes the actor of a state that was loaded after term began.
func newResident[A any](h *Aggregates[A], e *entry[A], state, shadow *A, term uint64) *resident[A] {
	r := &resident[A]{host: h, term: term, entry: e, state: state, shadow: shadow, version: h.spec.Version(state)}
	r.finish = func(_ journal.Result, err error) { r.finished(err) }
	return r
}

// finished takes the journal's answer to a batch, on the journal's goroutine.
//
// A batch that was stored needs no decision, only answers: if the actor sleeps,
// they are given here and now, which spares a worker being woken for each of
// the many actors of a group. Nothing of the user's runs here.
func (r *resident[A]) finished(err error) {
	if err != nil || r.watching.Load() || r.host.system.opts.Hooks != nil || !r.claimIdle() {
		r.complete(err)
		return
	}
	if r.op != opCommit || r.savepoint != nil || r.host.system.aborted.Load() {
		r.err = nil
		r.completed.Store(true)
		r.resume()
		return
	}
	r.op = opNone
	r.committed(nil)
	if now := r.entry.idle(r.lastUsed); now.waiting > 0 || now.intent != stay || !r.sleep() {
		r.resume()
	}
}

// complete fills the completion slot. It may be called from any goroutine,
// once per operation.
func (r *resident[A]) complete(err error) {
	r.err = err
	r.completed.Store(true)
	// A journal that answers inside Submit needs no wake-up: the actor clears
	// watching and then looks at the slot. One of the two always sees the
	// other, since both write before they read.
	if !r.watching.Load() {
		r.wake()
	}
}

// commit submits b; its outcome comes into the completion slot as op.
func (r *resident[A]) commit(op operation, b *journal.Batch) {
	r.op = op
	r.watching.Store(true)
	r.host.system.journal.Submit(b, r.finish)
	r.watching.Store(false)
}

// Receive is called by protoactor for its own messages and for [step].
func (r *resident[A]) Receive(ctx proto.Context) {
	switch ctx.Message().(type) {
	case step:
		r.step(ctx)
	case *proto.Stopping:
		if !r.left { // the supervisor stops it: it failed
			r.crashed()
		}
	case *proto.Stopped:
		r.close()
	}
}

// step does what can be done without waiting.
func (r *resident[A]) step(ctx proto.Context) {
	for !r.left {
		if r.host.system.aborted.Load() {
			r.abort()
			break
		}
		if r.op != opNone {
			if !r.completed.Load() {
				return
			}
			r.completed.Store(false)
			op := r.op
			r.op = opNone
			r.completedOp(op, r.err)
			continue
		}
		if !r.next() {
			return
		}
	}
	if r.left {
		ctx.Stop(ctx.Self())
	}
}

func (r *resident[A]) completedOp(op operation, err error) {
	switch op {
	case opCredit:
		r.credited = true
	case opCommit:
		r.committed(err)
	case opResubmit:
		r.commit(opCommit, &r.turn.batch)
	case opReload:
		r.reloaded(err)
	case opSnapshot:
		r.snapshotStored(err)
	case opLent:
	}
}

// next begins what is to be done when nothing is under way, and reports
// whether there was anything.
func (r *resident[A]) next() bool {
	var now now
	if len(r.retry) > 0 {
		now.minVersion = r.entry.acknowledged()
	} else {
		now = r.entry.idle(r.lastUsed)
		switch {
		case now.intent != stay:
			r.passivate()
			return true
		case now.waiting == 0:
			r.dropSavepointLater()
			return false
		case now.parked:
			return false
		case now.lend:
			r.lend()
			return true
		}
	}
	sys := r.host.system
	switch {
	case !r.current():
		r.failWaiting(errNotOwner)
	case !sys.breaker.allow():
		r.failWaiting(errBreakerOpen)
	case r.state == nil:
		r.reload()
	case r.version < now.minVersion:
		r.catchUp()
	case !r.credited && r.awaitCredit(len(r.retry)+now.waiting):
	default:
		r.credited = false
		r.decide()
	}
	return true
}

// awaitCredit reports whether the journal's queue has no room for a turn; the
// commands stay where they are, and their deadlines apply.
func (r *resident[A]) awaitCredit(commands int) bool {
	const bytesPerCommand = 512 // a guess, as the turn is not decided yet
	commands = min(commands, maxTurnCommands)
	j := r.host.system.journal
	if j.Credit(commands, commands*bytesPerCommand, nil) {
		return false
	}
	r.op = opCredit
	if j.Credit(commands, commands*bytesPerCommand, func() { r.complete(nil) }) {
		r.op = opNone
		return false
	}
	return true
}

// failWaiting answers everything that has no batch under way.
func (r *resident[A]) failWaiting(err error) {
	for _, c := range r.retry {
		c.answer(err)
	}
	r.retry, r.limit = nil, 0
	r.entry.fail(err)
}

// reload rebuilds the state from what is committed.
func (r *resident[A]) reload() {
	r.op = opReload
	r.host.system.stats.reloads.Add(1)
	r.host.system.activator.do(func() {
		var err error
		if r.loaded, _, err = r.host.load(r.entry.id); err == nil {
			r.loadedTwo, err = r.host.loadShadow(r.entry.id)
		}
		r.complete(err)
	})
}

// catchUp applies what somebody else committed to the state in memory, which
// holds nothing that is not committed.
func (r *resident[A]) catchUp() {
	if r.shadow != nil || r.savepoint != nil { // these would have to follow: rare, so made anew
		r.state, r.savepoint = nil, nil
		r.reload()
		return
	}
	r.op = opReload
	r.host.system.stats.catchUps.Add(1)
	state, version := r.state, r.version
	r.state = nil // not to be used if this fails
	r.host.system.activator.do(func() { r.complete(r.readOn(state, version)) })
}

// readOn brings state from version to the newest, or loads it whole where that
// is not possible. It runs on a goroutine of the activator.
func (r *resident[A]) readOn(state *A, version uint64) (err error) {
	h := r.host
	ctx := h.system.activator.deadlines.next()
	if _, err := h.spec.ReplayAll(state, h.system.journal.Load(ctx, h.stream(r.entry.id), version)); err == nil {
		r.loaded = state
		return nil
	}
	r.loaded, _, err = h.load(r.entry.id)
	return err
}

func (r *resident[A]) reloaded(err error) {
	if err != nil {
		r.host.system.breaker.failure(err)
		r.host.system.opts.Logger.Error("state could not be rebuilt",
			slog.String("stream", r.host.stream(r.entry.id).String()), slog.Any("error", err))
		r.failWaiting(err)
		return
	}
	r.host.system.breaker.success()
	r.state, r.shadow = r.loaded, r.loadedTwo
	r.loaded, r.loadedTwo = nil, nil
	r.version = r.host.spec.Version(r.state)
	if time.Since(r.rolledBack) < savepointLife && !r.host.opts.CheckState {
		r.savepoint = newSavepoint(r.host.spec, r.state)
	}
}

// passivate stores the snapshot that is due, then leaves memory.
func (r *resident[A]) passivate() {
	spec := r.host.spec
	if r.state != nil && spec.HasSnapshots() &&
		r.host.opts.Snapshots.DueAtPassivation(r.version, spec.SnapshotVersion(r.state)) &&
		!r.host.system.breaker.open.Load() {
		if snap, ok := r.takeSnapshot(time.Now()); ok {
			spec.SetSnapshotVersion(r.state, r.version) // tried: not again in this life
			b := &journal.Batch{ID: journal.NewBatchID()}
			b.Snapshots = append(b.Snapshots, snap)
			r.commit(opSnapshot, b)
			return
		}
	}
	r.leave()
}

func (r *resident[A]) snapshotStored(err error) {
	if err == nil {
		r.host.system.stats.snapshots.Add(1)
	}
	// A snapshot is a cache. Without it the next activation replays more.
	r.leave()
}

// leave detaches the resident, unless commands came meanwhile.
func (r *resident[A]) leave() {
	sys := r.host.system
	if r.entry.detach() {
		return
	}
	r.left = true
	sys.stats.passivations.Add(1)
	if sys.opts.Hooks != nil {
		snapshot := r.state != nil && r.host.spec.SnapshotVersion(r.state) == r.version
		sys.opts.Hooks.Passivation(r.host.stream(r.entry.id), snapshot)
	}
	r.state, r.shadow, r.savepoint = nil, nil, nil
	sys.activator.left()
}

// abort lets go: the time for stopping is over.
func (r *resident[A]) abort() {
	r.release(aggregate.ErrStopped)
	r.entry.failed(errStoppedUnfinished, false)
}

// crashed is called when the supervisor stops the actor after a fault of the
// framework or of a hook.
func (r *resident[A]) crashed() {
	sys := r.host.system
	sys.stats.crashes.Add(1)
	sys.opts.Logger.Error("actor failed and was stopped; the aggregate is activated anew",
		slog.String("stream", r.host.stream(r.entry.id).String()))
	err := fmt.Errorf("%w: its actor failed", aggregate.ErrUnavailable)
	r.release(err)
	r.entry.failed(err, true)
}

// release answers the commands that began and gives up the place in memory.
// Those of a turn get an unknown outcome, the others err.
func (r *resident[A]) release(err error) {
	r.left = true
	if t := r.turn; t != nil {
		r.turn = nil // and not reused: the journal may still hold its batch
		t.release()
		t.answerAll(fmt.Errorf("%w: %w", aggregate.ErrUnknownOutcome, err))
	}
	for _, c := range r.retry {
		c.answer(err)
	}
	r.retry = nil
	r.host.system.activator.left()
}

// dropSavepointLater lets an idle resident wake once more to drop its
// savepoint.
func (r *resident[A]) dropSavepointLater() {
	if r.savepoint == nil {
		return
	}
	if time.Since(r.rolledBack) >= savepointLife {
		r.savepoint = nil
		return
	}
	if r.savepoint.timer.CompareAndSwap(false, true) {
		timer := &r.savepoint.timer
		time.AfterFunc(savepointLife, func() { timer.Store(false); r.wake() })
	}
}
