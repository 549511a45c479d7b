package bolt

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"iter"

	bbolt "go.etcd.io/bbolt"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// The outbox is a bucket of messages in the order of their positions, which
// begin at 1 and are never given out again; a published message is deleted. One
// that is set aside moves to a bucket of its own, so that nobody reads past it.
// What finds a message by its id is a third bucket, whose keys are hashes. A page
// of it is rewritten for nearly every message, which batches without messages do
// not pay for.
//
// A stored message is: format, the id of its batch, kind, id, name,
// destination, key, content type, codec, time in µs, the source's type and id,
// its version, metadata, data, and a checksum that covers its position.

func appendMessage(buf []byte, position uint64, m *envelope.Message, batch journal.BatchID) []byte {
	start := len(buf)
	buf = append(buf, format)
	buf = append(buf, batch[:]...)
	buf = append(buf, byte(m.Kind))
	for _, s := range [...]string{m.ID, m.Name, m.Destination, m.Key, m.ContentType, m.Codec} {
		buf = appendString(buf, s)
	}
	buf = binary.AppendVarint(buf, m.Time.UnixMicro())
	buf = appendString(buf, m.Source.Type)
	buf = appendString(buf, m.Source.ID)
	buf = binary.AppendUvarint(buf, m.SourceVersion)
	buf = appendMetadata(buf, &m.Metadata)
	buf = append(buf, m.Data...)
	return sealEntry(buf, start, position)
}

// messageBytes is about what a stored message takes.
func messageBytes(m *envelope.Message) int {
	return 160 + m.SizeBytes() + len(m.ContentType) + len(m.Codec) + len(m.Source.Type) + len(m.Source.ID)
}

// parseMessage verifies the stored bytes of position and takes them apart.
// Data shares their memory.
func parseMessage(position uint64, value []byte) (m envelope.StoredMessage, batch journal.BatchID, err error) {
	n := len(value) - 4
	if n < 1 || value[0] != format || binary.BigEndian.Uint32(value[n:]) != positionCRC(position, value[:n]) {
		return m, batch, corrupt("message %d", position)
	}
	d := decoder{buf: value[1:n]}
	copy(batch[:], d.take(uint64(len(batch))))
	m.Kind = envelope.Kind(d.byte())
	for _, s := range [...]*string{&m.ID, &m.Name, &m.Destination, &m.Key, &m.ContentType, &m.Codec} {
		*s = string(d.bytes())
	}
	m.Time = fromMicros(d.varint())
	m.Source.Type = string(d.bytes())
	m.Source.ID = string(d.bytes())
	m.SourceVersion = d.uvarint()
	metadata := d.metadata()
	m.Data = d.rest()
	if d.failed {
		return m, batch, corrupt("message %d is malformed", position)
	}
	m.Metadata = decodeMetadata(metadata)
	m.Position = position
	m.Slot = m.Message.Slot()
	return m, batch, nil
}

// messageKey is what a message is found by. The hash is a cryptographic one, so
// equal keys are equal ids.
func messageKey(id string) [16]byte {
	sum := sha256.Sum256([]byte(id))
	return [16]byte(sum[:16])
}

const messagePlaceBytes = 8 + 4

// parseMessagePlace reads the position stored under the key of an id.
func parseMessagePlace(key, value []byte) (uint64, error) {
	if len(value) != messagePlaceBytes || binary.BigEndian.Uint32(value[8:]) != keyedCRC(key, value[:8]) {
		return 0, corrupt("message id with hash %x", key)
	}
	return binary.BigEndian.Uint64(value), nil
}

// findMessage is the position of the message with that id, those of the group
// included, and 0 if there is none.
func (g *group) findMessage(id string) (uint64, error) {
	key := messageKey(id)
	value, err := lookup(g.tx, bucketMessages, key[:])
	if err != nil || value == nil {
		return 0, err
	}
	return parseMessagePlace(key[:], value)
}

// checkMessages refuses a batch with a message id that is taken.
func (g *group) checkMessages(b *journal.Batch) error {
	for i := range b.Messages {
		position, err := g.findMessage(b.Messages[i].ID)
		if err != nil {
			return err
		}
		if position > 0 {
			return &journal.MessageExistsError{ID: b.Messages[i].ID}
		}
	}
	return nil
}

// isMessageStored reports whether the message with that id came with a batch.
func (g *group) isMessageStored(id string, batch journal.BatchID) (bool, error) {
	position, err := g.findMessage(id)
	if err != nil || position == 0 {
		return false, err
	}
	m, err := g.message(position)
	if err != nil {
		return false, err
	}
	if m == nil || m.message.ID != id {
		return false, corrupt("position %d is not that of message %q", position, id)
	}
	return m.batch == batch, nil
}

// writeMessages stores the messages of b, whose ids are free.
func (g *group) writeMessages(b *journal.Batch) error {
	outbox, ids := g.tx.Bucket(bucketOutbox), g.tx.Bucket(bucketMessages)
	delayed := g.tx.Bucket(bucketDelayed)
	outbox.FillPercent, delayed.FillPercent = 1, 1 // positions only grow
	for i := range b.Messages {
		m := &b.Messages[i]
		position := g.state.messages + 1
		value := appendMessage(g.arena.reserve(messageBytes(m)), position, m, b.ID)
		g.arena.keep(value)
		key, bucket := uint64Key(position), outbox
		if !m.NotBefore.IsZero() {
			value, bucket = g.delay(position, m, value), delayed
		}
		if err := g.store(bucket, key[:], value); err != nil {
			return err
		}
		hash := messageKey(m.ID)
		place := binary.BigEndian.AppendUint64(g.arena.reserve(messagePlaceBytes), position)
		sum := keyedCRC(hash[:], place)
		place = binary.BigEndian.AppendUint32(place, sum)
		g.arena.keep(place)
		if err := g.store(ids, hash[:], place); err != nil {
			return err
		}
		g.state.messages = position
		g.state.messageIDs++
		g.state.messagesSum += uint64(sum)
		g.wrote = true
	}
	return nil
}

// Messages implements [journal.Journal]. It ends at the newest message at the
// time of the call, and reads in pages as ReadAll does.
func (j *Journal) Messages(ctx context.Context, after uint64, limit int) iter.Seq2[envelope.StoredMessage, error] {
	return func(yield func(envelope.StoredMessage, error) bool) {
		last, left := j.messages.Load(), limit
		for more := true; more; {
			most := pageRecords
			if limit > 0 {
				most = min(left, pageRecords)
			}
			err := context.Cause(ctx)
			var messages []envelope.StoredMessage
			if err == nil {
				messages, more, err = j.readMessages(after, last, most, nil)
			}
			for _, m := range messages {
				if !yield(m, nil) {
					return
				}
				after = m.Position
			}
			if err != nil {
				yield(envelope.StoredMessage{}, err)
				return
			}
			if left -= len(messages); limit > 0 && left == 0 {
				return
			}
		}
	}
}

// seekBehind moves cursor to the first message behind a position. A damaged key in
// an inner page leads a search to the wrong leaf, and nothing tells that messages
// before it are missing but that the one before is not before the position.
func seekBehind(cursor *bbolt.Cursor, name []byte, after uint64) (key, value []byte, err error) {
	first := uint64Key(after + 1)
	key, _ = cursor.Seek(first[:])
	var before []byte
	if key == nil {
		before, _ = cursor.Last()
	} else {
		before, _ = cursor.Prev()
	}
	if before != nil && bytes.Compare(before, first[:]) >= 0 {
		return nil, nil, corrupt("bucket %s: message behind %d looked for behind key %x", name, after, before)
	}
	if key == nil {
		return nil, nil, nil
	}
	key, value = cursor.Seek(first[:])
	return key, value, nil
}

// ascends reports whether key is a position behind that of read. An element whose
// place in its page is damaged shows another one, whose checksum passes: what
// comes next then does not ascend.
func ascends(key []byte, read uint64) bool {
	return len(key) == 8 && binary.BigEndian.Uint64(key) > read
}

// readMessages reads one page of at most so many messages behind position after
// and up to last, of those that picks, if there is one, takes. more says that
// the page ended by its size. What was read before an error is returned with it.
func (j *Journal) readMessages(after, last uint64, most int, picks func(*envelope.StoredMessage) bool) (messages []envelope.StoredMessage, more bool, err error) {
	err = j.view(func(tx *bbolt.Tx) error {
		if after >= last {
			return nil
		}
		bucket := tx.Bucket(bucketOutbox)
		if bucket == nil {
			return corrupt("bucket outbox is missing")
		}
		cursor := bucket.Cursor()
		key, value, err := seekBehind(cursor, bucketOutbox, after)
		if err != nil {
			return err
		}
		size := 0
		for read := after; key != nil; key, value = cursor.Next() {
			if !ascends(key, read) {
				// Either may be in the other's place.
				if n := len(messages); n > 0 && messages[n-1].Position == read {
					messages = messages[:n-1]
				}
				return corrupt("bucket outbox has key %x behind message %d", key, read)
			}
			position := binary.BigEndian.Uint64(key)
			if read = position; position > last {
				if key, _ = cursor.Next(); key != nil && !ascends(key, read) { // one that is not that new is hidden
					return corrupt("bucket outbox has key %x behind message %d", key, read)
				}
				return nil
			}
			m, _, err := parseMessage(position, value)
			if err != nil {
				return err
			}
			if picks != nil && !picks(&m) {
				continue
			}
			if len(messages) == most || size >= pageBytes {
				more = true
				return nil
			}
			m.Data = append([]byte(nil), m.Data...)
			messages = append(messages, m)
			size += len(value)
		}
		return nil
	})
	return messages, more, err
}
