package bolt

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	bbolt "go.etcd.io/bbolt"

	"github.com/troupe-go/troupe/envelope"
)

// Scavenge implements [journal.Journal]. It goes through the truncated streams
// in the order of their keys, the oldest records first. It reads a page beside
// the committer, which then deletes it as one member of a group: a gap, an
// entry of a few bytes, stays in place of neighbours that are gone, and a note
// in place of a record whose receipts are within [Options.ReceiptRetention].
// At the end it deletes the notes that are past it.
func (j *Journal) Scavenge(ctx context.Context, archive func(context.Context, []envelope.Record) error) (int, error) {
	if err := context.Cause(ctx); err != nil {
		return 0, err
	}
	select {
	case j.scavenging <- struct{}{}:
		defer func() { <-j.scavenging }()
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	deleted := 0
	for walk := (scavengeWalk{journal: j}); ; {
		if err := context.Cause(ctx); err != nil {
			return deleted, err
		}
		page, err := walk.next()
		if err != nil {
			return deleted, err
		}
		if page == nil {
			return deleted, j.sweep(ctx)
		}
		if archive != nil && len(page.records) > 0 {
			if err := archive(ctx, page.records); err != nil {
				return deleted, fmt.Errorf("bolt: archive %d records: %w", len(page.records), err)
			}
		}
		if err := j.delete(ctx, page); err != nil {
			return deleted, err
		}
		deleted += len(page.records)
	}
}

// cut is what a scavenger deletes at once.
type cut struct {
	records []envelope.Record // in the order of streams and versions
	streams []cutStream

	notes []uint64 // positions of notes that nobody needs
	swept uint64   // there are no others up to this position; 0 says nothing
}

// cutStream is how far a cut reaches in one stream.
type cutStream struct {
	stream  envelope.Stream
	through uint64 // version
}

// scavengeWalk goes through the truncated streams.
type scavengeWalk struct {
	journal *Journal
	last    []byte // key of the last stream that was listed
	listed  []cutStream
}

// next is the next page to delete, and nil if there is none.
func (w *scavengeWalk) next() (*cut, error) {
	var page cut
	for len(page.records) < pageRecords {
		if len(w.listed) == 0 {
			if err := w.list(); err != nil {
				return nil, err
			}
			if len(w.listed) == 0 {
				break
			}
		}
		s := &w.listed[0]
		records, through, done, err := w.journal.letGo(s.stream, s.through, pageRecords-len(page.records))
		if err != nil {
			return nil, err
		}
		page.records = append(page.records, records...)
		page.streams = append(page.streams, cutStream{s.stream, through})
		if s.through = through; done {
			w.listed = w.listed[1:]
		} else {
			break
		}
	}
	if len(page.streams) == 0 {
		return nil, nil
	}
	return &page, nil
}

// list reads the names of the next streams, and how far they are scavenged.
func (w *scavengeWalk) list() error {
	return w.journal.view(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket(bucketTruncated)
		if bucket == nil {
			return corrupt("bucket truncated is missing")
		}
		cursor := bucket.Cursor()
		key, value := cursor.Seek(w.last)
		if w.last != nil && bytes.Equal(key, w.last) {
			key, value = cursor.Next()
		}
		for ; key != nil && len(w.listed) < pageRecords; key, value = cursor.Next() {
			through, err := parseScavenged(key, value)
			if err != nil {
				return err
			}
			s, ok := parseStreamKey(key)
			if !ok {
				return corrupt("bucket truncated has key %q", key)
			}
			w.listed = append(w.listed, cutStream{s, through})
			w.last = bytes.Clone(key)
		}
		return nil
	})
}

// letGo reads records of a truncated stream that were let go, at most so many,
// from behind version after. through is the last one; done says that no more
// were let go.
func (j *Journal) letGo(s envelope.Stream, after uint64, most int) (records []envelope.Record, through uint64, done bool, err error) {
	r := streamReader{journal: j, stream: s}
	r.start()
	err = j.view(func(tx *bbolt.Tx) error {
		if err := r.findHead(tx); err != nil {
			return err
		}
		if through = after; r.head.first <= after+1 {
			done = true
			return nil
		}
		log, err := newLogReader(tx)
		if err != nil {
			return err
		}
		e, _, err := entryOf(log, s, r.head, r.head.first)
		if err != nil {
			return err
		}
		// As if the stream ended where it was truncated.
		past := streamReader{
			journal: j, stream: s, next: after + 1, headRead: true,
			head: head{version: e.version - 1, position: e.prev, block: e.block},
		}
		err = past.readPage(tx, &page{records: most, bytes: pageBytes})
		records, through = past.records, past.next-1
		done = through == past.head.version
		return err
	})
	return records, through, done, err
}

// delete has the committer delete a page, and waits for it.
func (j *Journal) delete(ctx context.Context, page *cut) error {
	return j.edit(ctx, 64*(1+len(page.records)+len(page.notes)), func(c *committer, g *group) (refused, fatal error) {
		return c.scavenge(g, page)
	})
}

// scavenge deletes a cut in the group's transaction. refused is the answer if
// it cannot be deleted; nothing is written then.
func (c *committer) scavenge(g *group, page *cut) (refused, fatal error) {
	gone, notes, refused := c.checkCut(g, page)
	if refused == nil {
		refused = c.checkSweep(g, page)
	}
	if refused != nil {
		return refused, nil
	}
	if page.swept > g.state.swept {
		g.state.swept, g.wrote = page.swept, true
	}
	gone = append(gone, page.notes...)
	slices.Sort(gone)
	for position, open := range notes {
		if err := g.overwrite(position, appendNote(g.arena.reserve(receiptsBytes(open.receipts)), position, open)); err != nil {
			return nil, err
		}
	}
	if err := g.makeGaps(gone); err != nil {
		return nil, err
	}
	for _, s := range page.streams {
		h, err := c.head(g, s.stream)
		if err != nil {
			return nil, err
		}
		key := streamKey(s.stream)
		if g.wrote = true; s.through+1 < h.first {
			err = g.putScavenged(key, s.through)
		} else {
			err = g.remove(g.tx.Bucket(bucketTruncated), key)
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// checkCut reads the entries of a cut. Those in gone can go; of those in notes
// something is needed: the receipts that came with them, and the id of their
// batch.
func (c *committer) checkCut(g *group, page *cut) (gone []uint64, notes map[uint64]*opening, err error) {
	defer recoverCorrupt(&err)
	keep := c.oldestReceipt()
	notes = make(map[uint64]*opening)
	for i := range page.records {
		rec := &page.records[i]
		position := rec.Position.Seq
		e, err := entryAt(g.log, rec.Stream, position, rec.Version)
		if err != nil {
			return nil, nil, err
		}
		if !e.opens || position < keep {
			gone = append(gone, position)
			continue
		}
		open := &opening{batch: e.batch}
		if !e.parseReceipts(func(r envelope.Receipt) bool {
			r.Reply = bytes.Clone(r.Reply)
			open.receipts = append(open.receipts, r)
			return true
		}) {
			return nil, nil, corrupt("receipts at position %d", position)
		}
		notes[position] = open
	}
	return gone, notes, nil
}

// oldestReceipt is the lowest position at which a receipt may be looked for.
func (c *committer) oldestReceipt() uint64 {
	oldest := c.state.spilled + 1
	for _, r := range c.runs {
		oldest = min(oldest, r.first)
	}
	if len(c.ram.receipts.old) > 0 {
		oldest = min(oldest, c.ram.receipts.oldFirst)
	}
	return oldest
}
