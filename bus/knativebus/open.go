package knativebus

import (
	"context"
	"fmt"
	"net/http"
	"sync"

	"github.com/troupe-go/troupe/bus"
)

// New makes a bus that publishes to the brokers of Knative Eventing. It asks
// nothing of them: one that is away shows with the first message. Listen,
// Subscribe and Run of the bus are [bus.ErrUnsupported].
//
// Errors: [bus.ErrInvalid], naming the option and its value.
func New(opts Options) (*bus.Bus, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	brokers := make(map[string]string, len(o.Brokers))
	for name, at := range o.Brokers {
		brokers[name] = at
	}
	o.Brokers = brokers
	t := &transport{opts: o}
	t.client, t.release = o.client()
	t.life, t.end = context.WithCancel(context.Background())
	return bus.New(t), nil
}

// transport is one service's end.
type transport struct {
	opts    Options
	client  *http.Client
	release func() // of the client's connections

	life    context.Context // ends with Close
	end     context.CancelFunc
	mu      sync.Mutex // guards running against a call that begins while Close waits
	running sync.WaitGroup
}

var _ bus.Transport = (*transport)(nil)

// enter counts a call that Close waits for, unless the bus is closed.
func (t *transport) enter() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.life.Err() != nil {
		return false
	}
	t.running.Add(1)
	return true
}

func (t *transport) Features() bus.Features { return t.opts.features() }

func (t *transport) Listen(context.Context, []string) (bus.Source, error) { return nil, errProduces }

func (t *transport) Subscribe(context.Context, []string) (bus.Source, error) { return nil, errProduces }

var errProduces = fmt.Errorf("knativebus: %w: triggers bring messages by HTTP", bus.ErrUnsupported)

func (t *transport) Group() string { return t.opts.Namespace + "." + t.opts.Service }

func (t *transport) DeadLetters() bus.DeadLetters { return nil }

// Close ends what is on its way, which may have arrived, and waits for that.
func (t *transport) Close() error {
	t.mu.Lock()
	t.end()
	t.mu.Unlock()
	t.running.Wait()
	t.release()
	return nil
}
