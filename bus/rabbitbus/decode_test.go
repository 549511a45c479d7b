package rabbitbus

import (
	"encoding/binary"
	"math"
	"strconv"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/internal/testenv/buskit"
)

// wild makes a table of whatever a stranger may send out of data.
type wild struct{ data []byte }

func (w *wild) take(n int) []byte {
	n = min(n, len(w.data))
	taken := w.data[:n:n]
	w.data = w.data[n:]
	return taken
}

func (w *wild) octet() byte {
	if b := w.take(1); len(b) == 1 {
		return b[0]
	}
	return 0
}

func (w *wild) number() uint64 {
	var b [8]byte
	copy(b[:], w.take(8))
	return binary.BigEndian.Uint64(b[:])
}

func (w *wild) text() string { return string(w.take(int(w.octet()))) }

func (w *wild) value(depth int) any {
	kind := w.octet() % 16
	if depth > 2 && kind >= 14 {
		kind = 0
	}
	switch kind {
	case 1:
		return []byte(w.text())
	case 2:
		return w.octet()%2 == 1
	case 3:
		return w.octet()
	case 4:
		return int8(w.octet())
	case 5:
		return int16(w.number())
	case 6:
		return int32(w.number())
	case 7:
		return int64(w.number())
	case 8:
		return uint16(w.number())
	case 9:
		return uint32(w.number())
	case 10:
		return math.Float32frombits(uint32(w.number()))
	case 11:
		return math.Float64frombits(w.number())
	case 12:
		return amqp.Decimal{Scale: w.octet(), Value: int32(w.number())}
	case 13:
		return time.Unix(int64(w.number()), 0)
	case 14:
		return w.table(depth + 1)
	case 15:
		list := []any{}
		for range w.octet() % 4 {
			list = append(list, w.value(depth+1))
		}
		return list
	}
	if kind == 0 && len(w.data)%5 == 0 {
		return nil
	}
	return w.text()
}

// keys that mean something, beside those of the data.
var keys = []string{
	bus.HeaderKind, bus.HeaderID, bus.HeaderTime, bus.HeaderSourceSeq, bus.HeaderSourceType, bus.HeaderSourceID, bus.HeaderKey, bus.HeaderCodec,
	headerAttempts, headerResent, headerDeadID, bus.HeaderDeadAt, bus.HeaderDeadAttempts, bus.HeaderDeadName, bus.HeaderDeadGroup,
	"x-death", "x-delivery-count", "CC", "correlation_id", "X-Sourced-Kind",
}

func (w *wild) table(depth int) amqp.Table {
	t := amqp.Table{}
	for range w.octet() % 8 {
		key := w.text()
		if n := int(w.octet()); n < len(keys) {
			key = keys[n]
		}
		t[key] = w.value(depth)
	}
	return t
}

// FuzzDecode: no delivery makes the decoder panic, lie about a message or grow
// beyond its limits; one that is published again says the same.
func FuzzDecode(f *testing.F) {
	f.Add([]byte{}, "id", "application/json", []byte("{}"), false)
	f.Add([]byte{3, 1, 'k', 0, 0, 5, 'e', 'v', 'e', 'n', 't', 0, 15, 15, 3, 14, 1, 0, 1}, "", "", []byte{}, true)
	for n := range keys {
		f.Add([]byte{1, 0, byte(n), byte(n), 9, 9, 9, 9, 9, 9, 9, 9}, strconv.Itoa(n), "t", []byte("x"), n%2 == 0)
	}
	f.Fuzz(func(t *testing.T, table []byte, id, contentType string, body []byte, redelivered bool) {
		w := &wild{table}
		d := amqp.Delivery{Headers: w.table(0), MessageId: id, ContentType: contentType, Body: body, Redelivered: redelivered, RoutingKey: "thing.happened"}
		a := decode(&d, envelope.KindEvent, d.RoutingKey)
		require.GreaterOrEqual(t, a.attempts, 0)
		require.LessOrEqual(t, len(a.message.Metadata.Keys), envelope.MaxMetadataKeys)
		if a.malformed != nil {
			require.ErrorIs(t, a.malformed, bus.ErrMalformed)
			require.True(t, bus.IsPermanent(a.malformed))
		} else if a.message.ID != "" {
			require.NoError(t, a.message.Validate())
			p, err := encode(&a.message)
			require.NoError(t, err, "no header of the broker's own gets into metadata")
			back := decode(&amqp.Delivery{Headers: p.Headers, MessageId: p.MessageId, ContentType: p.ContentType, Body: p.Body}, envelope.KindEvent, d.RoutingKey)
			require.NoError(t, back.malformed)
			buskit.Same(t, a.message, back.message)
		}
		require.NoError(t, d.Headers.Validate(), "what the driver could have read")
		p := again(&d, math.MaxInt32, func(key string) bool { return key == headerAttempts })
		require.NoError(t, p.Headers.Validate())
		once := decode(&amqp.Delivery{Headers: p.Headers, MessageId: p.MessageId, ContentType: p.ContentType, Body: p.Body}, envelope.KindEvent, d.RoutingKey)
		buskit.Same(t, a.message, once.message)
		small := again(&d, 4096, func(string) bool { return false })
		require.LessOrEqual(t, tableBytes(small.Headers), max(tableBytes(amqp.Table{}), 4096))
		letters := deadLetters{&transport{names: names{"app"}}}
		l := letters.letter(&d)
		require.NotEmpty(t, l.ID)
		require.Equal(t, l.ID, letters.letter(&d).ID)
	})
}

func TestDecimals(t *testing.T) {
	t.Parallel()
	for want, d := range map[string]amqp.Decimal{
		"0": {}, "5": {Value: 5}, "0.05": {Scale: 2, Value: 5}, "-0.05": {Scale: 2, Value: -5}, "12.34": {Scale: 2, Value: 1234},
		"-2147483648": {Value: math.MinInt32}, "0.0": {Scale: 1},
	} {
		require.Equal(t, want, decimal(d))
	}
}

// TestRoundDelay: never earlier, at most half as late again, and few different
// ones.
func TestRoundDelay(t *testing.T) {
	t.Parallel()
	different := map[time.Duration]bool{}
	for d := time.Millisecond; d <= maxDelay; d += d/7 + 1 {
		rounded := roundDelay(d)
		require.GreaterOrEqual(t, rounded, d)
		if d > minDelay {
			require.LessOrEqual(t, rounded, d+d/2)
		}
		require.Zero(t, rounded%time.Millisecond, "what a queue's TTL can say")
		different[rounded] = true
	}
	require.LessOrEqual(t, len(different), 41)
	require.Equal(t, maxDelay, roundDelay(100*maxDelay))
}
