package bolt

import (
	bbolt "go.etcd.io/bbolt"
)

// makeGaps deletes the entries at positions, which rise, and leaves gaps in
// their place: one for all neighbours within a sub-bucket of the log, those of
// former calls included. Without gaps nobody could tell an entry that was
// deleted from one that a damaged page hides.
func (g *group) makeGaps(positions []uint64) error {
	for len(positions) > 0 {
		n := 1
		for n < len(positions) && positions[n] == positions[n-1]+1 && positions[n]%positionsPerBucket != 0 {
			n++
		}
		if err := g.makeGap(positions[0], positions[n-1]); err != nil {
			return err
		}
		positions = positions[n:]
	}
	return nil
}

// makeGap deletes the entries from first to last, which are of one sub-bucket.
func (g *group) makeGap(first, last uint64) error {
	sub, err := g.bucketOf(first)
	if err != nil {
		return err
	}
	begin, end := first, last
	log, err := newLogReader(g.tx) // the group's own is on entries that go
	if err != nil {
		return err
	}
	if first%positionsPerBucket > 0 && first > 1 {
		if begin, err = log.gapBefore(first); err != nil {
			return err
		}
	}
	if last < g.state.last && (last+1)%positionsPerBucket > 0 {
		_, value, err := log.locate(last + 1)
		if err != nil {
			return err
		}
		behind, err := parseEntry(last+1, value)
		if err != nil {
			return err
		}
		if behind.kind == kindGap {
			end = last + behind.gap
			key := uint64Key(last + 1)
			if err := g.remove(sub, key[:]); err != nil {
				return err
			}
		}
	}
	for position := first; position <= last; position++ {
		key := uint64Key(position)
		if position == begin {
			continue // it becomes the gap
		}
		if err := g.remove(sub, key[:]); err != nil {
			return err
		}
	}
	g.log.cursor = nil // it may have been on one of them
	return g.overwrite(begin, appendGap(g.arena.reserve(16), begin, end-begin+1))
}

// gapBefore is where the gap begins that ends right in front of position, and
// position itself if there is none.
func (r *logReader) gapBefore(position uint64) (uint64, error) {
	at, value, err := r.locate(position - 1)
	if err != nil {
		return 0, err
	}
	e, err := parseEntry(at, value)
	if err == nil && e.kind == kindGap {
		return at, nil
	}
	return position, err
}

// overwrite replaces the entry at position.
func (g *group) overwrite(position uint64, value []byte) error {
	g.arena.keep(value)
	sub, err := g.bucketOf(position)
	if err != nil {
		return err
	}
	g.wrote = true
	g.log.cursor = nil
	key := uint64Key(position)
	return g.store(sub, key[:], value)
}

// bucketOf is the sub-bucket of the log that has position.
func (g *group) bucketOf(position uint64) (*bbolt.Bucket, error) {
	number := position / positionsPerBucket
	if g.sub != nil && g.subNumber == number {
		return g.sub, nil
	}
	name := uint64Key(number)
	sub := g.tx.Bucket(bucketLog).Bucket(name[:])
	if sub == nil {
		return nil, corrupt("position %d is missing", position)
	}
	return sub, nil
}
