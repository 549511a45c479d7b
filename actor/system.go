package actor

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	proto "github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// System runs the actors of one process over one journal. Make one with
// [NewSystem], add aggregate types with [Host], end it with [System.Stop]. It
// is safe for concurrent use.
type System struct {
	journal    journal.Journal
	opts       Options
	proto      *proto.ActorSystem
	guardian   proto.SupervisorStrategy
	dispatcher *dispatcher
	activator  activator
	breaker    breaker
	stats      counters
	began      time.Time

	transacting atomic.Int32   // calls of Transact now
	settling    sync.WaitGroup // their commits
	life        context.Context
	endLife     context.CancelFunc // gives up what is not settled

	entries  atomic.Int64 // of all routers
	stopping atomic.Bool
	aborted  atomic.Bool // the time for stopping is over: let go of everything
	emptied  chan struct{}

	sweep sweeper

	mu    sync.Mutex
	hosts map[string]hosted
	ended bool
}

// hosted is what a System asks of its [Aggregates], whatever their type.
type hosted interface {
	passivateAfter() time.Duration
	sweepIdle(cutoff int64)
	lastUses(dst []candidate) []candidate
	drain()
	abort() (commands int)
	closeOwner()
}

// NewSystem starts a system over j. The journal stays the caller's to close,
// after [System.Stop].
//
// Errors: [envelope.ErrInvalid] for a wrong option.
func NewSystem(j journal.Journal, opts *Options) (*System, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &System{
		journal: j, opts: o,
		proto: newProtoSystem(o.Logger), guardian: newGuardian(), dispatcher: newDispatcher(max(4, 2*runtime.GOMAXPROCS(0))),
		breaker: breaker{base: o.ProbeAfter, logger: o.Logger},
		began:   time.Now(),
		emptied: make(chan struct{}, 1),
		hosts:   make(map[string]hosted),
	}
	s.activator = activator{
		limit: o.MaxActivations, maxQueue: o.MaxActivationQueue, maxResidents: o.MaxResidents,
		noRoom: s.sweep.makeRoom, workers: newDispatcher(o.MaxActivations),
		deadlines: deadlines{timeout: o.ActivationTimeout},
	}
	// protoactor makes the guardian's process at the first spawn, and two first
	// spawns at once race for it.
	s.proto.Root.Copy().WithGuardian(s.guardian).Self()
	s.life, s.endLife = context.WithCancel(context.Background())
	s.sweep.start(s)
	return s, nil
}

// Journal returns the journal that the system runs over.
func (s *System) Journal() journal.Journal { return s.journal }

// now is the system's clock for last uses: nanoseconds since it began.
func (s *System) now() int64 { return int64(time.Since(s.began)) }

func (s *System) register(typ string, h hosted) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping.Load() {
		return aggregate.ErrStopped
	}
	if _, twice := s.hosts[typ]; twice {
		return envelope.Invalid("aggregate type", typ, "is hosted by this system already")
	}
	s.hosts[typ] = h
	s.sweep.reset()
	return nil
}

func (s *System) allHosts() []hosted {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]hosted, 0, len(s.hosts))
	for _, h := range s.hosts {
		all = append(all, h)
	}
	return all
}

// StopError reports what [System.Stop] could not finish in its time.
type StopError struct {
	Aggregates int   // still busy, or waiting to be loaded
	Commands   int   // in queues, answered with [aggregate.ErrStopped]
	Cause      error // of the context
}

func (e *StopError) Error() string {
	return fmt.Sprintf("actor: stop: %d aggregates and %d commands unfinished: %v", e.Aggregates, e.Commands, e.Cause)
}

// Unwrap returns the context's cause.
func (e *StopError) Unwrap() error { return e.Cause }

// Stop ends the system: it refuses new commands with [aggregate.ErrStopped],
// finishes those that it accepted, stores the snapshots that are due, and
// returns when every actor has stopped.
//
// When ctx ends first, the commands that still wait are answered with
// [aggregate.ErrStopped], those whose batch is on its way with
// [aggregate.ErrUnknownOutcome], and the error is a [*StopError]. Stop may be
// called again, also from several goroutines.
func (s *System) Stop(ctx context.Context) error {
	s.stopping.Store(true)
	for _, h := range s.allHosts() {
		h.drain()
	}
	err := s.awaitDrained(ctx)
	s.mu.Lock()
	first := !s.ended
	s.ended = true
	s.mu.Unlock()
	if first {
		for _, h := range s.allHosts() {
			h.closeOwner()
		}
		s.endLife()
		s.sweep.stop()
		s.proto.Shutdown()
		s.dispatcher.close()
		s.activator.workers.close()
		s.activator.deadlines.close()
	}
	return err
}

func (s *System) awaitDrained(ctx context.Context) error {
	for s.entries.Load() > 0 {
		select {
		case <-s.emptied:
		case <-ctx.Done():
			left := int(s.entries.Load())
			if left == 0 {
				return nil
			}
			s.aborted.Store(true)
			s.endLife()
			commands := 0
			for _, h := range s.allHosts() {
				commands += h.abort()
			}
			return &StopError{Aggregates: left, Commands: commands, Cause: context.Cause(ctx)}
		}
	}
	settled := make(chan struct{})
	go func() { s.settling.Wait(); close(settled) }()
	select {
	case <-settled:
	case <-ctx.Done():
		return &StopError{Cause: context.Cause(ctx)}
	}
	select { // the last actors let go, and the last receipt look-ups answer their callers
	case <-s.activator.whenEmpty():
		return nil
	case <-ctx.Done():
		return &StopError{Cause: context.Cause(ctx)}
	}
}

// entryRemoved counts one entry less, and tells Stop when it was the last.
func (s *System) entryRemoved() {
	if s.entries.Add(-1) == 0 && s.stopping.Load() {
		select {
		case s.emptied <- struct{}{}:
		default:
		}
	}
}

// Stats are figures of a [System] since it began.
type Stats struct {
	Residents          int    // aggregates in memory now
	WaitingActivations int    // aggregates that wait to be loaded now
	Activations        uint64 // aggregates loaded
	ActivationFailures uint64
	Passivations       uint64
	Turns              uint64 // batches committed for commands
	Conflicts          uint64 // batches that another writer was ahead of
	Panics             uint64 // of handlers
	Rollbacks          uint64 // states rebuilt because a command failed after it had changed something
	Reloads            uint64 // of those, rebuilt from the journal
	Snapshots          uint64 // stored
	SnapshotsIgnored   uint64 // found, and not used
	Crashes            uint64 // actors that their supervisor stopped
	CatchUps           uint64 // states brought up to what somebody else had committed
	UnknownOutcomes    uint64 // batches submitted again to learn what became of them
	StateDiffs         uint64 // found by [HostOptions.CheckState]
}

type counters struct {
	activations, activationFailures, passivations, turns, conflicts, panics, rollbacks,
	reloads, catchUps, snapshots, snapshotsIgnored, crashes, unknownOutcomes, stateDiffs atomic.Uint64
}

// Stats returns the system's figures. They are read one by one, not at one
// instant.
func (s *System) Stats() Stats {
	residents, waiting := s.activator.counts()
	return Stats{
		Residents: residents, WaitingActivations: waiting,
		Activations: s.stats.activations.Load(), ActivationFailures: s.stats.activationFailures.Load(),
		Passivations: s.stats.passivations.Load(), Turns: s.stats.turns.Load(),
		Conflicts: s.stats.conflicts.Load(), Panics: s.stats.panics.Load(),
		Rollbacks: s.stats.rollbacks.Load(), Reloads: s.stats.reloads.Load(), CatchUps: s.stats.catchUps.Load(),
		Snapshots: s.stats.snapshots.Load(), SnapshotsIgnored: s.stats.snapshotsIgnored.Load(),
		Crashes: s.stats.crashes.Load(), UnknownOutcomes: s.stats.unknownOutcomes.Load(),
		StateDiffs: s.stats.stateDiffs.Load(),
	}
}
