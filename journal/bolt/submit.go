package bolt

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/troupe-go/troupe/journal"
)

// item is one submitted batch on its way.
type item struct {
	batch  *journal.Batch
	done   func(journal.Result, error)
	events int // at least 1, so that batches without events are bounded too
	bytes  int
	number uint64 // in the order of submission, from 1

	// Its receipts' keys, hashed by whoever submits: the committer is one
	// goroutine, those are many. A single one needs no slice.
	key  receiptKey
	keys []receiptKey
}

// hashReceipts fills the keys.
func (it *item) hashReceipts() {
	receipts := it.batch.Receipts
	switch len(receipts) {
	case 0:
	case 1:
		it.key = makeReceiptKey(receipts[0].Stream, receipts[0].ID)
	default:
		it.keys = make([]receiptKey, len(receipts))
		for i := range receipts {
			it.keys[i] = makeReceiptKey(receipts[i].Stream, receipts[i].ID)
		}
	}
}

// receiptKey is the key of the batch's receipt i.
func (it *item) receiptKey(i int) receiptKey {
	if it.keys != nil {
		return it.keys[i]
	}
	return it.key
}

// queue holds what waits for the committer, in the order of submission, and
// who waits for room in it.
type queue struct {
	maxEvents, maxBytes int

	mu            sync.Mutex
	items         []item
	numbered      atomic.Uint64 // the newest item's number
	events, bytes int
	waiters       []waiter
	closed        bool

	// wake has one slot: a token in it means that something changed since
	// the committer last looked.
	wake chan struct{}
}

// waiter is a caller that Credit turned away.
type waiter struct {
	events, bytes int
	ready         func()
}

func newQueue(opts *Options) *queue {
	return &queue{maxEvents: opts.QueueEvents, maxBytes: opts.QueueBytes, wake: make(chan struct{}, 1)}
}

// kick makes the committer look, soon.
func (q *queue) kick() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// put appends it, or says why not.
func (q *queue) put(it item) error {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return fmt.Errorf("bolt: batch not taken: %w", journal.ErrClosed)
	}
	// Twice the bound that Credit keeps: a decided batch follows its credit
	// without a reservation, so some overrun is everyday.
	if len(q.items) > 0 && (q.events+it.events > 2*q.maxEvents || q.bytes+it.bytes > 2*q.maxBytes) {
		events, bytes := q.events, q.bytes
		q.mu.Unlock()
		return fmt.Errorf("bolt: batch not taken, %d events and %d bytes are waiting: %w", events, bytes, journal.ErrOverloaded)
	}
	it.number = q.numbered.Add(1)
	q.items = append(q.items, it)
	q.events += it.events
	q.bytes += it.bytes
	first := len(q.items) == 1
	q.mu.Unlock()
	if first {
		q.kick()
	}
	return nil
}

// credit reports whether there is room; if not, ready is called when there may
// be. A newcomer does not overtake those that wait.
func (q *queue) credit(events, bytes int, ready func()) bool {
	events = max(events, 1)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || len(q.waiters) == 0 && q.fits(events, bytes) {
		return true
	}
	if ready == nil {
		return false
	}
	q.waiters = append(q.waiters, waiter{events, bytes, ready})
	if len(q.items) == 0 {
		q.kick() // an idle committer wakes the waiters
	}
	return false
}

// fits reports whether so much more may wait. What is too large for any queue
// fits an empty one. The lock is held.
func (q *queue) fits(events, bytes int) bool {
	return len(q.items) == 0 || q.events+events <= q.maxEvents && q.bytes+bytes <= q.maxBytes
}

// take moves the front of the queue, up to the bounds of a group but at least
// one item, into group, and wakes the waiters that then fit.
func (q *queue) take(group []item, maxEvents, maxBytes int) []item {
	q.mu.Lock()
	events, bytes, n := 0, 0, 0
	for ; n < len(q.items); n++ {
		it := &q.items[n]
		if n > 0 && (events+it.events > maxEvents || bytes+it.bytes > maxBytes) {
			break
		}
		events += it.events
		bytes += it.bytes
	}
	if n == len(q.items) {
		group, q.items = q.items, group[:0]
	} else {
		group = append(group[:0], q.items[:n]...)
		rest := copy(q.items, q.items[n:])
		clear(q.items[rest:])
		q.items = q.items[:rest]
	}
	q.events -= events
	q.bytes -= bytes
	woken := q.wakeable()
	q.mu.Unlock()
	for _, w := range woken {
		w.ready()
	}
	return group
}

// wakeable removes and returns the first waiters, as many as fit together. The
// lock is held.
func (q *queue) wakeable() []waiter {
	if len(q.waiters) == 0 {
		return nil
	}
	events, bytes, n := q.events, q.bytes, 0
	for ; n < len(q.waiters); n++ {
		w := &q.waiters[n]
		if (n > 0 || len(q.items) > 0) && (events+w.events > q.maxEvents || bytes+w.bytes > q.maxBytes) {
			break
		}
		events += w.events
		bytes += w.bytes
	}
	woken := q.waiters[:n:n]
	q.waiters = q.waiters[n:]
	if len(q.waiters) == 0 {
		q.waiters = nil
	}
	return woken
}

// size is how many items wait.
func (q *queue) size() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items)
}

// wait returns when there is something to take, or false when the queue is
// closed and empty. It also returns, with nothing to take, when the committer
// was kicked for another reason.
func (q *queue) wait() bool {
	q.mu.Lock()
	ready, closed := len(q.items) > 0, q.closed
	var woken []waiter
	if !ready {
		woken = q.wakeable()
	}
	left := len(q.waiters) > 0
	q.mu.Unlock()
	for _, w := range woken {
		w.ready()
	}
	switch {
	case ready:
		return true
	case closed:
		return false
	case left:
		// Those that were woken may have given up, and then nobody comes
		// whose batch would wake the rest.
		timer := time.NewTimer(time.Millisecond)
		defer timer.Stop()
		select {
		case <-q.wake:
		case <-timer.C:
		}
	default:
		<-q.wake
	}
	return true
}

// close refuses what comes from now on and lets all waiters go.
func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	woken := q.waiters
	q.waiters = nil
	q.mu.Unlock()
	q.kick()
	for _, w := range woken {
		w.ready()
	}
}

// Submit implements [journal.Journal]. It validates b and enqueues it; the
// committer decides it. done is called by the committer, or by Submit itself
// when b is not taken.
func (j *Journal) Submit(b *journal.Batch, done func(journal.Result, error)) {
	if err := b.Validate(); err != nil {
		done(journal.Result{}, err)
		return
	}
	if err := features.Check(b); err != nil {
		done(journal.Result{}, err)
		return
	}
	it := item{batch: b, done: done, events: max(b.Events(), 1), bytes: b.SizeBytes()}
	it.hashReceipts()
	if err := j.queue.put(it); err != nil {
		done(journal.Result{}, err)
	}
}

// Credit implements [journal.Journal]. It only looks: see [Options] for the
// bounds.
func (j *Journal) Credit(events, bytes int, ready func()) bool {
	return j.queue.credit(events, bytes, ready)
}
