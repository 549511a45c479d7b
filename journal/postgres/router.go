package postgres

import (
	"sync"
	"sync/atomic"

	"github.com/troupe-go/troupe/envelope"
)

// router takes batches from the queue, in the order of submission, and gives
// each to a lane: one lane per committer for batches of one stream, by the
// stream's hash, and the last lane for those of several.
//
//	Submit → queue (bounds, credit, numbers) → router → lane 0: batches of one stream
//	                                                  → lane 1: batches of one stream
//	                                                  → lane 2: batches of several
//
// Lanes commit beside each other, so a stream is in one lane at a time: while
// batches of it are in one, a batch that belongs into another is parked behind
// them, and so is everything behind that. So the batches of one stream are
// decided in the order of submission, whatever they are.
//
// What is with the lanes, parked batches included, is bounded; the rest waits
// in the queue, where credit counts it. One goroutine owns all of it, but for
// settled, through which the lanes give routes back.
type router struct {
	journal *Journal
	lanes   []*lane
	streams map[envelope.Stream]*flow
	idle    []*flow // for reuse
	taken   []item

	inflight, events, bytes int // with the lanes

	first     uint64 // number of the oldest item that was not answered
	answered  []bool // of the items from first on
	oldest    atomic.Uint64
	completed chan struct{} // one slot: settled has something

	mu      sync.Mutex
	settled []*route
	spare   []*route
}

// flow is one stream that has batches on their way.
type flow struct {
	lane   *lane
	count  int      // of its batches in that lane
	parked []*route // behind those, oldest first
}

// route is one batch on its way through the lanes.
type route struct {
	item    item
	lane    *lane
	streams []envelope.Stream // that it touches, each once
	behind  int               // in how many of those it is parked
	one     [1]envelope.Stream
}

func newRouter(j *Journal) *router {
	r := &router{
		journal: j, streams: make(map[envelope.Stream]*flow), first: 1,
		completed: make(chan struct{}, 1),
	}
	for n := range j.opts.Committers + 1 {
		r.lanes = append(r.lanes, newLane(r, n))
	}
	return r
}

// run routes until the queue is closed and empty and every batch is answered.
func (r *router) run() {
	queue := r.journal.queue
	maxEvents := 2 * r.journal.opts.MaxGroupEvents
	maxBytes := min(2*r.journal.opts.MaxGroupBytes, r.journal.opts.QueueBytes)
	for {
		r.settle()
		if r.inflight > 0 && (r.events >= maxEvents || r.bytes >= maxBytes) {
			<-r.completed
			continue
		}
		if !queue.Wait() {
			break
		}
		r.settle()
		if r.events >= maxEvents || r.bytes >= maxBytes {
			continue
		}
		r.taken = queue.Take(r.taken, maxEvents-r.events, maxBytes-r.bytes)
		for i := range r.taken {
			r.admit(r.taken[i])
		}
		clear(r.taken)
		for _, l := range r.lanes {
			l.flush()
		}
	}
	for r.inflight > 0 {
		<-r.completed
		r.settle()
	}
	for _, l := range r.lanes {
		l.close()
	}
}

// admit gives a batch to its lane, or parks it.
func (r *router) admit(it item) {
	rt := r.newRoute(it)
	r.inflight++
	r.events += it.Events
	r.bytes += it.Bytes
	r.answered = append(r.answered, false)
	for _, s := range rt.streams {
		f := r.streams[s]
		if f == nil {
			f = r.newFlow()
			r.streams[s] = f
		}
		if len(f.parked) > 0 || f.count > 0 && f.lane != rt.lane {
			f.parked = append(f.parked, rt)
			rt.behind++
			continue
		}
		f.lane = rt.lane
		f.count++
	}
	if rt.behind == 0 {
		rt.lane.add(rt)
	}
}

// newRoute finds the streams of a batch, and with them its lane.
func (r *router) newRoute(it item) *route {
	rt := &route{item: it}
	rt.item.Value.route = rt
	rt.streams = rt.one[:0]
	b := it.Value.batch
	for i := range b.Appends {
		rt.touch(b.Appends[i].Stream)
	}
	for i := range b.Asserts {
		rt.touch(b.Asserts[i].Stream)
	}
	for i := range b.Receipts {
		if !b.Receipts[i].IsMessage() {
			rt.touch(b.Receipts[i].Stream)
		}
	}
	for i := range b.Snapshots {
		rt.touch(b.Snapshots[i].Stream)
	}
	for _, s := range b.DropSnapshots {
		rt.touch(s)
	}
	rt.lane = r.lanes[len(r.lanes)-1]
	if len(rt.streams) == 1 {
		rt.lane = r.lanes[laneOf(rt.streams[0], len(r.lanes)-1)]
	}
	return rt
}

func (rt *route) touch(s envelope.Stream) {
	for _, known := range rt.streams[max(0, len(rt.streams)-8):] {
		if known == s {
			return
		}
	}
	if len(rt.streams) < 8 {
		rt.streams = append(rt.streams, s)
		return
	}
	for _, known := range rt.streams { // a wide batch, rare
		if known == s {
			return
		}
	}
	rt.streams = append(rt.streams, s)
}

// laneOf spreads streams over n lanes.
func laneOf(s envelope.Stream, n int) int {
	return s.Slice() * n / envelope.Slices
}

// settle takes back what the lanes have answered, and lets those go that were
// parked behind it.
func (r *router) settle() {
	r.mu.Lock()
	done := r.settled
	r.settled = r.spare[:0]
	r.mu.Unlock()
	for _, rt := range done {
		r.inflight--
		r.events -= rt.item.Events
		r.bytes -= rt.item.Bytes
		r.answered[rt.item.Number-r.first] = true
		for _, s := range rt.streams {
			f := r.streams[s]
			if f.count--; f.count == 0 {
				r.proceed(s, f)
			}
		}
	}
	n := 0
	for n < len(r.answered) && r.answered[n] {
		n++
	}
	if n > 0 {
		r.first += uint64(n)
		r.answered = r.answered[:copy(r.answered, r.answered[n:])]
		r.oldest.Store(r.first)
	}
	clear(done)
	r.spare = done
	if len(done) > 0 {
		for _, l := range r.lanes {
			l.flush()
		}
	}
}

// proceed lets the batches of s go on that were parked behind those which have
// all been answered now.
func (r *router) proceed(s envelope.Stream, f *flow) {
	if len(f.parked) == 0 {
		delete(r.streams, s)
		r.idle = append(r.idle, f)
		return
	}
	f.lane = f.parked[0].lane
	n := 0
	for n < len(f.parked) && f.parked[n].lane == f.lane {
		rt := f.parked[n]
		n++
		f.count++
		if rt.behind--; rt.behind == 0 {
			rt.lane.add(rt)
		}
	}
	f.parked = append(f.parked[:0:0], f.parked[n:]...)
}

func (r *router) newFlow() *flow {
	if n := len(r.idle); n > 0 {
		f := r.idle[n-1]
		r.idle = r.idle[:n-1]
		*f = flow{}
		return f
	}
	return &flow{}
}

// giveBack tells the router that batches were answered. Any lane calls it.
func (r *router) giveBack(routes []*route) {
	r.mu.Lock()
	r.settled = append(r.settled, routes...)
	r.mu.Unlock()
	select {
	case r.completed <- struct{}{}:
	default:
	}
	r.journal.queue.Kick()
}
