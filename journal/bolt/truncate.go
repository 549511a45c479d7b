package bolt

import (
	"encoding/binary"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// A truncated stream has in its head the version that replay begins with. The
// entries from there on name it too, so that the head follows from the last of
// them alone. What lies before stays in the log until it is scavenged; bucket
// truncated lists the streams that have such entries, and how far each one was
// scavenged before.

// truncatedAt is the version that replay of a's stream begins with by a
// truncate of b, and 0 if there is none.
func truncatedAt(b *journal.Batch, a *journal.Append) uint64 {
	for i := range b.Truncates {
		if b.Truncates[i].Stream == a.Stream {
			return b.Truncates[i].Before
		}
	}
	return 0
}

// truncated notes that replay of s, whose head was former, begins later now.
func (g *group) truncated(s envelope.Stream, former, now head) error {
	key := streamKey(s)
	value, err := lookup(g.tx, bucketTruncated, key)
	if err != nil {
		return err
	}
	if value == nil { // all that was let go before, if anything, was scavenged
		if err := g.putScavenged(key, former.begin()-1); err != nil {
			return err
		}
	}
	if stored, ok := storedSnapshot(g.tx, s); ok && stored.Version < now.first {
		return g.dropSnapshot(s)
	}
	return nil
}

const scavengedBytes = 8 + 4

// putScavenged stores that versions of a stream up to that one are gone.
func (g *group) putScavenged(key []byte, version uint64) error {
	value := binary.BigEndian.AppendUint64(g.arena.reserve(scavengedBytes), version)
	value = binary.BigEndian.AppendUint32(value, keyedCRC(key, value))
	g.arena.keep(value)
	g.wrote = true
	return g.store(g.tx.Bucket(bucketTruncated), key, value)
}

// scavenged is how far the stream with head h is scavenged: versions up to that
// one are gone.
func (g *group) scavenged(s envelope.Stream, h head) (uint64, error) {
	if h.first == 0 {
		return 0, nil
	}
	key := streamKey(s)
	value, err := lookup(g.tx, bucketTruncated, key)
	if err != nil || value == nil {
		return h.first - 1, err
	}
	return parseScavenged(key, value)
}

func parseScavenged(key, value []byte) (uint64, error) {
	if len(value) != scavengedBytes || binary.BigEndian.Uint32(value[8:]) != keyedCRC(key, value[:8]) {
		return 0, corrupt("how far stream %q is scavenged", key)
	}
	return binary.BigEndian.Uint64(value), nil
}

// parseStreamKey is the stream that appendStreamKey wrote.
func parseStreamKey(key []byte) (envelope.Stream, bool) {
	if len(key) < 1 || len(key)-1 < int(key[0]) {
		return envelope.Stream{}, false
	}
	n := 1 + int(key[0])
	return envelope.Stream{Type: string(key[1:n]), ID: string(key[n:])}, true
}
