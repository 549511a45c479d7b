package bolt

import (
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// decide puts it into the group's transaction, or says why not. refused is the
// answer to it alone; it wrote nothing then. fatal means that the transaction
// is beyond use.
func (c *committer) decide(g *group, it *item) (result journal.Result, refused, fatal error) {
	if it.Value.edit != nil {
		refused, fatal = it.Value.edit(c, g)
		return result, refused, fatal
	}
	stored, refused := c.check(g, it)
	if refused != nil {
		c.refuse(it)
	}
	if stored || refused != nil {
		return journal.Result{}, refused, nil
	}
	result, fatal = c.write(g, &it.Value)
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
	if err := g.checkMessages(b); err != nil {
		return false, err
	}
	return false, g.checkRows(b)
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
	position, err := c.findReceipt(g, key)
	if err != nil || position == 0 {
		return r, batch, false, err
	}
	return readReceipt(g.log, position, wanted)
}

// findReceipt is the position of what key stands for, and 0 if it is unknown.
func (c *committer) findReceipt(g *group, key receiptKey) (position uint64, err error) {
	if position, ok := c.ram.receipts.peek(key); ok {
		return position, nil
	}
	if !g.runsOpened {
		if g.runs, err = openRuns(g.tx, &c.ram.verified); err != nil {
			return 0, err
		}
		g.runsOpened = true
	}
	return findInRuns(g.runs, key), nil
}

// isStored reports whether b was stored when it was submitted before: its id
// is in the first entry that it wrote and in its messages, and a batch is
// stored as a whole. One of nothing but snapshots and asserts is simply decided
// again.
func (c *committer) isStored(g *group, it *item) (bool, error) {
	b := it.Value.batch
	for i := range b.Appends {
		a := &b.Appends[i]
		h, err := c.head(g, a.Stream)
		last := a.Expected + uint64(len(a.Records))
		if err != nil || h.version < last {
			return false, err
		}
		gone, err := g.scavenged(a.Stream, h)
		if err != nil {
			return false, err
		}
		if last > gone { // else another part tells
			return wroteEntry(g.log, b.ID, a.Stream, h, max(a.Expected, gone)+1)
		}
	}
	for i := range b.Receipts {
		_, batch, ok, err := c.receipt(g, it.Value.receiptKey(i), &b.Receipts[i])
		if err != nil || ok && batch == b.ID {
			return err == nil, err
		}
	}
	for i := range b.Messages {
		if stored, err := g.isMessageStored(b.Messages[i].ID, b.ID); stored || err != nil {
			return stored, err
		}
	}
	if !leavesNoEntry(b) {
		return false, nil
	}
	position, err := c.findReceipt(g, it.Value.receiptKey(0))
	if err != nil || position == 0 {
		return false, err
	}
	e, err := g.log.entry(position)
	return err == nil && e.batch == b.ID, err
}

// wroteEntry reports whether the event with that version of s came with the
// batch: the batch's id is in its first entry, at most so many before.
func wroteEntry(log *logReader, batch journal.BatchID, s envelope.Stream, h head, version uint64) (bool, error) {
	e, position, err := entryOf(log, s, h, version)
	for n := 0; err == nil && !e.opens && position > 1 && n < journal.MaxBatchRecords; n++ {
		position, e, err = log.backward(position - 1)
	}
	return err == nil && e.opens && e.batch == batch, err
}
