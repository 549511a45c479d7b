package membus

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
)

// Options tune a bus. A nil *Options means all defaults.
type Options struct {
	// Group is the service: replicas of one group compete for messages,
	// different groups each get a copy of every event. Empty means "default".
	Group string

	// Namespace is the prefix of all names of one application: buses of
	// different namespaces do not see each other's messages. Empty is one, too.
	Namespace string
}

// New makes a bus with a broker of its own, for a program of one service.
func New() *bus.Bus { return NewBroker(nil).Connect(nil) }

// Connect makes a bus of one service on b. It panics if a name in opts is
// malformed.
func (b *Broker) Connect(opts *Options) *bus.Bus {
	if opts == nil {
		opts = &Options{}
	}
	group := opts.Group
	if group == "" {
		group = "default"
	}
	for _, name := range []string{group, opts.Namespace} {
		if name == "" {
			continue
		}
		if err := envelope.ValidateName("group or namespace", name, envelope.MaxNameBytes); err != nil {
			panic(fmt.Sprintf("membus: %v", err))
		}
	}
	t := &transport{broker: b, space: b.space(opts.Namespace), group: group}
	if opts.Namespace != "" {
		t.group = opts.Namespace + "." + group
	}
	return bus.New(t)
}

// transport is one service's end of a broker.
type transport struct {
	broker *Broker
	space  *space
	group  string

	closed  atomic.Bool
	mu      sync.Mutex
	sources []*source
}

var _ bus.Transport = (*transport)(nil)

func (t *transport) Features() bus.Features {
	return bus.Features{
		Name: "memory", Consumes: true, DeadLetters: true, Retained: true,
		OrderedPublish: true, OrderedCommands: true, OrderedEvents: true,
	}
}

func (t *transport) Group() string { return t.group }

func (t *transport) DeadLetters() bus.DeadLetters { return &deadLetters{t.space, t.group} }

func (t *transport) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed.Store(true)
	for _, src := range t.sources {
		t.space.release(src)
	}
	t.sources = nil
	return nil
}

// ready reports why nothing can be done, if so.
func (t *transport) ready(ctx context.Context) error {
	if t.closed.Load() {
		return bus.ErrClosed
	}
	return ctx.Err()
}

func (t *transport) PublishBatch(ctx context.Context, messages []envelope.Message) error {
	if err := t.ready(ctx); err != nil {
		return err
	}
	return t.space.publish(messages)
}

func (t *transport) Listen(ctx context.Context, names []string) (bus.Source, error) {
	return t.open(ctx, names, t.space.listen)
}

func (t *transport) Subscribe(ctx context.Context, names []string) (bus.Source, error) {
	return t.open(ctx, names, t.space.subscribe)
}

func (t *transport) open(ctx context.Context, names []string, open func([]string, string) *source) (bus.Source, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.ready(ctx); err != nil {
		return nil, err
	}
	src := open(names, t.group)
	t.sources = append(t.sources, src)
	src.forget = func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.sources = slices.DeleteFunc(t.sources, func(other *source) bool { return other == src })
	}
	return src, nil
}

// source takes from some queues for one consumer.
type source struct {
	space  *space
	group  string
	queues []*queue
	lanes  map[*lane]struct{} // of which it has messages on loan
	next   int                // queue to begin with, so that none starves
	wake   chan struct{}      // has room for one: something became ready
	closed chan struct{}
	forget func() // by its transport
}

var _ bus.Source = (*source)(nil)

func (s *source) Order() bus.Order     { return bus.OrderedAlways }
func (s *source) Lease() time.Duration { return 0 }

func (s *source) Receive(ctx context.Context, limit int) ([]bus.Delivery, error) {
	for {
		if got := s.space.take(s, limit); len(got) > 0 {
			return got, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-s.closed:
			return nil, bus.ErrClosed
		case <-s.wake:
		}
	}
}

func (s *source) Close(context.Context) error {
	s.space.release(s)
	s.forget()
	return nil
}

// delivery is one entry on loan to a source.
type delivery struct {
	source  *source
	lane    *lane
	entry   *entry
	message envelope.Message
}

var _ bus.Delivery = (*delivery)(nil)

func (d *delivery) Message() *envelope.Message   { return &d.message }
func (d *delivery) Malformed() error             { return nil }
func (d *delivery) Attempt() int                 { return d.entry.attempts }
func (d *delivery) Resent() bool                 { return d.entry.resent }
func (d *delivery) Extend(context.Context) error { return nil }

func (d *delivery) Ack(context.Context) error {
	return d.source.space.settle(d, func() { d.lane.forget(d.entry) })
}

func (d *delivery) Retry(_ context.Context, delay time.Duration) error {
	return d.source.space.settle(d, func() { d.lane.giveBack(d.entry, delay) })
}

func (d *delivery) DeadLetter(_ context.Context, why bus.Failure) error {
	return d.source.space.settle(d, func() {
		d.source.space.bury(d.entry, d.lane.queue, d.source.group, why)
		d.lane.forget(d.entry)
	})
}
