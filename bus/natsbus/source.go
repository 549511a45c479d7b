package natsbus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/internal/base"
	"github.com/troupe-go/troupe/envelope"
)

// source takes messages of one kind from two consumers: that of what is
// published, and that of dead letters that are sent again.
//
// It asks the broker for as many as its reader has room for, and no more: what
// waits here cannot be had by another replica. What arrives goes to the buffer
// on the driver's goroutine, and from there to Receive.
type source struct {
	t     *transport
	kind  envelope.Kind
	names []string // of the messages, sorted

	done chan struct{} // closed by Close
	wake chan struct{} // has room for one: something changed that Receive waits for

	mu       sync.Mutex
	pulls    []*pull
	buffer   []*delivery            // arrived, not given out
	held     map[*delivery]struct{} // given out, not settled
	settled  int                    // counts up with every delivery that was settled
	stale    bool                   // the consumers and their requests must be looked after
	trouble  error                  // that the next Receive tells
	fatal    error                  // that every Receive tells
	closed   bool
	forgetMe func()
}

var _ bus.Source = (*source)(nil)

func newSource(t *transport, kind envelope.Kind, names []string) *source {
	s := &source{
		t: t, kind: kind, names: names, done: make(chan struct{}), wake: make(chan struct{}, 1), held: map[*delivery]struct{}{},
	}
	s.forgetMe = t.notices.add(&watch{
		about: func(subject string) bool { return strings.HasPrefix(subject, s.nextSubject("")) },
		tell: func(err error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.fatal = fmt.Errorf("natsbus: receive: %w: %w", bus.ErrUnauthorized, err)
			s.nudge()
		},
	})
	t.life.Start(s.keep)
	return s
}

// nextSubject is that of requests for messages of a consumer.
func (s *source) nextSubject(consumer string) string {
	return s.t.apiPrefix + "CONSUMER.MSG.NEXT." + s.t.names.stream() + "." + consumer
}

func (s *source) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Order is that of the stream with one active replica, as long as nothing is
// given back.
func (s *source) Order() bus.Order {
	if s.t.opts.SingleActive {
		return bus.OrderedWhileHeld
	}
	return bus.Unordered
}

func (s *source) Lease() time.Duration { return s.t.opts.AckWait }

// begin has the next Receive look after the consumers.
func (s *source) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stale = true
	s.nudge()
}

// openPoll is how often a source that is opened tries again while the broker is
// away.
const openPoll = 50 * time.Millisecond

// open prepares s. A broker that is away for a moment is waited for: a run that
// begins would end with the error.
func (s *source) open(ctx context.Context) error {
	over := time.Now().Add(s.t.opts.ConfirmTimeout)
	for {
		err := s.prepare(ctx)
		if !errors.Is(err, bus.ErrUnavailable) || time.Now().After(over) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-s.t.life.Done():
			return bus.ErrClosed
		case <-time.After(openPoll):
		}
	}
}

// prepare makes what is needed, or brings it up to date, and forgets what was
// asked of the broker before.
func (s *source) prepare(ctx context.Context) error {
	s.mu.Lock()
	s.stale = false // what happens from here on counts again
	s.mu.Unlock()
	pulls, err := s.prepared(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err != nil:
		s.stale = true
		return err
	case s.closed:
		for _, p := range pulls {
			_ = p.sub.Unsubscribe() // of a connection that may be lost
		}
		return bus.ErrClosed
	}
	for i, p := range pulls {
		if len(s.pulls) > i {
			p.pin = s.pulls[i].pin
			_ = s.pulls[i].sub.Unsubscribe() // what was on its way comes again after AckWait
			s.abandon(s.pulls[i])
			if p.pin != "" { // what was on its way is as if a former owner had it
				p.takeOver()
			}
		}
	}
	s.pulls = pulls
	return nil
}

func (s *source) prepared(ctx context.Context) ([]*pull, error) {
	if err := s.t.ask(ctx, "open consumers of "+s.t.names.stream(), func(ctx context.Context) error {
		return s.t.consumers(ctx, s.kind, s.names)
	}); err != nil {
		return nil, err
	}
	pulls := []*pull{
		{source: s, consumer: durable(s.t.opts.Group, s.kind), prefix: s.t.names.prefix(s.kind)},
		{source: s, consumer: durableAgain(s.t.opts.Group, s.kind), prefix: s.t.names.again(s.t.opts.Group, s.kind), resent: true},
	}
	for i, p := range pulls {
		if err := p.subscribe(); err != nil {
			for _, other := range pulls[:i] {
				_ = other.sub.Unsubscribe() // of a connection that is lost
			}
			return nil, typed("receive", err)
		}
	}
	return pulls, nil
}

func (s *source) Receive(ctx context.Context, limit int) ([]bus.Delivery, error) {
	quiet := time.NewTimer(s.t.heartbeat())
	defer quiet.Stop()
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		got, stale, err := s.take(limit)
		if stale && err == nil && len(got) == 0 {
			if err := s.prepare(ctx); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil || len(got) > 0 {
			return got, err
		}
		select {
		case <-s.wake:
		case <-quiet.C:
			s.listenForHeartbeats()
			quiet.Reset(s.t.heartbeat())
		case <-s.done:
			return nil, bus.ErrClosed
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// take gives out what is there, and asks for what there is room for beyond.
func (s *source) take(limit int) (got []bus.Delivery, stale bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, false, bus.ErrClosed
	case s.fatal != nil:
		return nil, false, s.fatal
	case s.trouble != nil:
		err, s.trouble = s.trouble, nil
		return nil, false, err
	}
	n := min(limit, len(s.buffer))
	for _, d := range s.buffer[:n] {
		s.held[d] = struct{}{}
		got = append(got, d)
	}
	clear(s.buffer[:n])
	s.buffer = s.buffer[n:]
	if s.stale {
		return got, true, nil
	}
	for _, p := range s.pulls {
		if n := p.due(limit - n - len(s.buffer)); n > 0 {
			if err := p.request(n); err != nil {
				s.stale = true
				return got, len(got) == 0, nil
			}
		}
	}
	return got, false, nil
}

// listenForHeartbeats finds out whether the broker has forgotten what it was
// asked for: it gives a sign of life for every request that waits.
func (s *source) listenForHeartbeats() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.pulls {
		if p.outstanding > 0 && time.Since(p.heard) > 2*s.t.heartbeat()+time.Second {
			s.stale = true
			s.trouble = fmt.Errorf("natsbus: receive: %w: consumer %q gives no sign of life", bus.ErrUnavailable, p.consumer)
			return
		}
	}
}

// keep renews the leases of what has arrived and waits here.
func (s *source) keep() {
	ticker := time.NewTicker(s.Lease() / 3)
	defer ticker.Stop()
	for {
		select {
		case <-s.done:
			return
		case <-s.t.life.Done():
			return
		case <-ticker.C:
		}
		for _, d := range s.waiting() {
			_ = d.tell(ackProgress) // of a lost connection: it comes again
		}
	}
}

// waiting is what has arrived and was not given out.
func (s *source) waiting() []*delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.Clone(s.buffer)
	for _, p := range s.pulls {
		all = append(all, p.early...)
	}
	return all
}

// Close gives back everything, in the order of the stream, and waits until the
// broker has heard.
func (s *source) Close(ctx context.Context) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	close(s.done)
	pulls := s.pulls
	s.mu.Unlock()
	s.forgetMe()
	s.t.life.Forget(s)

	ctx, cancel := context.WithTimeout(ctx, base.ClosePatience)
	defer cancel()
	for _, p := range pulls {
		p.end(ctx)
	}
	s.mu.Lock()
	left := slices.Clone(s.buffer)
	for d := range s.held {
		left = append(left, d)
	}
	for _, p := range pulls {
		left = append(left, p.early...)
	}
	s.mu.Unlock()
	slices.SortFunc(left, bySequence)
	for _, d := range left {
		if err := d.tell(ackBack); err != nil {
			return s.t.life.OrClosed(typed("give back", err))
		}
	}
	if !s.t.conn.IsConnected() { // what is told goes with the connection, if it comes back
		return nil
	}
	err := s.t.conn.FlushWithContext(ctx)
	if err == nil && s.t.opts.SingleActive {
		err = s.unpin(ctx, pulls)
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrConnectionClosed) {
		err = errNoAnswer
	}
	return s.t.life.OrClosed(typed("give back", err))
}

func bySequence(a, b *delivery) int { return cmp.Compare(a.sequence, b.sequence) }
