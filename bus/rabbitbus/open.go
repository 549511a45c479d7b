package rabbitbus

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/troupe-go/troupe/bus"
)

// Connect makes a bus on the broker at url, such as
// "amqp://user:password@host:5672/vhost", and declares the exchange of events.
// Once connected the bus connects again by itself, for ever.
//
// The user needs the permissions to configure, write and read what begins with
// the namespace, and to write to the default exchange ("amq.default").
//
// Errors: [bus.ErrUnavailable], [bus.ErrUnauthorized] for refused credentials or
// a missing permission, [ErrVhost], [ErrArguments], and [bus.ErrInvalid] for an
// option or a malformed url.
func Connect(ctx context.Context, url string, opts Options) (*bus.Bus, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	dial, err := dialer(url, &o)
	if err != nil {
		return nil, err
	}
	t := &transport{opts: o, names: names{o.Namespace}, sources: map[*source]struct{}{}}
	t.delays.declared = map[string]time.Time{}
	t.outgoing.kick = make(chan struct{}, 1)
	t.life, t.end = context.WithCancel(context.WithoutCancel(ctx))
	t.publishing = newLink(t.life, &t.running, "publish", o.Logger, dial)
	t.consuming = newLink(t.life, &t.running, "consume", o.Logger, dial)
	t.start(t.publishLoop)
	if err := t.onChannel(ctx, t.publishing, t.declareEvents); err != nil {
		_ = t.Close() // there is nothing yet
		return nil, err
	}
	return bus.New(t), nil
}

// Unrouted counts the events that b published and that no group had subscribed
// to. It is 0 for a bus of another transport.
func Unrouted(b *bus.Bus) int64 {
	if t, ok := b.Transport().(*transport); ok {
		return t.unrouted.Load()
	}
	return 0
}

// transport is one service's end.
type transport struct {
	opts                  Options
	names                 names
	publishing, consuming *link
	outgoing              outgoing
	unrouted              atomic.Int64

	delays struct {
		mu       sync.Mutex
		declared map[string]time.Time // queues for waiting → when they were last declared
	}
	browsing sync.Mutex // held by who looks at the dead letters

	life    context.Context // ends with Close
	end     context.CancelFunc
	running sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	sources map[*source]struct{}
}

var _ bus.Transport = (*transport)(nil)

// start runs f on a goroutine that Close waits for, unless the bus is closed.
func (t *transport) start(f func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.running.Go(f)
	return true
}

// orClosed is err, or that the bus was closed meanwhile.
func (t *transport) orClosed(err error) error {
	if t.life.Err() != nil {
		return bus.ErrClosed
	}
	return err
}

func (t *transport) Features() bus.Features { return t.opts.features() }

func (t *transport) Group() string { return t.names.fullGroup(t.opts.Group) }

func (t *transport) DeadLetters() bus.DeadLetters { return deadLetters{t} }

// closePatience is how long the broker has to answer at the end. It needs a
// round trip; one that is frozen would take for ever.
const closePatience = 2 * time.Second

// Close ends the sources, then both connections.
func (t *transport) Close() error {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return nil
	}
	sources := make([]*source, 0, len(t.sources))
	for s := range t.sources {
		sources = append(sources, s)
	}
	t.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), closePatience)
	defer cancel()
	for _, s := range sources {
		_ = s.Close(ctx) // what it could not give back comes again when the connection ends
	}
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.end()
	deadline := time.Now().Add(closePatience)
	t.consuming.close(deadline)
	t.publishing.close(deadline)
	t.running.Wait()
	return nil
}
