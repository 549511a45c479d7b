package bus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/troupe-go/troupe/envelope"
)

// MaxNameBytes bounds a message's name; it is [envelope.MaxNameBytes].
const MaxNameBytes = envelope.MaxNameBytes

// ErrUnhandled reports a message that no handler wants. The runner acknowledges
// and counts it.
var ErrUnhandled = errors.New("bus: no handler for this message")

// HandlerFunc handles one message. When it returns nil the effect is durable:
// the message is acknowledged. An error that [IsPermanent] is met by the
// [FailurePolicy]; any other has the message delivered again. A panic is
// permanent. It may be called again for a message that it handled already,
// unless the run is by [Inbox]. The message belongs to the handler.
type HandlerFunc func(ctx context.Context, m *envelope.Message) error

// Router finds the handler of a message.
type Router interface {
	// Plan returns the names that there are handlers for.
	//
	// Errors: [ErrInvalid], for a run to end with before it begins.
	Plan() (Plan, error)

	// Handle has m handled.
	//
	// Errors: [ErrUnhandled], and the handler's.
	Handle(ctx context.Context, m *envelope.Message) error
}

// Plan names what a [Router] handles.
type Plan struct {
	Commands, Events []string
}

// Handlers is a [Router] of functions. Register all before the first run; the
// zero Handlers is empty and ready to use.
type Handlers struct {
	commands, events map[string]HandlerFunc
	err              error
}

// NewHandlers returns an empty set.
func NewHandlers() *Handlers { return &Handlers{} }

// OnCommand has f handle the commands called name. A malformed or taken name is
// an error that [Handlers.Plan], and so the run, reports.
func (h *Handlers) OnCommand(name string, f HandlerFunc) *Handlers {
	return h.add(&h.commands, "command name", name, f)
}

// OnEvent has f handle the events called name; see OnCommand.
func (h *Handlers) OnEvent(name string, f HandlerFunc) *Handlers {
	return h.add(&h.events, "event name", name, f)
}

func (h *Handlers) add(to *map[string]HandlerFunc, field, name string, f HandlerFunc) *Handlers {
	err := envelope.ValidateName(field, name, MaxNameBytes)
	if err == nil && f == nil {
		err = envelope.Invalid(field, name, "has no handler")
	}
	if _, taken := (*to)[name]; err == nil && taken {
		err = envelope.Invalid(field, name, "has a handler already")
	}
	if err != nil {
		h.err = errors.Join(h.err, err)
		return h
	}
	if *to == nil {
		*to = map[string]HandlerFunc{}
	}
	(*to)[name] = f
	return h
}

// Plan implements [Router].
func (h *Handlers) Plan() (Plan, error) {
	return Plan{
		Commands: slices.Sorted(maps.Keys(h.commands)),
		Events:   slices.Sorted(maps.Keys(h.events)),
	}, h.err
}

// Handle implements [Router].
func (h *Handlers) Handle(ctx context.Context, m *envelope.Message) error {
	from := h.events
	if m.Kind == envelope.KindCommand {
		from = h.commands
	}
	f := from[m.Name]
	if f == nil {
		return ErrUnhandled
	}
	return f(ctx, m)
}

// codecBytes is what the outbox of distributed 1.5.0 calls a payload that the
// service has encoded itself (src/outbox/message.rs, RAW_PAYLOAD_CODEC), as it
// does with JSON: it has no codec of that name.
const codecBytes = "bytes"

// Typed makes a handler of a function that takes the decoded payload. A payload
// that cannot be decoded is a permanent failure. codecs may be nil for JSON
// alone; a message that names no codec is decoded as JSON, and so is one whose
// codec is "bytes", unless codecs has one of that name.
func Typed[T any](codecs *envelope.Codecs, f func(ctx context.Context, in T, m *envelope.Message) error) HandlerFunc {
	return func(ctx context.Context, m *envelope.Message) error {
		name := m.Codec
		if name == "" {
			name = envelope.CodecJSON
		}
		codec, err := codecs.Lookup(name)
		if err != nil && name == codecBytes {
			codec, err = envelope.JSON, nil
		}
		if err != nil {
			return Permanent(err)
		}
		var in T
		if err := codec.Decode(m.Data, &in); err != nil {
			return Permanent(fmt.Errorf("payload of %s %q: %w", m.Kind, m.Name, err))
		}
		return f(ctx, in, m)
	}
}

type messageKey struct{}

// MessageFrom returns the message that the handler of ctx handles, or nil. What
// a handler asks, publishes and commits inherits its metadata.
func MessageFrom(ctx context.Context) *envelope.Message {
	m, _ := ctx.Value(messageKey{}).(*envelope.Message)
	return m
}

// WithMessage returns a context of a handler of m.
func WithMessage(ctx context.Context, m *envelope.Message) context.Context {
	return context.WithValue(ctx, messageKey{}, m)
}
