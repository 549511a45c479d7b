package base

import (
	"context"
	"sync"
	"time"

	"github.com/troupe-go/troupe/bus"
)

// Source is a transport's own type of source.
type Source interface {
	comparable
	bus.Source
}

// Life is a transport's: what runs for it, and its sources, until it is closed.
// It is safe for concurrent use.
type Life[S Source] struct {
	ctx     context.Context // ends with Close
	end     context.CancelFunc
	running sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	sources map[S]struct{}
}

// NewLife begins a life with the values of ctx, whose end does not end it.
func NewLife[S Source](ctx context.Context) *Life[S] {
	l := &Life[S]{sources: map[S]struct{}{}}
	l.ctx, l.end = context.WithCancel(context.WithoutCancel(ctx))
	return l
}

// Context ends with Close, behind the sources.
func (l *Life[S]) Context() context.Context { return l.ctx }

// Done is that of Context.
func (l *Life[S]) Done() <-chan struct{} { return l.ctx.Done() }

// Over reports that Context has ended.
func (l *Life[S]) Over() bool { return l.ctx.Err() != nil }

// OrClosed is err, or a [bus.ErrClosed] in its place if the life is over.
func (l *Life[S]) OrClosed(err error) error {
	if err != nil && l.Over() {
		return bus.ErrClosed
	}
	return err
}

// Start runs f on a goroutine that Wait waits for, unless the life is closed.
func (l *Life[S]) Start(f func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.running.Go(f)
	return true
}

// Tasks is what Wait waits for. Goroutines that it has may add others, also when
// the life is closed.
func (l *Life[S]) Tasks() *sync.WaitGroup { return &l.running }

// Adopt has Close end s, unless the life is closed.
func (l *Life[S]) Adopt(s S) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.sources[s] = struct{}{}
	return true
}

// Forget is the opposite of Adopt.
func (l *Life[S]) Forget(s S) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.sources, s)
}

// Sources are those that were adopted and not forgotten.
func (l *Life[S]) Sources() []S {
	l.mu.Lock()
	defer l.mu.Unlock()
	sources := make([]S, 0, len(l.sources))
	for s := range l.sources {
		sources = append(sources, s)
	}
	return sources
}

// ClosePatience is how long the broker has to answer at the end. It needs a
// round trip; one that is frozen would take for ever.
const ClosePatience = 2 * time.Second

// Close ends the sources, within [ClosePatience], and then the life. It reports
// whether it was this call that did so. What sources cannot give back comes
// again all the same: by the end of a lease, or of the connection.
func (l *Life[S]) Close() bool {
	ctx, cancel := context.WithTimeout(context.Background(), ClosePatience)
	defer cancel()
	for _, s := range l.Sources() {
		_ = s.Close(ctx) // see above
	}
	l.mu.Lock()
	first := !l.closed
	l.closed = true
	l.mu.Unlock()
	l.end()
	return first
}

// Wait returns when everything that runs has ended.
func (l *Life[S]) Wait() { l.running.Wait() }
