package rabbitbus

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/internal/base"
	"github.com/troupe-go/troupe/envelope"
)

// Headers of this transport's own.
const (
	headerAttempts = envelope.ReservedPrefix + "attempts" // deliveries before it was given back
	headerResent   = envelope.ReservedPrefix + "resent"   // "true": it was a dead letter
	headerDeadID   = envelope.ReservedPrefix + "dead-id"  // of a dead letter
)

// frameOverhead is what a content header frame has beside its table of headers:
// the frame's own 8 bytes, class, weight, size, flags (14), and all short
// properties at their longest.
const frameOverhead = 8 + 14 + 10*(maxShort+1)

// brokersOwn reports headers that RabbitMQ reads or writes itself. Routing to
// more queues by CC and BCC is nothing that a message's metadata may do, and
// one of another type than the broker expects ends the whole channel.
func brokersOwn(key string) bool {
	switch key {
	case "CC", "BCC", "x-death", "x-delivery-count", "x-acquired-count":
		return true
	}
	return strings.HasPrefix(key, "x-first-death-") || strings.HasPrefix(key, "x-last-death-")
}

// encode makes what is published of m. It shares nothing with m.
//
// Errors: [bus.ErrRefused].
func encode(m *envelope.Message) (amqp.Publishing, error) {
	headers := amqp.Table{bus.HeaderKind: m.Kind.String()}
	for key, value := range bus.Headers(m) {
		if brokersOwn(key) {
			return amqp.Publishing{}, fmt.Errorf("%w: message %q: RabbitMQ has a meaning of its own for the header %q", bus.ErrRefused, m.ID, key)
		}
		headers[key] = value
	}
	p := amqp.Publishing{
		Headers: headers, ContentType: m.ContentType, DeliveryMode: amqp.Persistent, MessageId: m.ID, Body: slices.Clone(m.Data),
	}
	if len(m.ID) > maxShort {
		p.MessageId, headers[bus.HeaderID] = "", m.ID
	}
	return p, nil
}

// arrived is what a delivery means.
type arrived struct {
	message   envelope.Message
	malformed error
	attempts  int // before this delivery
	resent    bool
}

// decode reads a delivery of a kind and name that its queue and routing key
// say. It takes whatever a peer or a stranger sends: headers of other types
// become text if they are single values, and are left out if not.
func decode(d *amqp.Delivery, kind envelope.Kind, name string) arrived {
	a := arrived{message: envelope.Message{
		ID: d.MessageId, Kind: kind, Name: name, ContentType: d.ContentType, Data: slices.Clone(d.Body), Time: d.Timestamp,
	}}
	m := &a.message
	if m.Data == nil {
		m.Data = []byte{}
	}
	note := func(err error) {
		if err != nil && a.malformed == nil {
			a.malformed = err
		}
	}
	redeliveries, counted := number(d.Headers["x-delivery-count"])
	if !counted && d.Redelivered { // a classic queue does not count
		redeliveries = 1
	}
	a.attempts = redeliveries
	for _, key := range slices.Sorted(maps.Keys(d.Headers)) { // in order, for the same answer each time
		if brokersOwn(key) {
			continue
		}
		value := d.Headers[key]
		text, ok := scalar(value)
		if !ok {
			continue
		}
		switch strings.ToLower(key) {
		case bus.HeaderKind:
			_, err := bus.ParseKind(text) // where it arrived says which
			note(err)
		case bus.HeaderID:
			if m.ID == "" {
				m.ID = text
			}
		case headerAttempts:
			if n, ok := number(value); ok {
				a.attempts += n
			}
		case headerResent:
			a.resent = text == "true"
		default:
			note(bus.SetHeader(m, key, text))
		}
	}
	a.malformed = base.Received(m, a.malformed)
	return a
}

// scalar is a header's value as text, if it is a single value.
func scalar(value any) (string, bool) {
	switch v := value.(type) {
	case nil:
		return "", true
	case string:
		return v, true
	case []byte:
		return string(v), true
	case bool, byte, int8, int, int16, int32, int64, uint16, uint32, uint64, float32, float64:
		return fmt.Sprint(v), true
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano), true
	case amqp.Decimal:
		return decimal(v), true
	}
	return "", false
}

func decimal(d amqp.Decimal) string {
	digits := strconv.FormatInt(int64(d.Value), 10)
	sign := ""
	if d.Value < 0 {
		sign, digits = "-", digits[1:]
	}
	if d.Scale == 0 {
		return sign + digits
	}
	if missing := int(d.Scale) + 1 - len(digits); missing > 0 {
		digits = strings.Repeat("0", missing) + digits
	}
	point := len(digits) - int(d.Scale)
	return sign + digits[:point] + "." + digits[point:]
}

// number is a header's value as a count: what is none, or negative, is not.
func number(value any) (int, bool) {
	text, ok := scalar(value)
	if !ok || text == "" {
		return 0, false
	}
	n, err := strconv.ParseInt(text, 10, 32)
	return int(max(n, 0)), err == nil
}

// again makes what is published of a delivery that goes on its way once more,
// as it came: with all its headers but the broker's, and without those of
// drop, which are lower case. The user id stays out, as the broker would
// compare it with ours, and an expiry, which has begun elsewhere.
func again(d *amqp.Delivery, frameSize int, drop func(key string) bool) amqp.Publishing {
	headers := amqp.Table{}
	for key, value := range d.Headers {
		if !brokersOwn(key) && !drop(strings.ToLower(key)) {
			headers[key] = value
		}
	}
	// Headers of ours are added, and the reason of a dead letter is the longest.
	if room := frameSize - frameOverhead - 2*bus.MaxReasonBytes; tableBytes(headers) > room {
		for key, value := range headers {
			if _, ok := scalar(value); !ok || tableBytes(amqp.Table{key: value}) > room/64 {
				delete(headers, key) // too much for a frame of this connection: what decode leaves out, too
			}
		}
	}
	return amqp.Publishing{
		Headers: headers, ContentType: d.ContentType, ContentEncoding: d.ContentEncoding, DeliveryMode: amqp.Persistent,
		Priority: d.Priority, CorrelationId: d.CorrelationId, ReplyTo: d.ReplyTo, MessageId: d.MessageId,
		Timestamp: d.Timestamp, Type: d.Type, AppId: d.AppId, Body: d.Body,
	}
}

// tableBytes bounds what a table takes on the wire.
func tableBytes(t amqp.Table) int {
	n := 4
	for key, value := range t {
		n += 1 + len(key) + valueBytes(value)
	}
	return n
}

func valueBytes(value any) int {
	switch v := value.(type) {
	case string:
		return 5 + len(v)
	case []byte:
		return 5 + len(v)
	case amqp.Table:
		return 1 + tableBytes(v)
	case []any:
		n := 5
		for _, item := range v {
			n += valueBytes(item)
		}
		return n
	}
	return 9 // the widest of the others: a type and 64 bits
}
