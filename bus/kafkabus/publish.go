package kafkabus

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
)

// parcel is one message on its way to the broker.
type parcel struct {
	record *kgo.Record // nil if there is none to be
	id     string      // of the message, for errors
	key    string      // its ordering key

	settled bool // err is what became of it
	err     error
}

// PublishBatch hands messages to the producer, which keeps the order of each
// partition, and waits for all confirmations.
func (t *transport) PublishBatch(ctx context.Context, messages []envelope.Message) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if t.life.Over() {
		return bus.ErrClosed
	}
	parcels := make([]*parcel, len(messages))
	var unknown []string // topics, perhaps more than once
	for i := range messages {
		parcels[i] = t.parcel(&messages[i])
		if p := parcels[i]; !p.settled && t.known(p.record.Topic) == nil {
			unknown = append(unknown, p.record.Topic)
		}
	}
	t.publish(ctx, parcels, unknown)
	failed := &bus.BatchError{Errors: make([]error, len(messages))}
	for i, p := range parcels {
		failed.Errors[i] = p.err
	}
	return failed.Or()
}

// parcel addresses m.
func (t *transport) parcel(m *envelope.Message) *parcel {
	p := &parcel{id: m.ID, key: m.OrderingKey()}
	err := t.names.check(m)
	if err == nil {
		p.record, err = encode(m, t.names.topic(m.Kind, m.Name))
	}
	if err != nil {
		p.settled, p.err = true, err
	}
	return p
}

// publishOne publishes one record.
func (t *transport) publishOne(ctx context.Context, r *kgo.Record, id string) error {
	p := &parcel{record: r, id: id, key: string(r.Key)}
	t.publish(ctx, []*parcel{p}, []string{r.Topic})
	return p.err
}

// publish settles parcels. Topics that are unknown are looked up first, and made.
func (t *transport) publish(ctx context.Context, parcels []*parcel, unknown []string) {
	var unmade map[string]error
	if len(unknown) > 0 {
		unmade = t.lookUp(ctx, unknown)
	}
	for _, p := range parcels {
		if p.settled {
			continue
		}
		err := unmade[p.record.Topic]
		if err != nil && unauthorized(err) {
			err = fmt.Errorf("%w: message %q: %w", bus.ErrRefused, p.id, err) // this name; others may do
		}
		if err == nil {
			err = t.fits(p)
		}
		p.settled, p.err = err != nil, err
	}
	failed := map[string]error{} // ordering key → why it stopped
	for left := parcels; len(left) > 0; {
		var round []*parcel
		if round, left = nextRound(left, failed); len(round) > 0 {
			t.produce(ctx, round, failed)
		}
	}
}

// fits reports whether the topic takes the record. Were it refused by the broker
// instead, those behind it might be stored before it.
func (t *transport) fits(p *parcel) error {
	most := t.opts.MaxMessageBytes + reserved
	if topic := t.known(p.record.Topic); topic != nil && topic.maxBytes > 0 {
		most = min(most, topic.maxBytes)
	}
	if n := wireBytes(p.record); n > most {
		return fmt.Errorf("%w: message %q has %d bytes with its headers, topic %q takes at most %d", bus.ErrRefused, p.id, n, p.record.Topic, most)
	}
	return nil
}

// nextRound picks what may be under way at once: of each ordering key the first
// messages of one topic, which are in one partition, whose order the producer
// keeps. Those behind one that failed are settled.
func nextRound(parcels []*parcel, failed map[string]error) (round, later []*parcel) {
	topics := map[string]string{} // ordering key → its topic in this round; "" once it has another one
	refused := map[string]error{} // ordering key → why a message of it is not sent
	for _, p := range parcels {
		stopped := failed[p.key]
		if stopped == nil {
			stopped = refused[p.key]
		}
		topic, begun := topics[p.key]
		switch {
		case p.settled:
			refused[p.key] = p.err
		case p.key == "":
			round = append(round, p)
		case stopped != nil:
			p.settled, p.err = true, behind(p.key, stopped)
		case begun && topic != p.record.Topic:
			topics[p.key] = ""
			later = append(later, p)
		default:
			topics[p.key] = p.record.Topic
			round = append(round, p)
		}
	}
	return round, later
}

// behind is the error of a message that was not sent because another one failed.
func behind(key string, err error) error {
	return fmt.Errorf("kafkabus: publish: %w: behind another message of key %q: %s", bus.ErrUnavailable, key, err.Error())
}

// produce settles one round, and notes the keys that failed. The producer fails
// all that wait for a partition together, so nothing is stored behind what is not;
// what failed before the next of its key was handed over is looked at here.
func (t *transport) produce(ctx context.Context, round []*parcel, failed map[string]error) {
	limited, cancel := context.WithTimeoutCause(ctx, t.opts.ConfirmTimeout, errNoAnswer)
	defer cancel()
	sending, closed := context.WithCancelCause(limited)
	defer closed(nil)
	stop := context.AfterFunc(t.life.Context(), func() { closed(bus.ErrClosed) })
	defer stop()

	var mu sync.Mutex
	open, done := len(round), make(chan struct{})
	settle := func(p *parcel, err error) {
		mu.Lock()
		defer mu.Unlock()
		if p.settled { // it was given up
			return
		}
		if p.settled, p.err = true, err; err != nil {
			failed[p.key] = err
		}
		if open--; open == 0 {
			close(done)
		}
	}
	for _, p := range round {
		mu.Lock()
		err := failed[p.key]
		mu.Unlock()
		if err != nil && p.key != "" {
			settle(p, behind(p.key, err))
			continue
		}
		t.client.Produce(sending, p.record, func(_ *kgo.Record, err error) { settle(p, t.outcome(sending, p, err)) })
	}
	select {
	case <-done:
	case <-sending.Done():
	}
	for _, p := range round {
		settle(p, context.Cause(sending)) // the producer may still send it
	}
	if ctx.Err() == nil {
		return
	}
	for _, p := range round { // the caller's own words
		if errors.Is(p.err, context.Cause(ctx)) {
			p.err = ctx.Err()
		}
	}
}

// outcome makes the producer's word on p ours.
func (t *transport) outcome(sending context.Context, p *parcel, err error) error {
	switch {
	case err == nil:
		return nil
	case sending.Err() != nil:
		return context.Cause(sending)
	case oneOf(err, context.Canceled, context.DeadlineExceeded): // of another call, whose message was before it
		return fmt.Errorf("kafkabus: publish: %w: not confirmed in time", bus.ErrUnavailable)
	case oneOf(err, kerr.UnknownTopicOrPartition, kerr.UnknownTopicID):
		go t.forget(p.record.Topic) // it waits for the producer, which waits for this
	case errors.Is(err, kerr.MessageTooLarge):
		t.mu.Lock()
		delete(t.topics, p.record.Topic) // its settings were changed
		t.mu.Unlock()
	}
	return typedPublish(p.id, err)
}
