package actor

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// The intents to passivate.
const (
	stay     uint8 = iota
	whenIdle       // as soon as nothing waits
	makeRoom       // even if commands wait: the aggregate queues for activation again, behind the others
)

// sweeper passivates what was idle for long, and the least recently used when
// there is no room.
type sweeper struct {
	system *System
	wake   chan struct{} // cap 1
	ended  chan struct{}
	done   sync.WaitGroup

	mu   sync.Mutex
	full bool // room is wanted
}

func (w *sweeper) start(s *System) {
	w.system = s
	w.wake = make(chan struct{}, 1)
	w.ended = make(chan struct{})
	w.done.Go(w.loop)
}

func (w *sweeper) stop() {
	close(w.ended)
	w.done.Wait()
}

// reset makes the sweeper look at its interval again.
func (w *sweeper) reset() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// makeRoom asks for aggregates to be passivated because others wait.
func (w *sweeper) makeRoom() {
	w.mu.Lock()
	w.full = true
	w.mu.Unlock()
	w.reset()
}

func (w *sweeper) loop() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		hosts := w.system.allHosts()
		timer.Reset(interval(hosts))
		select {
		case <-w.ended:
			return
		case <-w.wake:
			w.mu.Lock()
			full := w.full
			w.full = false
			w.mu.Unlock()
			if full {
				w.evict(hosts)
			}
			continue
		case <-timer.C:
		}
		now := w.system.now()
		for _, h := range hosts {
			if after := h.passivateAfter(); after > 0 {
				h.sweepIdle(now - int64(after))
			} else {
				h.sweepIdle(-1)
			}
		}
		if _, waiting := w.system.activator.counts(); waiting > 0 {
			w.evict(hosts)
		}
	}
}

// interval is a quarter of the shortest idle time, so that an aggregate stays
// at most a quarter longer than asked; at least half a millisecond, at most a
// minute.
func interval(hosts []hosted) time.Duration {
	shortest := 4 * time.Minute
	for _, h := range hosts {
		if after := h.passivateAfter(); after > 0 {
			shortest = min(shortest, after)
		}
	}
	return max(shortest/4, 500*time.Microsecond)
}

// candidate is an aggregate that could make room.
type candidate struct {
	lastUsed int64
	entry    interface{ askToPassivate(intent uint8) }
}

// evict asks the least recently used aggregates to leave: as many as wait for
// room, and a sixteenth of the bound beyond that, so that the next arrivals
// need no sweep.
func (w *sweeper) evict(hosts []hosted) {
	residents, waiting := w.system.activator.counts()
	limit := w.system.opts.MaxResidents
	n := residents + waiting - limit
	if n <= 0 {
		return
	}
	n = min(n+limit/16, residents)
	var all []candidate
	for _, h := range hosts {
		all = h.lastUses(all)
	}
	slices.SortFunc(all, func(a, b candidate) int { return cmp.Compare(a.lastUsed, b.lastUsed) })
	for _, c := range all[:min(n, len(all))] {
		c.entry.askToPassivate(makeRoom)
	}
}

func (h *Aggregates[A]) passivateAfter() time.Duration { return h.opts.PassivateAfter }

// sweepIdle passivates what was last used before cutoff, and forgets failures
// whose back-off has passed.
func (h *Aggregates[A]) sweepIdle(cutoff int64) {
	for _, e := range h.router.all(nil) {
		e.mu.Lock()
		idle := e.wants && e.lastUsed <= cutoff
		empty := e.state == entryEmpty
		e.mu.Unlock()
		switch {
		case idle:
			e.askToPassivate(whenIdle)
		case empty:
			e.removeIfUnused()
		}
	}
}

func (h *Aggregates[A]) lastUses(dst []candidate) []candidate {
	for _, e := range h.router.all(nil) {
		e.mu.Lock()
		if e.state == entryActive {
			dst = append(dst, candidate{e.lastUsed, e})
		}
		e.mu.Unlock()
	}
	return dst
}

// drain asks everything to passivate once it has nothing to do.
func (h *Aggregates[A]) drain() {
	for _, e := range h.router.all(nil) {
		e.askToPassivate(whenIdle)
	}
}

// abort lets go of everything that could not be finished in time.
func (h *Aggregates[A]) abort() (commands int) {
	for _, e := range h.router.all(nil) {
		commands += e.fail(errStoppedUnfinished)
		e.mu.Lock()
		r := e.resident
		e.mu.Unlock()
		if r != nil {
			r.wake()
		}
	}
	return commands
}
