package actor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/journal"
)

// activator runs what needs the journal's reading side, each on a goroutine of
// its own and never on an actor's: at most limit at once, first come first
// served. It also counts who is in memory: an activation waits until there is
// room.
type activator struct {
	limit        int
	maxQueue     int
	maxResidents int
	noRoom       func()      // called when an activation waits for room; must not block
	workers      *dispatcher // limit of them stay warm
	deadlines    deadlines

	mu        sync.Mutex
	running   int
	residents int
	tasks     fifo[func()]     // reads for actors that are in memory: they need no room, and go first
	waiting   fifo[activation] // aggregates to be loaded
	gone      chan struct{}    // closed when nothing runs, waits or is in memory; nil while nobody asks
}

// activation is an entry that waits for its aggregate.
type activation interface {
	// activate loads the aggregate. If it is in memory now, it returns what to
	// run next on this goroutine: the actor's first turn. It no longer counts
	// as a load then.
	activate() (run func())
}

// request queues an activation, and reports false when too many wait.
func (v *activator) request(a activation) bool {
	v.mu.Lock()
	if v.waiting.len() >= v.maxQueue {
		v.mu.Unlock()
		return false
	}
	v.waiting.push(a)
	v.start()
	return true
}

// do runs task as soon as its turn comes. It is never refused: there is at most
// one per actor in memory.
func (v *activator) do(task func()) {
	v.mu.Lock()
	v.tasks.push(task)
	v.start()
}

// left reports that an aggregate left memory.
func (v *activator) left() {
	v.mu.Lock()
	v.residents--
	v.start()
}

// start begins what can begin, and releases the lock.
func (v *activator) start() {
	for v.running < v.limit && v.tasks.len() > 0 {
		v.running++
		task := v.tasks.pop()
		v.workers.Schedule(func() { v.runTask(task) })
	}
	for v.running < v.limit && v.waiting.len() > 0 && v.residents < v.maxResidents {
		v.running++
		v.residents++
		a := v.waiting.pop()
		v.workers.Schedule(func() { v.runActivation(a) })
	}
	noRoom := v.waiting.len() > 0 && v.residents >= v.maxResidents
	if v.gone != nil && v.empty() {
		close(v.gone)
		v.gone = nil
	}
	v.mu.Unlock()
	if noRoom {
		v.noRoom()
	}
}

func (v *activator) runTask(task func()) {
	task()
	v.mu.Lock()
	v.running--
	v.start()
}

func (v *activator) runActivation(a activation) {
	run := a.activate()
	v.mu.Lock()
	v.running--
	if run == nil {
		v.residents--
	}
	v.start()
	if run != nil {
		run()
	}
}

// counts returns how many aggregates are in memory and how many wait for room.
func (v *activator) counts() (residents, waiting int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.residents, v.waiting.len()
}

func (v *activator) empty() bool {
	return v.running == 0 && v.residents == 0 && v.tasks.len() == 0 && v.waiting.len() == 0
}

// whenEmpty returns a channel that is closed once nothing runs, nothing waits
// and nobody is in memory.
func (v *activator) whenEmpty() <-chan struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.gone == nil {
		v.gone = make(chan struct{})
	}
	gone := v.gone
	if v.empty() {
		close(v.gone)
		v.gone = nil
	}
	return gone
}

// activate loads the entry's aggregate from the journal and starts its actor.
func (e *entry[A]) activate() func() {
	e.mu.Lock()
	wanted := e.waiting > 0
	e.mu.Unlock()
	if !wanted { // every caller gave up while it waited
		e.deactivate()
		return nil
	}
	h := e.host
	sys := h.system
	if !sys.breaker.allow() {
		e.failed(errBreakerOpen, false)
		return nil
	}
	began := time.Now()
	var term uint64
	if h.owner != nil {
		term = h.owner.term.Load()
	}
	a, how, err := h.load(e.id)
	var shadow *A
	if err == nil {
		shadow, err = h.loadShadow(e.id)
	}
	info := Activation{Stream: h.stream(e.id), Replayed: how.Replayed, SnapshotIgnored: how.SnapshotIgnored, Err: err}
	if err != nil {
		sys.stats.activationFailures.Add(1)
		sys.observeActivation(&info, began)
		// A journal that is away is the breaker's business; a history that
		// cannot be read is this aggregate's own.
		e.failed(err, !sys.breaker.failure(err))
		return nil
	}
	sys.breaker.success()
	sys.stats.activations.Add(1)
	info.SnapshotVersion = h.spec.SnapshotVersion(a)
	sys.observeActivation(&info, began)
	r := newResident(h, e, a, shadow, term)
	e.activated(r)
	// The first turn runs here, behind the load: one goroutine less to wake.
	r.claim()
	h.spawn.start(r)
	return r.process
}

// deactivate makes an entry empty that was to be activated for nobody; if
// somebody came meanwhile it is activated after all.
func (e *entry[A]) deactivate() {
	e.mu.Lock()
	again := e.waiting > 0
	if !again {
		e.state = entryEmpty
	}
	e.mu.Unlock()
	if again {
		if !e.host.system.activator.request(e) {
			e.failed(errActivationsFull, false)
		}
		return
	}
	e.removeIfUnused()
}

// load reads the aggregate of id. It runs on a goroutine of the activator.
func (h *Aggregates[A]) load(id string) (*A, aggregate.Rebuilt, error) {
	ctx := h.system.activator.deadlines.next()
	latest, err := h.system.journal.LoadLatest(ctx, h.stream(id))
	if err != nil {
		return nil, aggregate.Rebuilt{}, readError(err)
	}
	a, how, err := h.spec.Rebuild(ctx, h.system.journal, latest)
	return a, how, readError(err)
}

// deadlines gives each load a context that ends at the earliest after timeout,
// and at the latest after half as much again. Loads that begin close together
// share one: a context and a timer for each would cost a fifth of a load.
type deadlines struct {
	timeout time.Duration

	mu      sync.Mutex
	current context.Context
	cancel  context.CancelFunc // of current; the ones before end by themselves
	until   time.Time          // current is handed out
}

func (d *deadlines) next() context.Context {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !now.Before(d.until) {
		d.current, d.cancel = context.WithTimeoutCause(context.Background(), d.timeout+d.timeout/2, errActivationTimeout)
		d.until = now.Add(d.timeout / 2)
	}
	return d.current
}

// close ends the current one.
func (d *deadlines) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cancel != nil {
		d.cancel()
	}
}

var errActivationTimeout = errors.New("loading the aggregate took too long")

// readError gives an error of the reading side its meaning for a caller: a
// journal that was closed or did not answer in time is unavailable.
func readError(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, journal.ErrClosed) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errActivationTimeout) {
		return fmt.Errorf("%w: %w", aggregate.ErrUnavailable, err)
	}
	return err
}

// backOffTime is how long an id whose activation failed n times fails fast:
// 100 ms, doubling, at most 10 s, the half of it random so that many ids that
// failed together do not come back together.
func backOffTime(n int) time.Duration {
	const first, most = 100 * time.Millisecond, 10 * time.Second
	d := most
	if n < 8 {
		d = min(first<<(n-1), most)
	}
	return d/2 + rand.N(d/2)
}

func (s *System) observeActivation(info *Activation, began time.Time) {
	if info.SnapshotIgnored != nil {
		s.stats.snapshotsIgnored.Add(1)
		s.opts.Logger.Warn("snapshot ignored, the state was replayed",
			slog.String("stream", info.Stream.String()), slog.Any("error", info.SnapshotIgnored))
	}
	if info.Err != nil {
		s.opts.Logger.Error("aggregate could not be loaded",
			slog.String("stream", info.Stream.String()), slog.Any("error", info.Err))
	}
	if s.opts.Hooks != nil {
		info.Took = time.Since(began)
		s.opts.Hooks.Activation(*info)
	}
}

// fifo is a queue in a slice.
type fifo[T any] struct {
	items []T
	head  int
}

func (q *fifo[T]) len() int { return len(q.items) - q.head }
func (q *fifo[T]) push(v T) { q.items = append(q.items, v) }

func (q *fifo[T]) pop() T {
	var zero T
	v := q.items[q.head]
	q.items[q.head] = zero
	q.head++
	if q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	} else if q.head > 1024 && q.head > len(q.items)/2 {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	return v
}
