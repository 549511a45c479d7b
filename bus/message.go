package bus

import (
	"crypto/rand"
	"fmt"
	"time"

	"github.com/troupe-go/troupe/envelope"
)

// ContentTypeJSON is that of payloads encoded by [envelope.JSON].
const ContentTypeJSON = "application/json"

// MessageOption completes a message that [NewCommand] or [NewEvent] makes.
type MessageOption func(*envelope.Message)

// WithID gives the message an id of the caller's choice, so that sending it
// again is recognised as the same. Without, it gets a random one.
func WithID(id string) MessageOption {
	return func(m *envelope.Message) { m.ID = id }
}

// WithKey sets the ordering key: messages of one key keep their order.
func WithKey(key string) MessageOption {
	return func(m *envelope.Message) { m.Key = key }
}

// To names the service that a command is for. A transport whose address is the
// command's name alone carries it as a header.
func To(destination string) MessageOption {
	return func(m *envelope.Message) { m.Destination = destination }
}

// WithMetadata sets the message's metadata. Inside a handler that is
// envelope.Message.Follow of the handled message, unless this says otherwise.
func WithMetadata(metadata envelope.Metadata) MessageOption {
	return func(m *envelope.Message) { m.Metadata = metadata.Clone() }
}

// NewCommand makes a command message with payload as JSON.
//
// Errors: [ErrInvalid] for a payload that cannot be encoded or a malformed
// field.
func NewCommand(name string, payload any, opts ...MessageOption) (envelope.Message, error) {
	return newMessage(envelope.KindCommand, name, payload, opts)
}

// NewEvent makes an event message with payload as JSON.
//
// Errors: as [NewCommand].
func NewEvent(name string, payload any, opts ...MessageOption) (envelope.Message, error) {
	return newMessage(envelope.KindEvent, name, payload, opts)
}

func newMessage(kind envelope.Kind, name string, payload any, opts []MessageOption) (envelope.Message, error) {
	data, err := envelope.JSON.Encode(payload)
	if err != nil {
		return envelope.Message{}, fmt.Errorf("%w: payload of %s %q: %w", ErrInvalid, kind, name, err)
	}
	m := envelope.Message{
		Kind: kind, Name: name, Time: time.Now(),
		ContentType: ContentTypeJSON, Codec: envelope.CodecJSON, Data: data,
	}
	for _, opt := range opts {
		opt(&m)
	}
	if m.ID == "" {
		m.ID = rand.Text()
	}
	return m, m.Validate()
}
