package rabbitbus

import (
	"context"
	"errors"
	"fmt"
	"sync"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/internal/base"
	"github.com/troupe-go/troupe/envelope"
)

// outgoing is what waits for the one goroutine that writes to the broker. A
// write may take for as long as the broker does not read: nobody but that
// goroutine waits for that.
type outgoing struct {
	kick chan struct{} // has room for one: something waits

	mu    sync.Mutex
	queue []*parcel
	bytes int // of the queue's payloads
}

// maxOutgoingBytes bounds what waits to be written, beyond the call that is the
// first to reach it: a second of a gigabit network is twice as much, so more
// than that says that the broker does not read.
const maxOutgoingBytes = 64 << 20

func (t *transport) publishLoop() {
	var current *line
	for {
		select {
		case <-t.life.Done():
			for _, p := range t.outgoing.take() {
				p.err = bus.ErrClosed
				close(p.sent)
			}
			return
		case <-t.outgoing.kick:
		}
		for _, p := range t.outgoing.take() {
			t.write(&current, p)
			close(p.sent)
		}
	}
}

func (o *outgoing) take() []*parcel {
	o.mu.Lock()
	defer o.mu.Unlock()
	queue := o.queue
	o.queue, o.bytes = nil, 0
	return queue
}

// write sends p on the current line, or on a new one.
func (t *transport) write(current **line, p *parcel) {
	if p.left.Load() {
		p.err = context.Canceled
		return
	}
	for range 2 { // once more if the line was lost just then, perhaps because of another message
		if *current == nil || (*current).ch.IsClosed() {
			*current = nil
			l, err := t.openLine()
			if err != nil {
				p.err = err
				return
			}
			*current = l
		}
		if p.err = t.fits(p); p.err != nil {
			return
		}
		if (*current).send(p); p.err == nil {
			return
		}
	}
}

func (t *transport) openLine() (*line, error) {
	conn, err := t.publishing.get(t.life.Context())
	if err != nil {
		return nil, t.life.OrClosed(err)
	}
	l, err := newLine(t, conn)
	if err != nil {
		return nil, err
	}
	if err := t.declareEvents(l.ch); err != nil { // it may have been deleted, with the broker's data
		_ = l.ch.Close()
		return nil, err
	}
	return l, nil
}

// fits refuses what a frame of the connection cannot hold: the broker would end
// the connection, and all that is on its way with it.
func (t *transport) fits(p *parcel) error {
	size := t.publishing.frameSize()
	if n := tableBytes(p.publishing.Headers); n > size-frameOverhead {
		return fmt.Errorf("%w: the headers of message %q have %d bytes, the broker's frames hold %d", bus.ErrRefused, p.publishing.MessageId, n, size-frameOverhead)
	}
	return nil
}

// errSuspect is the error of what was on its way when the broker ended the
// channel because of one message that it does not say.
type errSuspect struct{ cause *amqp.Error }

func (e *errSuspect) Error() string { return e.cause.Error() }

// publish sends parcels, and returns what became of each.
func (t *transport) publish(ctx context.Context, parcels []*parcel) []error {
	errs := make([]error, len(parcels))
	ctx, cancel := context.WithTimeoutCause(ctx, t.opts.ConfirmTimeout, errNoAnswer)
	defer cancel()
	if err := t.enqueue(parcels); err != nil {
		for i := range errs {
			errs[i] = err
		}
		return errs
	}
	for i, p := range parcels {
		errs[i] = t.outcome(ctx, p)
	}
	for i, p := range parcels {
		var suspect *errSuspect
		if errors.As(errs[i], &suspect) {
			errs[i] = t.publishAlone(ctx, p)
		}
	}
	return errs
}

func (t *transport) enqueue(parcels []*parcel) error {
	t.outgoing.mu.Lock()
	defer t.outgoing.mu.Unlock()
	if t.life.Over() {
		return bus.ErrClosed
	}
	if t.outgoing.bytes > maxOutgoingBytes {
		return fmt.Errorf("rabbitbus: publish: %w: %d bytes wait to be sent already", bus.ErrUnavailable, t.outgoing.bytes)
	}
	t.outgoing.queue = append(t.outgoing.queue, parcels...)
	for _, p := range parcels {
		t.outgoing.bytes += len(p.publishing.Body)
	}
	select {
	case t.outgoing.kick <- struct{}{}:
	default:
	}
	return nil
}

// outcome waits for what becomes of p.
func (t *transport) outcome(ctx context.Context, p *parcel) error {
	blocked := t.publishing.blockedNow()
	select {
	case <-p.sent:
	case <-ctx.Done():
		p.left.Store(true)
		return context.Cause(ctx)
	case <-blocked:
		p.left.Store(true)
		return t.publishing.blockedError()
	}
	if p.err != nil {
		return p.err
	}
	defer p.line.forget(p)
	select {
	case <-p.answer.Done():
	case <-ctx.Done():
		return context.Cause(ctx) // it may have arrived
	case <-blocked:
		return t.publishing.blockedError()
	}
	if !p.answer.Acked() {
		if !p.line.ch.IsClosed() {
			return fmt.Errorf("rabbitbus: publish: %w: the broker could not store message %q: a queue is full or away", bus.ErrUnavailable, p.publishing.MessageId)
		}
		<-p.line.gone // the driver lets go of what waits before it says why
		if cause := p.line.cause; cause != nil && cause.Server && cause.Recover {
			return &errSuspect{cause}
		}
		return fmt.Errorf("rabbitbus: publish: %w: %w", bus.ErrUnavailable, causeOf(p.line))
	}
	p.line.flush()
	return t.delivered(p, p.line.forget(p))
}

func causeOf(l *line) error {
	if l.cause == nil {
		return amqp.ErrClosed
	}
	return l.cause
}

// delivered is the outcome of a message that was confirmed, and returned
// before or not.
func (t *transport) delivered(p *parcel, returned *amqp.Return) error {
	switch {
	case returned == nil:
		return nil
	case p.optional:
		t.unrouted.Add(1)
		return nil
	}
	return fmt.Errorf("rabbitbus: publish: %w: no queue for %q (%s)", bus.ErrUnroutable, p.key, returned.ReplyText)
}

// publishAlone sends p on a channel of its own, so that an error of the channel
// is one of p. It may have been stored before.
func (t *transport) publishAlone(ctx context.Context, p *parcel) error {
	conn, err := t.publishing.get(ctx)
	if err != nil {
		return err
	}
	blocked := t.publishing.blockedNow()
	alone := newParcel(p.exchange, p.key, p.publishing)
	alone.optional = p.optional
	l, err := await(ctx, t, t.publishing, func() (*line, error) {
		l, err := newLine(t, conn)
		if err == nil {
			l.send(alone)
			if ctx.Err() != nil { // nobody waits
				_ = l.ch.Close()
			}
		}
		return l, err
	})
	if err != nil {
		return err
	}
	defer t.life.Start(func() { _ = l.ch.Close() })
	if alone.err != nil {
		return alone.err
	}
	select {
	case <-alone.answer.Done():
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-blocked:
		return t.publishing.blockedError()
	}
	if alone.answer.Acked() {
		l.flush()
		return t.delivered(alone, l.forget(alone))
	}
	if !l.ch.IsClosed() {
		return fmt.Errorf("rabbitbus: publish: %w: the broker could not store message %q", bus.ErrUnavailable, p.publishing.MessageId)
	}
	<-l.gone
	return t.refusal(p, causeOf(l))
}

// refusal is the error of a message whose own channel the broker ended.
func (t *transport) refusal(p *parcel, cause error) error {
	var sent *amqp.Error
	if errors.As(cause, &sent) && sent.Server && sent.Recover {
		switch sent.Code {
		case amqp.NotFound: // its exchange was deleted
			if p.exchange != t.names.events() {
				return fmt.Errorf("rabbitbus: publish: %w: %w", bus.ErrUnroutable, sent)
			}
		default: // too large, not permitted, precondition failed
			return fmt.Errorf("rabbitbus: publish: %w: message %q: %w", bus.ErrRefused, p.publishing.MessageId, sent)
		}
	}
	return fmt.Errorf("rabbitbus: publish: %w: %w", bus.ErrUnavailable, cause)
}

// PublishBatch sends all messages, and then waits for all confirmations.
func (t *transport) PublishBatch(ctx context.Context, messages []envelope.Message) error {
	return base.PublishBatch(ctx, t.life, messages, t.parcel, t.publish)
}

// parcel addresses m.
func (t *transport) parcel(m *envelope.Message) (*parcel, error) {
	if err := t.names.check(m); err != nil {
		return nil, err
	}
	publishing, err := encode(m)
	if err != nil {
		return nil, err
	}
	if m.Kind == envelope.KindCommand {
		return newParcel("", t.names.command(m.Name), publishing), nil
	}
	p := newParcel(t.names.events(), m.Name, publishing)
	p.optional = true
	return p, nil
}

// publishOne is publish of one.
func (t *transport) publishOne(ctx context.Context, p *parcel) error {
	return t.publish(ctx, []*parcel{p})[0]
}
