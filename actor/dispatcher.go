package actor

import (
	"sync"
	"time"

	proto "github.com/asynkron/protoactor-go/actor"
)

// stallAfter is how long the dispatcher's queue may stand still before more
// workers are started.
const stallAfter = 10 * time.Millisecond

// dispatcher runs functions on a few long-lived goroutines: mailboxes, and loads
// from the journal. A goroutine per
// run, protoactor's way, spends more than half of a small command's time on
// growing the stack of each new goroutine (bench/README.md).
//
// Actors do not wait, so a few workers serve any number of them. A handler that
// blocks against the rules takes its worker with it; when the queue has not
// moved for a while because of such handlers, the dispatcher adds workers until
// it moves again, and lets them go afterwards. So no number of stuck handlers
// stops the other aggregates.
type dispatcher struct {
	base int // workers that stay

	mu       sync.Mutex
	queue    fifo[func()]
	idle     []*worker // last in, first out: the warmest first
	workers  int
	taken    uint64 // from the queue, ever
	watching bool
	closed   bool
}

var _ proto.Dispatcher = (*dispatcher)(nil)

type worker struct{ wake chan struct{} }

func newDispatcher(workers int) *dispatcher { return &dispatcher{base: workers} }

// Throughput is asked by protoactor's own mailboxes only.
func (d *dispatcher) Throughput() int { return 1 }

// Schedule queues fn.
func (d *dispatcher) Schedule(fn func()) {
	d.mu.Lock()
	d.queue.push(fn)
	if n := len(d.idle); n > 0 {
		w := d.idle[n-1]
		d.idle = d.idle[:n-1]
		d.mu.Unlock()
		w.wake <- struct{}{} // has room: a worker is in idle once
		return
	}
	if d.workers < d.base || d.closed {
		d.startWorker()
	} else if !d.watching {
		d.watching = true
		taken := d.taken
		time.AfterFunc(stallAfter, func() { d.watch(taken) })
	}
	d.mu.Unlock()
}

func (d *dispatcher) startWorker() {
	d.workers++
	go d.work()
}

// watch runs while something is queued. If nothing was taken since the last
// look, as many workers again are started.
func (d *dispatcher) watch(before uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.queue.len() == 0 {
		d.watching = false
		return
	}
	if d.taken == before {
		for range min(d.queue.len(), d.workers) {
			d.startWorker()
		}
	}
	taken := d.taken
	time.AfterFunc(stallAfter, func() { d.watch(taken) })
}

func (d *dispatcher) work() {
	w := &worker{wake: make(chan struct{}, 1)}
	d.mu.Lock()
	for {
		if d.queue.len() > 0 {
			fn := d.queue.pop()
			d.taken++
			d.mu.Unlock()
			fn()
			d.mu.Lock()
			continue
		}
		if d.closed || d.workers > d.base {
			d.workers--
			d.mu.Unlock()
			return
		}
		d.idle = append(d.idle, w)
		d.mu.Unlock()
		<-w.wake
		d.mu.Lock()
	}
}

// close ends the workers once the queue is empty. What is scheduled later
// still runs, on a worker that ends with it.
func (d *dispatcher) close() {
	d.mu.Lock()
	d.closed = true
	idle := d.idle
	d.idle = nil
	d.mu.Unlock()
	for _, w := range idle {
		w.wake <- struct{}{}
	}
}
