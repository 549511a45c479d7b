package bus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/troupe-go/troupe/envelope"
)

// RunSource handles what source delivers until ctx ends, and closes it. It is
// what [Bus.Listen] and [Bus.Subscribe] do, for sources of third parties:
// messages of one key one after the other, in order; others at once.
//
// opts.Consumer names the receiver; it must be set for [Inbox]. Parking needs a
// Bus.
//
// Errors: as [Bus.Listen].
func RunSource(ctx context.Context, source Source, handlers Router, opts RunOptions) error {
	if opts.inbox != nil && opts.Consumer == "" {
		return errors.Join(envelope.Invalid("run option consumer", "", "is blank, and an inbox needs it"), source.Close(ctx))
	}
	r := newRunner(source, handlers, opts.withDefaults())
	if err := r.loadParked(ctx); err != nil {
		return errors.Join(err, source.Close(ctx))
	}
	return r.run(ctx)
}

// runner is one run over one source. A delivery is in exactly one lane, that of
// its ordering key, from its arrival until it is settled; one goroutine at a
// time works on a lane.
type runner struct {
	source   Source
	order    Order
	handlers Router
	opts     RunOptions
	inbox    *inbox  // nil without
	parked   *parked // nil unless the policy is to park

	// work is the handlers' context: it outlives the run's by the time to
	// drain. settling is for telling the broker, and outlives work a little.
	work, settling context.Context
	stop           context.CancelCauseFunc // ends the run; its cause is the run's error

	mu       sync.Mutex
	lanes    map[string]*lane // by ordering key, while they have something
	ready    []*lane          // to be worked on, first come first served
	workers  int
	held     int // deliveries in hand
	resting  int // of them, in lanes that wait for another attempt
	received int
	items    map[*item]struct{} // in hand, for extending leases; nil if there is no lease

	// A delivery that was on its way while those before it in its key were
	// given back must follow them: call counts calls of Receive, and returned
	// has, by key, the last one that may have been under way then, and which
	// message was the first. Once that comes again, so do those behind it.
	call     int
	returned map[string]givenBack

	draining bool          // nothing is begun that would wait
	changed  chan struct{} // has room for one: held or resting went down
}

// givenBack is the last time that a key's messages were.
type givenBack struct {
	call  int
	first string // id of the first of them
}

// lane holds the deliveries of one key, in order. Messages without a key have a
// lane each.
type lane struct {
	key     string
	items   []*item
	working bool        // in ready, or with a worker
	rest    *time.Timer // until the next attempt of items[0]; nil if there is none
	follow  bool        // those before these were given back: so are these
}

// item is one delivery in hand.
type item struct {
	Delivery
	tries   int       // of this run
	failing time.Time // since when; zero if it did not fail

	mu      sync.Mutex // Extend beside settling
	settled bool
}

// attempt is which attempt the next or present one is.
func (it *item) attempt() int { return it.Attempt() - 1 + max(it.tries, 1) }

func newRunner(source Source, handlers Router, opts RunOptions) *runner {
	r := &runner{
		source: source, order: source.Order(), handlers: handlers, opts: opts,
		lanes: map[string]*lane{}, returned: map[string]givenBack{}, changed: make(chan struct{}, 1),
	}
	if opts.inbox != nil {
		r.inbox = &inbox{journal: opts.inbox, consumer: opts.Consumer}
	}
	if opts.Policy == PolicyPark && opts.deadLetters != nil {
		r.parked = &parked{letters: opts.deadLetters, byKey: map[string]map[string]time.Time{}}
	}
	if source.Lease() > 0 {
		r.items = map[*item]struct{}{}
	}
	return r
}

func (r *runner) run(parent context.Context) (err error) {
	ctx, stop := context.WithCancelCause(parent)
	defer stop(nil)
	r.stop = stop
	settling, cancelSettling := context.WithCancel(context.WithoutCancel(ctx))
	defer cancelSettling()
	work, cancelWork := context.WithCancel(settling)
	r.work, r.settling = work, settling
	var helpers sync.WaitGroup
	if lease := r.source.Lease(); lease > 0 {
		helpers.Go(func() { r.every(work, lease/3, r.extend) })
	}
	if r.parked != nil {
		helpers.Go(func() { r.every(work, parkedRefresh, r.refreshParked) })
	}
	r.receive(ctx)
	if err = context.Cause(ctx); parent.Err() != nil || errors.Is(err, errDone) {
		err = nil
	}
	if drained := r.drain(cancelWork); drained != nil {
		err = errors.Join(err, drained)
	}
	cancelWork()
	cancelSettling()
	helpers.Wait()
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.opts.DrainTimeout)
	defer cancel()
	if closed := r.source.Close(closing); closed != nil && !errors.Is(closed, ErrClosed) {
		r.opts.Logger.Warn("bus: what was received may come again late", "consumer", r.opts.Consumer, "err", closed)
	}
	return err
}

// errDone is the cause of a run that ends by itself.
var errDone = errors.New("done")

func (r *runner) every(ctx context.Context, interval time.Duration, do func(context.Context)) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			do(ctx)
		}
	}
}

// Waits between attempts to receive while the broker is away.
const (
	minReceiveWait = 50 * time.Millisecond
	maxReceiveWait = 2 * time.Second
)

// receive takes deliveries until ctx ends.
func (r *runner) receive(ctx context.Context) {
	wait := minReceiveWait
	for {
		room := r.room(ctx)
		if room == 0 {
			return
		}
		r.mu.Lock()
		r.call++
		maps.DeleteFunc(r.returned, func(_ string, g givenBack) bool { return g.call < r.call })
		r.mu.Unlock()
		deliveries, err := r.receiveSome(ctx, room)
		for _, d := range deliveries {
			r.accept(d)
		}
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			wait = minReceiveWait
			continue
		case errors.Is(err, errIdle):
			if r.nothingHeld() {
				r.stop(errDone)
				return
			}
			continue
		case errors.Is(err, ErrClosed), errors.Is(err, ErrUnauthorized), IsPermanent(err):
			r.stop(err)
			return
		}
		if wait == minReceiveWait {
			r.opts.Logger.Warn("bus: cannot receive, will go on trying", "consumer", r.opts.Consumer, "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = min(2*wait, maxReceiveWait)
	}
}

// errIdle reports that nothing came for RunOptions.UntilIdle.
var errIdle = errors.New("idle")

func (r *runner) receiveSome(ctx context.Context, room int) ([]Delivery, error) {
	if r.opts.UntilIdle == 0 {
		return r.source.Receive(ctx, room)
	}
	limited, cancel := context.WithTimeoutCause(ctx, r.opts.UntilIdle, errIdle)
	defer cancel()
	deliveries, err := r.source.Receive(limited, room)
	if err != nil && len(deliveries) == 0 && ctx.Err() == nil && limited.Err() != nil {
		err = errIdle
	}
	return deliveries, err
}

// room waits until something may be received and returns how much. It returns 0
// when ctx has ended, or all is done that was to be done.
func (r *runner) room(ctx context.Context) int {
	for {
		r.mu.Lock()
		room := min(r.opts.MaxHeld-r.held, r.opts.Prefetch-(r.held-r.resting))
		if limit := r.opts.Limit; limit > 0 {
			room = min(room, limit-r.received)
			if r.received >= limit && r.held == 0 {
				r.mu.Unlock()
				r.stop(errDone)
				return 0
			}
		}
		r.mu.Unlock()
		if ctx.Err() != nil {
			return 0
		}
		if room > 0 {
			return room
		}
		select {
		case <-ctx.Done():
			return 0
		case <-r.changed:
		}
	}
}

func (r *runner) nothingHeld() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held == 0
}

// accept puts d into its lane.
func (r *runner) accept(d Delivery) {
	it := &item{Delivery: d}
	key := d.Message().OrderingKey()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held++
	r.received++
	if r.items != nil {
		r.items[it] = struct{}{}
	}
	l := r.lanes[key]
	if key == "" || l == nil {
		l = &lane{key: key}
		if key != "" {
			r.lanes[key] = l
		}
	}
	l.items = append(l.items, it)
	if g, ok := r.returned[key]; ok && g.call >= r.call {
		if l.follow = g.first != d.Message().ID; !l.follow {
			delete(r.returned, key)
		}
	}
	switch {
	case l.rest != nil:
		r.resting++
	case !l.working:
		r.wake(l)
	}
}

// wake has l worked on. r.mu is held.
func (r *runner) wake(l *lane) {
	l.working = true
	r.ready = append(r.ready, l)
	if r.workers < r.opts.Concurrency {
		r.workers++
		go r.worker(nil)
	}
}

// worker works on one message of each lane that is ready, in turn, until there
// is none. left is what a handler that ended its goroutine left behind, or nil.
func (r *runner) worker(left *abandoned) {
	var now abandoned
	ended := false
	defer func() {
		if !ended { // runtime.Goexit in a handler, which cannot be stopped: another goroutine goes on from here
			now.err = fmt.Errorf("%w: it called runtime.Goexit", ErrPanic)
			go r.worker(&now)
		}
	}()
	if left != nil {
		now = *left
		r.advance(now.lane, now.item, r.conclude(now.lane, now.item, 0, now.err, 0))
	}
	for {
		r.mu.Lock()
		if len(r.ready) == 0 {
			r.workers--
			r.mu.Unlock()
			r.signal()
			ended = true
			return
		}
		l := r.ready[0]
		r.ready[0] = nil
		r.ready = r.ready[1:]
		it, follow := l.items[0], l.follow
		r.mu.Unlock()
		now.lane, now.item = l, it
		if follow {
			r.advance(l, it, step{giveBack: true, wait: r.opts.MinBackoff})
			continue
		}
		r.advance(l, it, r.handle(l, it))
	}
}

// abandoned is a message whose handler ended its goroutine.
type abandoned struct {
	lane *lane
	item *item
	err  error
}

// advance does what comes after one attempt of it, the first of l.
func (r *runner) advance(l *lane, it *item, next step) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l.working = false
	switch {
	case next.giveBack:
		r.giveBack(l, next.wait)
	case next.wait > 0 && r.draining:
		r.giveBack(l, 0)
	case next.wait > 0:
		r.restLane(l, next.wait)
	default:
		r.drop(it)
		l.items[0] = nil
		l.items = l.items[1:]
		switch {
		case len(l.items) > 0:
			r.wake(l)
		case l.key != "":
			delete(r.lanes, l.key)
		}
	}
}

// drop forgets a settled delivery. r.mu is held.
func (r *runner) drop(it *item) {
	r.held--
	if r.items != nil {
		delete(r.items, it)
	}
	r.signal()
}

func (r *runner) signal() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// restLane lets l wait for the next attempt of its first message. r.mu is held.
func (r *runner) restLane(l *lane, wait time.Duration) {
	r.resting += len(l.items)
	l.rest = time.AfterFunc(wait, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if l.rest == nil { // given back meanwhile
			return
		}
		l.rest = nil
		r.resting -= len(l.items)
		r.wake(l)
	})
	r.signal()
}

// giveBack gives all of l back to the broker, in order, with what arrives for
// it meanwhile. r.mu is held, and let go for that.
func (r *runner) giveBack(l *lane, delay time.Duration) {
	l.working = true
	first := ""
	if g, ok := r.returned[l.key]; ok {
		first = g.first
	} else if len(l.items) > 0 {
		first = l.items[0].Message().ID
	}
	for len(l.items) > 0 {
		it := l.items[0]
		r.mu.Unlock()
		if err := it.settle(func() error { return it.Retry(r.settling, delay) }); err != nil {
			r.unsettled(it, err)
		}
		r.mu.Lock()
		r.drop(it)
		l.items[0] = nil
		l.items = l.items[1:]
	}
	l.working = false
	if l.key != "" {
		delete(r.lanes, l.key)
		r.returned[l.key] = givenBack{r.call, first}
	}
}

// extend begins the leases of everything in hand anew.
func (r *runner) extend(ctx context.Context) {
	r.mu.Lock()
	items := make([]*item, 0, len(r.items))
	for it := range r.items {
		items = append(items, it)
	}
	r.mu.Unlock()
	for _, it := range items {
		it.mu.Lock()
		if !it.settled {
			if err := it.Extend(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrClosed) {
				r.log("bus: the lease of a message could not be extended", it, err)
			}
		}
		it.mu.Unlock()
	}
}

// drain finishes what can be finished in time and gives the rest back. After
// the time to drain cancelWork ends the handlers' context.
func (r *runner) drain(cancelWork func()) error {
	r.mu.Lock()
	r.draining = true
	for _, l := range r.lanes {
		if l.rest != nil { // its next attempt may be a minute away
			l.rest.Stop()
			l.rest = nil
			r.resting -= len(l.items)
			r.giveBack(l, 0)
		}
	}
	r.mu.Unlock()
	if r.waitForWorkers(r.opts.DrainTimeout) {
		return nil
	}
	r.mu.Lock()
	for _, l := range r.ready { // not begun: Source.Close gives them back
		for _, it := range l.items {
			r.drop(it)
		}
	}
	r.ready = nil
	r.mu.Unlock()
	cancelWork()
	if r.waitForWorkers(time.Second) {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var names []string
	for it := range r.inHand() {
		if len(names) == 3 {
			names = append(names, "…")
			break
		}
		names = append(names, it.Message().Name+" "+it.Message().ID)
	}
	return fmt.Errorf("%w: %d of them (%s)", ErrNotDrained, r.workers, strings.Join(names, ", "))
}

// inHand yields the deliveries of lanes with a key. r.mu is held.
func (r *runner) inHand() func(func(*item) bool) {
	return func(yield func(*item) bool) {
		for _, l := range r.lanes {
			if l.working && !yield(l.items[0]) {
				return
			}
		}
	}
}

// waitForWorkers reports whether all workers ended within limit.
func (r *runner) waitForWorkers(limit time.Duration) bool {
	over := time.NewTimer(limit)
	defer over.Stop()
	for {
		r.mu.Lock()
		busy := r.workers > 0
		r.mu.Unlock()
		if !busy {
			return true
		}
		select {
		case <-r.changed:
		case <-over.C:
			return false
		}
	}
}
