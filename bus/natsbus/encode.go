package natsbus

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/internal/base"
	"github.com/troupe-go/troupe/envelope"
)

// Headers that have a place of their own.
const (
	headerMsgID       = "Nats-Msg-Id"    // the message's id, as in distributed 1.5.0; by it the broker drops repeats
	headerKind        = "X-Sourced-Kind" // in the Rust service's spelling: it compares with case
	headerContentType = "Content-Type"
)

// reserved is what a message must leave of the broker's limit: with the headers
// of a dead letter it has to fit, too. Most of it is the reason.
const reserved = bus.MaxReasonBytes + 2<<10

// brokersOwn reports headers that NATS reads or writes itself. A message's
// metadata may not purge a stream (Nats-Rollup) or expect a sequence.
func brokersOwn(key string) bool {
	return len(key) >= 5 && strings.EqualFold(key[:5], "nats-")
}

// encode makes what is published of m. It shares m's data, which is not changed.
//
// Errors: [bus.ErrInvalid], [bus.ErrRefused].
func encode(m *envelope.Message, subject string) (*nats.Msg, error) {
	if err := m.Validate(); err != nil { // a line break would begin another header, or another message
		return nil, err
	}
	h := nats.Header{headerMsgID: {m.ID}, headerKind: {m.Kind.String()}}
	if m.ContentType != "" {
		h[headerContentType] = []string{m.ContentType}
	}
	for key, value := range bus.Headers(m) {
		if brokersOwn(key) {
			return nil, fmt.Errorf("%w: message %q: NATS has a meaning of its own for the header %q", bus.ErrRefused, m.ID, key)
		}
		if strings.EqualFold(key, headerContentType) {
			return nil, fmt.Errorf("%w: message %q: metadata %q would be taken for the content type", bus.ErrRefused, m.ID, key)
		}
		h[key] = []string{value}
	}
	for key, values := range h {
		if value := values[0]; value != strings.Trim(value, " \t") { // the driver would trim it
			return nil, fmt.Errorf("%w: message %q: the value of header %q begins or ends with white space, which NATS does not keep", bus.ErrRefused, m.ID, key)
		}
	}
	return &nats.Msg{Subject: subject, Header: h, Data: m.Data}, nil
}

// wireBytes is what the broker counts of a message.
func wireBytes(m *nats.Msg) int {
	n := len("NATS/1.0\r\n\r\n") + len(m.Data)
	for key, values := range m.Header {
		for _, value := range values {
			n += len(key) + len(value) + len(": \r\n")
		}
	}
	return n
}

// decode reads what arrived of a kind and name that its subject says; stored is
// when the broker got it. It takes whatever a peer or a stranger sends.
func decode(header nats.Header, data []byte, kind envelope.Kind, name string, stored time.Time) (envelope.Message, error) {
	m := envelope.Message{Kind: kind, Name: name, Data: data, Time: stored}
	if m.Data == nil {
		m.Data = []byte{}
	}
	var malformed error
	note := func(err error) {
		if err != nil && malformed == nil {
			malformed = err
		}
	}
	id, own := "", false                                   // in a header of ours
	for _, key := range slices.Sorted(maps.Keys(header)) { // in order, for the same answer each time
		values := header[key]
		if len(values) == 0 {
			continue
		}
		value := values[len(values)-1] // as a Rust service does
		switch strings.ToLower(key) {
		case bus.HeaderID:
			id, own = value, true
		case strings.ToLower(headerMsgID):
			m.ID = value
		case bus.HeaderKind:
			_, err := bus.ParseKind(value) // where it arrived says which
			note(err)
		case bus.HeaderContentType:
			m.ContentType = value
		default:
			if !brokersOwn(key) {
				note(bus.SetHeader(&m, key, value))
			}
		}
	}
	if own { // the broker's is another one, see again
		m.ID = id
	}
	malformed = base.Received(&m, malformed)
	return m, malformed
}

// token reports whether key is what the driver takes for the name of a header.
// No metadata has another.
func token(key string) bool {
	return key != "" && !strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == ':' })
}

// again makes the headers of a message that goes on its way once more, as it
// came, but for the broker's and those of a dead letter. msgID is its id to the
// broker, which drops repeats by it; the message's own is in a header of ours.
func again(header nats.Header, m *envelope.Message, msgID string) nats.Header {
	h := nats.Header{}
	for key, values := range header {
		if len(values) > 0 && token(key) && !brokersOwn(key) && !bus.SetDeadHeader(&bus.DeadLetter{}, key, "") && !strings.EqualFold(key, bus.HeaderID) {
			h[key] = []string{values[len(values)-1]}
		}
	}
	h[headerMsgID] = []string{msgID}
	h[bus.HeaderID] = []string{m.ID} // also of a message without
	timed := func(key string) bool { return strings.EqualFold(key, bus.HeaderTime) }
	if !m.Time.IsZero() && !slices.ContainsFunc(slices.Collect(maps.Keys(h)), timed) {
		h[bus.HeaderTime] = []string{m.Time.UTC().Format(time.RFC3339Nano)}
	}
	return h
}
