package natsbus

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
)

// What a consumer is told about a message (nats-server, consumer.go).
const (
	ackDone     = "+ACK"
	ackBack     = "-NAK"
	ackProgress = "+WPI"
)

// delivery is one message on loan.
type delivery struct {
	pull     *pull
	raw      *nats.Msg
	sequence uint64 // in the stream
	stored   time.Time
	attempt  int

	message   envelope.Message
	malformed error
}

var _ bus.Delivery = (*delivery)(nil)

func newDelivery(p *pull, m *nats.Msg, meta *nats.MsgMetadata) *delivery {
	d := &delivery{pull: p, raw: m, sequence: meta.Sequence.Stream, stored: meta.Timestamp, attempt: int(min(meta.NumDelivered, 1<<30))}
	name := strings.TrimPrefix(m.Subject, p.prefix)
	d.message, d.malformed = decode(m.Header, m.Data, p.source.kind, name, meta.Timestamp)
	return d
}

func (d *delivery) Message() *envelope.Message { return &d.message }
func (d *delivery) Malformed() error           { return d.malformed }
func (d *delivery) Attempt() int               { return d.attempt }
func (d *delivery) Resent() bool               { return d.pull.resent }

// tell publishes one word about d.
func (d *delivery) tell(word string) error {
	return d.pull.source.t.conn.Publish(d.raw.Reply, []byte(word))
}

// settle tells the broker, once. While the connection is lost the driver keeps
// the word for some time; the broker knows the message when it is back.
func (d *delivery) settle(word string) error {
	s := d.pull.source
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.held[d]; !ok || s.closed {
		return bus.ErrClosed
	}
	if err := d.tell(word); err != nil {
		return s.t.life.OrClosed(typed("settle", err))
	}
	delete(s.held, d)
	s.settled++
	return nil
}

func (d *delivery) Ack(context.Context) error { return d.settle(ackDone) }

func (d *delivery) Retry(_ context.Context, delay time.Duration) error {
	return d.settle(backAfter(delay))
}

// backAfter gives a message back, to come again not before delay.
func backAfter(delay time.Duration) string {
	if delay <= 0 {
		return ackBack
	}
	return fmt.Sprintf(`%s {"delay": %d}`, ackBack, delay.Nanoseconds())
}

func (d *delivery) Extend(context.Context) error {
	s := d.pull.source
	s.mu.Lock()
	_, ok := s.held[d]
	ok = ok && !s.closed
	s.mu.Unlock()
	if !ok {
		return bus.ErrClosed
	}
	if err := d.tell(ackProgress); err != nil {
		return s.t.life.OrClosed(typed("extend", err))
	}
	return nil
}

// DeadLetter publishes the message to the dead letters, then takes it from its
// consumer. After a crash in between it is delivered again; if it fails again
// soon, the broker knows its dead letter by its place in the stream and keeps
// one.
func (d *delivery) DeadLetter(ctx context.Context, why bus.Failure) error {
	s := d.pull.source
	s.mu.Lock()
	_, ok := s.held[d]
	ok = ok && !s.closed
	s.mu.Unlock()
	if !ok {
		return bus.ErrClosed
	}
	if err := s.t.setAside(ctx, d, why); err != nil {
		return err
	}
	return d.settle(ackDone)
}

// setAside stores a dead letter.
func (t *transport) setAside(ctx context.Context, d *delivery, why bus.Failure) error {
	kind := d.message.Kind
	id := strings.Join([]string{d.pull.consumer, strconv.FormatUint(d.sequence, 10), strconv.FormatInt(d.stored.UnixNano(), 10)}, ".")
	msg := &nats.Msg{
		Subject: t.names.dead(t.opts.Group) + word(kind) + "." + d.message.Name,
		Header:  again(d.raw.Header, &d.message, id),
		Data:    d.raw.Data,
	}
	for key, value := range bus.DeadHeaders(d.message.Name, t.Group(), why) {
		msg.Header[key] = []string{value}
	}
	if over := wireBytes(msg) - int(t.maxBytes); over > 0 { // a stranger's, as large as can be: the reason gives way
		reason := bus.CutReason(why.Reason)
		msg.Header[bus.HeaderDeadReason] = []string{envelope.CutText(reason, max(len(reason)-over, 3))}
	}
	if err := t.deadStream(ctx); err != nil {
		return err
	}
	return t.publishOne(ctx, msg, d.message.ID)
}

// deadStream makes the stream of dead letters, the first time.
func (t *transport) deadStream(ctx context.Context) error {
	if t.deadReady.Load() {
		return nil
	}
	err := t.ask(ctx, "open stream "+t.names.deadStream(), func(ctx context.Context) error {
		_, err := t.dead(ctx)
		return err
	})
	if err == nil {
		t.deadReady.Store(true) // should it be deleted, publish makes it again
	}
	return err
}
