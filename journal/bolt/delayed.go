package bolt

import (
	"context"
	"encoding/binary"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/internal/duetimes"
	"github.com/troupe-go/troupe/journal"
)

// A message that is held back is in a bucket of its own, under its position, so
// that nobody who reads pending messages passes by it. Who is due when is in
// memory: opening reads the bucket.
//
// It is stored as: format, time in µs, the message as it is when it is pending,
// and a checksum that covers its position.

func appendDelayed(buf []byte, position uint64, notBefore time.Time, message []byte) []byte {
	start := len(buf)
	buf = append(buf, format)
	buf = binary.AppendVarint(buf, notBefore.UnixMicro())
	buf = append(buf, message...)
	return sealEntry(buf, start, position)
}

func parseDelayed(position uint64, value []byte) (*outboxMessage, error) {
	n := len(value) - 4
	if n < 1 || value[0] != format || binary.BigEndian.Uint32(value[n:]) != positionCRC(position, value[:n]) {
		return nil, corrupt("delayed message %d", position)
	}
	d := decoder{buf: value[1:n]}
	notBefore := fromMicros(d.varint())
	m := &outboxMessage{bucket: bucketDelayed, value: d.rest()}
	if d.failed {
		return nil, corrupt("delayed message %d is malformed", position)
	}
	var err error
	m.message, m.batch, err = parseMessage(position, m.value)
	m.message.NotBefore = notBefore
	return m, err
}

// delay is a change of the index of delayed messages.
type delay struct {
	position uint64
	slot     int
	until    time.Time
	ends     bool
}

func (d delay) apply(x *duetimes.Index) {
	if d.ends {
		x.Remove(d.position)
		return
	}
	x.Add(d.position, d.slot, d.until)
}

// delay returns what is stored of a message that is held back; value is the
// message as it is when it is pending.
func (g *group) delay(position uint64, m *envelope.Message, value []byte) []byte {
	delayed := appendDelayed(g.arena.reserve(16+len(value)), position, m.NotBefore, value)
	g.arena.keep(delayed)
	g.delays = append(g.delays, delay{position: position, slot: m.Slot(), until: m.NotBefore})
	return delayed
}

// readDelayed fills an empty index.
func readDelayed(tx *bbolt.Tx, x *duetimes.Index) error {
	cursor, last := tx.Bucket(bucketDelayed).Cursor(), uint64(0)
	for key, value := cursor.First(); key != nil; key, value = cursor.Next() {
		if !ascends(key, last) {
			return corrupt("bucket delayed has key %x behind message %d", key, last)
		}
		last = binary.BigEndian.Uint64(key)
		m, err := parseDelayed(last, value)
		if err != nil {
			return err
		}
		x.Add(last, m.message.Slot, m.message.NotBefore)
	}
	return nil
}

func (p publishing) Delayed(ctx context.Context, q journal.DelayedQuery) (journal.DelayedPage, error) {
	if err := p.ready(ctx, q.Validate()); err != nil {
		return journal.DelayedPage{}, err
	}
	return p.journal.ram.Load().delayed.Page(q), nil
}
