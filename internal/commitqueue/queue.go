package commitqueue

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// ErrClosed reports that the queue takes nothing any more.
var ErrClosed = errors.New("the queue is closed")

// FullError reports that an item was not taken, and what is waiting.
type FullError struct{ Events, Bytes int }

func (e *FullError) Error() string {
	return fmt.Sprintf("%d events and %d bytes are waiting", e.Events, e.Bytes)
}

// maxYields bounds how often the committer lets others run before it takes
// what is queued. On two processors a thousand callers that were just answered
// come back within a few yields.
const maxYields = 16

// Item is one thing that waits, and what it counts for.
type Item[T any] struct {
	Value  T
	Events int // at least 1 once it was put
	Bytes  int
	Number uint64 // in the order of submission, from 1; Put sets it
}

// Queue holds what waits for the committer, in the order of submission, and
// who waits for room in it.
type Queue[T any] struct {
	maxEvents, maxBytes int

	mu            sync.Mutex
	items         []Item[T]
	numbered      atomic.Uint64 // the newest item's number
	events, bytes int
	waiters       []waiter
	closed        bool

	// wake has one slot: a token in it means that something changed since
	// the committer last looked.
	wake chan struct{}
}

// waiter is a caller that [Queue.Credit] turned away.
type waiter struct {
	events, bytes int
	ready         func()
}

// New makes a queue that has credit for so many events and bytes.
func New[T any](maxEvents, maxBytes int) *Queue[T] {
	return &Queue[T]{maxEvents: maxEvents, maxBytes: maxBytes, wake: make(chan struct{}, 1)}
}

// Kick makes the committer look, soon.
func (q *Queue[T]) Kick() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Put appends it, or says why not.
//
// Errors: [ErrClosed], [FullError].
func (q *Queue[T]) Put(it Item[T]) error {
	it.Events = max(it.Events, 1) // so that batches without events are bounded too
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return ErrClosed
	}
	// Twice the bound that Credit keeps: a decided batch follows its credit
	// without a reservation, so some overrun is everyday.
	if len(q.items) > 0 && (q.events+it.Events > 2*q.maxEvents || q.bytes+it.Bytes > 2*q.maxBytes) {
		events, bytes := q.events, q.bytes
		q.mu.Unlock()
		return &FullError{Events: events, Bytes: bytes}
	}
	it.Number = q.numbered.Add(1)
	q.items = append(q.items, it)
	q.events += it.Events
	q.bytes += it.Bytes
	first := len(q.items) == 1
	q.mu.Unlock()
	if first {
		q.Kick()
	}
	return nil
}

// PutWait is Put, and waits for credit first until ctx ends.
//
// Errors: [ErrClosed], and the cause of ctx's end; then it was not put.
func (q *Queue[T]) PutWait(ctx context.Context, it Item[T]) error {
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		room := make(chan struct{}, 1)
		if !q.Credit(it.Events, it.Bytes, func() { room <- struct{}{} }) {
			select {
			case <-room:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		err := q.Put(it)
		var full *FullError
		if !errors.As(err, &full) {
			return err
		}
	}
}

// Credit reports whether there is room; if not, ready is called when there may
// be. A newcomer does not overtake those that wait.
func (q *Queue[T]) Credit(events, bytes int, ready func()) bool {
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
		q.Kick() // an idle committer wakes the waiters
	}
	return false
}

// fits reports whether so much more may wait. What is too large for any queue
// fits an empty one. The lock is held.
func (q *Queue[T]) fits(events, bytes int) bool {
	return len(q.items) == 0 || q.events+events <= q.maxEvents && q.bytes+bytes <= q.maxBytes
}

// Take moves the front of the queue, up to the bounds of a group but at least
// one item, into group, and wakes the waiters that then fit.
func (q *Queue[T]) Take(group []Item[T], maxEvents, maxBytes int) []Item[T] {
	q.mu.Lock()
	events, bytes, n := 0, 0, 0
	for ; n < len(q.items); n++ {
		it := &q.items[n]
		if n > 0 && (events+it.Events > maxEvents || bytes+it.Bytes > maxBytes) {
			break
		}
		events += it.Events
		bytes += it.Bytes
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
func (q *Queue[T]) wakeable() []waiter {
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

// Numbered is the number of the newest item that was put.
func (q *Queue[T]) Numbered() uint64 { return q.numbered.Load() }

// Regroup waits, without a timer, for those that the last group, of so many
// items, answered: each caller that sends its next batch at once would
// otherwise find a committer that just left with the first of them, and the
// groups would be 1, n-1, 1, n-1 for ever.
func (q *Queue[T]) Regroup(last int) {
	size := q.size()
	for i := 0; i < maxYields && size < last; i++ {
		runtime.Gosched()
		now := q.size()
		if now == size && i > 0 {
			return
		}
		size = now
	}
}

// size is how many items wait.
func (q *Queue[T]) size() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items)
}

// Wait returns when there is something to take, or false when the queue is
// closed and empty. It also returns, with nothing to take, when the committer
// was kicked for another reason.
func (q *Queue[T]) Wait() bool {
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

// Close refuses what comes from now on and lets all waiters go.
func (q *Queue[T]) Close() {
	q.mu.Lock()
	q.closed = true
	woken := q.waiters
	q.waiters = nil
	q.mu.Unlock()
	q.Kick()
	for _, w := range woken {
		w.ready()
	}
}
