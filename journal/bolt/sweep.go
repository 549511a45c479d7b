package bolt

import (
	"context"

	bbolt "go.etcd.io/bbolt"
)

// sweepEntries bounds how many entries a sweep looks at before it deletes what
// it found, and has the state say so.
const sweepEntries = 100 * pageRecords

// sweep deletes the notes whose receipts nobody looks for any more. Each entry
// is looked at once in the life of a file: the state says how far that got.
func (j *Journal) sweep(ctx context.Context) error {
	for {
		from, to := j.swept.Load()+1, j.oldest.Load()
		if from >= to {
			return nil
		}
		page := &cut{swept: min(to-1, from+sweepEntries-1)}
		for next := from; next <= page.swept && len(page.notes) < pageRecords; {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			if err := j.readNotes(&next, page); err != nil {
				return err
			}
			if len(page.notes) >= pageRecords {
				page.swept = next - 1
			}
		}
		if err := j.delete(ctx, page); err != nil {
			return err
		}
	}
}

// readNotes adds the notes of one page of entries from position *next on, and
// moves *next behind it.
func (j *Journal) readNotes(next *uint64, into *cut) error {
	return j.view(func(tx *bbolt.Tx) error {
		log, err := newLogReader(tx)
		if err != nil {
			return err
		}
		for entries, bytes := 0, 0; *next <= into.swept && entries < pageRecords && bytes < pageBytes; entries++ {
			position, e, size, err := log.forward(*next, into.swept)
			if err != nil {
				return err
			}
			if e.kind == kindNote {
				into.notes = append(into.notes, position)
			}
			*next = position + 1
			bytes += size
		}
		return nil
	})
}

// checkSweep makes sure of the notes that a sweep found.
func (c *committer) checkSweep(g *group, page *cut) (err error) {
	defer recoverCorrupt(&err)
	for _, position := range page.notes {
		e, err := g.log.entry(position)
		if err != nil {
			return err
		}
		if e.kind != kindNote || position >= c.oldestReceipt() {
			return corrupt("position %d is no note that can go", position)
		}
	}
	return nil
}
