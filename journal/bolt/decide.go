package bolt

import (
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// decide puts it into the group's transaction, or says why not. refused is the
// answer to it alone; it wrote nothing then. fatal means that the transaction
// is beyond use.
func (c *committer) decide(g *group, it *item) (result journal.Result, refused, fatal error) {
	stored, refused := c.check(g, it)
	if refused != nil {
		c.refuse(it)
	}
	if stored || refused != nil {
		return journal.Result{}, refused, nil
	}
	result, fatal = c.write(g, it.Value.batch)
	return result, nil, fatal
}

// refuse remembers what the refused item would have made.
func (c *committer) refuse(it *item) {
	for i := range it.Value.batch.Appends {
		a := &it.Value.batch.Appends[i]
		c.phantoms.Add(it.Number, a.Stream, a.Expected+uint64(len(a.Records)))
	}
}

// check reads what decides about b; it writes nothing. stored means that b is
// a resubmission that had been stored before.
//
// Receipts come before heads: a command that is repeated gets its first reply,
// even though the stream moved on since.
func (c *committer) check(g *group, it *item) (stored bool, refused error) {
	defer recoverCorrupt(&refused) // a bad page fails those that need it
	b := it.Value.batch
	if b.Resubmit {
		if stored, err := c.isStored(g, it); stored || err != nil {
			return stored, err
		}
	}
	if len(b.Receipts) > 0 {
		if err := c.checkReceipts(g, it); err != nil {
			return false, err
		}
	}
	g.gates = g.gates[:0]
	for i := range b.Appends {
		h, err := c.gate(g, it, b.Appends[i].Stream, b.Appends[i].Expected)
		if err != nil {
			return false, err
		}
		g.gates = append(g.gates, h)
	}
	for i := range b.Asserts {
		if _, err := c.gate(g, it, b.Asserts[i].Stream, b.Asserts[i].Expected); err != nil {
			return false, err
		}
	}
	return false, nil
}

// gate refuses a batch that expects another version than the stream has, or
// the version that a refused batch would have made. It returns the head.
func (c *committer) gate(g *group, it *item, s envelope.Stream, expected uint64) (head, error) {
	h, err := c.head(g, s)
	if err != nil {
		return h, err
	}
	if h.version != expected || c.phantoms.Has(it.Number, s, expected) {
		return h, &journal.ConflictError{Stream: s, Expected: expected, Actual: h.version}
	}
	return h, nil
}

// head is the head of s as the group has made it so far.
func (c *committer) head(g *group, s envelope.Stream) (head, error) {
	if h, ok := g.heads[s]; ok {
		return h, nil
	}
	if h, ok := c.ram.heads.peek(s); ok {
		return h, nil
	}
	h, err := storedHead(g.tx, s)
	if err == nil && h.version > 0 {
		c.ram.heads.keep(s, h)
	}
	return h, err
}

// checkReceipts refuses a batch with receipts that are stored, and returns all
// of those.
func (c *committer) checkReceipts(g *group, it *item) error {
	var duplicates []envelope.Receipt
	g.keys = g.keys[:0]
	for i := range it.Value.batch.Receipts {
		r := &it.Value.batch.Receipts[i]
		key := it.Value.receiptKey(i)
		g.keys = append(g.keys, key)
		stored, _, ok, err := c.receipt(g, key, r)
		if err != nil {
			return err
		}
		if ok {
			duplicates = append(duplicates, stored)
		}
	}
	if duplicates != nil {
		return &journal.DuplicateError{Receipts: duplicates}
	}
	return nil
}

// receipt finds the stored receipt of the same command as wanted, those of the
// group included, and the batch that it was stored with.
func (c *committer) receipt(g *group, key receiptKey, wanted *envelope.Receipt) (r envelope.Receipt, batch journal.BatchID, ok bool, err error) {
	position, ok := c.ram.receipts.peek(key)
	if !ok {
		if !g.runsOpened {
			if g.runs, err = openRuns(g.tx, &c.ram.verified); err != nil {
				return r, batch, false, err
			}
			g.runsOpened = true
		}
		if position = findInRuns(g.runs, key); position == 0 {
			return r, batch, false, nil
		}
	}
	return readReceipt(g.log, position, wanted.Stream, wanted.ID)
}

// isStored reports whether b was stored when it was submitted before: its id
// is in the first entry that it wrote, and a batch is stored as a whole. One
// that wrote no entry is simply decided again.
func (c *committer) isStored(g *group, it *item) (bool, error) {
	b := it.Value.batch
	switch {
	case len(b.Appends) > 0:
		first := &b.Appends[0]
		h, err := c.head(g, first.Stream)
		if err != nil || h.version <= first.Expected {
			return false, err
		}
		e, err := entryOf(g.log, first.Stream, h, first.Expected+1)
		return err == nil && e.opens && e.batch == b.ID, err
	case len(b.Receipts) > 0:
		first := &b.Receipts[0]
		_, batch, ok, err := c.receipt(g, it.Value.receiptKey(0), first)
		return ok && batch == b.ID, err
	}
	return false, nil
}

// write stores b, which passed all checks just now, in the transaction.
func (c *committer) write(g *group, b *journal.Batch) (result journal.Result, err error) {
	open := &opening{batch: b.ID, receipts: b.Receipts}
	first := g.state.last + 1
	for i := range b.Appends {
		a, h := &b.Appends[i], g.gates[i]
		for k := range a.Records {
			position := g.state.last + 1
			room := entryBytes(&a.Records[k])
			if open != nil {
				room += receiptsBytes(open.receipts)
			}
			value := appendEvent(g.arena.reserve(room), position, &a.Records[k], h, open)
			if err := g.put(position, value); err != nil {
				return result, err
			}
			h, open = h.after(position), nil
		}
		g.heads[a.Stream] = h
		result.Position = journal.Position{Seq: g.state.last}
	}
	if open != nil && len(b.Receipts) > 0 {
		position := g.state.last + 1
		value := appendNote(g.arena.reserve(receiptsBytes(b.Receipts)), position, open)
		if err := g.put(position, value); err != nil {
			return result, err
		}
	}
	if len(b.Receipts) > 0 {
		c.ram.receipts.add(g.keys, first) // checkReceipts made the keys
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

// put appends an entry to the log.
func (g *group) put(position uint64, value []byte) error {
	g.arena.keep(value)
	if number := position / positionsPerBucket; g.sub == nil || number != g.subNumber {
		name := uint64Key(number)
		sub, err := g.tx.Bucket(bucketLog).CreateBucketIfNotExists(name[:])
		if err != nil {
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
