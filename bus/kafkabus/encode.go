package kafkabus

import (
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/internal/base"
	"github.com/troupe-go/troupe/envelope"
)

// reserved is what is kept free of the limit of a message beyond
// [Options].MaxMessageBytes: with the headers of a dead letter it has to fit, too.
// Most of it is the reason.
const reserved = bus.MaxReasonBytes + 4<<10

// encode makes the record of m. It has a copy of m's data.
//
// Errors: [bus.ErrInvalid], [bus.ErrRefused].
func encode(m *envelope.Message, topic string) (*kgo.Record, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	r := &kgo.Record{Topic: topic, Value: append([]byte{}, m.Data...)} // never nil, which would be a tombstone
	if key := m.OrderingKey(); key != "" {
		r.Key = []byte(key)
	}
	put := func(key, value string) {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: key, Value: []byte(value)})
	}
	put(bus.HeaderKind, m.Kind.String())
	put(bus.HeaderID, m.ID)
	if m.ContentType != "" {
		put(bus.HeaderContentType, m.ContentType)
	}
	for key, value := range bus.Headers(m) {
		if strings.EqualFold(key, bus.HeaderContentType) {
			return nil, fmt.Errorf("%w: message %q: metadata %q would be taken for the content type", bus.ErrRefused, m.ID, key)
		}
		put(key, value)
	}
	return r, nil
}

// Bytes of a record and of a header beside their texts, at most (Kafka, record
// batch v2: lengths are varints).
const (
	recordOverhead = 21
	headerOverhead = 10
	batchOverhead  = 61
)

// wireBytes is what the broker counts of a record that is alone in a batch, at
// most, before it is compressed.
func wireBytes(r *kgo.Record) int {
	n := batchOverhead + recordOverhead + len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		n += headerOverhead + len(h.Key) + len(h.Value)
	}
	return n
}

// decode reads a record of a kind and name that its topic says. It takes whatever
// a peer or a stranger sends.
func decode(r *kgo.Record, kind envelope.Kind, name string) (envelope.Message, error) {
	m := envelope.Message{Kind: kind, Name: name, Data: slices.Clip(r.Value), Time: r.Timestamp}
	if m.Data == nil {
		m.Data = []byte{}
	}
	var malformed error
	note := func(err error) {
		if err != nil && malformed == nil {
			malformed = err
		}
	}
	foreign := true
	for _, h := range r.Headers { // the last of a name counts, as for a Rust service
		value := string(h.Value)
		switch strings.ToLower(h.Key) {
		case bus.HeaderID:
			m.ID, foreign = value, false
		case bus.HeaderKind:
			_, err := bus.ParseKind(value) // where it arrived says which
			note(err)
			foreign = false
		case bus.HeaderContentType:
			m.ContentType = value
		default:
			if !bus.SetDeadHeader(&bus.DeadLetter{}, h.Key, "") {
				note(bus.SetHeader(&m, h.Key, value))
			}
		}
	}
	if key := string(r.Key); foreign && m.Key == "" && envelope.ValidateName("message key", key, envelope.MaxMessageIDBytes) == nil {
		m.Key = key // a stranger's order is by the key of the record; a Rust service's is the id
	}
	malformed = base.Received(&m, malformed)
	return m, malformed
}

// again makes the record of a message that goes on its way once more, as it came,
// but for the headers of a dead letter: the topic does not say its name, so one of
// them stays.
func again(from *kgo.Record, m *envelope.Message, topic string) *kgo.Record {
	r := &kgo.Record{Topic: topic, Value: append([]byte{}, from.Value...), Headers: ownHeaders(from.Headers)}
	if key := m.OrderingKey(); key != "" {
		r.Key = []byte(key)
	}
	r.Headers = append(r.Headers, kgo.RecordHeader{Key: bus.HeaderDeadName, Value: []byte(m.Name)})
	return r
}

// ownHeaders are those of the message alone.
func ownHeaders(headers []kgo.RecordHeader) []kgo.RecordHeader {
	return slices.DeleteFunc(slices.Clone(headers), func(h kgo.RecordHeader) bool {
		return bus.SetDeadHeader(&bus.DeadLetter{}, h.Key, "")
	})
}

// header is the last one of a name.
func header(r *kgo.Record, key string) string {
	for _, h := range slices.Backward(r.Headers) {
		if strings.EqualFold(h.Key, key) {
			return string(h.Value)
		}
	}
	return ""
}
