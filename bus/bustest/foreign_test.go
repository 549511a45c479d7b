package bustest_test

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/bustest"
	"github.com/troupe-go/troupe/envelope"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestForeignTransport: a transport that a third party could have written, of
// the plainest kind, passes the suite with nothing but what package bus
// exports. It has leases, and keeps no order; or keeps it while messages are
// held.
func TestForeignTransport(t *testing.T) {
	t.Parallel()
	for _, order := range []bus.Order{bus.Unordered, bus.OrderedWhileHeld} {
		t.Run(fmt.Sprint("order ", order), func(t *testing.T) {
			t.Parallel()
			yard := &yard{order: order, lease: 300 * time.Millisecond, fault: os.Getenv(faultVariable), bins: map[string]*bin{}, dead: map[string]*parcel{}}
			patience := time.Duration(0)
			if yard.fault != "" {
				patience = 3 * time.Second // what it waits for does not come
			}
			bustest.Run(t, bustest.Config{
				Patience: patience,
				Connect: func(t testing.TB, namespace, group string) *bus.Bus {
					b := bus.New(&carrier{yard: yard, namespace: namespace, group: namespace + "." + group})
					t.Cleanup(func() { _ = b.Close() })
					return b
				},
			})
		})
	}
}

// faultVariable has TestForeignTransport run with a fault, in a process of its
// own.
const faultVariable = "TROUPE_BUSTEST_FAULT"

// TestFaultsAreFound: a transport with a fault fails the case that is about it.
func TestFaultsAreFound(t *testing.T) {
	t.Parallel()
	for fault, name := range map[string]string{
		"silent retry":       "SilentBusKeepsWhatItGivesBack",
		"silent dead letter": "SilentBusKeepsWhatItGivesBack",
		"silent resend":      "SilentBusKeepsWhatItGivesBack",
		"one at a time":      "KeysAreHandledAtOnce",
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0], "-test.run", "^TestForeignTransport$/^order_0$/^"+name+"$")
			cmd.Env = append(os.Environ(), faultVariable+"="+fault)
			out, err := cmd.CombinedOutput()
			require.Error(t, err, "it passes")
			require.Contains(t, string(out), "--- FAIL: TestForeignTransport/order_0/"+name)
		})
	}
}

// yard is the broker: bins of parcels.
type yard struct {
	order bus.Order
	lease time.Duration
	fault string // one that TestFaultsAreFound knows, or none

	mu   sync.Mutex
	bins map[string]*bin
	dead map[string]*parcel
	next int
}

// bin is a queue: that of a command's name, or of a group's events.
type bin struct {
	names   map[string]bool
	parcels []*parcel
	holder  *round // of an ordered bin: who may take
}

type parcel struct {
	number   int
	message  envelope.Message
	bin      *bin
	attempts int
	resent   bool
	from     time.Time // not to be taken before
	holder   *round
	failure  bus.Failure
	group    string
}

// carrier is one service's transport.
type carrier struct {
	yard             *yard
	namespace, group string
	mu               sync.Mutex
	closed           bool
	spoke            bool // it published something
}

// forget is a fault: what a carrier that has published nothing hands back loses
// its headers.
func (c *carrier) forget(doing string, p *parcel) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.yard.fault == doing && !c.spoke {
		p.message.Metadata = envelope.Metadata{}
	}
}

func (c *carrier) Features() bus.Features {
	ordered := c.yard.order != bus.Unordered
	return bus.Features{Name: "foreign", Consumes: true, DeadLetters: true, OrderedCommands: ordered, OrderedEvents: ordered, MaxMessageBytes: 1 << 20}
}

func (c *carrier) Group() string { return c.group }

func (c *carrier) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return nil
}

func (c *carrier) ready(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return bus.ErrClosed
	}
	return ctx.Err()
}

func (y *yard) bin(key string) *bin {
	if y.bins[key] == nil {
		y.bins[key] = &bin{names: map[string]bool{}}
	}
	return y.bins[key]
}

func (c *carrier) PublishBatch(ctx context.Context, messages []envelope.Message) error {
	if err := c.ready(ctx); err != nil {
		return err
	}
	c.mu.Lock()
	c.spoke = true
	c.mu.Unlock()
	c.yard.mu.Lock()
	defer c.yard.mu.Unlock()
	for i := range messages {
		m := messages[i]
		m.Data, m.Metadata = slices.Clone(m.Data), m.Metadata.Clone()
		if m.Kind == envelope.KindCommand {
			c.yard.add(c.yard.bin("command "+c.namespace+" "+m.Name), m)
			continue
		}
		for key, b := range c.yard.bins {
			if b.names[m.Name] && strings.HasPrefix(key, "event "+c.namespace+".") {
				c.yard.add(b, m)
			}
		}
	}
	return nil
}

func (y *yard) add(b *bin, m envelope.Message) {
	y.next++
	b.parcels = append(b.parcels, &parcel{number: y.next, message: m, bin: b})
}

func (c *carrier) Listen(ctx context.Context, names []string) (bus.Source, error) {
	if err := c.ready(ctx); err != nil {
		return nil, err
	}
	c.yard.mu.Lock()
	defer c.yard.mu.Unlock()
	r := &round{carrier: c}
	for _, name := range names {
		r.bins = append(r.bins, c.yard.bin("command "+c.namespace+" "+name))
	}
	return r, nil
}

func (c *carrier) Subscribe(ctx context.Context, names []string) (bus.Source, error) {
	if err := c.ready(ctx); err != nil {
		return nil, err
	}
	c.yard.mu.Lock()
	defer c.yard.mu.Unlock()
	b := c.yard.bin("event " + c.group)
	clear(b.names)
	for _, name := range names {
		b.names[name] = true
	}
	return &round{carrier: c, bins: []*bin{b}}, nil
}

// round is a source: it looks into its bins now and then.
type round struct {
	carrier *carrier
	bins    []*bin
	closed  bool
}

func (r *round) Order() bus.Order     { return r.carrier.yard.order }
func (r *round) Lease() time.Duration { return r.carrier.yard.lease }

func (r *round) Receive(ctx context.Context, limit int) ([]bus.Delivery, error) {
	for {
		if got := r.take(limit); len(got) > 0 {
			return got, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
	}
}

func (r *round) take(limit int) (got []bus.Delivery) {
	y := r.carrier.yard
	y.mu.Lock()
	defer y.mu.Unlock()
	now := time.Now()
	for _, b := range r.bins {
		if y.order != bus.Unordered { // one taker at a time
			if b.holder == nil {
				b.holder = r
			}
			if b.holder != r {
				continue
			}
		}
		if y.fault == "one at a time" {
			if slices.ContainsFunc(b.parcels, func(p *parcel) bool { return p.holder == r }) {
				continue
			}
			limit = min(limit, len(got)+1)
		}
		for _, p := range b.parcels {
			if len(got) == limit {
				return got
			}
			if now.Before(p.from) || r.closed {
				continue
			}
			p.attempts++
			p.holder, p.from = r, now.Add(y.lease)
			m := p.message
			m.Data, m.Metadata = slices.Clone(m.Data), m.Metadata.Clone()
			got = append(got, &handover{round: r, parcel: p, message: m, attempt: p.attempts})
		}
	}
	return got
}

func (r *round) Close(context.Context) error {
	y := r.carrier.yard
	y.mu.Lock()
	defer y.mu.Unlock()
	r.closed = true
	for _, b := range r.bins {
		for _, p := range b.parcels {
			if p.holder == r {
				p.holder, p.from = nil, time.Time{}
			}
		}
		if b.holder == r {
			b.holder = nil
		}
	}
	return nil
}

// handover is one delivery.
type handover struct {
	round   *round
	parcel  *parcel
	message envelope.Message
	attempt int
}

func (h *handover) Message() *envelope.Message { return &h.message }
func (h *handover) Malformed() error           { return nil }
func (h *handover) Attempt() int               { return h.attempt }
func (h *handover) Resent() bool               { return h.parcel.resent }

func (h *handover) settle(do func(y *yard)) error {
	y := h.round.carrier.yard
	y.mu.Lock()
	defer y.mu.Unlock()
	if h.parcel.holder != h.round || h.parcel.attempts != h.attempt {
		return bus.ErrClosed
	}
	do(y)
	return nil
}

func (h *handover) remove() {
	b := h.parcel.bin
	b.parcels = slices.DeleteFunc(b.parcels, func(p *parcel) bool { return p == h.parcel })
	h.parcel.holder = nil
}

func (h *handover) Ack(context.Context) error { return h.settle(func(*yard) { h.remove() }) }

func (h *handover) Extend(context.Context) error {
	return h.settle(func(y *yard) { h.parcel.from = time.Now().Add(y.lease) })
}

func (h *handover) Retry(_ context.Context, delay time.Duration) error {
	return h.settle(func(*yard) {
		h.round.carrier.forget("silent retry", h.parcel)
		h.parcel.holder, h.parcel.from = nil, time.Now().Add(delay)
	})
}

func (h *handover) DeadLetter(_ context.Context, why bus.Failure) error {
	return h.settle(func(y *yard) {
		h.remove()
		h.round.carrier.forget("silent dead letter", h.parcel)
		y.next++
		h.parcel.failure, h.parcel.group = why, h.round.carrier.group
		y.dead[strconv.Itoa(y.next)] = h.parcel
	})
}

func (c *carrier) DeadLetters() bus.DeadLetters { return morgue{c} }

type morgue struct{ *carrier }

func (d morgue) letters(filter bus.DeadLetterFilter) []bus.DeadLetter {
	d.yard.mu.Lock()
	defer d.yard.mu.Unlock()
	var all []bus.DeadLetter
	for _, id := range slices.SortedFunc(maps.Keys(d.yard.dead), func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) }) {
		p := d.yard.dead[id]
		l := bus.DeadLetter{ID: id, Group: p.group, Message: p.message, Failure: p.failure}
		if strings.HasPrefix(p.group, d.namespace+".") && filter.Matches(&l, d.group) {
			all = append(all, l)
		}
	}
	return all
}

func (d morgue) List(_ context.Context, filter bus.DeadLetterFilter) iter.Seq2[bus.DeadLetter, error] {
	return func(yield func(bus.DeadLetter, error) bool) {
		for _, l := range d.letters(filter) {
			if !yield(l, nil) {
				return
			}
		}
	}
}

func (d morgue) Show(_ context.Context, id string) (bus.DeadLetter, error) {
	for _, l := range d.letters(bus.DeadLetterFilter{AllGroups: true}) {
		if l.ID == id {
			return l, nil
		}
	}
	return bus.DeadLetter{}, bus.ErrNotFound
}

func (d morgue) take(id string, then func(*parcel)) error {
	d.yard.mu.Lock()
	defer d.yard.mu.Unlock()
	p := d.yard.dead[id]
	if p == nil {
		return bus.ErrNotFound
	}
	delete(d.yard.dead, id)
	then(p)
	return nil
}

func (d morgue) Resend(_ context.Context, id string) error {
	return d.take(id, func(p *parcel) {
		d.forget("silent resend", p)
		p.resent, p.from, p.attempts = true, time.Time{}, 0
		at := slices.IndexFunc(p.bin.parcels, func(other *parcel) bool { return other.number > p.number })
		if at < 0 {
			at = len(p.bin.parcels)
		}
		p.bin.parcels = slices.Insert(p.bin.parcels, at, p)
	})
}

func (d morgue) ResendAll(ctx context.Context, filter bus.DeadLetterFilter) (n int, err error) {
	for _, l := range d.letters(filter) {
		if err := d.Resend(ctx, l.ID); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

func (d morgue) Discard(_ context.Context, id string) error { return d.take(id, func(*parcel) {}) }
