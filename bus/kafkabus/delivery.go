package kafkabus

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
)

// delivery is one record on loan.
type delivery struct {
	source *source
	from   *assignment
	place  *place
	raw    *kgo.Record
	resent bool

	attempt int
	given   bool      // to the reader, who has not settled it yet
	due     time.Time // if it was given back

	message   envelope.Message
	malformed error
}

var _ bus.Revocable = (*delivery)(nil)

func (d *delivery) Message() *envelope.Message { return &d.message }
func (d *delivery) Malformed() error           { return d.malformed }
func (d *delivery) Attempt() int               { return d.attempt }
func (d *delivery) Resent() bool               { return d.resent }

// Begin reports whether the message is still this replica's to handle; while a
// handler is at it, its partition is not given away.
func (d *delivery) Begin() bool {
	d.source.mu.Lock()
	defer d.source.mu.Unlock()
	if d.from.revoked || d.source.closed {
		return false
	}
	d.from.begun++
	return true
}

// End is behind Begin.
func (d *delivery) End() {
	d.source.mu.Lock()
	defer d.source.mu.Unlock()
	if d.from.begun--; d.from.begun == 0 && d.from.revoked {
		d.source.handedOver.Broadcast()
	}
}

// hold is nil while d may be settled.
func (d *delivery) hold() error {
	switch {
	case d.source.closed, !d.given:
		return bus.ErrClosed
	case d.from.gone:
		return errRevoked
	}
	return nil
}

func (d *delivery) Ack(context.Context) error {
	s := d.source
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := d.hold(); err != nil {
		return err
	}
	d.given = false
	d.from.settle(d.place)
	s.nudgeCommit()
	return nil
}

// Retry keeps the message here until the delay is over: the broker has no place
// for it.
func (d *delivery) Retry(_ context.Context, delay time.Duration) error {
	s := d.source
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := d.hold(); err != nil {
		return err
	}
	d.given = false
	s.keep(d, delay)
	return nil
}

// Extend has nothing to do: the replica as a whole gives signs of life.
func (d *delivery) Extend(context.Context) error {
	d.source.mu.Lock()
	defer d.source.mu.Unlock()
	return d.hold()
}

// DeadLetter publishes the message to the dead letters, then settles it. After a
// crash in between it is delivered again; if it fails again, its second dead letter
// takes the place of the first.
func (d *delivery) DeadLetter(ctx context.Context, why bus.Failure) error {
	d.source.mu.Lock()
	err := d.hold()
	d.source.mu.Unlock()
	if err != nil {
		return err
	}
	if err := d.source.t.setAside(ctx, d, why); err != nil {
		return err
	}
	return d.Ack(ctx)
}

// setAside stores a dead letter.
func (t *transport) setAside(ctx context.Context, d *delivery, why bus.Failure) error {
	m := &d.message
	r := &kgo.Record{
		Topic: t.names.dead(), Value: append([]byte{}, d.raw.Value...), Headers: ownHeaders(d.raw.Headers),
		Key: fmt.Appendf(nil, "%s/%s/%d/%d", t.Group(), d.raw.Topic, d.raw.Partition, d.raw.Offset),
	}
	put := func(key, value string) {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: key, Value: []byte(value)})
	}
	if header(r, bus.HeaderKind) == "" {
		put(bus.HeaderKind, m.Kind.String()) // the topic no longer says it
	}
	if m.Key != "" && header(r, bus.HeaderKey) == "" {
		put(bus.HeaderKey, m.Key)
	}
	if !m.Time.IsZero() && header(r, bus.HeaderTime) == "" {
		put(bus.HeaderTime, m.Time.UTC().Format(time.RFC3339Nano))
	}
	dead := len(r.Headers)
	for key, value := range bus.DeadHeaders(m.Name, t.Group(), why) {
		put(key, value)
	}
	if over := wireBytes(r) - (t.opts.MaxMessageBytes + reserved); over > 0 { // a stranger's, as large as can be: the reason gives way
		for i := range r.Headers[dead:] {
			if h := &r.Headers[dead+i]; h.Key == bus.HeaderDeadReason {
				h.Value = []byte(envelope.CutText(string(h.Value), max(len(h.Value)-over, 3)))
			}
		}
	}
	return t.publishOne(ctx, r, "dead letter of "+strconv.Quote(m.ID))
}
