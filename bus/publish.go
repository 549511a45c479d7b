package bus

import (
	"context"
	"fmt"

	"github.com/troupe-go/troupe/envelope"
)

// PublishInOrder hands messages to a publisher, in as few calls as keep their
// order: messages of one ordering key are published in the order of messages,
// and when one is not confirmed, none behind it in its key is sent. A message
// that is malformed, or too large for the publisher, is not handed over.
//
// Errors: a [BatchError] if some were not confirmed; those behind one that
// failed are retryable. Otherwise as [Publisher].
func PublishInOrder(ctx context.Context, p Publisher, messages []envelope.Message) error {
	r := rounds{
		publisher: p, features: p.Features(), messages: messages,
		failed: make([]error, len(messages)), blocked: map[string]error{}, left: make([]int, 0, len(messages)),
	}
	sound := true
	for i := range messages {
		r.failed[i] = checkMessage(&messages[i], &r.features)
		sound = sound && r.failed[i] == nil
		r.left = append(r.left, i)
	}
	if sound && r.features.OrderedPublish {
		return p.PublishBatch(ctx, messages)
	}
	for len(r.left) > 0 {
		r.next(ctx)
	}
	return (&BatchError{Errors: r.failed}).Or()
}

func checkMessage(m *envelope.Message, f *Features) error {
	if err := m.Validate(); err != nil {
		return err
	}
	if !m.NotBefore.IsZero() {
		return envelope.Invalid("message not before", m.NotBefore.String(), "only an outbox holds messages back")
	}
	if most := f.MaxMessageBytes; most > 0 && m.SizeBytes() > most {
		return fmt.Errorf("%w: message %q has %d bytes, %s takes at most %d", ErrRefused, m.ID, m.SizeBytes(), f.Name, most)
	}
	return nil
}

// rounds is one [PublishInOrder]. Without ordered publishing there is at most
// one message per key in a call of the publisher: the others wait for the next
// round.
type rounds struct {
	publisher Publisher
	features  Features
	messages  []envelope.Message
	failed    []error          // by message
	blocked   map[string]error // ordering key → why it stopped
	left      []int            // messages for this round or a later one
}

func (r *rounds) next(ctx context.Context) {
	var round []envelope.Message
	var places, later []int
	inRound := map[string]bool{}
	for _, i := range r.left {
		m := &r.messages[i]
		key := m.OrderingKey()
		switch {
		case key != "" && r.blocked[key] != nil:
			if r.failed[i] == nil {
				r.failed[i] = fmt.Errorf("behind another message of key %q: %w", key, r.blocked[key])
			}
		case key != "" && inRound[key] && !r.features.OrderedPublish:
			later = append(later, i)
		case r.failed[i] != nil:
			r.block(key, r.failed[i])
		default:
			inRound[key] = true
			round, places = append(round, *m), append(places, i)
		}
	}
	r.left = later
	if len(round) == 0 {
		return
	}
	for n, err := range PublishErrors(r.publisher.PublishBatch(ctx, round), len(round)) {
		if err != nil {
			r.failed[places[n]] = err
			r.block(round[n].OrderingKey(), err)
		}
	}
}

// block lets nothing more of a key be sent, because a message of it failed. What
// is said of that one says nothing about those behind it: they may be published
// later.
func (r *rounds) block(key string, err error) {
	if key == "" || r.blocked[key] != nil {
		return
	}
	if IsPermanent(err) {
		err = Retryable(fmt.Errorf("%w: %s", ErrUnavailable, err.Error()))
	}
	r.blocked[key] = err
}
