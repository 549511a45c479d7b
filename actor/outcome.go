package actor

import (
	"errors"
	"fmt"
	"time"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// committed acts on the journal's answer to the turn's batch.
func (r *resident[A]) committed(err error) {
	t, sys := r.turn, r.host.system
	if hooks := sys.opts.Hooks; hooks != nil {
		info := Turn{
			Stream: r.host.stream(r.entry.id), Commands: len(t.held), Events: len(t.recorder.Records),
			Decided: t.decided.Sub(t.began), Commit: time.Since(t.decided), Err: err,
		}
		defer func() { hooks.Turn(info) }() // behind the answers: a slow hook delays the next turn only
	}
	var duplicate *journal.DuplicateError
	switch {
	case err == nil:
		sys.breaker.success()
		sys.stats.turns.Add(1)
		r.stored(t)
		r.answer(t)
	case errors.Is(err, journal.ErrUnknownOutcome), t.resubmits > 0 && undecided(err):
		r.resubmit(t, err)
	case errors.As(err, &duplicate):
		r.answerDuplicates(t, duplicate)
	case errors.Is(err, journal.ErrConflict):
		sys.stats.conflicts.Add(1)
		r.savepoint = nil // it holds the state before a stranger's events
		r.state = nil
		r.decideAgain(t, err)
	case errors.Is(err, journal.ErrOverloaded):
		// It was not taken, although there was credit a moment ago. Decided
		// commands are not thrown away for overload: they wait for credit again.
		r.restoreCommitted()
		r.requeue(t)
	case errors.Is(err, journal.ErrUnavailable), errors.Is(err, journal.ErrClosed), errors.Is(err, journal.ErrFenced):
		sys.breaker.failure(err)
		r.restoreCommitted()
		if errors.Is(err, journal.ErrClosed) {
			err = fmt.Errorf("%w: %w", aggregate.ErrUnavailable, err)
		}
		t.answerAll(err)
		r.recycle(t)
	default:
		r.refusedBatch(t, err)
	}
}

// undecided reports whether err says that a batch was not stored this time,
// and nothing about an earlier time that it was submitted.
func undecided(err error) bool {
	return errors.Is(err, journal.ErrUnavailable) || errors.Is(err, journal.ErrOverloaded) || errors.Is(err, journal.ErrClosed)
}

// stored notes what the batch changed.
func (r *resident[A]) stored(t *turn[A]) {
	r.version += uint64(len(t.recorder.Records))
	if len(t.batch.Snapshots) > 0 {
		r.host.system.stats.snapshots.Add(1)
		if r.state != nil {
			r.host.spec.SetSnapshotVersion(r.state, t.batch.Snapshots[0].Version)
		}
	}
	if r.savepoint != nil && !r.savepoint.advance(r.host.spec, r.state, t.recorder.Records) {
		r.savepoint = nil
	}
}

// answer gives every command its decision: the turn's batch is durable, or
// there was nothing to store and everything was decided on committed state.
func (r *resident[A]) answer(t *turn[A]) {
	t.handOver()
	var lookups []held[A]
	codec := r.host.spec.Codec()
	for i := range t.held {
		d := &t.held[i]
		err := d.err
		if d.joins >= 0 {
			first := &t.held[d.joins]
			err = first.err
			if err == nil {
				err = d.call.inv.DecodeReply(codec, t.batch.Receipts[first.receipt].Reply)
			}
		}
		if err != nil && d.call.inv.Header().CommandID != "" {
			// It may have had its effect before: the repeat of a withdrawal
			// must not say that there are no funds.
			d.err = err
			lookups = append(lookups, *d)
			d.call = nil
			continue
		}
		d.answer(err)
	}
	r.recycle(t)
	if len(lookups) > 0 {
		r.host.lookUpReceipts(r.entry.id, lookups)
	}
}

// lookUpReceipts answers refused commands that have an id: with the stored
// reply where there is one, else with the refusal. It reads the journal, so it
// runs on a goroutine of the activator; the calls are its own.
func (h *Aggregates[A]) lookUpReceipts(id string, refused []held[A]) {
	h.system.activator.do(func() {
		s := h.stream(id)
		for _, d := range refused {
			receipt, found, err := h.system.journal.Receipt(d.call.ctx, s, d.call.inv.Header().CommandID)
			switch {
			case err != nil && d.call.ctx.Err() != nil:
				d.call.answer(unknownOutcome(d.call.ctx))
			case err != nil:
				d.call.answer(readError(err))
			case found:
				d.call.answer(aggregate.DecodeReceipt(h.spec, d.call.inv, &receipt))
			default:
				d.call.answer(d.err)
			}
		}
	})
}

// resubmit settles an unknown outcome: the identical batch is submitted until
// the answer is another one. Until then the aggregate serves nothing, since
// nobody knows its state.
func (r *resident[A]) resubmit(t *turn[A], err error) {
	sys := r.host.system
	if errors.Is(err, journal.ErrClosed) { // nobody will ever say
		r.state, r.savepoint = nil, nil
		t.answerAll(fmt.Errorf("%w: %w", aggregate.ErrUnknownOutcome, err))
		r.recycle(t)
		return
	}
	sys.stats.unknownOutcomes.Add(1)
	sys.breaker.failure(err)
	t.batch.Resubmit = true
	wait := min(10*time.Millisecond<<min(t.resubmits, 10), 2*time.Second)
	t.resubmits++
	r.op = opResubmit
	time.AfterFunc(wait, func() { r.complete(nil) })
}

// answerDuplicates answers the commands that had their effect before with the
// stored replies, and decides the others again: what they were decided on held
// the repeats' events.
func (r *resident[A]) answerDuplicates(t *turn[A], dup *journal.DuplicateError) {
	stored := make(map[string]*envelope.Receipt, len(dup.Receipts))
	for i := range dup.Receipts {
		stored[dup.Receipts[i].ID] = &dup.Receipts[i]
	}
	answered := false
	for i := range t.held {
		d := &t.held[i]
		if receipt, ok := stored[d.call.inv.Header().CommandID]; ok {
			d.answer(aggregate.DecodeReceipt(r.host.spec, d.call.inv, receipt))
			answered = true
		}
	}
	r.restoreCommitted()
	if !answered { // a journal that names receipts nobody sent: do not try for ever
		r.decideAgain(t, dup)
		return
	}
	r.requeue(t)
}

// decideAgain has the turn's commands decided on newer state. Those that were
// tried too often get err.
func (r *resident[A]) decideAgain(t *turn[A], err error) {
	for i := range t.held {
		d := &t.held[i]
		d.call.tries++
		if d.call.tries >= maxTries {
			d.answer(err)
		}
	}
	r.requeue(t)
}

// requeue moves the turn's unanswered commands ahead of the queue.
func (r *resident[A]) requeue(t *turn[A]) {
	again := make([]*call[A], 0, len(t.held)+len(r.retry))
	for i := range t.held {
		if c := t.held[i].call; c != nil {
			again = append(again, c)
		}
	}
	r.retry = append(again, r.retry...)
	r.recycle(t)
}

// refusedBatch finds the command that the journal refuses for a reason of its
// own, by halves: the others are decided again in smaller turns, and whoever
// stands alone at last gets the error.
func (r *resident[A]) refusedBatch(t *turn[A], err error) {
	r.restoreCommitted()
	culprits, last := 0, 0
	for i := range t.held {
		if t.held[i].wrote || t.held[i].receipt >= 0 {
			culprits++
			last = i
		}
	}
	n := len(t.held)
	switch culprits {
	case 1:
		t.held[last].answer(err)
	case 0: // an assert alone, refused: nobody is to blame but the journal
		t.answerAll(err)
		r.recycle(t)
		return
	}
	r.requeue(t)
	r.limit = max(1, n/2)
}
