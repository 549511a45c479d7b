package rabbitbus

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
)

// deadLetters are the messages in the queue of dead letters.
//
// A queue cannot be read without being consumed: whoever looks takes messages,
// oldest first, and lets the channel end, by which the broker puts back, in
// their old order, those that were not acknowledged. Two who look at the same
// time would each see a part, and put theirs back in the wrong order. So there
// is a lock: a queue that is exclusive to one connection, and gone with it.
// Consumers that set messages aside meanwhile are not concerned: they publish.
type deadLetters struct{ t *transport }

var _ bus.DeadLetters = deadLetters{}

// lockPoll is how often a lock is tried that somebody else has: a look at a
// thousand dead letters takes some hundred milliseconds.
const lockPoll = 50 * time.Millisecond

// verdict is what becomes of a dead letter that is looked at.
type verdict int

const (
	keep verdict = iota
	remove
)

// maxBrowse is how many dead letters, the oldest, are looked at: as many as one
// consumer may have.
const maxBrowse = maxPrefetch

// browseIdle is how long the next one may take to arrive before those that the
// broker counted are taken to be gone, removed by other means.
const browseIdle = 2 * time.Second

// browse shows visit each dead letter, oldest first, until it returns false.
// Nobody else looks meanwhile. It holds the messages in memory that it has
// passed.
func (d deadLetters) browse(ctx context.Context, doing string, visit func(*amqp.Delivery) (v verdict, more bool, err error)) error {
	conn, err := d.t.consuming.get(ctx)
	if err != nil {
		return d.t.life.OrClosed(err)
	}
	_, err = await(ctx, d.t, d.t.consuming, func() (struct{}, error) {
		d.t.browsing.Lock()
		defer d.t.browsing.Unlock()
		return struct{}{}, d.locked(ctx, conn, func(locked *amqp.Channel) error {
			ch, err := conn.Channel()
			if err != nil {
				return err
			}
			left, err := d.walk(ctx, ch, visit)
			if closed := ch.Close(); err == nil {
				err = closed // what was removed is removed only then
			}
			return errors.Join(err, d.restored(ctx, locked, left))
		})
	})
	return d.t.life.OrClosed(typed(doing, err))
}

// walk returns how many dead letters are left of those that there were.
//
// It is one consumer that takes them: the broker puts back what one had in
// order, but not what was taken by several, or by basic.get, where each get is
// a consumer to a quorum queue (rabbit_fifo of RabbitMQ 3.10).
func (d deadLetters) walk(ctx context.Context, ch *amqp.Channel, visit func(*amqp.Delivery) (verdict, bool, error)) (left int, err error) {
	queue, err := ch.QueueDeclare(d.t.names.dead(), true, false, false, false, quorum())
	if err != nil {
		return 0, declared("queue", d.t.names.dead(), err)
	}
	left = queue.Messages
	if left == 0 {
		return 0, nil
	}
	if err := ch.Qos(min(left, maxBrowse), 0, false); err != nil {
		return left, err
	}
	arriving, err := ch.Consume(queue.Name, "", false, false, false, false, nil)
	if err != nil {
		return left, err
	}
	idle := time.NewTimer(browseIdle)
	defer idle.Stop()
	for range min(queue.Messages, maxBrowse) {
		var raw amqp.Delivery
		var ok bool
		select {
		case raw, ok = <-arriving:
		case <-ctx.Done():
			return left, ctx.Err()
		case <-idle.C:
			return 0, nil
		}
		if !ok {
			return left, amqp.ErrClosed
		}
		idle.Reset(browseIdle)
		v, more, err := visit(&raw)
		if err != nil {
			return left, err
		}
		if v == remove {
			if err := ch.Ack(raw.DeliveryTag, false); err != nil {
				return left, err
			}
			left--
		}
		if !more {
			break
		}
	}
	return left, nil
}

// restored waits until the broker has put back what was looked at, which it
// does a moment after the channel is closed: whoever looks next must see it.
func (d deadLetters) restored(ctx context.Context, ch *amqp.Channel, left int) error {
	for begin := time.Now(); ; {
		queue, err := ch.QueueDeclarePassive(d.t.names.dead(), true, false, false, false, quorum())
		if err != nil || queue.Messages >= left || time.Since(begin) > browseIdle {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

// locked runs f while this connection alone has the lock.
func (d deadLetters) locked(ctx context.Context, conn *amqp.Connection, f func(*amqp.Channel) error) error {
	for {
		ch, err := conn.Channel()
		if err != nil {
			return err
		}
		_, err = ch.QueueDeclare(d.t.names.deadLock(), false, false, true, false, nil)
		if err == nil {
			err = f(ch)
			_, unlocked := ch.QueueDelete(d.t.names.deadLock(), false, false, false)
			_ = ch.Close()
			return errors.Join(err, unlocked)
		}
		if sent := reply(err); sent == nil || sent.Code != amqp.ResourceLocked {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: somebody else looks at the dead letters", ctx.Err())
		case <-d.t.life.Done():
			return bus.ErrClosed
		case <-time.After(lockPoll):
		}
	}
}

// letter reads a dead letter.
func (d deadLetters) letter(raw *amqp.Delivery) bus.DeadLetter {
	var l bus.DeadLetter
	for key, value := range raw.Headers {
		if text, ok := scalar(value); ok {
			bus.SetDeadHeader(&l, key, text)
		}
	}
	l.ID = letterID(raw)
	kind := envelope.KindEvent
	if text, ok := scalar(raw.Headers[bus.HeaderKind]); ok {
		if parsed, err := bus.ParseKind(text); err == nil {
			kind = parsed
		}
	}
	if l.Message.Name == "" { // not by a bus: the broker's own dead-lettering, or a stranger
		l.Message.Name, l.Group, kind = d.foreign(raw, kind)
	}
	l.Message = decode(raw, kind, l.Message.Name).message // what is wrong with it is the reason
	return l
}

// letterID is the id that a bus gave it, or one made of what it is.
func letterID(raw *amqp.Delivery) string {
	if id, ok := scalar(raw.Headers[headerDeadID]); ok && id != "" {
		return id
	}
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "%q %q %q %d ", raw.MessageId, raw.RoutingKey, raw.Exchange, raw.Timestamp.UnixNano()) // a hash never fails to write
	_, _ = h.Write(raw.Body)
	return "x" + hex.EncodeToString(h.Sum(nil)[:16])
}

// foreign says what a dead letter without our headers may be.
func (d deadLetters) foreign(raw *amqp.Delivery, kind envelope.Kind) (name, group string, _ envelope.Kind) {
	queue, key := "", raw.RoutingKey
	if deaths, ok := raw.Headers["x-death"].([]any); ok && len(deaths) > 0 {
		if first, ok := deaths[len(deaths)-1].(amqp.Table); ok {
			queue, _ = first["queue"].(string)
			if keys, ok := first["routing-keys"].([]any); ok && len(keys) > 0 {
				key, _ = keys[0].(string)
			}
		}
	}
	if name, ok := strings.CutPrefix(queue, d.t.names.command("")); ok {
		return name, "", envelope.KindCommand
	}
	if group, ok := strings.CutPrefix(queue, d.t.names.group("")); ok {
		return key, d.t.names.fullGroup(group), envelope.KindEvent
	}
	return key, "", kind
}

// List reads all that filter picks before it yields the first, so that nobody
// waits for the loop.
func (d deadLetters) List(ctx context.Context, filter bus.DeadLetterFilter) iter.Seq2[bus.DeadLetter, error] {
	return func(yield func(bus.DeadLetter, error) bool) {
		var found []bus.DeadLetter // of the visits, which have ended if there is no error
		err := d.browse(ctx, "list dead letters", func(raw *amqp.Delivery) (verdict, bool, error) {
			if l := d.letter(raw); filter.Matches(&l, d.t.Group()) {
				found = append(found, l)
			}
			return keep, true, nil
		})
		if err != nil {
			yield(bus.DeadLetter{}, err)
			return
		}
		for _, l := range found {
			if !yield(l, nil) {
				return
			}
		}
	}
}

func (d deadLetters) Show(ctx context.Context, id string) (bus.DeadLetter, error) {
	var found bus.DeadLetter
	err := d.one(ctx, "show a dead letter", id, func(raw *amqp.Delivery) (verdict, error) {
		found = d.letter(raw)
		return keep, nil
	})
	if err != nil {
		return bus.DeadLetter{}, err
	}
	return found, nil
}

func (d deadLetters) Resend(ctx context.Context, id string) error {
	return d.one(ctx, "send a dead letter again", id, func(raw *amqp.Delivery) (verdict, error) {
		return remove, d.resend(ctx, raw)
	})
}

func (d deadLetters) ResendAll(ctx context.Context, filter bus.DeadLetterFilter) (int, error) {
	var n atomic.Int64 // the visits may go on when ctx has ended
	err := d.browse(ctx, "send dead letters again", func(raw *amqp.Delivery) (verdict, bool, error) {
		if l := d.letter(raw); !filter.Matches(&l, d.t.Group()) {
			return keep, true, nil
		}
		if err := d.resend(ctx, raw); err != nil {
			return keep, false, err
		}
		n.Add(1)
		return remove, true, nil
	})
	return int(n.Load()), err
}

func (d deadLetters) Discard(ctx context.Context, id string) error {
	return d.one(ctx, "discard a dead letter", id, func(*amqp.Delivery) (verdict, error) { return remove, nil })
}

// one looks for the dead letter id, from the oldest on.
func (d deadLetters) one(ctx context.Context, doing, id string, visit func(*amqp.Delivery) (verdict, error)) error {
	var found atomic.Bool
	err := d.browse(ctx, doing, func(raw *amqp.Delivery) (verdict, bool, error) {
		if letterID(raw) != id {
			return keep, true, nil
		}
		found.Store(true)
		v, err := visit(raw)
		return v, false, err
	})
	if err == nil && !found.Load() {
		return fmt.Errorf("%w: %q", bus.ErrNotFound, id)
	}
	return err
}

// resend publishes a dead letter to the queue that it came from. It counts its
// attempts anew.
func (d deadLetters) resend(ctx context.Context, raw *amqp.Delivery) error {
	l := d.letter(raw)
	p := again(raw, d.t.publishing.frameSize(), dropBeforeDead)
	p.Headers[headerResent] = "true"
	if l.Message.Kind == envelope.KindCommand {
		return d.t.publishOne(ctx, newParcel("", d.t.names.command(l.Message.Name), p))
	}
	return d.t.publishOne(ctx, newParcel(d.t.names.again(d.t.names.ownGroup(l.Group)), l.Message.Name, p))
}
