package bus

import (
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/troupe-go/troupe/envelope"
)

// Names of headers beside the user's metadata. Those of the Rust framework
// distributed 1.5.0, and ours for what it does not carry: the message's kind,
// ordering key and time. A transport may have places of its own for some.
const (
	HeaderID           = envelope.ReservedPrefix + "id"
	HeaderKind         = envelope.ReservedPrefix + "kind" // "command" or "event"
	HeaderCodec        = envelope.ReservedPrefix + "payload-codec"
	HeaderCodecVersion = envelope.ReservedPrefix + "payload-codec-version"
	HeaderDestination  = envelope.ReservedPrefix + "destination"
	HeaderSourceType   = envelope.ReservedPrefix + "source-aggregate-type"
	HeaderSourceID     = envelope.ReservedPrefix + "source-aggregate-id"
	HeaderSourceSeq    = envelope.ReservedPrefix + "source-sequence"
	HeaderKey          = envelope.ReservedPrefix + "key"
	HeaderTime         = envelope.ReservedPrefix + "time" // RFC 3339, with nanoseconds where there are any
	HeaderContentType  = "content-type"
)

// codecVersion is the version of every codec's layout so far.
const codecVersion = "1"

// Headers yields everything of m but its data, id, kind, name and content type,
// which each transport has a place for: the user's metadata under its own
// names, then the framework's under theirs. What is empty is left out.
func Headers(m *envelope.Message) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for key, value := range m.Metadata.All() {
			if !yield(key, value) {
				return
			}
		}
		put := func(key, value string) bool { return value == "" || yield(key, value) }
		if m.Codec != "" && (!yield(HeaderCodec, m.Codec) || !yield(HeaderCodecVersion, codecVersion)) {
			return
		}
		if !put(HeaderDestination, m.Destination) {
			return
		}
		if m.Source != (envelope.Stream{}) {
			if !put(HeaderSourceType, m.Source.Type) || !put(HeaderSourceID, m.Source.ID) ||
				!yield(HeaderSourceSeq, strconv.FormatUint(m.SourceVersion, 10)) {
				return
			}
		}
		if !put(HeaderKey, m.Key) || m.Time.IsZero() {
			return
		}
		yield(HeaderTime, m.Time.UTC().Format(time.RFC3339Nano))
	}
}

// SetHeader puts a received header where [Headers] took it from. Names are
// compared without case, as brokers and proxies change it; a key of metadata
// is kept as it came. A header that no metadata can hold is left out, and so is
// one of the framework's that this version does not know: strangers may add
// what they like.
//
// Errors: [ErrMalformed] for one of the framework's own with a broken value.
func SetHeader(m *envelope.Message, key, value string) error {
	name := strings.ToLower(key)
	switch name {
	case HeaderCodec:
		m.Codec = value
	case HeaderDestination:
		m.Destination = value
	case HeaderSourceType:
		m.Source.Type = value
	case HeaderSourceID:
		m.Source.ID = value
	case HeaderSourceSeq:
		n, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			return fmt.Errorf("%w: header %s: %w", ErrMalformed, name, err)
		}
		m.SourceVersion = n
	case HeaderKey:
		m.Key = value
	case HeaderTime:
		t, err := time.Parse(time.RFC3339Nano, value)
		if err != nil {
			return fmt.Errorf("%w: header %s: %w", ErrMalformed, name, err)
		}
		m.Time = t
	case envelope.KeyCorrelationID, envelope.KeyCausationID, envelope.KeyCommandID:
		one := envelope.Metadata{}
		one.Set(name, value)
		if one.Validate() == nil {
			m.Metadata.Set(name, value)
		}
	default:
		if strings.HasPrefix(name, envelope.ReservedPrefix) {
			return nil
		}
		one := envelope.Metadata{Keys: map[string]string{key: value}}
		if one.Validate() == nil && len(m.Metadata.Keys) < envelope.MaxMetadataKeys {
			m.Metadata.Set(key, value)
		}
	}
	return nil
}

// ParseKind reads a kind as [HeaderKind] has it.
//
// Errors: [ErrMalformed].
func ParseKind(text string) (envelope.Kind, error) {
	switch {
	case strings.EqualFold(text, envelope.KindEvent.String()):
		return envelope.KindEvent, nil
	case strings.EqualFold(text, envelope.KindCommand.String()):
		return envelope.KindCommand, nil
	}
	return 0, fmt.Errorf("%w: header %s: %q is neither event nor command", ErrMalformed, HeaderKind, text)
}

// DeadHeaders yields the headers of a dead letter, beside those of its message.
func DeadHeaders(name, group string, why Failure) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		_ = yield(HeaderDeadReason, CutReason(why.Reason)) &&
			yield(HeaderDeadName, name) &&
			yield(HeaderDeadGroup, group) &&
			yield(HeaderDeadAttempts, strconv.Itoa(why.Attempts)) &&
			yield(HeaderDeadAt, why.Time.UTC().Format("2006-01-02T15:04:05.000000Z07:00")) &&
			(!why.Parked || yield(HeaderDeadParked, "true"))
	}
}

// SetDeadHeader puts one header of a dead letter into l, and reports whether it
// was one. A broken number or time is left zero.
func SetDeadHeader(l *DeadLetter, key, value string) bool {
	switch strings.ToLower(key) {
	case HeaderDeadReason:
		l.Reason = value
	case HeaderDeadName:
		l.Message.Name = value
	case HeaderDeadGroup:
		l.Group = value
	case HeaderDeadAttempts:
		l.Attempts, _ = strconv.Atoi(value)
	case HeaderDeadAt:
		l.Time, _ = time.Parse(time.RFC3339Nano, value)
	case HeaderDeadParked:
		l.Parked = value == "true"
	default:
		return false
	}
	return true
}

// CutReason makes a reason fit for a header: at most [MaxReasonBytes], on one
// line, in valid UTF-8.
func CutReason(reason string) string { return envelope.CutText(reason, MaxReasonBytes) }
