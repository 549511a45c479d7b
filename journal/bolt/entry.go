package bolt

import (
	"encoding/binary"
	"time"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// An entry is one value of the log: an event; a note, which stands for a batch
// that has receipts, or rows, but no events, or for one whose first event was
// scavenged; or a gap, which stands for entries that were scavenged. The first
// entry of a batch opens it: it carries the batch's id and its receipts.
type entry struct {
	kind  byte
	opens bool
	batch journal.BatchID // if opens

	prev    uint64 // position of the stream's entry before this one; 0 if it is the first
	block   uint64 // position of the newest earlier one with a version that is a multiple of blockVersions; 0 if none
	version uint64
	first   uint64 // the version that replay of the stream begins with; 0 if it was never truncated
	micros  int64
	schema  uint32

	// All of these share the memory of the stored value.
	typ, id, name, codec, metadata, data []byte

	receipts []byte // encoded; see parseReceipts

	gap uint64 // how many positions a gap stands for, its own included
}

const (
	kindEvent = 1
	kindNote  = 2
	kindGap   = 3

	// In the byte of the kind.
	flagOpens     = 0x80
	flagTruncated = 0x40 // an event of a stream that was truncated, at this version or before

	// Whose receipt one in an entry is.
	receiptOther   = 0 // of a command to a stream that is named
	receiptOwn     = 1 // of a command to the entry's stream
	receiptMessage = 2 // of a message to a consumer that is named
)

// opening is what a batch's first entry carries beside the event.
type opening struct {
	batch    journal.BatchID
	receipts []envelope.Receipt
}

// appendEvent appends the entry of rec, to be stored at position, behind the
// stream's head h, whose first may be this very version. open is nil unless it
// is the batch's first.
func appendEvent(buf []byte, position uint64, rec *envelope.Record, h head, open *opening) []byte {
	start := len(buf)
	kind := byte(kindEvent)
	if h.first > 0 {
		kind |= flagTruncated
	}
	buf = appendKind(buf, kind, open)
	buf = appendBack(buf, position, h.position)
	buf = appendBack(buf, position, h.block)
	buf = binary.AppendUvarint(buf, rec.Version)
	if h.first > 0 {
		buf = binary.AppendUvarint(buf, rec.Version-h.first)
	}
	buf = binary.AppendVarint(buf, rec.Time.UnixMicro())
	buf = appendString(buf, rec.Stream.Type)
	buf = appendString(buf, rec.Stream.ID)
	buf = appendString(buf, rec.Name)
	buf = binary.AppendUvarint(buf, uint64(rec.Schema))
	buf = appendString(buf, rec.Codec)
	buf = appendMetadata(buf, &rec.Metadata)
	buf = binary.AppendUvarint(buf, uint64(len(rec.Data)))
	buf = append(buf, rec.Data...)
	if open != nil {
		buf = appendReceipts(buf, open.receipts, rec.Stream)
	}
	return sealEntry(buf, start, position)
}

// appendNote appends the entry of a batch without events.
func appendNote(buf []byte, position uint64, open *opening) []byte {
	start := len(buf)
	buf = appendKind(buf, kindNote, open)
	buf = appendReceipts(buf, open.receipts, envelope.Stream{})
	return sealEntry(buf, start, position)
}

// appendGap appends the entry that stands for so many scavenged ones.
func appendGap(buf []byte, position, count uint64) []byte {
	start := len(buf)
	buf = append(buf, format, kindGap)
	buf = binary.AppendUvarint(buf, count)
	return sealEntry(buf, start, position)
}

func appendKind(buf []byte, kind byte, open *opening) []byte {
	if open == nil {
		return append(buf, format, kind)
	}
	buf = append(buf, format, kind|flagOpens)
	return append(buf, open.batch[:]...)
}

// appendBack appends an earlier position as its distance, and 0 for none.
func appendBack(buf []byte, position, earlier uint64) []byte {
	if earlier == 0 {
		return append(buf, 0)
	}
	return binary.AppendUvarint(buf, position-earlier)
}

func appendString(buf []byte, s string) []byte {
	buf = binary.AppendUvarint(buf, uint64(len(s)))
	return append(buf, s...)
}

// appendReceipts appends the number of receipts and each of them; a receipt of
// stream own, which is nearly every one, does not repeat its name.
func appendReceipts(buf []byte, receipts []envelope.Receipt, own envelope.Stream) []byte {
	buf = binary.AppendUvarint(buf, uint64(len(receipts)))
	for i := range receipts {
		r := &receipts[i]
		switch {
		case r.IsMessage():
			buf = append(buf, receiptMessage)
			buf = appendString(buf, r.Consumer)
		case r.Stream == own:
			buf = append(buf, receiptOwn)
		default:
			buf = append(buf, receiptOther)
			buf = appendString(buf, r.Stream.Type)
			buf = appendString(buf, r.Stream.ID)
		}
		buf = appendString(buf, r.ID)
		buf = binary.AppendUvarint(buf, r.Version)
		buf = binary.AppendVarint(buf, r.Time.UnixMicro())
		buf = appendString(buf, r.Codec)
		buf = binary.AppendUvarint(buf, uint64(len(r.Reply)))
		buf = append(buf, r.Reply...)
	}
	return buf
}

// sealEntry appends the checksum, which covers the position too: an entry
// found at another one does not pass.
func sealEntry(buf []byte, start int, position uint64) []byte {
	return binary.BigEndian.AppendUint32(buf, positionCRC(position, buf[start:]))
}

// entryBytes is no less than what the entry of rec takes, receipts aside.
func entryBytes(rec *envelope.Record) int {
	m := &rec.Metadata
	n := 160 + len(rec.Stream.Type) + len(rec.Stream.ID) + len(rec.Name) + len(rec.Codec) + len(rec.Data) +
		len(m.CorrelationID) + len(m.CausationID) + len(m.CommandID)
	if len(m.Keys) > 0 { // starting to range over a nil map is not free
		for key, value := range m.Keys {
			n += len(key) + len(value) + 2*binary.MaxVarintLen32
		}
	}
	return n
}

// receiptsBytes is no less than what the receipts of a batch take.
func receiptsBytes(receipts []envelope.Receipt) int {
	n := 32
	for i := range receipts {
		r := &receipts[i]
		n += r.SizeBytes() + len(r.Stream.Type) + len(r.Stream.ID) + len(r.Codec) + 16
	}
	return n
}

// parseEntry verifies the stored bytes of position and takes them apart. The
// entry shares their memory.
func parseEntry(position uint64, value []byte) (entry, error) {
	if len(value) < 2+4 {
		return entry{}, corrupt("position %d has %d bytes", position, len(value))
	}
	body, sum := value[:len(value)-4], binary.BigEndian.Uint32(value[len(value)-4:])
	if positionCRC(position, body) != sum {
		return entry{}, corrupt("position %d fails its checksum", position)
	}
	if body[0] != format {
		return entry{}, corrupt("position %d has format %d, want %d", position, body[0], format)
	}
	e, ok := parseBody(position, body[1:])
	if !ok {
		return entry{}, corrupt("position %d is malformed", position)
	}
	return e, nil
}

// parseBody takes apart what lies between format and checksum.
func parseBody(position uint64, body []byte) (entry, bool) {
	d := decoder{buf: body}
	kind := d.byte()
	e := entry{kind: kind &^ (flagOpens | flagTruncated), opens: kind&flagOpens != 0}
	if e.opens {
		copy(e.batch[:], d.take(uint64(len(e.batch))))
	}
	switch e.kind {
	case kindEvent:
		e.prev = d.back(position)
		e.block = d.back(position)
		e.version = d.uvarint()
		if kind&flagTruncated != 0 {
			if back := d.uvarint(); back < e.version {
				e.first = e.version - back
			} else {
				d.fail()
			}
		}
		e.micros = d.varint()
		e.typ = d.bytes()
		e.id = d.bytes()
		e.name = d.bytes()
		schema := d.uvarint()
		e.schema = uint32(schema)
		e.codec = d.bytes()
		e.metadata = d.metadata()
		e.data = d.bytes()
		if schema != uint64(e.schema) || e.version == 0 || e.version > position || (e.prev == 0) != (e.version == 1) ||
			(e.block == 0) != (e.version <= blockVersions) || e.block > e.prev {
			return entry{}, false
		}
	case kindNote:
		if kind != kindNote|flagOpens {
			return entry{}, false
		}
	case kindGap:
		e.gap = d.uvarint()
		if kind != kindGap || e.gap == 0 || e.gap > positionsPerBucket-position%positionsPerBucket {
			return entry{}, false
		}
	default:
		return entry{}, false
	}
	if e.opens {
		e.receipts = d.rest()
	}
	return e, !d.failed && len(d.buf) == 0
}

// headAt is the stream's head right after this entry, stored at position.
func (e *entry) headAt(position uint64) head {
	return head{version: e.version - 1, block: e.block, first: e.first}.after(position)
}

// is reports whether the entry is an event of s.
func (e *entry) is(s envelope.Stream) bool {
	return e.kind == kindEvent && string(e.id) == s.ID && string(e.typ) == s.Type
}

// parseReceipts calls yield for each receipt of the entry until it returns
// false, and reports whether all were well formed. Reply shares the entry's
// memory.
func (e *entry) parseReceipts(yield func(envelope.Receipt) bool) bool {
	if !e.opens {
		return true
	}
	d := decoder{buf: e.receipts}
	for n := d.uvarint(); n > 0 && !d.failed; n-- {
		var r envelope.Receipt
		switch d.byte() {
		case receiptOwn:
			r.Stream = envelope.Stream{Type: string(e.typ), ID: string(e.id)}
		case receiptOther:
			r.Stream = envelope.Stream{Type: string(d.bytes()), ID: string(d.bytes())}
		case receiptMessage:
			r.Consumer = string(d.bytes())
		default:
			d.fail()
		}
		r.ID = string(d.bytes())
		r.Version = d.uvarint()
		r.Time = fromMicros(d.varint())
		r.Codec = string(d.bytes())
		r.Reply = d.bytes()
		if len(r.Reply) == 0 {
			r.Reply = nil
		}
		if d.failed || !yield(r) {
			return !d.failed
		}
	}
	return !d.failed && len(d.buf) == 0
}

func fromMicros(n int64) time.Time { return time.UnixMicro(n).UTC() }
