package actor

import (
	"sync"
	"time"

	"github.com/troupe-go/troupe/aggregate"
)

// The states of an entry.
//
//	empty ──push──▶ activating ──loaded──▶ active ──passivated──▶ dead
//	  ▲                 │                    │
//	  └──── failed ─────┴────── crashed ─────┘
//
// A dead entry is out of the router's map. Whoever still holds it looks up the
// id again.
const (
	entryEmpty uint8 = iota
	entryActivating
	entryActive
	entryDead
)

// entry is the router's place for one id. The queue belongs to it and not to
// the actor: an activation attaches to the queue, a passivation detaches, and
// no command is bounced or reordered on the way.
//
// Lock order: a shard's lock is never held while taking an entry's; an entry's
// may be held while taking a shard's, the activator's, or none.
type entry[A any] struct {
	host *Aggregates[A]
	id   string

	mu          sync.Mutex
	state       uint8
	wants       bool // the resident is idle and is to be woken by the next command
	intent      uint8
	first, last *call[A]
	waiting     int // calls in the queue
	resident    *resident[A]
	lastUsed    int64 // nanoseconds since the system began
	failure     *failure

	// minVersion is the newest version that somebody other than the actor has
	// acknowledged: a turn on an older state catches up first.
	minVersion uint64

	// A turn is lent only while no transaction that holds no turns commits
	// here, and no such transaction commits while somebody waits for the turn
	// or has it. So one that holds its turns is never late.
	holds  int  // those that wait for the turn, and the one that has it
	beside int  // transactions that commit beside the turns
	parked bool // the resident sleeps until beside is 0, to lend the turn
}

// now is what a resident with nothing in flight learns from its entry.
type now struct {
	waiting    int    // calls in the queue
	lend       bool   // the first of them wants the turn to be lent
	parked     bool   // but it cannot be yet
	intent     uint8  // whether to passivate
	minVersion uint64 // that the state must have
}

// failure remembers that activations of an id fail, so that further commands
// fail fast until the back-off has passed.
type failure struct {
	err   error
	count int
	until time.Time
}

// push puts c at the end of the queue and starts what must be started. retry
// means that the entry is dead: look up the id again.
func (e *entry[A]) push(c *call[A]) (retry bool, err error) {
	e.mu.Lock()
	switch {
	case e.state == entryDead:
		e.mu.Unlock()
		return true, nil
	case e.host.system.stopping.Load():
		err = aggregate.ErrStopped
	case e.waiting >= e.host.opts.MailboxSize:
		err = errMailboxFull
	case e.state == entryEmpty && e.failure != nil && time.Now().Before(e.failure.until):
		err = e.failure.err
	}
	if err != nil {
		e.mu.Unlock()
		return false, err
	}
	e.link(c)
	if c.hold != nil {
		e.holds++
	}
	if e.wants {
		e.wants = false
		r := e.resident
		e.mu.Unlock()
		r.wake()
		return false, nil
	}
	activate := e.state == entryEmpty
	if activate {
		e.state = entryActivating
	}
	e.mu.Unlock()
	if activate && !e.host.system.activator.request(e) {
		e.failed(errActivationsFull, false)
	}
	return false, nil
}

func (e *entry[A]) link(c *call[A]) {
	c.prev, c.next, c.linked = e.last, nil, true
	if e.last == nil {
		e.first = c
	} else {
		e.last.next = c
	}
	e.last = c
	e.waiting++
}

// unlink takes an abandoned call out of the queue, and reports whether it was
// still there: if so nobody else refers to it.
func (e *entry[A]) unlink(c *call[A]) bool {
	e.mu.Lock()
	if !c.linked {
		e.mu.Unlock()
		return false
	}
	if c.prev == nil {
		e.first = c.next
	} else {
		c.prev.next = c.next
	}
	if c.next == nil {
		e.last = c.prev
	} else {
		c.next.prev = c.prev
	}
	c.next, c.prev, c.linked = nil, nil, false
	e.waiting--
	e.unpark() // it may be what the resident sleeps for
	return true
}

// unpark releases the lock and wakes the resident if it sleeps for a turn that
// it could not lend.
func (e *entry[A]) unpark() {
	r, parked := e.resident, e.parked
	e.parked = false
	e.mu.Unlock()
	if parked && r != nil {
		r.wake()
	}
}

// unhold notes that a hold has ended, or will not come to be.
func (e *entry[A]) unhold() {
	e.mu.Lock()
	e.holds--
	e.mu.Unlock()
}

// enter lets a transaction commit beside the turns, until leave; it may not
// while somebody waits for the turn or has it. dead means: look up the id again.
func (e *entry[A]) enter() (ok, dead bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.state == entryDead || e.holds > 0 {
		return false, e.state == entryDead
	}
	e.beside++
	return true, false
}

// leave ends enter.
func (e *entry[A]) leave() {
	e.mu.Lock()
	e.beside--
	if e.beside > 0 {
		e.mu.Unlock()
		return
	}
	e.unpark()
	e.removeIfUnused()
}

// take moves up to n calls from the queue to dst.
func (e *entry[A]) take(dst []*call[A], n int) []*call[A] {
	e.mu.Lock()
	for c := e.first; c != nil && n > 0; n-- {
		next := c.next
		c.next, c.prev, c.linked = nil, nil, false
		dst = append(dst, c)
		e.waiting--
		c = next
		e.first = c
	}
	if e.first == nil {
		e.last = nil
	} else {
		e.first.prev = nil
	}
	e.mu.Unlock()
	return dst
}

// putBack puts calls that were taken and not begun back in front.
func (e *entry[A]) putBack(calls []*call[A]) {
	if len(calls) == 0 {
		return
	}
	e.mu.Lock()
	for i := len(calls) - 1; i >= 0; i-- {
		c := calls[i]
		c.prev, c.next, c.linked = nil, e.first, true
		if e.first == nil {
			e.last = c
		} else {
			e.first.prev = c
		}
		e.first = c
		e.waiting++
	}
	e.mu.Unlock()
}

// fail answers everything that waits with err.
func (e *entry[A]) fail(err error) int {
	calls := e.take(nil, int(^uint(0)>>1))
	for _, c := range calls {
		if c.state.CompareAndSwap(callQueued, callAbandoned) {
			c.answer(err)
		}
	}
	return len(calls)
}

// activated attaches r to the queue.
func (e *entry[A]) activated(r *resident[A]) {
	e.mu.Lock()
	e.state, e.resident, e.failure = entryActive, r, nil
	e.lastUsed = e.host.system.now()
	e.mu.Unlock()
}

// failed detaches whatever was there. With backOff, commands fail fast for a
// while: twice as long each time, with jitter, up to a cap.
func (e *entry[A]) failed(err error, backOff bool) {
	e.mu.Lock()
	e.state, e.resident, e.wants, e.intent = entryEmpty, nil, false, stay
	if backOff {
		n := 1
		if e.failure != nil {
			n = e.failure.count + 1
		}
		e.failure = &failure{err: err, count: n, until: time.Now().Add(backOffTime(n))}
	}
	e.mu.Unlock()
	e.fail(err)
	e.removeIfUnused()
}

// removeIfUnused makes an entry dead that holds nothing.
func (e *entry[A]) removeIfUnused() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.state != entryEmpty || e.waiting > 0 || e.beside > 0 {
		return
	}
	if e.failure != nil && time.Now().Before(e.failure.until) && !e.host.system.stopping.Load() {
		return // the sweep comes back
	}
	e.state = entryDead
	e.host.router.remove(e)
}

// raise notes that somebody other than the actor has acknowledged a version.
func (e *entry[A]) raise(version uint64) {
	e.mu.Lock()
	e.minVersion = max(e.minVersion, version)
	e.mu.Unlock()
}

// acknowledged is the version that a turn's state must have.
func (e *entry[A]) acknowledged() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.minVersion
}

// idle tells the entry that its resident has nothing in flight, and returns
// what there is to do. With nothing to do, the next push wakes the resident.
func (e *entry[A]) idle(lastUsed int64) now {
	e.mu.Lock()
	defer e.mu.Unlock()
	if lastUsed > e.lastUsed {
		e.lastUsed = lastUsed
	}
	switch {
	case e.waiting == 0 && e.host.system.stopping.Load():
		e.intent = max(e.intent, whenIdle)
	case e.waiting > 0 && e.intent == whenIdle:
		e.intent = stay
	}
	if e.waiting == 0 && e.intent == stay {
		e.wants = true
	}
	lend := e.waiting > 0 && e.first.hold != nil
	e.parked = lend && e.beside > 0 && e.intent == stay
	return now{waiting: e.waiting, lend: lend, parked: e.parked, intent: e.intent, minVersion: e.minVersion}
}

// detach takes the resident off the entry, which is dead after that; or, when
// commands came meanwhile, either keeps the resident, or has the aggregate
// queue for activation again because its room was wanted. kept reports that
// the resident is to go on.
func (e *entry[A]) detach() (kept bool) {
	e.mu.Lock()
	intent := e.intent
	e.intent = stay
	if e.waiting > 0 && intent != makeRoom {
		e.mu.Unlock()
		return true
	}
	e.resident, e.wants = nil, false
	if e.waiting == 0 && e.beside > 0 {
		e.state = entryEmpty // leave removes it
		e.mu.Unlock()
		return false
	}
	if e.waiting == 0 {
		e.state = entryDead
		e.host.router.remove(e)
		e.mu.Unlock()
		return false
	}
	e.state = entryActivating
	e.mu.Unlock()
	if !e.host.system.activator.request(e) {
		e.failed(errActivationsFull, false)
	}
	return false
}

// askToPassivate tells an active entry to passivate.
func (e *entry[A]) askToPassivate(intent uint8) {
	e.mu.Lock()
	if e.state == entryEmpty || e.state == entryDead {
		e.mu.Unlock()
		e.removeIfUnused()
		return
	}
	e.intent = max(e.intent, intent)
	r, asleep := e.resident, e.wants
	e.wants = false
	e.mu.Unlock()
	if asleep {
		r.wake()
	}
}
