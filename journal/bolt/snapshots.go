package bolt

import (
	"encoding/binary"

	bbolt "go.etcd.io/bbolt"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/snapshot"
)

// A stored snapshot is: format, version, schema, fingerprint, time in µs,
// codec, data, and a checksum that covers its key. It is a cache, so one that
// is not whole is as good as none.

func appendSnapshot(buf, key []byte, s *snapshot.Snapshot) []byte {
	start := len(buf)
	buf = append(buf, format)
	buf = binary.AppendUvarint(buf, s.Version)
	buf = binary.AppendUvarint(buf, uint64(s.Schema))
	buf = binary.BigEndian.AppendUint64(buf, s.Fingerprint)
	buf = binary.AppendVarint(buf, s.Time.UnixMicro())
	buf = appendString(buf, s.Codec)
	buf = append(buf, s.Data...)
	return binary.BigEndian.AppendUint32(buf, keyedCRC(key, buf[start:]))
}

// parseSnapshot reads what appendSnapshot wrote for stream s. Data shares the
// value's memory.
func parseSnapshot(key, value []byte, s envelope.Stream) (snapshot.Snapshot, bool) {
	n := len(value) - 4
	if n < 1 || value[0] != format || binary.BigEndian.Uint32(value[n:]) != keyedCRC(key, value[:n]) {
		return snapshot.Snapshot{}, false
	}
	d := decoder{buf: value[1:n]}
	stored := snapshot.Snapshot{Stream: s, Version: d.uvarint(), Schema: uint32(d.uvarint())}
	if fingerprint := d.take(8); fingerprint != nil {
		stored.Fingerprint = binary.BigEndian.Uint64(fingerprint)
	}
	stored.Time = fromMicros(d.varint())
	stored.Codec = string(d.bytes())
	stored.Data = d.rest()
	return stored, !d.failed
}

// storedSnapshot reads the snapshot of s, if there is a whole one. Data is
// valid as long as the transaction.
func storedSnapshot(tx *bbolt.Tx, s envelope.Stream) (snapshot.Snapshot, bool) {
	bucket := tx.Bucket(bucketSnapshots)
	if bucket == nil {
		return snapshot.Snapshot{}, false
	}
	key := streamKey(s)
	return parseSnapshot(key, bucket.Get(key), s)
}

// writeSnapshot stores s unless it is ahead of its stream, from before its
// truncation, or not newer than the stored one.
func (c *committer) writeSnapshot(g *group, s *snapshot.Snapshot) error {
	h, err := c.head(g, s.Stream)
	if err != nil {
		return err
	}
	if s.Version > h.version || s.Version < h.first {
		return nil
	}
	if stored, ok := storedSnapshot(g.tx, s.Stream); ok && stored.Version >= s.Version && stored.Version <= h.version {
		return nil
	}
	key := streamKey(s.Stream)
	value := appendSnapshot(g.arena.reserve(len(s.Data)+128), key, s)
	g.arena.keep(value)
	g.wrote = true
	return g.store(g.tx.Bucket(bucketSnapshots), key, value)
}

// dropSnapshot deletes the snapshot of s, if there is one.
func (g *group) dropSnapshot(s envelope.Stream) error {
	bucket := g.tx.Bucket(bucketSnapshots)
	key := streamKey(s)
	if bucket.Get(key) == nil {
		return nil
	}
	g.wrote = true
	return g.remove(bucket, key)
}
