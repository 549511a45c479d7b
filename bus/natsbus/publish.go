package natsbus

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/internal/base"
	"github.com/troupe-go/troupe/envelope"
)

// parcel is one message on its way to the broker.
type parcel struct {
	msg     *nats.Msg
	id      string // of the message, for errors
	answer  jetstream.PubAckFuture
	refused chan error // has room for one: the server does not permit it
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
	msg, err := encode(m, t.names.subject(m.Kind, m.Name))
	if err != nil {
		return nil, err
	}
	if n := wireBytes(msg); n > t.features.MaxMessageBytes {
		return nil, fmt.Errorf("%w: message %q has %d bytes with its headers, at most %d are taken", bus.ErrRefused, m.ID, n, t.features.MaxMessageBytes)
	}
	msg.Data = slices.Clone(msg.Data) // the driver may send it once more when the caller has gone
	return newParcel(msg, m.ID), nil
}

func newParcel(msg *nats.Msg, id string) *parcel {
	return &parcel{msg: msg, id: id, refused: make(chan error, 1)}
}

// publish sends parcels, and returns what became of each. If the stream is gone
// it is made again.
func (t *transport) publish(ctx context.Context, parcels []*parcel) []error {
	errs := t.publishOnce(ctx, parcels)
	var again []*parcel
	var places []int
	for i, err := range errs {
		if errors.Is(err, jetstream.ErrNoStreamResponse) {
			again, places = append(again, newParcel(parcels[i].msg, parcels[i].id)), append(places, i)
		}
	}
	if len(again) == 0 {
		return errs
	}
	if err := t.ask(ctx, "open streams", func(ctx context.Context) error {
		if _, err := t.stream(ctx); err != nil {
			return err
		}
		_, err := t.dead(ctx)
		return err
	}); err != nil {
		return errs // nobody answers: the first error says so
	}
	for n, err := range t.publishOnce(ctx, again) {
		errs[places[n]] = err
	}
	return errs
}

func (t *transport) publishOnce(ctx context.Context, parcels []*parcel) []error {
	errs := make([]error, len(parcels))
	bySubject := map[string][]*parcel{}
	for _, p := range parcels {
		bySubject[p.msg.Subject] = append(bySubject[p.msg.Subject], p)
	}
	defer t.notices.add(&watch{
		about: func(subject string) bool { return len(bySubject[subject]) > 0 },
		tell: func(err error) {
			for _, p := range bySubject[quoted.FindStringSubmatch(err.Error())[1]] {
				select {
				case p.refused <- err:
				default:
				}
			}
		},
	})()
	limited, cancel := context.WithTimeoutCause(ctx, t.opts.ConfirmTimeout, errNoAnswer)
	defer cancel()
	// Those with a slot are sent[done:next]. When all slots are taken a call
	// first waits for its own oldest, so that calls never wait for each other
	// with their hands full.
	done := 0
	settle := func() {
		if p := parcels[done]; p.answer != nil {
			errs[done] = t.outcome(limited, p)
			<-t.slots
		}
		done++
	}
	for i, p := range parcels {
		got := t.trySlot()
		for ; !got && done < i; got = t.trySlot() {
			settle()
		}
		if !got {
			errs[i] = t.slot(limited)
		}
		if errs[i] != nil {
			continue
		}
		if errs[i] = t.send(p); errs[i] != nil {
			<-t.slots
		}
	}
	for done < len(parcels) {
		settle()
	}
	return errs
}

func (t *transport) trySlot() bool {
	select {
	case t.slots <- struct{}{}:
		return true
	default:
		return false
	}
}

func (t *transport) slot(ctx context.Context) error {
	select {
	case t.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.life.Done():
		return bus.ErrClosed
	}
}

func (t *transport) send(p *parcel) error {
	if !t.conn.IsConnected() { // the driver would keep it, and nobody would know
		return t.away("publish")
	}
	answer, err := t.js.PublishMsgAsync(p.msg)
	if err != nil {
		return t.life.OrClosed(typedPublish(p.id, err))
	}
	p.answer = answer
	return nil
}

// outcome waits for what becomes of p.
func (t *transport) outcome(ctx context.Context, p *parcel) error {
	select {
	case <-p.answer.Ok():
		return nil
	case err := <-p.answer.Err():
		return t.life.OrClosed(typedPublish(p.id, err))
	case err := <-p.refused:
		return typedPublish(p.id, err)
	case <-ctx.Done():
	case <-t.life.Done():
		return bus.ErrClosed
	}
	select { // it may have come at the same time
	case <-p.answer.Ok():
		return nil
	default:
		return context.Cause(ctx)
	}
}

// publishOne is publish of one.
func (t *transport) publishOne(ctx context.Context, msg *nats.Msg, id string) error {
	return t.publish(ctx, []*parcel{newParcel(msg, id)})[0]
}
