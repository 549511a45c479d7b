package actor

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/envelope"
)

// hold is the wish for a turn that somebody outside of the actor has, and the
// turn while it is lent. It waits in the aggregate's queue like a command, and
// while it has the turn, commands wait.
type hold struct {
	limit time.Duration // how long the turn is lent at most

	mu      sync.Mutex
	release func() // gives the turn back; nil before it was lent and after it was given back
	timer   *time.Timer
}

// lent begins the time of the hold. giveBack is called once: when the hold is
// given up, or its time is over.
func (h *hold) lent(giveBack, expired func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.release = giveBack
	h.timer = time.AfterFunc(h.limit, func() {
		if h.giveBack() {
			expired()
		}
	})
}

// giveBack ends the hold, and reports false if it had ended.
func (h *hold) giveBack() bool {
	h.mu.Lock()
	release := h.release
	h.release = nil
	if h.timer != nil {
		h.timer.Stop()
	}
	h.mu.Unlock()
	if release == nil {
		return false
	}
	release()
	return true
}

// was reports whether the turn was ever lent.
func (h *hold) was() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.timer != nil
}

// holds reports whether the turn is still lent.
func (h *hold) holds() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.release != nil
}

// lend gives the turn to the hold at the front of the queue.
func (r *resident[A]) lend() {
	calls := r.entry.take(nil, 1)
	if len(calls) == 0 { // its caller gave up
		return
	}
	c := calls[0]
	if c.hold == nil { // as before, and this one came next
		r.entry.putBack(calls)
		return
	}
	h := c.hold
	if !c.begin() {
		return
	}
	r.op = opLent
	stream := r.host.stream(r.entry.id)
	e := r.entry
	h.lent(func() { e.unhold(); r.complete(nil) }, func() {
		r.host.system.opts.Logger.Warn("turn was lent for too long and is taken back", slog.String("stream", stream.String()))
	})
	c.answer(nil)
}

// borrow waits for the turn of the aggregate. The hold is the caller's to give
// back, and ends by itself after limit.
//
// Errors: those of Ask that come before a command begins.
func (h *Aggregates[A]) borrow(ctx context.Context, id string, limit time.Duration) (*hold, error) {
	if ctx.Err() != nil {
		return nil, notRun(ctx)
	}
	c := h.calls.Get().(*call[A])
	c.ctx, c.inv, c.tries, c.hold = ctx, nil, 0, &hold{limit: limit}
	c.state.Store(callQueued)
	wanted := c.hold
	var e *entry[A]
	for {
		e = h.router.entry(h, id)
		retry, err := e.push(c)
		if err != nil {
			h.release(c)
			e.removeIfUnused()
			return nil, err
		}
		if !retry {
			break
		}
	}
	var err error
	select {
	case err = <-c.reply:
	case <-ctx.Done():
		if c.state.CompareAndSwap(callQueued, callAbandoned) {
			if e.unlink(c) {
				h.release(c)
			}
			e.unhold()
			return nil, notRun(ctx)
		}
		// It begins in this moment, which takes no time.
		if err = <-c.reply; err == nil {
			wanted.giveBack()
			err = notRun(ctx)
		}
	}
	h.release(c)
	if err != nil {
		if !wanted.was() {
			e.unhold()
		}
		return nil, err
	}
	return wanted, nil
}

// enter lets a transaction commit to id beside the turns, until the entry's
// leave, or returns nil if somebody waits for the turn or has it.
func (h *Aggregates[A]) enter(id string) *entry[A] {
	for {
		e := h.router.entry(h, id)
		if ok, dead := e.enter(); ok {
			return e
		} else if !dead {
			return nil
		}
	}
}

// raise tells the actor of id, if it is in memory, of a version that was
// committed without it.
func (h *Aggregates[A]) raise(id string, version uint64) {
	if e := h.router.find(id); e != nil {
		e.raise(version)
	}
}

// loadCopy reads the committed state of id. It is the caller's own.
func (h *Aggregates[A]) loadCopy(ctx context.Context, id string) (*A, error) {
	latest, err := h.system.journal.LoadLatest(ctx, h.stream(id))
	if err != nil {
		return nil, notBegun(ctx, readError(err))
	}
	a, _, err := h.spec.Rebuild(ctx, h.system.journal, latest)
	return a, notBegun(ctx, readError(err))
}

// notBegun makes err an [aggregate.ErrNotRun] where the reason is that ctx
// ended.
func notBegun(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return notRun(ctx)
	}
	return err
}

// collect brings what was recorded on a copy into the form in which it is
// stored.
func (h *Aggregates[A]) collect(id string, rec *aggregate.Recorder, now time.Time) ([]envelope.Record, error) {
	if n := len(rec.Records); n > maxCommandRecords {
		return nil, envelope.Invalid("aggregate "+h.stream(id).String(), fmt.Sprint(n, " events"), fmt.Sprintf("at most %d are allowed at once", maxCommandRecords))
	}
	for i := range rec.Records {
		rec.Records[i].Stream = h.stream(id) // the first event may have been recorded before the id was set
		rec.Records[i].Time = now
	}
	return rec.Records, nil
}
