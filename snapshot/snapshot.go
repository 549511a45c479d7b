package snapshot

import (
	"fmt"
	"time"

	"github.com/troupe-go/troupe/envelope"
)

// MaxDataBytes bounds an encoded state. A larger one is not stored: the
// aggregate is then rebuilt by replay, and the host counts and logs it.
const MaxDataBytes = 16 << 20

// Snapshot is a copy of an aggregate's state at one version of its stream.
type Snapshot struct {
	Stream  envelope.Stream
	Version uint64 // the stream's version that the state includes

	Schema      uint32 // layout of the payload as the user numbers it, from 1
	Fingerprint uint64 // shape of the Go type that was encoded: [Fingerprint]
	Codec       string // how Data is encoded
	Data        []byte
	Time        time.Time
}

// Validate checks identity, version, schema, codec and size.
//
// Errors: [envelope.ErrInvalid].
func (s *Snapshot) Validate() error {
	if err := s.Stream.Validate(); err != nil {
		return err
	}
	if s.Version == 0 {
		return envelope.Invalid("snapshot version", "0", "versions count from 1")
	}
	if s.Schema == 0 {
		return envelope.Invalid("snapshot schema", "0", "schemas count from 1")
	}
	if err := envelope.ValidateName("codec", s.Codec, envelope.MaxCodecBytes); err != nil {
		return err
	}
	if len(s.Data) > MaxDataBytes {
		return envelope.Invalid("snapshot data", s.Stream.String(),
			fmt.Sprintf("has %d bytes, at most %d are allowed", len(s.Data), MaxDataBytes))
	}
	return nil
}
