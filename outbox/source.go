package outbox

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// NewSource opens the outbox of j as a source of messages, for [bus.RunSource]:
// handlers in this process take the place of a broker. It is for development, for
// programs of one service, and for handlers that must not wait for a broker. A
// message is taken from the outbox once its handler has succeeded; one that fails
// for good is parked. Sources and dispatchers of one outbox share its slots.
//
// Of the options it uses Owner, Lanes, LeaseTTL, PollInterval and Logger.
//
// Errors: [envelope.ErrInvalid], naming the option and its value.
func NewSource(j Journal, opts *Options) (bus.Source, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	d := &Dispatcher{journal: j, outbox: j.Outbox(), opts: o, token: rand.Text()}
	s := &source{
		d: d, leases: newLeases(d), parked: parkedKeys{keys: map[string]uint64{}},
		lent: map[uint64]*delivery{}, resting: map[uint64]*rest{}, wake: make(chan struct{}, 1), closed: make(chan struct{}),
	}
	s.leases.busy = s.busy
	renew, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.beside.Go(func() { s.leases.keep(renew) })
	return s, nil
}

// source lends messages of the outbox to handlers. What it has lent, and what was
// given back and rests, is left out of what it reads.
type source struct {
	d      *Dispatcher
	leases *leases
	stop   context.CancelFunc // of renewals
	beside sync.WaitGroup

	lanes   []journal.SlotRange
	losses  int // of leases, until lanes were noted
	floor   uint64
	delayed timetable
	parked  parkedKeys // of the goroutine that receives, and of mu when a message is parked

	mu      sync.Mutex
	lent    map[uint64]*delivery // by position
	resting map[uint64]*rest     // given back
	gone    map[uint64]struct{}  // settled since the last page was asked for, which may have them
	wake    chan struct{}        // has room for one: something was settled or given back
	closed  chan struct{}
}

// rest is a message that was given back.
type rest struct {
	key      string
	slot     int
	due      time.Time
	attempts int
}

var _ bus.Source = (*source)(nil)

// Order: one source has a key, and what is given back comes before what is
// behind it.
func (s *source) Order() bus.Order { return bus.OrderedAlways }

// Lease: messages may be held as long as their slots are.
func (s *source) Lease() time.Duration { return 0 }

// busy reports whether messages of a lane are lent.
func (s *source) busy(lane journal.SlotRange) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.lent {
		if lane.Has(d.message.Slot) {
			return true
		}
	}
	return false
}

func (s *source) Receive(ctx context.Context, limit int) ([]bus.Delivery, error) {
	for {
		select {
		case <-s.closed:
			return nil, bus.ErrClosed
		default:
		}
		changed := s.d.journal.Changed()
		got, wait, err := s.take(ctx, limit)
		if err != nil {
			return nil, s.failed(ctx, err)
		}
		if len(got) > 0 {
			return got, nil
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-s.closed:
		case <-changed:
		case <-s.wake:
		case <-timer.C:
		}
		timer.Stop()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
}

// failed is the bus's error for one of the journal.
func (s *source) failed(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, journal.ErrClosed):
		return fmt.Errorf("%w: %w", bus.ErrClosed, err)
	}
	return fmt.Errorf("%w: %w", bus.ErrUnavailable, err)
}

// take reads and lends what there is. wait is for how long there is nothing else.
func (s *source) take(ctx context.Context, limit int) (got []bus.Delivery, wait time.Duration, err error) {
	if err := s.leases.share(ctx); err != nil {
		return nil, 0, err
	}
	if err := s.relane(ctx); err != nil {
		return nil, 0, err
	}
	if len(s.lanes) == 0 {
		return nil, s.d.opts.PollInterval, nil
	}
	if err := s.takeOrders(ctx); err != nil {
		return nil, 0, err
	}
	if err := s.releaseDelayed(ctx); err != nil {
		return nil, 0, err
	}
	now := time.Now()
	wait = min(s.d.opts.PollInterval, max(s.delayed.look.Sub(now), 0))
	s.mu.Lock()
	s.gone = map[uint64]struct{}{}
	skip := map[string]bool{}
	for _, r := range s.resting {
		if left := r.due.Sub(now); left > 0 {
			wait = min(wait, left)
			if r.key != "" && len(skip) < maxResting {
				skip[r.key] = true
			}
		}
	}
	ask := journal.PendingQuery{Slots: s.lanes, After: s.floor, Limit: limit + len(s.lent) + len(s.resting)}
	for key := range skip {
		ask.Skip = append(ask.Skip, key)
	}
	s.mu.Unlock()
	page, err := s.d.outbox.Pending(ctx, ask)
	if err != nil {
		return nil, 0, err
	}
	got, behind := s.lend(&page, limit, now)
	if len(behind) > 0 {
		if err := s.d.outbox.Settle(ctx, s.d.token, journal.Settlement{Parked: behind}); err != nil {
			s.leases.drop()
			return got, 0, nil //nolint:nilerr // what was lent was lent; without its leases the next call asks anew
		}
	}
	return got, wait, nil
}

// lend hands out what of a page is not out yet, at most limit, and moves the
// floor up to what is.
func (s *source) lend(page *journal.PendingPage, limit int, now time.Time) (got []bus.Delivery, behindParked []journal.Park) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lowest := page.Complete + 1
	if n := len(page.Messages); page.More && n > 0 {
		lowest = min(lowest, page.Messages[n-1].Position+1)
	}
	for position := range s.resting {
		lowest = min(lowest, position)
	}
	for position := range s.lent { // a page leaves out those of keys that rest
		lowest = min(lowest, position)
	}
	for i := range page.Messages {
		m := &page.Messages[i]
		if _, gone := s.gone[m.Position]; gone {
			continue
		}
		r := s.resting[m.Position]
		switch {
		case s.lent[m.Position] != nil, r != nil && now.Before(r.due):
		case s.parked.has(m):
			behindParked = append(behindParked, behind(m, now))
			delete(s.resting, m.Position)
			continue
		case len(got) < limit && !s.keyRests(m):
			d := &delivery{source: s, message: m, attempt: 1}
			if r != nil {
				d.attempt = r.attempts + 1
				delete(s.resting, m.Position)
			}
			s.lent[m.Position] = d
			got = append(got, d)
		}
		lowest = min(lowest, m.Position)
	}
	s.floor = max(s.floor, lowest-1)
	return got, behindParked
}

// keyRests reports whether an earlier message of m's key was given back and is
// not due. s.mu is held.
func (s *source) keyRests(m *envelope.StoredMessage) bool {
	key := m.OrderingKey()
	if key == "" {
		return false
	}
	for position, r := range s.resting {
		if r.key == key && position < m.Position {
			return true // also when it is due: it comes first
		}
	}
	return false
}

// relane is that of work; what rests in lanes that are gone is forgotten.
func (s *source) relane(ctx context.Context) error {
	held, losses := s.leases.lanes()
	lanes := journal.JoinSlots(held)
	if slices.Equal(lanes, s.lanes) && losses == s.losses {
		return nil
	}
	s.delayed.reset()
	s.mu.Lock()
	s.floor = 0
	for position, r := range s.resting {
		if !slices.ContainsFunc(lanes, func(l journal.SlotRange) bool { return l.Has(r.slot) }) {
			delete(s.resting, position)
		}
	}
	loaded := parkedKeys{}
	s.mu.Unlock()
	if err := loaded.load(ctx, s.d.outbox, lanes); err != nil {
		s.lanes = nil
		return err
	}
	s.mu.Lock()
	s.parked, s.lanes, s.losses = loaded, lanes, losses
	s.mu.Unlock()
	return nil
}

// takeOrders is that of work.
func (s *source) takeOrders(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.parked.checked) < s.d.opts.PollInterval {
		return nil
	}
	lowest, err := s.parked.takeOrders(ctx, s.d.outbox, s.lanes, func(settled journal.Settlement) error {
		if settled.IsEmpty() {
			return nil
		}
		return s.d.outbox.Settle(ctx, s.d.token, settled)
	})
	if lowest > 0 {
		s.floor = min(s.floor, lowest-1)
	}
	return err
}

// releaseDelayed is that of work.
func (s *source) releaseDelayed(ctx context.Context) error {
	lowest, err := s.delayed.release(ctx, s.d, s.lanes, func(settled journal.Settlement) error {
		return s.d.outbox.Settle(ctx, s.d.token, settled)
	})
	if lowest > 0 {
		s.mu.Lock()
		s.floor = min(s.floor, lowest-1)
		s.mu.Unlock()
	}
	return err
}

// Close gives back everything, and its slots.
func (s *source) Close(ctx context.Context) error {
	s.mu.Lock()
	select {
	case <-s.closed:
		s.mu.Unlock()
		return nil
	default:
	}
	close(s.closed)
	clear(s.lent)
	s.mu.Unlock()
	s.stop()
	s.beside.Wait()
	s.leases.releaseAll(ctx)
	return nil
}

// delivery is one message on loan.
type delivery struct {
	source  *source
	message *envelope.StoredMessage
	attempt int
}

var _ bus.Delivery = (*delivery)(nil)

func (d *delivery) Message() *envelope.Message   { return &d.message.Message }
func (d *delivery) Malformed() error             { return nil }
func (d *delivery) Attempt() int                 { return d.attempt }
func (d *delivery) Resent() bool                 { return false }
func (d *delivery) Extend(context.Context) error { return nil }

// settle tells the store, and then takes d from what is lent.
func (d *delivery) settle(ctx context.Context, settled journal.Settlement) error {
	s := d.source
	if !s.has(d) {
		return bus.ErrClosed
	}
	err := s.d.outbox.Settle(ctx, s.d.token, settled)
	if errors.Is(err, journal.ErrLeaseLost) {
		s.leases.drop()
	}
	s.mu.Lock()
	delete(s.lent, d.message.Position)
	if err == nil {
		s.gone[d.message.Position] = struct{}{}
		if len(settled.Parked) > 0 {
			s.parked.add(d.message)
		}
	}
	s.mu.Unlock()
	s.nudge()
	if err != nil {
		return s.failed(ctx, err)
	}
	return nil
}

func (s *source) has(d *delivery) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lent[d.message.Position] == d
}

func (s *source) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (d *delivery) Ack(ctx context.Context) error {
	return d.settle(ctx, journal.Settlement{Published: []uint64{d.message.Position}})
}

func (d *delivery) DeadLetter(ctx context.Context, why bus.Failure) error {
	return d.settle(ctx, journal.Settlement{Parked: []journal.Park{{Position: d.message.Position, Parking: journal.Parking{
		Reason: why.Reason, Attempts: why.Attempts, Time: why.Time,
	}}}})
}

func (d *delivery) Retry(_ context.Context, delay time.Duration) error {
	s := d.source
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lent[d.message.Position] != d {
		return bus.ErrClosed
	}
	delete(s.lent, d.message.Position)
	s.resting[d.message.Position] = &rest{
		key: d.message.OrderingKey(), slot: d.message.Slot, due: time.Now().Add(delay), attempts: d.attempt,
	}
	s.nudge()
	return nil
}
