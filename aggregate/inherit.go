package aggregate

import (
	"context"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
)

// inherit gives a command what the message has whose handler asks it: its
// metadata, and in an inbox an id that the next run of the handler will give it
// again.
func (h *Header) inherit(ctx context.Context) error {
	m := bus.MessageFrom(ctx)
	if m == nil {
		return nil
	}
	if h.Metadata.IsZero() {
		h.Metadata = m.Follow()
	}
	if h.CommandID != "" {
		return nil
	}
	scope := bus.InboxFrom(ctx)
	if scope == nil {
		return nil
	}
	id, err := scope.CommandID(envelope.Stream{ID: h.AggregateID}, h.Command)
	h.CommandID = id
	return err
}

// Inherit gives a the metadata of what the message gives rise to whose handler
// ctx belongs to, if there is one and a has none of its own. It is for
// runtimes, behind a load.
func (s *Spec[A]) Inherit(ctx context.Context, a *A) {
	m := bus.MessageFrom(ctx)
	if m == nil {
		return
	}
	root := rootOf(a)
	if own := root.Metadata(); own.IsZero() {
		root.SetMetadata(m.Follow())
	}
}
