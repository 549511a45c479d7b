package rabbitbus

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/internal/base"
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
	t := &transport{opts: o, names: names{o.Namespace}, life: base.NewLife[*source](ctx)}
	t.delays.declared = map[string]time.Time{}
	t.outgoing.kick = make(chan struct{}, 1)
	t.publishing = newLink(t.life.Context(), t.life.Tasks(), "publish", o.Logger, dial)
	t.consuming = newLink(t.life.Context(), t.life.Tasks(), "consume", o.Logger, dial)
	t.life.Start(t.publishLoop)
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

	life *base.Life[*source]
}

var _ bus.Transport = (*transport)(nil)

func (t *transport) Features() bus.Features { return t.opts.features() }

func (t *transport) Group() string { return t.names.fullGroup(t.opts.Group) }

func (t *transport) DeadLetters() bus.DeadLetters { return deadLetters{t} }

// Close ends the sources, then both connections.
func (t *transport) Close() error {
	t.life.Close() // what could not be given back comes again when the connection ends
	deadline := time.Now().Add(base.ClosePatience)
	t.consuming.close(deadline)
	t.publishing.close(deadline)
	t.life.Wait()
	return nil
}
