package base

import (
	"context"
	"fmt"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
)

// PublishBatch is that of a transport that makes a P of each message by itself,
// publishes those that could be made, and is told what became of each.
func PublishBatch[S Source, P any](ctx context.Context, life *Life[S], messages []envelope.Message, prepare func(*envelope.Message) (P, error), publish func(context.Context, []P) []error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if life.Over() {
		return bus.ErrClosed
	}
	failed := &bus.BatchError{Errors: make([]error, len(messages))}
	prepared := make([]P, 0, len(messages))
	places := make([]int, 0, len(messages))
	for i := range messages {
		p, err := prepare(&messages[i])
		if err != nil {
			failed.Errors[i] = err
			continue
		}
		prepared, places = append(prepared, p), append(places, i)
	}
	for n, err := range publish(ctx, prepared) {
		failed.Errors[places[n]] = err
	}
	return failed.Or()
}

// Received finishes m, which a peer or a stranger sent, and says what is wrong
// with it: malformed, if that was found already, or a [bus.ErrMalformed]. A
// message without an id is sound: a Rust service may send such, and whoever
// needs one says so.
func Received(m *envelope.Message, malformed error) error {
	if m.Source == (envelope.Stream{}) {
		m.SourceVersion = 0 // a version of nothing
	}
	if malformed != nil {
		return malformed
	}
	valid := *m
	if valid.ID == "" {
		valid.ID = "none"
	}
	if err := valid.Validate(); err != nil {
		return fmt.Errorf("%w: %w", bus.ErrMalformed, err)
	}
	return nil
}
