package sqlite

import (
	"context"
	"database/sql"
	"iter"
	"math"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// ReadAll implements [journal.Journal]. It ends at the newest record at the
// time when the loop over it begins. Positions are given out under SQLite's
// write lock, so none can appear behind one that was read, whichever process
// wrote it.
func (j *Journal) ReadAll(ctx context.Context, after journal.Position, limit int) iter.Seq2[envelope.Record, error] {
	return func(yield func(envelope.Record, error) bool) {
		r := allReader{after: math.MaxInt64, left: math.MaxInt}
		if after.Epoch == 0 && after.Seq < math.MaxInt64 {
			r.after = int64(after.Seq) // else behind everything that there can be
		}
		if limit > 0 {
			r.left = limit
		}
		for {
			if err := j.view(ctx, "read all behind "+after.String(), r.readPage); err != nil {
				yield(envelope.Record{}, err)
				return
			}
			for i := range r.records {
				if !yield(r.records[i], nil) {
					return
				}
			}
			if len(r.records) == 0 || r.left == 0 || r.after >= r.last {
				return
			}
		}
	}
}

// allReader reads all streams up to the newest position at its beginning.
type allReader struct {
	begun   bool
	after   int64 // what was read into records or before
	last    int64
	left    int               // how many more are wanted
	records []envelope.Record // the page
}

func (r *allReader) readPage(ctx context.Context, s *session) error {
	r.records = r.records[:0:0] // the former page belongs to whoever got its records
	if !r.begun {
		if _, err := s.row(ctx, "SELECT coalesce(max(position), 0) FROM events", nil, &r.last); err != nil {
			return err
		}
		r.begun = true
	}
	if r.after >= r.last {
		return nil
	}
	const query = "SELECT " + recordColumns + ", type, id FROM events WHERE position > ? AND position <= ? ORDER BY position LIMIT ?"
	bytes := 0
	return s.rows(ctx, query, []any{r.after, r.last, min(r.left, pageRecords)}, func(rows *sql.Rows) (bool, error) {
		var rec envelope.Record
		if err := scanRecord(rows, &rec, &rec.Stream.Type, &rec.Stream.ID); err != nil {
			return false, err
		}
		r.records = append(r.records, rec)
		r.after = int64(rec.Position.Seq)
		r.left--
		bytes += rec.SizeBytes()
		return bytes < pageBytes, nil
	})
}
