package rabbitbus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
)

// delivery is one message on loan.
type delivery struct {
	session *session
	raw     amqp.Delivery
	queue   string // that it came from
	arrived
	settled atomic.Bool
}

var _ bus.Delivery = (*delivery)(nil)

func (now *session) delivery(raw amqp.Delivery) *delivery {
	s := now.source
	now.mu.Lock()
	queue := now.queueOf[raw.ConsumerTag]
	now.mu.Unlock()
	name := raw.RoutingKey // of an event
	if s.kind == envelope.KindCommand {
		name = s.queues[queue]
	}
	return &delivery{session: now, raw: raw, queue: queue, arrived: decode(&raw, s.kind, name)}
}

func (d *delivery) Message() *envelope.Message   { return &d.message }
func (d *delivery) Malformed() error             { return d.malformed }
func (d *delivery) Attempt() int                 { return d.attempts + 1 }
func (d *delivery) Resent() bool                 { return d.resent }
func (d *delivery) Extend(context.Context) error { return nil }

// begin claims the right to settle d: a second settling would end the channel.
func (d *delivery) begin() error {
	if d.session.source.isClosed() || d.settled.Swap(true) {
		return bus.ErrClosed
	}
	return nil
}

// tell is what the broker could be told on d's own channel.
func (d *delivery) tell(err error) error {
	if err == nil {
		return nil
	}
	if d.session.source.isClosed() {
		return bus.ErrClosed
	}
	return fmt.Errorf("rabbitbus: settle: %w: %w", bus.ErrUnavailable, err)
}

func (d *delivery) Ack(context.Context) error {
	if err := d.begin(); err != nil {
		return err
	}
	return d.tell(d.session.ch.Ack(d.raw.DeliveryTag, false))
}

// Retry without a delay gives the message back. With one it is published to a
// queue where it waits, and taken from its own one when that is confirmed: after
// a crash in between it is in both.
//
// A single active consumer would be given at once what it gives back, behind
// all that is on its way to it. So that stays with it until the channel ends,
// which the next Receive has happen: then the broker puts all of it back in
// its place.
func (d *delivery) Retry(ctx context.Context, delay time.Duration) error {
	if err := d.begin(); err != nil {
		return err
	}
	if delay <= 0 {
		if d.session.source.t.opts.SingleActive {
			d.session.mu.Lock()
			d.session.owed = true
			d.session.mu.Unlock()
			return nil
		}
		return d.tell(d.session.ch.Nack(d.raw.DeliveryTag, false, true))
	}
	if err := d.wait(ctx, delay); err != nil {
		// It comes again all the same, after as long as this process lives to
		// wait for it.
		d.session.nackAfter(d.raw.DeliveryTag, delay)
		if d.session.ch.IsClosed() {
			return d.tell(err)
		}
		return nil
	}
	return d.tell(d.session.ch.Ack(d.raw.DeliveryTag, false))
}

// wait publishes the message to a queue where it waits.
func (d *delivery) wait(ctx context.Context, delay time.Duration) error {
	t, s := d.session.source.t, d.session.source
	ttl := roundDelay(delay)
	to := delayed{name: t.names.commandDelay(ttl), ttl: ttl}
	key := d.queue
	if s.kind == envelope.KindEvent {
		to = delayed{name: t.names.groupDelay(t.opts.Group, ttl), ttl: ttl, target: t.names.again(t.opts.Group)}
		key = d.raw.RoutingKey
	}
	if err := t.declareDelay(ctx, to); err != nil {
		return err
	}
	p := again(&d.raw, t.publishing.frameSize(), func(key string) bool { return key == headerAttempts })
	p.Headers[headerAttempts] = strconv.Itoa(d.Attempt())
	err := t.publishOne(ctx, newParcel(to.name, key, p))
	if err != nil {
		t.forgetDelay(to.name) // it may be gone
	}
	return err
}

// nackAfter gives a message back once its delay is over, if the channel still
// lives then.
func (now *session) nackAfter(tag uint64, delay time.Duration) {
	now.source.t.life.Start(func() {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
			_ = now.ch.Nack(tag, false, true) // on a lost channel it is back already
		case <-now.gone:
		}
	})
}

// DeadLetter publishes the message to the dead letters, then takes it from its
// queue.
func (d *delivery) DeadLetter(ctx context.Context, why bus.Failure) error {
	if err := d.begin(); err != nil {
		return err
	}
	t := d.session.source.t
	p := again(&d.raw, t.publishing.frameSize(), dropBeforeDead)
	p.Headers[headerDeadID] = rand.Text()
	p.Headers[bus.HeaderKind] = d.message.Kind.String()
	for key, value := range bus.DeadHeaders(d.message.Name, t.Group(), why) {
		p.Headers[key] = value
	}
	err := t.publishOne(ctx, newParcel("", t.names.dead(), p))
	if errors.Is(err, bus.ErrUnroutable) { // somebody deleted the queue
		if err = t.onChannel(ctx, t.publishing, t.declareDead); err == nil {
			err = t.publishOne(ctx, newParcel("", t.names.dead(), p))
		}
	}
	if err != nil {
		d.settled.Store(false) // it stays
		return err
	}
	return d.tell(d.session.ch.Ack(d.raw.DeliveryTag, false))
}

// dropBeforeDead are headers of a delivery that a dead letter does not have.
func dropBeforeDead(key string) bool {
	return key == headerAttempts || key == headerResent || key == headerDeadID || bus.SetDeadHeader(&bus.DeadLetter{}, key, "")
}
