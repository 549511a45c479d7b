package aggregate

import (
	"context"
	"fmt"
	"hash/maphash"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/troupe-go/troupe/envelope"
)

// MaxEmissions bounds what one command enqueues.
const MaxEmissions = 4096

// Emission is something that an aggregate enqueued: an event's payload, or a
// value under a name.
type Emission struct {
	Stream   envelope.Stream
	Name     string // of the event, or as given to [Root.Enqueue]
	Version  uint64 // of the event; 0 without one
	Metadata envelope.Metadata
	Value    any // the payload, or as given; do not change it

	to *Emitter // nil: the runtime's
}

// EmitterOptions tune an [Emitter]. A nil *EmitterOptions means all defaults.
type EmitterOptions struct {
	// Lanes bounds how many emissions are delivered at once. Zero means 16.
	Lanes int

	// QueueSize bounds the emissions that wait to be delivered; beyond it the
	// commands that enqueue more are [ErrOverloaded]. Zero means 100,000.
	QueueSize int

	// Logger gets listeners' panics. Nil means [slog.Default].
	Logger *slog.Logger

	// Panicked is told when a listener panicked, after the log. It may be
	// called from several goroutines at once. Nil tells nobody.
	Panicked func(e Emission, value any)
}

// Emitter delivers what aggregates enqueue to listeners in this process, after
// the commit: choreography without a bus. Give it to a host of actors or to a
// [Repository].
//
// Emissions of one aggregate are delivered in order, one after the other, each
// to all its listeners in the order in which they were registered. Different
// aggregates' emissions are delivered concurrently, on up to Lanes goroutines,
// never on an actor's: a listener may Ask any aggregate, the one it hears from
// included, and a slow one delays no command. Two aggregates may share a lane,
// so a listener should not wait for what another listener will do.
//
// Delivery is in memory, at most once: what waits when the process ends is
// lost. What must survive belongs into the outbox.
//
// An Emitter is safe for concurrent use and has no goroutine while nothing
// waits.
type Emitter struct {
	opts   EmitterOptions
	seed   maphash.Seed
	ctx    context.Context // of listeners
	cancel context.CancelFunc

	mu        sync.Mutex
	lanes     []lane
	waiting   int // reserved, queued or being delivered
	closed    bool
	idle      chan struct{} // closed once waiting is 0; nil while nobody asks
	listeners []*listener   // replaced, never changed
}

// lane is a queue that one goroutine empties.
type lane struct {
	queue   []Emission
	running bool
}

type listener struct {
	name string // empty: all names
	call func(context.Context, Emission)
}

// NewEmitter makes an emitter without listeners.
//
// Errors: [ErrInvalid] for a negative option.
func NewEmitter(opts *EmitterOptions) (*Emitter, error) {
	m := &Emitter{seed: maphash.MakeSeed()}
	if opts != nil {
		m.opts = *opts
	}
	o := &m.opts
	switch {
	case o.Lanes < 0:
		return nil, envelope.Invalid("EmitterOptions.Lanes", fmt.Sprint(o.Lanes), "is negative")
	case o.QueueSize < 0:
		return nil, envelope.Invalid("EmitterOptions.QueueSize", fmt.Sprint(o.QueueSize), "is negative")
	}
	if o.Lanes == 0 {
		o.Lanes = 16
	}
	if o.QueueSize == 0 {
		o.QueueSize = 100_000
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	m.lanes = make([]lane, o.Lanes)
	m.ctx, m.cancel = context.WithCancel(context.Background())
	return m, nil
}

// Listen calls f for each emission whose value is an E: an event's payload type,
// or an interface such as the sealed one of an aggregate's events. ctx is ended
// when [Emitter.Close] gives up waiting. stop ends it; an emission under way is
// still delivered.
func Listen[E any](m *Emitter, f func(ctx context.Context, value E, e Emission)) (stop func()) {
	return m.listen(&listener{call: func(ctx context.Context, e Emission) {
		if v, ok := e.Value.(E); ok {
			f(ctx, v, e)
		}
	}})
}

// Listen calls f for each emission of that name; an empty name means all.
// Otherwise it is as the function [Listen].
func (m *Emitter) Listen(name string, f func(ctx context.Context, e Emission)) (stop func()) {
	return m.listen(&listener{name: name, call: f})
}

func (m *Emitter) listen(l *listener) (stop func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.listeners = append(slices.Clip(m.listeners), l)
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.listeners = slices.DeleteFunc(slices.Clone(m.listeners), func(other *listener) bool { return other == l })
	}
}

// Waiting returns how many emissions are reserved, queued or being delivered.
func (m *Emitter) Waiting() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.waiting
}

// Wait returns once nothing waits to be delivered, or with the context's error.
func (m *Emitter) Wait(ctx context.Context) error {
	for {
		m.mu.Lock()
		if m.waiting == 0 {
			m.mu.Unlock()
			return nil
		}
		if m.idle == nil {
			m.idle = make(chan struct{})
		}
		idle := m.idle
		m.mu.Unlock()
		select {
		case <-idle:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Close waits until everything is delivered, or until ctx ends: then the
// listeners' context ends too, and what waits is dropped. Commands that enqueue
// meanwhile and afterwards are [ErrStopped]: where listeners ask for commands
// that enqueue in turn, [Emitter.Wait] first. A second Close waits likewise.
//
// Errors: the context's, with how many emissions were dropped.
func (m *Emitter) Close(ctx context.Context) error {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	err := m.Wait(ctx)
	m.cancel()
	if err == nil {
		return nil
	}
	m.mu.Lock()
	dropped := 0
	for i := range m.lanes {
		dropped += len(m.lanes[i].queue)
		m.lanes[i].queue = nil
	}
	m.released(dropped)
	m.mu.Unlock()
	return fmt.Errorf("aggregate: emitter closed, %d emissions dropped: %w", dropped, err)
}

// A commit lies between a command and its emissions: there must be room for them
// before it, and nothing may be heard of them until it succeeded. So a runtime
// takes them to their emitters in two steps.

// ReserveEmissions checks what one command enqueued and takes room for it in
// the emitters: def, or the aggregate's own; without either an emission is
// dropped. What remains is returned, and [EmitReserved] or [ReleaseEmissions]
// must follow. s is the command's stream.
//
// Errors: [ErrInvalid] for a name that is not valid and for too many,
// [ErrOverloaded], [ErrStopped]; nothing is reserved then.
func ReserveEmissions(def *Emitter, s envelope.Stream, emissions []Emission) ([]Emission, error) {
	if len(emissions) > MaxEmissions {
		return nil, envelope.Invalid("emissions", fmt.Sprint(len(emissions)), fmt.Sprintf("at most %d are allowed for one command", MaxEmissions))
	}
	kept := emissions[:0]
	for _, e := range emissions {
		if err := envelope.ValidateName("name of an emission", e.Name, envelope.MaxNameBytes); err != nil {
			ReleaseEmissions(kept)
			return nil, err
		}
		if e.to == nil {
			e.to = def
		}
		if e.to == nil {
			continue
		}
		if err := e.to.reserve(); err != nil {
			ReleaseEmissions(kept)
			return nil, err
		}
		e.Stream = s
		kept = append(kept, e)
	}
	clear(emissions[len(kept):])
	return kept, nil
}

// EmitReserved hands reserved emissions to their emitters. It does not wait.
func EmitReserved(emissions []Emission) {
	for _, e := range emissions {
		e.to.emit(e)
	}
}

// ReleaseEmissions gives the room of reserved emissions back.
func ReleaseEmissions(emissions []Emission) {
	for _, e := range emissions {
		e.to.mu.Lock()
		e.to.released(1)
		e.to.mu.Unlock()
	}
}

var errEmitterFull = fmt.Errorf("%w: too many emissions wait for listeners", ErrOverloaded)

func (m *Emitter) reserve() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed:
		return fmt.Errorf("%w: the emitter is closed", ErrStopped)
	case m.waiting >= m.opts.QueueSize:
		return errEmitterFull
	}
	m.waiting++
	return nil
}

// released gives n reservations back. The lock is held.
func (m *Emitter) released(n int) {
	m.waiting -= n
	if m.waiting == 0 && m.idle != nil {
		close(m.idle)
		m.idle = nil
	}
}

func (m *Emitter) emit(e Emission) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ctx.Err() != nil { // Close gave up
		m.released(1)
		return
	}
	l := &m.lanes[maphash.Comparable(m.seed, e.Stream)%uint64(len(m.lanes))]
	l.queue = append(l.queue, e)
	if !l.running {
		l.running = true
		go m.run(l)
	}
}

// run delivers until its lane is empty.
func (m *Emitter) run(l *lane) {
	ended := false
	defer func() {
		if !ended { // a listener ended the goroutine, as tests' FailNow does
			m.mu.Lock()
			m.released(1)
			m.mu.Unlock()
			go m.run(l)
		}
	}()
	for {
		m.mu.Lock()
		if len(l.queue) == 0 {
			ended, l.queue, l.running = true, nil, false
			m.mu.Unlock()
			return
		}
		e := l.queue[0]
		l.queue[0] = Emission{}
		l.queue = l.queue[1:]
		listeners := m.listeners
		m.mu.Unlock()
		for _, to := range listeners {
			if to.name == "" || to.name == e.Name {
				m.deliver(to, e)
			}
		}
		m.mu.Lock()
		m.released(1)
		m.mu.Unlock()
	}
}

// deliver calls one listener; its panic is its own.
func (m *Emitter) deliver(to *listener, e Emission) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		m.opts.Logger.Error("listener panicked", slog.String("stream", e.Stream.String()),
			slog.String("name", e.Name), slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
		if m.opts.Panicked != nil {
			m.opts.Panicked(e, v)
		}
	}()
	to.call(m.ctx, e)
}
