package bolt

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// The buckets of format 3. docs/formats/bolt.md describes all of this in full;
// keep the two together.
var (
	bucketLog       = []byte("log")       // position → entry, in sub-buckets of positionsPerBucket
	bucketHeads     = []byte("heads")     // stream → head
	bucketSnapshots = []byte("snapshots") // stream → snapshot
	bucketReceipts  = []byte("receipts")  // number → run
	bucketMeta      = []byte("meta")
	bucketOutbox    = []byte("outbox")    // position → message
	bucketParked    = []byte("parked")    // position → message that was set aside
	bucketDelayed   = []byte("delayed")   // position → message that is held back
	bucketMessages  = []byte("messages")  // hash of a message's id → its position
	bucketRows      = []byte("rows")      // table and key → row
	bucketTruncated = []byte("truncated") // stream with something to scavenge → how far it is scavenged

	oldBuckets = [][]byte{bucketLog, bucketHeads, bucketSnapshots, bucketReceipts, bucketMeta} // of format 1
	newBuckets = [][]byte{bucketOutbox, bucketParked, bucketDelayed, bucketMessages, bucketRows, bucketTruncated}
	allBuckets = append(oldBuckets[:len(oldBuckets):len(oldBuckets)], newBuckets...)

	keyFormat = []byte("format")
	keyState  = []byte("state")
	keyRuns   = []byte("runs")
)

const (
	// fileFormat is the number in the file. A file of format 1 lacks the
	// buckets of an outbox, of rows and of truncation, one of format 2 that of
	// messages that are held back; opening makes them.
	fileFormat       = 3
	fileFormatOldest = 1

	// format is in front of each value; what later formats add to them is told
	// by flags that format 1 did not set.
	format = 1

	// positionsPerBucket keeps the log's trees shallow and lets a later
	// scavenger drop old positions as a whole.
	positionsPerBucket = 1_000_000

	// blockVersions is the distance of the positions by which a long stream
	// is read: an entry names the newest earlier one with a version that is
	// a multiple of it.
	blockVersions = 64
)

// castagnoli is the polynomial with its own instruction on amd64 and arm64.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// corrupt reports stored bytes that are not what was written. what names the
// stream or position.
func corrupt(what string, args ...any) error {
	return fmt.Errorf("bolt: %s: %w", fmt.Sprintf(what, args...), journal.ErrCorrupt)
}

// uint64Key is how numbers are stored as keys: in an order that bytes share.
func uint64Key(n uint64) [8]byte {
	var k [8]byte
	binary.BigEndian.PutUint64(k[:], n)
	return k
}

// appendStreamKey appends the key of s in heads and snapshots: the length of
// the type in one byte, type, id.
func appendStreamKey(buf []byte, s envelope.Stream) []byte {
	buf = append(buf, byte(len(s.Type)))
	buf = append(buf, s.Type...)
	return append(buf, s.ID...)
}

// streamKey is the key of s in a piece of memory of its own: bbolt's cursors
// make every key escape.
func streamKey(s envelope.Stream) []byte {
	return appendStreamKey(make([]byte, 0, 1+len(s.Type)+len(s.ID)), s)
}

// keyedCRC is the checksum of a value stored under key: a value found under
// another key does not pass.
func keyedCRC(key, value []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value)
}

// positionCRC is keyedCRC under the key of position. The key's eight bytes go
// through the table here: the package would need them in memory of their own,
// an allocation for each entry.
func positionCRC(position uint64, value []byte) uint32 {
	sum := ^uint32(0)
	for shift := 56; shift >= 0; shift -= 8 {
		sum = castagnoli[byte(sum)^byte(position>>shift)] ^ sum>>8
	}
	return crc32.Update(^sum, castagnoli, value)
}

// head is where a stream ends.
type head struct {
	version  uint64
	position uint64 // of the entry with that version
	block    uint64 // of the newest entry whose version is a multiple of blockVersions; 0 if none
	first    uint64 // the version that replay begins with; 0 if the stream was never truncated
}

// begin is the version that replay begins with.
func (h head) begin() uint64 { return max(h.first, 1) }

// after is the head behind one more event at position.
func (h head) after(position uint64) head {
	next := head{version: h.version + 1, position: position, block: h.block, first: h.first}
	if next.version%blockVersions == 0 {
		next.block = position
	}
	return next
}

const (
	headBytes          = 3*8 + 4
	truncatedHeadBytes = 4*8 + 4 // that of a truncated stream has one number more
)

func appendHead(buf, key []byte, h head) []byte {
	start := len(buf)
	buf = binary.BigEndian.AppendUint64(buf, h.version)
	buf = binary.BigEndian.AppendUint64(buf, h.position)
	buf = binary.BigEndian.AppendUint64(buf, h.block)
	if h.first > 0 {
		buf = binary.BigEndian.AppendUint64(buf, h.first)
	}
	return binary.BigEndian.AppendUint32(buf, keyedCRC(key, buf[start:]))
}

func parseHead(key, value []byte) (head, error) {
	if n := len(value); n != headBytes && n != truncatedHeadBytes || headSum(value) != keyedCRC(key, value[:n-4]) {
		return head{}, corrupt("head of stream %q", key)
	}
	h := head{
		version:  binary.BigEndian.Uint64(value),
		position: binary.BigEndian.Uint64(value[8:]),
		block:    binary.BigEndian.Uint64(value[16:]),
	}
	if len(value) == truncatedHeadBytes {
		h.first = binary.BigEndian.Uint64(value[24:])
	}
	return h, nil
}

// headSum is the stored checksum of a stored head.
func headSum(value []byte) uint32 {
	return binary.BigEndian.Uint32(value[len(value)-4:])
}
