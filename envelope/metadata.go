package envelope

import (
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
)

// Limits of a metadata set.
const (
	MaxMetadataKeys       = 64
	MaxMetadataKeyBytes   = 128
	MaxMetadataValueBytes = 4 << 10
	MaxMetadataBytes      = 16 << 10 // all keys and values together
	MaxCommandIDBytes     = 128
)

// ReservedPrefix begins the keys that the framework itself writes on the wire.
// User keys may not begin with it, in any case.
const ReservedPrefix = "x-sourced-"

// Keys under which the named fields of [Metadata] travel.
const (
	KeyCorrelationID = "correlation_id"
	KeyCausationID   = "causation_id"
	KeyCommandID     = "command_id"
)

// Metadata travels with a command, is inherited by each event and message that
// the command gives rise to, and is never part of an aggregate's state. The
// zero Metadata is empty and ready to use.
//
// Copying a Metadata shares Keys; use [Metadata.Clone] before changing it.
type Metadata struct {
	CorrelationID string // the conversation that this belongs to
	CausationID   string // the message that caused this one
	CommandID     string // the command that recorded this, when it had an id

	Keys map[string]string // the user's own; nil is empty
}

// IsZero reports whether nothing is set.
func (m *Metadata) IsZero() bool {
	return m.CorrelationID == "" && m.CausationID == "" && m.CommandID == "" && len(m.Keys) == 0
}

// Get returns the value of key, named fields included, and "" when there is
// none.
func (m *Metadata) Get(key string) string {
	switch key {
	case KeyCorrelationID:
		return m.CorrelationID
	case KeyCausationID:
		return m.CausationID
	case KeyCommandID:
		return m.CommandID
	}
	return m.Keys[key]
}

// Set sets key to value, a named field where key is one of theirs. It does not
// validate; [Metadata.Validate] does.
func (m *Metadata) Set(key, value string) {
	switch key {
	case KeyCorrelationID:
		m.CorrelationID = value
	case KeyCausationID:
		m.CausationID = value
	case KeyCommandID:
		m.CommandID = value
	default:
		if m.Keys == nil {
			m.Keys = make(map[string]string)
		}
		m.Keys[key] = value
	}
}

// Clone returns a copy that shares nothing with m.
func (m *Metadata) Clone() Metadata {
	c := *m
	c.Keys = maps.Clone(m.Keys)
	return c
}

// follow is the metadata of what the message called id gives rise to. A command
// id belongs to one command and is not inherited.
func (m *Metadata) follow(id string) Metadata {
	next := Metadata{CorrelationID: m.CorrelationID, CausationID: id, Keys: maps.Clone(m.Keys)}
	if next.CorrelationID == "" {
		next.CorrelationID = id
	}
	return next
}

// All yields every key that is set, the named fields first, then the user's
// keys in order, so that an encoding of it is deterministic.
func (m *Metadata) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, key := range [...]string{KeyCorrelationID, KeyCausationID, KeyCommandID} {
			if value := m.Get(key); value != "" && !yield(key, value) {
				return
			}
		}
		for _, key := range slices.Sorted(maps.Keys(m.Keys)) {
			if !yield(key, m.Keys[key]) {
				return
			}
		}
	}
}

// Validate checks sizes, that keys are tokens of RFC 9110 (letters, digits and
// !#$%&'*+-.^_`|~) and none is reserved, and that values are UTF-8 without
// control characters: so every transport can carry them as headers.
//
// Errors: [ErrInvalid].
func (m *Metadata) Validate() error {
	if m.IsZero() {
		return nil
	}
	if len(m.CommandID) > MaxCommandIDBytes {
		return Invalid("command id", m.CommandID, fmt.Sprintf("has %d bytes, at most %d are allowed", len(m.CommandID), MaxCommandIDBytes))
	}
	for _, named := range [...]struct{ field, value string }{
		{"metadata " + KeyCorrelationID, m.CorrelationID}, {"metadata " + KeyCausationID, m.CausationID}, {"metadata " + KeyCommandID, m.CommandID},
	} {
		if named.value == "" {
			continue
		}
		if err := ValidateName(named.field, named.value, MaxMetadataValueBytes); err != nil {
			return err
		}
	}
	if len(m.Keys) > MaxMetadataKeys {
		return Invalid("metadata", fmt.Sprint(len(m.Keys), " keys"), fmt.Sprintf("at most %d are allowed", MaxMetadataKeys))
	}
	for key, value := range m.Keys {
		if err := validateKey(key); err != nil {
			return err
		}
		if err := validateValue(key, value); err != nil {
			return err
		}
	}
	if n := m.sizeBytes(); n > MaxMetadataBytes {
		return Invalid("metadata", fmt.Sprint(n, " bytes"), fmt.Sprintf("at most %d are allowed", MaxMetadataBytes))
	}
	return nil
}

func validateKey(key string) error {
	if err := ValidateName("metadata key", key, MaxMetadataKeyBytes); err != nil {
		return err
	}
	for i := range len(key) {
		c := key[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return Invalid("metadata key", key, "has a character that headers cannot have")
		}
	}
	if len(key) >= len(ReservedPrefix) && strings.EqualFold(key[:len(ReservedPrefix)], ReservedPrefix) {
		return Invalid("metadata key", key, "the prefix "+ReservedPrefix+" is reserved")
	}
	switch key {
	case KeyCorrelationID, KeyCausationID, KeyCommandID:
		return Invalid("metadata key", key, "set the field of that name instead")
	}
	return nil
}

func validateValue(key, value string) error {
	if len(value) > MaxMetadataValueBytes {
		return Invalid("metadata "+key, value, fmt.Sprintf("has %d bytes, at most %d are allowed", len(value), MaxMetadataValueBytes))
	}
	for i, r := range value {
		if r < 0x20 && r != '\t' || r >= 0x7f && r <= 0x9f {
			return Invalid("metadata "+key, value, "has a control character")
		}
		if r == '�' && !strings.HasPrefix(value[i:], "�") {
			return Invalid("metadata "+key, value, "is not valid UTF-8")
		}
	}
	return nil
}

func (m *Metadata) sizeBytes() int {
	n := len(m.CorrelationID) + len(m.CausationID) + len(m.CommandID)
	if len(m.Keys) == 0 { // ranging over no map is not free
		return n
	}
	for key, value := range m.Keys {
		n += len(key) + len(value)
	}
	return n
}

// MarshalJSON writes one flat object, the form in which metadata travels:
// {"correlation_id":"c1","tenant":"acme"}.
func (m Metadata) MarshalJSON() ([]byte, error) { return m.AppendJSON(nil), nil }

// AppendJSON appends what MarshalJSON writes, keys in order, to dst. It costs a
// tenth of [json.Marshal].
func (m *Metadata) AppendJSON(dst []byte) []byte {
	var room [8]string
	keys := room[:0]
	for key := range m.All() {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	dst = append(dst, '{')
	for i, key := range keys {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendJSONString(dst, key), ':')
		dst = appendJSONString(dst, m.Get(key))
	}
	return append(dst, '}')
}

func appendJSONString(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x80 || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			encoded, _ := json.Marshal(s) // of a string there is no error
			return append(dst, encoded...)
		}
	}
	return append(append(append(dst, '"'), s...), '"')
}

// UnmarshalJSON reads the flat object that [Metadata.MarshalJSON] wrote.
func (m *Metadata) UnmarshalJSON(data []byte) error {
	var flat map[string]string
	if err := json.Unmarshal(data, &flat); err != nil {
		return fmt.Errorf("unmarshal metadata: %w", err)
	}
	*m = Metadata{}
	for key, value := range flat {
		m.Set(key, value)
	}
	return nil
}
