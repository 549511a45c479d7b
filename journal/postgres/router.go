package postgres

import (
	"slices"
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
	turns   []envelope.Stream

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
	called bool     // the first of those was told that it is its turn here
}

// free reports whether a batch for lane l may go there now.
func (f *flow) free(l *lane) bool { return f.count == 0 || f.lane == l }

// route is one batch on its way through the lanes. It is parked with all its
// streams or with none: else what is behind it could overtake it where it is not.
type route struct {
	item    item
	lane    *lane
	streams []envelope.Stream // that it touches, each once
	waits   int               // for so many of its streams
	one     [1]envelope.Stream
	seen    map[envelope.Stream]struct{} // streams, if they are many
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
	free := true
	for _, s := range rt.streams {
		f := r.streams[s]
		if f == nil {
			f = r.newFlow()
			r.streams[s] = f
		}
		free = free && len(f.parked) == 0 && f.free(rt.lane)
	}
	if free {
		for _, s := range rt.streams {
			f := r.streams[s]
			f.lane = rt.lane
			f.count++
		}
		rt.lane.add(rt)
		return
	}
	rt.waits = len(rt.streams)
	for _, s := range rt.streams {
		f := r.streams[s]
		f.parked = append(f.parked, rt)
	}
	for _, s := range rt.streams {
		r.proceed(s) // its turn has come where nothing is in front of it
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

// touch adds s to the streams of rt.
func (rt *route) touch(s envelope.Stream) {
	if len(rt.streams) < manyStreams {
		if !slices.Contains(rt.streams, s) {
			rt.streams = append(rt.streams, s)
		}
		return
	}
	if rt.seen == nil {
		rt.seen = make(map[envelope.Stream]struct{})
		for _, known := range rt.streams {
			rt.seen[known] = struct{}{}
		}
	}
	if _, known := rt.seen[s]; !known {
		rt.seen[s] = struct{}{}
		rt.streams = append(rt.streams, s)
	}
}

// manyStreams are worth a map.
const manyStreams = 16

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
				r.proceed(s)
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

// proceed calls the first batch that is parked with s if its turn has come, and
// lets it go when all its streams have called it. That may be the turn of
// others, behind it.
func (r *router) proceed(s envelope.Stream) {
	todo := append(r.turns[:0], s)
	for len(todo) > 0 {
		s, todo = todo[len(todo)-1], todo[:len(todo)-1]
		f := r.streams[s]
		if f == nil {
			continue
		}
		if len(f.parked) == 0 {
			if f.count == 0 {
				delete(r.streams, s)
				r.idle = append(r.idle, f)
			}
			continue
		}
		rt := f.parked[0]
		if !f.free(rt.lane) || f.called {
			continue
		}
		f.called = true
		if rt.waits--; rt.waits > 0 {
			continue
		}
		for _, of := range rt.streams {
			g := r.streams[of]
			g.parked, g.called = g.parked[1:], false
			g.lane = rt.lane
			g.count++
		}
		rt.lane.add(rt)
		todo = append(todo, rt.streams...)
	}
	r.turns = todo
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
