package postgres

import (
	"context"
	"runtime"
	"sync"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/internal/commitqueue"
	"github.com/troupe-go/troupe/journal"
)

// maxYields bounds how often a lane lets others run before it takes what waits.
const maxYields = 16

// lane is one committer: a goroutine with a connection. It stores what waits
// for it in one transaction, answers, and repeats.
type lane struct {
	journal *Journal
	router  *router
	number  int
	session *session

	staged []*route // the router's, until flush

	mu      sync.Mutex
	waiting []*route
	closed  bool
	wake    chan struct{} // one slot

	// The committer's own.
	group   []*route
	answers []*route
	fast    fastGroup
	slow    []*member
	careful int // groups that are stored with care
}

func newLane(r *router, n int) *lane {
	return &lane{
		journal: r.journal, router: r, number: n,
		session: newSession(r.journal), wake: make(chan struct{}, 1),
	}
}

// add stages rt; the router calls flush when it has no more for now.
func (l *lane) add(rt *route) { l.staged = append(l.staged, rt) }

func (l *lane) flush() {
	if len(l.staged) == 0 {
		return
	}
	l.mu.Lock()
	l.waiting = append(l.waiting, l.staged...)
	l.mu.Unlock()
	clear(l.staged)
	l.staged = l.staged[:0]
	l.kick()
}

func (l *lane) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.kick()
}

func (l *lane) kick() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *lane) size() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting)
}

// run commits groups until the lane is closed and empty.
func (l *lane) run() {
	defer l.session.close()
	for last := 0; ; {
		l.regroup(last)
		closed := l.take()
		if last = len(l.group); last == 0 {
			if closed {
				return
			}
			<-l.wake
			continue
		}
		l.journal.refusals.forget(l.number, l.router.oldest.Load())
		l.commitGroup()
		clear(l.group)
		l.group = l.group[:0]
	}
}

// regroup waits, without a timer, for those that the last group answered, as
// [commitqueue.Queue.Regroup] does.
func (l *lane) regroup(last int) {
	size := l.size()
	for i := 0; i < maxYields && size < last; i++ {
		runtime.Gosched()
		now := l.size()
		if now == size && i > 1 {
			return
		}
		size = now
	}
}

// take moves what waits into the group, up to its bounds.
func (l *lane) take() (closed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	events, bytes, n := 0, 0, 0
	for ; n < len(l.waiting); n++ {
		it := &l.waiting[n].item
		if n > 0 && (events+it.Events > l.journal.opts.MaxGroupEvents || bytes+it.Bytes > l.journal.opts.MaxGroupBytes) {
			break
		}
		events += it.Events
		bytes += it.Bytes
	}
	l.group = append(l.group[:0], l.waiting[:n]...)
	rest := copy(l.waiting, l.waiting[n:])
	clear(l.waiting[rest:])
	l.waiting = l.waiting[:rest]
	return l.closed
}

// commitGroup stores the group: what is plain in one statement, and then what
// is not, and what that statement refused, in a transaction that looks closer.
// Batches of one stream stay in their order: once one is left for the second
// step, so are all behind it.
func (l *lane) commitGroup() {
	l.slow = l.slow[:0]
	l.fast.reset(l.journal)
	for _, rt := range l.group {
		if !l.fast.take(rt, l.journal.refusals) {
			l.slow = append(l.slow, &member{route: rt})
		}
	}
	if !l.fast.empty() {
		l.commitFast()
	}
	if len(l.slow) > 0 {
		l.commitSlow(l.slow)
	}
	clear(l.slow)
}

// answer tells the caller of rt its outcome.
func (l *lane) answer(rt *route, result journal.Result, err error) {
	if err != nil {
		l.journal.refusals.tell(l.number, rt.item.Number, l.journal.queue.Numbered())
	}
	rt.item.Value.done(result, err)
	l.answers = append(l.answers, rt)
}

// answered gives those back that were answered.
func (l *lane) answered() {
	l.router.giveBack(l.answers)
	clear(l.answers)
	l.answers = l.answers[:0]
}

// refuse remembers what the refused batch would have made.
func (l *lane) refuse(rt *route) {
	b := rt.item.Value.batch
	for i := range b.Appends {
		a := &b.Appends[i]
		l.journal.refusals.add(l.number, rt.item.Number, a.Stream, a.Expected+uint64(len(a.Records)))
	}
}

// stored wakes readers, and has those of other processes woken.
func (j *Journal) stored() {
	j.announce()
	select {
	case j.notify <- struct{}{}:
	default:
	}
}

// deadline is the context of one commit. It never ends because a caller's
// does, but when the server has not answered long after it ought to have given
// up by itself.
func (l *lane) deadline() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), l.journal.opts.StatementTimeout+frozen)
}

// refusals is the memory of the versions that refused batches would have made,
// of all lanes: a stream moves from lane to lane.
type refusals struct {
	mu     sync.Mutex
	byLane []commitqueue.Phantoms
}

func newRefusals(lanes int) *refusals { return &refusals{byLane: make([]commitqueue.Phantoms, lanes)} }

func (r *refusals) add(lane int, refused uint64, s envelope.Stream, version uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.byLane[lane].Add(refused, s, version)
}

// has reports whether an item may have been built on a refused one, of whatever
// lane.
func (r *refusals) has(number uint64, s envelope.Stream, version uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.byLane {
		if r.byLane[i].Has(number, s, version) {
			return true
		}
	}
	return false
}

func (r *refusals) tell(lane int, refused, newest uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.byLane[lane].Tell(refused, newest)
}

func (r *refusals) annul(lane int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.byLane[lane].Annul()
}

func (r *refusals) forget(lane int, next uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.byLane[lane].Forget(next)
}
