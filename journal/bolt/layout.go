package bolt

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	bbolt "go.etcd.io/bbolt"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// The buckets of format 1. docs/formats/bolt.md describes all of this in full;
// keep the two together.
var (
	bucketLog       = []byte("log")       // position → entry, in sub-buckets of positionsPerBucket
	bucketHeads     = []byte("heads")     // stream → head
	bucketSnapshots = []byte("snapshots") // stream → snapshot
	bucketReceipts  = []byte("receipts")  // number → run
	bucketMeta      = []byte("meta")

	keyFormat = []byte("format")
	keyState  = []byte("state")
	keyRuns   = []byte("runs")
)

const (
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
}

// after is the head behind one more event at position.
func (h head) after(position uint64) head {
	next := head{version: h.version + 1, position: position, block: h.block}
	if next.version%blockVersions == 0 {
		next.block = position
	}
	return next
}

const headBytes = 3*8 + 4

func appendHead(buf, key []byte, h head) []byte {
	start := len(buf)
	buf = binary.BigEndian.AppendUint64(buf, h.version)
	buf = binary.BigEndian.AppendUint64(buf, h.position)
	buf = binary.BigEndian.AppendUint64(buf, h.block)
	return binary.BigEndian.AppendUint32(buf, keyedCRC(key, buf[start:]))
}

func parseHead(key, value []byte) (head, error) {
	if len(value) != headBytes || headSum(value) != keyedCRC(key, value[:headBytes-4]) {
		return head{}, corrupt("head of stream %q", key)
	}
	return head{
		version:  binary.BigEndian.Uint64(value),
		position: binary.BigEndian.Uint64(value[8:]),
		block:    binary.BigEndian.Uint64(value[16:]),
	}, nil
}

// headSum is the stored checksum of a stored head.
func headSum(value []byte) uint32 {
	return binary.BigEndian.Uint32(value[headBytes-4:])
}

// state is what each commit stores beside its effects.
type state struct {
	last       uint64 // the newest position; 0 in an empty journal
	checkpoint uint64 // heads in the file include all positions up to here
	spilled    uint64 // receipts of all positions up to here are in runs
	heads      uint64 // how many heads the file holds
	headsSum   uint64 // the sum of their checksums
}

const stateBytes = 5*8 + 4

func (s *state) append(buf []byte) []byte {
	start := len(buf)
	for _, n := range [...]uint64{s.last, s.checkpoint, s.spilled, s.heads, s.headsSum} {
		buf = binary.BigEndian.AppendUint64(buf, n)
	}
	return binary.BigEndian.AppendUint32(buf, keyedCRC(keyState, buf[start:]))
}

func parseState(value []byte) (state, error) {
	if len(value) != stateBytes ||
		binary.BigEndian.Uint32(value[stateBytes-4:]) != keyedCRC(keyState, value[:stateBytes-4]) {
		return state{}, corrupt("state")
	}
	s := state{
		last:       binary.BigEndian.Uint64(value),
		checkpoint: binary.BigEndian.Uint64(value[8:]),
		spilled:    binary.BigEndian.Uint64(value[16:]),
		heads:      binary.BigEndian.Uint64(value[24:]),
		headsSum:   binary.BigEndian.Uint64(value[32:]),
	}
	if s.checkpoint > s.spilled || s.spilled > s.last {
		return state{}, corrupt("state: checkpoint %d, spilled %d, last position %d", s.checkpoint, s.spilled, s.last)
	}
	return s, nil
}

// logReader reads entries by position within one transaction, through a cursor
// that it keeps: a bucket's own Get makes a new one each time.
type logReader struct {
	log    *bbolt.Bucket
	number uint64 // of the sub-bucket that cursor is on
	cursor *bbolt.Cursor
	at     uint64 // position that cursor is on
}

func newLogReader(tx *bbolt.Tx) (*logReader, error) {
	log := tx.Bucket(bucketLog)
	if log == nil {
		return nil, corrupt("bucket log is missing")
	}
	return &logReader{log: log}, nil
}

// seek puts the cursor on position and returns the stored bytes, which are
// valid as long as the transaction.
func (r *logReader) seek(position uint64) ([]byte, error) {
	if number := position / positionsPerBucket; r.cursor == nil || number != r.number {
		name := uint64Key(number)
		sub := r.log.Bucket(name[:])
		if sub == nil {
			return nil, corrupt("position %d is missing", position)
		}
		r.cursor, r.number, r.at = sub.Cursor(), number, 0
	}
	var key, value []byte
	if r.at > 0 && position == r.at-1 { // a stream whose events were stored together
		key, value = r.cursor.Prev()
	} else {
		want := uint64Key(position)
		key, value = r.cursor.Seek(want[:])
	}
	return r.found(position, key, value)
}

// next is seek for the position behind the last one, which costs less.
func (r *logReader) next(position uint64) ([]byte, error) {
	if r.cursor == nil || position/positionsPerBucket != r.number {
		return r.seek(position)
	}
	key, value := r.cursor.Next()
	return r.found(position, key, value)
}

// found returns value if key is that of position, on which the cursor is then.
func (r *logReader) found(position uint64, key, value []byte) ([]byte, error) {
	r.at = 0
	if len(key) != 8 || binary.BigEndian.Uint64(key) != position {
		return nil, corrupt("position %d is missing", position)
	}
	r.at = position
	return value, nil
}

// entry reads and verifies the entry at position.
func (r *logReader) entry(position uint64) (entry, error) {
	value, err := r.seek(position)
	if err != nil {
		return entry{}, err
	}
	return parseEntry(position, value)
}
