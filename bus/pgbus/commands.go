package pgbus

import (
	"context"
	"crypto/rand"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
)

// commandSource takes commands from the queue. What it has taken bears its
// token, and it renews all of these leases at once.
type commandSource struct {
	t     *transport
	names []string
	token string
	wake  chan struct{}

	keeping sync.WaitGroup
	ctx     context.Context // ends with Close
	end     context.CancelFunc

	kick chan struct{} // has room for one: something is to be deleted

	mu     sync.Mutex
	done   []int64 // acknowledged, not deleted yet
	closed bool
}

var _ bus.Source = (*commandSource)(nil)

func (t *transport) Listen(ctx context.Context, names []string) (bus.Source, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s := &commandSource{t: t, names: names, token: rand.Text(), wake: t.listeners.add(), kick: make(chan struct{}, 1)}
	s.ctx, s.end = context.WithCancel(t.life)
	if err := t.adopt(s); err != nil {
		t.listeners.remove(s.wake)
		return nil, err
	}
	s.keeping.Go(s.keep)
	return s, nil
}

func (s *commandSource) Order() bus.Order     { return bus.Unordered }
func (s *commandSource) Lease() time.Duration { return 0 } // the source renews them

func (s *commandSource) Receive(ctx context.Context, limit int) ([]bus.Delivery, error) {
	for {
		got, err := s.claim(ctx, min(limit, maxPublish))
		if err != nil || len(got) > 0 {
			return got, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-s.ctx.Done():
			return nil, bus.ErrClosed
		case <-s.wake:
		case <-time.After(s.t.opts.Poll):
		}
	}
}

func (s *commandSource) claim(ctx context.Context, limit int) ([]bus.Delivery, error) {
	if s.ctx.Err() != nil {
		return nil, bus.ErrClosed
	}
	rows, err := s.t.pool.Query(ctx, s.t.sql.claim, s.t.opts.Namespace, s.names, s.token, s.t.opts.Lease.Seconds(), limit)
	if err != nil {
		return nil, typed(ctx, "receive", err)
	}
	got, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (bus.Delivery, error) {
		d := &command{source: s}
		var into scanned
		if err := r.Scan(into.targets(&d.position, &d.attempt, &d.resent)...); err != nil {
			return nil, err
		}
		d.message, d.malformed = into.result(envelope.KindCommand)
		return d, nil
	})
	if err != nil {
		return nil, typed(ctx, "receive", err) // what was claimed comes again when its lease ends
	}
	return got, nil
}

// keep renews the leases, and deletes what was acknowledged.
func (s *commandSource) keep() {
	ticker := time.NewTicker(s.t.opts.Lease / 3)
	defer ticker.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.kick:
			s.flush(s.ctx)
		case <-ticker.C:
			s.flush(s.ctx)
			if _, err := s.t.pool.Exec(s.ctx, s.t.sql.renew, s.token, s.t.opts.Lease.Seconds()); err != nil && s.ctx.Err() == nil {
				s.t.opts.Logger.Warn("pgbus: leases of commands were not renewed", "err", err)
			}
		}
	}
}

// flush deletes what was acknowledged. What cannot be deleted is kept for the
// next time.
func (s *commandSource) flush(ctx context.Context) {
	s.mu.Lock()
	done := s.done
	s.done = nil
	s.mu.Unlock()
	if len(done) == 0 {
		return
	}
	if _, err := s.t.pool.Exec(ctx, s.t.sql.ack, done, s.token); err != nil {
		s.mu.Lock()
		s.done = append(s.done, done...)
		s.mu.Unlock()
	}
}

// Close deletes what was acknowledged and gives the rest back.
func (s *commandSource) Close(ctx context.Context) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	s.end()
	s.keeping.Wait()
	defer s.t.forget(s)
	s.t.listeners.remove(s.wake)
	s.flush(ctx)
	_, err := s.t.pool.Exec(ctx, s.t.sql.release, s.token)
	if err != nil {
		return typed(ctx, "give back", err)
	}
	s.t.changed()
	return nil
}

// command is one delivery.
type command struct {
	source    *commandSource
	position  int64
	attempt   int64
	resent    bool
	message   envelope.Message
	malformed error
}

var _ bus.Delivery = (*command)(nil)

func (c *command) Message() *envelope.Message   { return &c.message }
func (c *command) Malformed() error             { return c.malformed }
func (c *command) Attempt() int                 { return int(c.attempt) }
func (c *command) Resent() bool                 { return c.resent }
func (c *command) Extend(context.Context) error { return nil }

// Ack has the command deleted soon, together with others.
func (c *command) Ack(context.Context) error {
	s := c.source
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return bus.ErrClosed
	}
	s.done = append(s.done, c.position)
	fill(s.kick)
	return nil
}

func (c *command) Retry(ctx context.Context, delay time.Duration) error {
	s := c.source
	return c.settle(ctx, "give back", s.t.sql.again, c.position, s.token, delay.Seconds())
}

func (c *command) DeadLetter(ctx context.Context, why bus.Failure) error {
	s := c.source
	return c.settle(ctx, "set aside", s.t.sql.bury, c.position, s.token, s.t.group, c.message.OrderingKey(),
		bus.CutReason(why.Reason), why.Attempts, why.Parked, why.Time)
}

func (c *command) settle(ctx context.Context, doing, statement string, args ...any) error {
	s := c.source
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return bus.ErrClosed
	}
	tag, err := s.t.pool.Exec(ctx, statement, args...)
	if err != nil {
		return typed(ctx, doing, err)
	}
	if tag.RowsAffected() == 0 { // the lease ended, and another one has it
		return bus.ErrClosed
	}
	return nil
}
