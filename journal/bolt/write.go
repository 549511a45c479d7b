package bolt

import (
	bbolt "go.etcd.io/bbolt"

	"github.com/troupe-go/troupe/journal"
)

// write stores what s carries, which passed all checks just now, in the
// transaction.
func (c *committer) write(g *group, s *submission) (result journal.Result, err error) {
	b := s.batch
	open := &opening{batch: b.ID, receipts: b.Receipts}
	first := g.state.last + 1
	for i := range b.Appends {
		a, h := &b.Appends[i], g.gates[i]
		begin := uint64(0)
		if len(b.Truncates) > 0 {
			begin = truncatedAt(b, a)
		}
		former := h
		for k := range a.Records {
			position := g.state.last + 1
			room := entryBytes(&a.Records[k])
			if open != nil {
				room += receiptsBytes(open.receipts)
			}
			if begin > 1 && a.Records[k].Version == begin {
				h.first = begin
			}
			value := appendEvent(g.arena.reserve(room), position, &a.Records[k], h, open)
			if err := g.put(position, value); err != nil {
				return result, err
			}
			h, open = h.after(position), nil
		}
		g.heads[a.Stream] = h
		g.state.newest = g.state.last
		result.Position = journal.Position{Seq: g.state.last}
		if h.first != former.first {
			if err := g.truncated(a.Stream, former, h); err != nil {
				return result, err
			}
		}
	}
	if open != nil && (len(b.Receipts) > 0 || leavesNoEntry(b)) {
		position := g.state.last + 1
		value := appendNote(g.arena.reserve(receiptsBytes(b.Receipts)), position, open)
		if err := g.put(position, value); err != nil {
			return result, err
		}
	}
	switch {
	case len(b.Receipts) > 0:
		c.ram.receipts.add(g.keys, first) // checkReceipts made the keys
	case leavesNoEntry(b):
		c.ram.receipts.add([]receiptKey{s.key}, first)
	}
	if len(b.Messages) > 0 {
		if err := g.writeMessages(b); err != nil {
			return result, err
		}
	}
	if len(b.Rows) > 0 {
		if err := g.writeRows(b); err != nil {
			return result, err
		}
	}
	for _, s := range b.DropSnapshots {
		if err := g.dropSnapshot(s); err != nil {
			return result, err
		}
	}
	for i := range b.Snapshots {
		if err := c.writeSnapshot(g, &b.Snapshots[i]); err != nil {
			return result, err
		}
	}
	return result, nil
}

// store puts a key into a bucket, and remove deletes one.
func (g *group) store(b *bbolt.Bucket, key, value []byte) error {
	if err := g.guard.change(b, key, false); err != nil {
		return err
	}
	return b.Put(key, value)
}

func (g *group) remove(b *bbolt.Bucket, key []byte) error {
	if err := g.guard.change(b, key, true); err != nil {
		return err
	}
	return b.Delete(key)
}

// put appends an entry to the log.
func (g *group) put(position uint64, value []byte) error {
	g.arena.keep(value)
	if number := position / positionsPerBucket; g.sub == nil || number != g.subNumber {
		name, last := uint64Key(number), uint64Key(position)
		sub, err := g.tx.Bucket(bucketLog).CreateBucketIfNotExists(name[:])
		if err != nil {
			return err
		}
		if err := g.guard.change(sub, last[:], false); err != nil {
			return err
		}
		sub.FillPercent = 1 // positions only grow
		g.sub, g.subNumber = sub, number
	}
	key := uint64Key(position)
	if err := g.sub.Put(key[:], value); err != nil {
		return err
	}
	g.state.last, g.wrote = position, true
	return nil
}
