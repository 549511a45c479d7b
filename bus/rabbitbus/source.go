package rabbitbus

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
)

// source takes messages of one kind from one or several queues.
type source struct {
	t      *transport
	kind   envelope.Kind
	names  []string          // of the messages
	queues map[string]string // queue → name of its commands; "" for events, whose routing key is their name

	done chan struct{} // closed by Close

	mu       sync.Mutex
	session  *session      // nil if there is none
	opening  chan struct{} // closed when the attempt under way has ended; nil without one
	failed   error         // of the last attempt, until it was told
	prefetch int           // the most that was asked for so far
	closed   bool
}

var _ bus.Source = (*source)(nil)

// session is one channel of a source, from its opening until it is lost. Every
// delivery belongs to one: a tag means nothing on another channel.
type session struct {
	source *source
	ch     *amqp.Channel
	got    chan amqp.Delivery
	gone   chan struct{} // closed when the channel is

	mu       sync.Mutex
	prefetch int               // of all consumers
	growing  bool              // more of them are being made
	tags     []string          // of the consumers that still receive
	queueOf  map[string]string // by tag of every consumer there was
	owed     bool              // something given back must wait for the end of the channel, see delivery.Retry
	cause    error             // of its end
}

func (t *transport) Listen(ctx context.Context, names []string) (bus.Source, error) {
	for _, name := range names {
		if err := t.names.checkCommand(name); err != nil {
			return nil, envelope.Invalid("command name", name, err.Error())
		}
	}
	return t.open(ctx, envelope.KindCommand, names)
}

func (t *transport) Subscribe(ctx context.Context, names []string) (bus.Source, error) {
	for _, name := range names {
		if err := t.names.checkEvent(name); err != nil {
			return nil, envelope.Invalid("event name", name, err.Error())
		}
	}
	return t.open(ctx, envelope.KindEvent, names)
}

func (t *transport) open(ctx context.Context, kind envelope.Kind, names []string) (bus.Source, error) {
	s := &source{t: t, kind: kind, names: names, queues: map[string]string{}, done: make(chan struct{})}
	if kind == envelope.KindEvent {
		s.queues[t.names.group(t.opts.Group)] = ""
	}
	for _, name := range names {
		if kind == envelope.KindCommand {
			s.queues[t.names.command(name)] = name
		}
	}
	if err := t.onChannel(ctx, t.consuming, s.declare); err != nil {
		return nil, t.life.OrClosed(err)
	}
	if !t.life.Adopt(s) {
		return nil, bus.ErrClosed
	}
	return s, nil
}

func (s *source) declare(ch *amqp.Channel) error {
	if s.kind == envelope.KindEvent {
		return s.t.declareGroup(ch, s.names)
	}
	return s.t.declareCommands(ch, s.names)
}

// Order is that of the broker with one active consumer, as long as nothing is
// given back.
func (s *source) Order() bus.Order {
	if s.t.opts.SingleActive {
		return bus.OrderedWhileHeld
	}
	return bus.Unordered
}

// Lease is for ever: as long as the channel lives. (The broker's own limit,
// consumer_timeout, is 30 minutes by default; then it ends the channel.)
func (s *source) Lease() time.Duration { return 0 }

func (s *source) Receive(ctx context.Context, limit int) ([]bus.Delivery, error) {
	now, err := s.ready(ctx, limit)
	if err != nil {
		return nil, err
	}
	select {
	case <-now.gone: // what waits comes again
		return nil, s.lost(now)
	default:
	}
	var got []bus.Delivery
	select {
	case d := <-now.got:
		got = append(got, now.delivery(d))
	case <-now.gone:
		return nil, s.lost(now)
	case <-s.done:
		return nil, bus.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for len(got) < limit {
		select {
		case d := <-now.got:
			got = append(got, now.delivery(d))
		default:
			return got, nil
		}
	}
	return got, nil
}

// lost forgets a session that has ended, and says why.
func (s *source) lost(old *session) error {
	s.mu.Lock()
	if s.session == old {
		s.session = nil
	}
	s.mu.Unlock()
	old.mu.Lock()
	defer old.mu.Unlock()
	return fmt.Errorf("rabbitbus: receive: %w: the channel was lost: %w", bus.ErrUnavailable, old.cause)
}

// ready returns the session, and opens one first if there is none. The opening
// goes on when ctx ends, for the next call.
func (s *source) ready(ctx context.Context, limit int) (*session, error) {
	for {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return nil, bus.ErrClosed
		}
		s.prefetch = max(s.prefetch, min(limit, maxPrefetch))
		if now := s.session; now != nil {
			s.mu.Unlock()
			if !now.owes() {
				now.grow(s.prefetch)
				return now, nil
			}
			now.end(ctx) // gives back all it has
			_ = s.lost(now)
			continue
		}
		if err := s.failed; err != nil {
			s.failed = nil
			s.mu.Unlock()
			return nil, err
		}
		if s.opening == nil {
			s.opening = make(chan struct{})
			if !s.t.life.Start(s.connect) {
				s.mu.Unlock()
				return nil, bus.ErrClosed
			}
		}
		opening := s.opening
		s.mu.Unlock()
		select {
		case <-opening:
		case <-s.done:
			return nil, bus.ErrClosed
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// connect opens a session.
func (s *source) connect() {
	s.mu.Lock()
	prefetch := s.prefetch
	s.mu.Unlock()
	now, err := s.newSession(prefetch)
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.opening)
	s.opening = nil
	switch {
	case err != nil:
		s.failed = s.t.life.OrClosed(err)
	case s.closed:
		s.t.life.Start(func() { _ = now.ch.Close() })
	default:
		s.session = now
	}
}

func (s *source) newSession(prefetch int) (*session, error) {
	conn, err := s.t.consuming.get(s.t.life.Context())
	if err != nil {
		return nil, err
	}
	ch, err := conn.Channel()
	if err != nil {
		return nil, typed("receive", err)
	}
	now := &session{
		source: s, ch: ch, got: make(chan amqp.Delivery, gotBuffer), gone: make(chan struct{}), queueOf: map[string]string{},
	}
	gone := ch.NotifyClose(make(chan *amqp.Error, 1))
	cancelled := ch.NotifyCancel(make(chan string, len(s.queues)))
	if !s.t.life.Start(func() { now.watch(gone, cancelled) }) {
		_ = ch.Close()
		return nil, bus.ErrClosed
	}
	err = s.declare(ch)
	if err == nil {
		if s.t.opts.SingleActive {
			prefetch = max(prefetch, s.t.opts.MaxHeld)
		}
		err = typed("receive", now.consume(prefetch))
	}
	if err != nil {
		_ = ch.Close()
		return nil, err
	}
	return now, nil
}

// watch waits for the end of the channel. A consumer that the broker cancels,
// as its queue was deleted, is such an end.
func (now *session) watch(gone chan *amqp.Error, cancelled chan string) {
	defer close(now.gone)
	for {
		select {
		case why := <-gone:
			now.mu.Lock()
			defer now.mu.Unlock()
			if now.cause == nil {
				now.cause = amqp.ErrClosed
			}
			if why != nil {
				now.cause = why
			}
			return
		case tag, ok := <-cancelled:
			if !ok {
				cancelled = nil
				continue
			}
			now.mu.Lock()
			now.cause = fmt.Errorf("the broker cancelled the consumer %s: its queue was deleted or is away", tag)
			now.mu.Unlock()
			now.source.t.life.Start(func() { _ = now.ch.Close() })
		}
	}
}

// fewest is how many messages a consumer of one of several queues may have at
// least: with less it waits for the broker between messages.
const fewest = 16

// gotBuffer is how many messages wait for the next Receive beside those in the
// driver's own memory: enough that one call takes many.
const gotBuffer = 256

// consume begins to receive. RabbitMQ bounds what each consumer has, not what a
// channel has (quorum queues refuse that): with several queues each gets its
// part.
func (now *session) consume(prefetch int) error {
	s := now.source
	part := prefetch
	if n := len(s.queues); n > 1 && !s.t.opts.SingleActive {
		part = max((prefetch+n-1)/n, min(prefetch, fewest))
	}
	if err := now.ch.Qos(part, 0, false); err != nil {
		return err
	}
	var tags []string
	for queue := range s.queues {
		now.mu.Lock()
		tag := "troupe-" + strconv.Itoa(len(now.queueOf)) // names it on this channel only
		now.queueOf[tag] = queue
		now.mu.Unlock()
		from, err := now.ch.Consume(queue, tag, false, false, false, false, nil)
		if err != nil {
			return err
		}
		tags = append(tags, tag)
		if !s.t.life.Start(func() { now.forward(from) }) {
			return bus.ErrClosed
		}
	}
	now.mu.Lock()
	defer now.mu.Unlock()
	now.tags, now.prefetch = tags, prefetch
	return nil
}

// forward passes on what one consumer gets.
func (now *session) forward(from <-chan amqp.Delivery) {
	for d := range from {
		select {
		case now.got <- d:
		case <-now.gone:
			for range from { // the driver waits for its end
			}
			return
		}
	}
}

// grow gives consumers more room when more is asked for than at first: new ones
// take over on the same channel, and what the old ones have got stays where it
// is. A single active consumer has all its room from the beginning, as another
// replica would take over in between.
func (now *session) grow(prefetch int) {
	now.mu.Lock()
	defer now.mu.Unlock()
	if prefetch < 2*now.prefetch || now.growing || now.source.t.opts.SingleActive {
		return
	}
	old := now.tags
	now.growing = now.source.t.life.Start(func() { // nobody waits for it
		err := now.consume(prefetch)
		for _, tag := range old {
			if err == nil {
				err = now.ch.Cancel(tag, false)
			}
		}
		now.mu.Lock()
		defer now.mu.Unlock()
		now.growing = err != nil // then the channel is lost, as Receive will see
	})
}

func (now *session) owes() bool {
	now.mu.Lock()
	defer now.mu.Unlock()
	return now.owed
}

// end closes the channel: the broker takes back what was not settled, in its
// old order.
func (now *session) end(ctx context.Context) {
	_, _ = await(ctx, now.source.t, now.source.t.consuming, func() (struct{}, error) { return struct{}{}, now.ch.Close() })
}

func (s *source) Close(ctx context.Context) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	close(s.done)
	now := s.session
	s.mu.Unlock()
	s.t.life.Forget(s)
	if now == nil {
		return nil
	}
	_, err := await(ctx, s.t, s.t.consuming, func() (struct{}, error) {
		_ = now.ch.Close() // if it is lost the broker has everything back already
		return struct{}{}, nil
	})
	return s.t.life.OrClosed(err)
}

func (s *source) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}
