package envelope

import (
	"fmt"
	"strconv"
	"time"
)

// Limits of a record.
const (
	MaxDataBytes  = 1 << 20 // a payload
	MaxCodecBytes = 32      // a codec's name
)

// Names of the records that the framework itself writes. No event may be
// called so, nor begin with [ReservedPrefix].
const (
	// BaselineName is that of a record which holds the whole state behind it,
	// so that older records can be let go: replay begins with it.
	BaselineName = ReservedPrefix + "baseline"

	// TombstoneName is that of a record which ends an aggregate's life: replay
	// begins behind it, with an empty state.
	TombstoneName = ReservedPrefix + "tombstone"
)

// BeginsHistory reports whether replay may begin with r although it is not
// version 1: it is a baseline or a tombstone.
func (r *Record) BeginsHistory() bool { return r.Name == BaselineName || r.Name == TombstoneName }

// Record is one event as a journal stores it.
//
// Data belongs to whoever produced the Record: a reader must not change it,
// and copies it when it keeps it beyond the callback or iteration that gave it.
type Record struct {
	Stream   Stream
	Version  uint64    // place in the stream, from 1 without gaps
	Position Position  // place in the journal; zero until stored
	Time     time.Time // when it was decided, by the writer's clock; microseconds are kept

	Name   string // event name within the stream's type: "initialized"
	Schema uint32 // layout of the payload, from 1
	Codec  string // how Data is encoded: "json"
	Data   []byte

	Metadata Metadata
}

// Validate checks what a store relies on: identity, version from 1, name,
// schema from 1, codec, sizes, metadata.
//
// Errors: [ErrInvalid].
func (r *Record) Validate() error {
	if err := r.Stream.Validate(); err != nil {
		return err
	}
	if r.Version == 0 {
		return Invalid("record version", "0", "versions count from 1")
	}
	if err := ValidateName("event name", r.Name, MaxNameBytes); err != nil {
		return err
	}
	if r.Schema == 0 {
		return Invalid("event schema", "0", "schemas of "+strconv.Quote(r.Name)+" count from 1")
	}
	if err := ValidateName("codec", r.Codec, MaxCodecBytes); err != nil {
		return err
	}
	if len(r.Data) > MaxDataBytes {
		return Invalid("event data", r.Name, fmt.Sprintf("has %d bytes, at most %d are allowed", len(r.Data), MaxDataBytes))
	}
	return r.Metadata.Validate()
}

// Meta returns the record's metadata for key, named fields included, and "" when
// there is none; see [Metadata.Get].
func (r *Record) Meta(key string) string { return r.Metadata.Get(key) }

// MessageID is the id of the record as a message: id, event name and version.
func (r *Record) MessageID() string {
	return r.Stream.ID + ":" + r.Name + ":" + strconv.FormatUint(r.Version, 10)
}

// Follow returns the metadata of what this record gives rise to: the record is
// the cause, the conversation and the user's keys go on. A record without a
// conversation begins one.
func (r *Record) Follow() Metadata { return r.Metadata.follow(r.MessageID()) }

// SizeBytes is about what the record takes in a queue or on disk, for credits
// and limits.
func (r *Record) SizeBytes() int {
	return len(r.Data) + len(r.Name) + len(r.Stream.Type) + len(r.Stream.ID) + r.Metadata.sizeBytes() + 48
}
