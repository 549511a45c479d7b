package bolt

import (
	"encoding/binary"

	bbolt "go.etcd.io/bbolt"
)

// logReader reads entries by position within one transaction, through a cursor
// that it keeps: a bucket's own Get makes a new one each time.
type logReader struct {
	log    *bbolt.Bucket
	number uint64 // of the sub-bucket that cursor is on
	cursor *bbolt.Cursor
	at     uint64 // position that cursor is on; 0 if it is nowhere
}

func newLogReader(tx *bbolt.Tx) (*logReader, error) {
	log := tx.Bucket(bucketLog)
	if log == nil {
		return nil, corrupt("bucket log is missing")
	}
	return &logReader{log: log}, nil
}

// locate puts the cursor on position and returns the stored bytes, which are
// valid as long as the transaction. If position was scavenged, they are those
// of the gap that it belongs to, which lies at an earlier position.
func (r *logReader) locate(position uint64) (at uint64, value []byte, err error) {
	if number := position / positionsPerBucket; r.cursor == nil || number != r.number {
		name := uint64Key(number)
		sub := r.log.Bucket(name[:])
		if sub == nil {
			return 0, nil, corrupt("position %d is missing", position)
		}
		r.cursor, r.number, r.at = sub.Cursor(), number, 0
	}
	if r.at > 0 && position == r.at-1 { // a stream whose events were stored together
		if key, value := r.cursor.Prev(); r.on(key, position) {
			return position, value, nil
		}
	}
	want := uint64Key(position)
	key, value := r.cursor.Seek(want[:])
	if r.on(key, position) {
		return position, value, nil
	}
	if key == nil {
		key, value = r.cursor.Last()
	} else {
		key, value = r.cursor.Prev()
	}
	if len(key) != 8 {
		return 0, nil, corrupt("position %d is missing", position)
	}
	at = binary.BigEndian.Uint64(key)
	if gap, err := parseEntry(at, value); err != nil || gap.kind != kindGap || at >= position || position-at >= gap.gap {
		return 0, nil, corrupt("position %d is missing", position)
	}
	r.at = at
	return at, value, nil
}

// on reports whether key is that of position, on which the cursor is then.
func (r *logReader) on(key []byte, position uint64) bool {
	if r.at = 0; len(key) != 8 || binary.BigEndian.Uint64(key) != position {
		return false
	}
	r.at = position
	return true
}

// entry reads and verifies the entry at position.
func (r *logReader) entry(position uint64) (entry, error) {
	at, value, err := r.locate(position)
	if err != nil {
		return entry{}, err
	}
	if at != position {
		return entry{}, corrupt("position %d was scavenged", position)
	}
	e, err := parseEntry(position, value)
	if err == nil && e.kind == kindGap {
		return entry{}, corrupt("position %d was scavenged", position)
	}
	return e, err
}

// forward reads the entry at position or, if that was scavenged, behind it,
// and says which one it is. It is meant for reading on. There is none behind
// last; the position is beyond it then.
func (r *logReader) forward(position, last uint64) (at uint64, e entry, size int, err error) {
	for position <= last {
		at, value := position, []byte(nil)
		if r.cursor != nil && r.at > 0 && r.number == position/positionsPerBucket {
			key, next := r.cursor.Next() // what lies behind the last one that was read
			if r.on(key, position) {
				value = next
			}
		}
		if value == nil {
			if at, value, err = r.locate(position); err != nil {
				return at, e, 0, err
			}
		}
		if e, err = parseEntry(at, value); err != nil || e.kind != kindGap {
			return at, e, len(value), err
		}
		position = at + e.gap
	}
	return position, entry{}, 0, nil
}

// backward reads the entry at position or, if that was scavenged, in front of
// it. There is none in front of position 1; the position is 0 then.
func (r *logReader) backward(position uint64) (at uint64, e entry, err error) {
	for ; position > 0; position = at - 1 {
		var value []byte
		if at, value, err = r.locate(position); err != nil {
			return at, e, err
		}
		if e, err = parseEntry(at, value); err != nil || e.kind != kindGap {
			return at, e, err
		}
	}
	return 0, entry{}, nil
}
