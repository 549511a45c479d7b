package envelope

import (
	"fmt"
	"strconv"
	"time"
)

// Kind says who gets a message.
type Kind uint8

// The kinds of message. The zero Kind is invalid.
const (
	KindEvent   Kind = 1 // something happened: one copy per subscribing group
	KindCommand Kind = 2 // something is asked: one receiver
)

// String is "event" or "command".
func (k Kind) String() string {
	switch k {
	case KindEvent:
		return "event"
	case KindCommand:
		return "command"
	}
	return "kind " + strconv.Itoa(int(k))
}

// Limits of a message.
const (
	MaxMessageIDBytes   = 512
	MaxContentTypeBytes = 255
)

// Message is what a bus carries and what an outbox stores until then.
type Message struct {
	ID          string // unique for ever; receivers tell repeats by it
	Kind        Kind
	Name        string // what happened or what is asked: "order.shipped"
	Destination string // the receiving service of a command; empty for an event
	Key         string // ordering key: messages of one key keep their order; empty means the source's id
	ContentType string // of Data: "application/json"
	Codec       string // how Data is encoded: "json"
	Data        []byte
	Time        time.Time

	// NotBefore has an outbox hold the message back until then, by the clock
	// of the program that publishes; zero does not. It is not part of what a bus
	// carries.
	NotBefore time.Time

	Source        Stream // the aggregate that it came from; zero if none did
	SourceVersion uint64 // that aggregate's version behind the command

	Metadata Metadata
}

// Validate checks ids, names and sizes.
//
// Errors: [ErrInvalid].
func (m *Message) Validate() error {
	if err := ValidateName("message id", m.ID, MaxMessageIDBytes); err != nil {
		return err
	}
	if m.Kind != KindEvent && m.Kind != KindCommand {
		return Invalid("message kind", m.Kind.String(), "want event or command")
	}
	if err := ValidateName("message name", m.Name, MaxNameBytes); err != nil {
		return err
	}
	if m.Destination != "" {
		if err := ValidateName("message destination", m.Destination, MaxNameBytes); err != nil {
			return err
		}
	}
	if m.Key != "" {
		if err := ValidateName("message key", m.Key, MaxMessageIDBytes); err != nil {
			return err
		}
	}
	if m.ContentType != "" {
		if err := ValidateName("message content type", m.ContentType, MaxContentTypeBytes); err != nil {
			return err
		}
	}
	if m.Codec != "" {
		if err := ValidateName("codec", m.Codec, MaxCodecBytes); err != nil {
			return err
		}
	}
	if year := m.NotBefore.Year(); !m.NotBefore.IsZero() && (year < 1970 || year > 9999) {
		return Invalid("message not before", m.NotBefore.String(), "want a year from 1970 to 9999")
	}
	if len(m.Data) > MaxDataBytes {
		return Invalid("message data", m.Name, fmt.Sprintf("has %d bytes, at most %d are allowed", len(m.Data), MaxDataBytes))
	}
	if (m.Source != Stream{}) {
		if err := m.Source.Validate(); err != nil {
			return err
		}
	}
	return m.Metadata.Validate()
}

// Meta returns the message's metadata for key, named fields included, and ""
// when there is none; see [Metadata.Get].
func (m *Message) Meta(key string) string { return m.Metadata.Get(key) }

// Follow returns the metadata of what this message gives rise to: the message is
// the cause, the conversation and the user's keys go on. A message without a
// conversation begins one.
func (m *Message) Follow() Metadata { return m.Metadata.follow(m.ID) }

// OrderingKey is what keeps messages in order: Key, else the source's id. It is
// empty for a message that has neither, whose place does not matter.
func (m *Message) OrderingKey() string {
	if m.Key != "" {
		return m.Key
	}
	return m.Source.ID
}

// Slot is the part of all ordering keys that m belongs to, from 0 to
// [Slots]-1: the 64-bit FNV-1a hash of the ordering key, or of the id without
// one, modulo [Slots].
func (m *Message) Slot() int {
	if key := m.OrderingKey(); key != "" {
		return int(hash(key) % Slots)
	}
	return int(hash(m.ID) % Slots)
}

// StoredMessage is a message as an outbox holds it.
type StoredMessage struct {
	Message
	Position uint64 // its place in the outbox, from 1, with gaps; given out in the order of commits within a key
	Slot     int    // of the message
}

// SizeBytes is about what the message takes in a queue or on disk.
func (m *Message) SizeBytes() int {
	return len(m.ID) + len(m.Name) + len(m.Destination) + len(m.Key) + len(m.Data) + m.Metadata.sizeBytes() + 64
}
