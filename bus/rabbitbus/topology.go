package rabbitbus

import (
	"context"
	"maps"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/troupe-go/troupe/bus"
)

// unlimited is how often a quorum queue may have a message given back: RabbitMQ
// 4 drops it after 20 times if nothing else is said. The number that RabbitMQ 4
// takes for "for ever", -1, makes RabbitMQ 3.10.8 drop a message the first time
// (measured), and a queue that was declared with one number cannot be declared
// with another one by the next program; so it is the same everywhere, and large
// enough for a thousand times a second over a billion years.
const unlimited = int64(1) << 62

// quorum are the arguments of a replicated queue.
func quorum() amqp.Table {
	return amqp.Table{"x-queue-type": "quorum", "x-delivery-limit": unlimited}
}

// workQueue are the arguments of a queue that services consume.
func (t *transport) workQueue() amqp.Table {
	if t.opts.Compat {
		return nil
	}
	args := quorum()
	if t.opts.SingleActive {
		args["x-single-active-consumer"] = true
	}
	return args
}

func declareQueue(ch *amqp.Channel, name string, args amqp.Table) error {
	if _, err := ch.QueueDeclare(name, true, false, false, false, args); err != nil {
		return declared("queue", name, err)
	}
	return nil
}

// declareEvents makes the exchange of events.
func (t *transport) declareEvents(ch *amqp.Channel) error {
	if err := ch.ExchangeDeclare(t.names.events(), amqp.ExchangeTopic, true, false, false, false, nil); err != nil {
		return declared("exchange", t.names.events(), err)
	}
	return nil
}

// declareDead makes the queue of dead letters.
func (t *transport) declareDead(ch *amqp.Channel) error {
	return declareQueue(ch, t.names.dead(), quorum())
}

// declareCommands makes the queues of commands.
func (t *transport) declareCommands(ch *amqp.Channel, commands []string) error {
	for _, name := range commands {
		if err := declareQueue(ch, t.names.command(name), t.workQueue()); err != nil {
			return err
		}
	}
	return t.declareDead(ch)
}

// declareGroup makes the queue of the group, bound to the names of its events,
// and the exchange that leads to it alone.
func (t *transport) declareGroup(ch *amqp.Channel, events []string) error {
	queue, back := t.names.group(t.opts.Group), t.names.again(t.opts.Group)
	if err := t.declareEvents(ch); err != nil {
		return err
	}
	if err := declareQueue(ch, queue, t.workQueue()); err != nil {
		return err
	}
	if err := ch.ExchangeDeclare(back, amqp.ExchangeFanout, true, false, false, false, nil); err != nil {
		return declared("exchange", back, err)
	}
	if err := ch.QueueBind(queue, "", back, false, nil); err != nil {
		return typed("bind queue "+queue, err)
	}
	for _, name := range events {
		if err := ch.QueueBind(queue, name, t.names.events(), false, nil); err != nil {
			return typed("bind queue "+queue, err)
		}
	}
	return t.declareDead(ch)
}

// A queue for waiting is deleted by the broker when nobody has declared it for
// so much longer than messages wait in it. It is declared anew when something
// is to be put into it and the last declaration is delayRenew ago: so what was
// put in just before then has left it delayExpires-delayRenew before it ends.
const (
	delayExpires = 10 * time.Minute
	delayRenew   = 5 * time.Minute
)

// minDelay and maxDelay bound how long a message waits. Delays are rounded up to
// minDelay times 1, 1.5, 2, 3, 4, 6, 8 and so on: at most half as long again,
// and at most 41 queues however many delays are asked for.
const (
	minDelay = 20 * time.Millisecond
	maxDelay = minDelay << 20 // 5.8 hours
)

func roundDelay(d time.Duration) time.Duration {
	for step := minDelay; step < maxDelay; step *= 2 {
		if d <= step {
			return step
		}
		if d <= step+step/2 {
			return step + step/2
		}
	}
	return maxDelay
}

// delayed is where a message waits: an exchange with a queue of the same name,
// which leads back to a work queue. The routing key stays that of the message,
// so that it arrives as it did the first time, for a Rust replica, too:
//
//	publish → exchange (fanout) → queue (TTL) → when the time is over:
//	  a command: default exchange, whose routing key is the work queue's name
//	  an event:  the group's exchange "….again" (fanout) → the group's queue
//
// The queue is a quorum queue also for a classic work queue: these hold what
// has expired until the work queue has confirmed it ("at-least-once").
type delayed struct {
	name   string
	ttl    time.Duration
	target string // dead-letter exchange
}

// declareDelay makes sure of a queue for waiting.
func (t *transport) declareDelay(ctx context.Context, d delayed) error {
	t.delays.mu.Lock()
	fresh := time.Since(t.delays.declared[d.name]) < delayRenew
	t.delays.mu.Unlock()
	if fresh {
		return nil
	}
	begin := time.Now()
	err := t.onChannel(ctx, t.publishing, func(ch *amqp.Channel) error {
		args := quorum()
		maps.Copy(args, amqp.Table{
			"x-message-ttl": d.ttl.Milliseconds(), "x-expires": (d.ttl + delayExpires).Milliseconds(),
			"x-dead-letter-exchange": d.target, "x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish",
		})
		if err := declareQueue(ch, d.name, args); err != nil {
			return err
		}
		// It goes with its queue.
		if err := ch.ExchangeDeclare(d.name, amqp.ExchangeFanout, true, true, false, false, nil); err != nil {
			return declared("exchange", d.name, err)
		}
		return typed("bind queue "+d.name, ch.QueueBind(d.name, "", d.name, false, nil))
	})
	if err != nil {
		return err
	}
	t.delays.mu.Lock()
	t.delays.declared[d.name] = begin
	t.delays.mu.Unlock()
	return nil
}

// forgetDelay has a queue declared again before its next use.
func (t *transport) forgetDelay(name string) {
	t.delays.mu.Lock()
	delete(t.delays.declared, name)
	t.delays.mu.Unlock()
}

// onChannel runs f on a channel of its own. f goes on when ctx ends, until the
// broker answers or the connection is given up.
func (t *transport) onChannel(ctx context.Context, l *link, f func(*amqp.Channel) error) error {
	conn, err := l.get(ctx)
	if err != nil {
		return err
	}
	_, err = await(ctx, t, l, func() (struct{}, error) {
		ch, err := conn.Channel()
		if err != nil {
			return struct{}{}, typed("open a channel", err)
		}
		err = f(ch)
		_ = ch.Close() // an error of f may have closed it
		return struct{}{}, err
	})
	return err
}

// await runs f, which asks the broker on l and cannot be interrupted, on a
// goroutine of its own, and waits for it until ctx ends or the broker blocks l.
// What f holds then it must give back by itself.
func await[T any](ctx context.Context, t *transport, l *link, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	var none T
	done := make(chan result, 1)
	if !t.life.Start(func() {
		value, err := f()
		done <- result{value, err}
	}) {
		return none, bus.ErrClosed
	}
	timer := time.NewTimer(t.opts.ConfirmTimeout)
	defer timer.Stop()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		return none, ctx.Err()
	case <-l.blockedNow():
		return none, l.blockedError()
	case <-timer.C:
		return none, errNoAnswer
	}
}
