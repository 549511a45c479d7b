package envelope

import (
	"fmt"
	"time"
)

// MaxReplyBytes bounds the reply that a receipt remembers.
const MaxReplyBytes = 256 << 10

// Receipt proves, stored with the effect, that a command or a message had its
// effect. A command's receipt names the stream and the command id and
// remembers the reply; a message's names the consumer and the message id.
// Exactly one of Stream and Consumer is set.
type Receipt struct {
	Stream   Stream // of a command
	Consumer string // of a message
	ID       string // command id or message id
	Reply    []byte // of a command: the encoded reply
	Codec    string // how Reply is encoded; empty without a reply
	Version  uint64 // of a command: the stream's version behind it
	Time     time.Time
}

// IsMessage reports whether r is the receipt of a message.
func (r *Receipt) IsMessage() bool { return r.Consumer != "" }

// Validate checks identity and sizes.
//
// Errors: [ErrInvalid].
func (r *Receipt) Validate() error {
	if r.IsMessage() {
		if (r.Stream != Stream{}) {
			return Invalid("receipt", r.ID, "names both a stream and a consumer")
		}
		if err := ValidateName("consumer", r.Consumer, MaxNameBytes); err != nil {
			return err
		}
		return ValidateName("message id", r.ID, MaxMessageIDBytes)
	}
	if err := r.Stream.Validate(); err != nil {
		return err
	}
	if err := ValidateName("command id", r.ID, MaxCommandIDBytes); err != nil {
		return err
	}
	if r.Codec != "" {
		if err := ValidateName("codec", r.Codec, MaxCodecBytes); err != nil {
			return err
		}
	}
	if len(r.Reply) > MaxReplyBytes {
		return Invalid("reply", r.ID, fmt.Sprintf("has %d bytes, at most %d are allowed", len(r.Reply), MaxReplyBytes))
	}
	return nil
}

// SizeBytes is about what the receipt takes in a queue or on disk.
func (r *Receipt) SizeBytes() int { return len(r.ID) + len(r.Reply) + len(r.Consumer) + 32 }
