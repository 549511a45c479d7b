package sqlite

import (
	"context"
	"iter"
	"math"
	"time"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// scanPositions is how many positions one transaction looks at when it reads
// some slices, so that it is short although hardly any record is wanted.
const scanPositions = 20_000

// ReadAll implements [journal.Journal]. It ends at the newest record at the
// time when the loop over it begins. Positions are given out under SQLite's
// write lock, so none can appear behind one that was read, whichever process
// wrote it.
func (j *Journal) ReadAll(ctx context.Context, after journal.Position, limit int) iter.Seq2[envelope.Record, error] {
	return j.ReadSlices(ctx, journal.AllSlices, after, limit)
}

// ReadSlices implements [journal.Journal], as ReadAll does; SQLite skips the
// other slices.
func (j *Journal) ReadSlices(ctx context.Context, slices journal.SliceRange, after journal.Position, limit int) iter.Seq2[envelope.Record, error] {
	return func(yield func(envelope.Record, error) bool) {
		if err := slices.Validate(); err != nil {
			yield(envelope.Record{}, err)
			return
		}
		r := allReader{slices: slices, after: positionOf(after), left: wanted(limit)}
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
			if r.left == 0 || r.after >= r.last {
				return
			}
		}
	}
}

// positionOf is the number of p, beyond all that there can be if p is.
func positionOf(p journal.Position) int64 {
	if p.Epoch == 0 && p.Seq < math.MaxInt64 {
		return int64(p.Seq)
	}
	return math.MaxInt64
}

// wanted is limit, or no limit.
func wanted(limit int) int {
	if limit <= 0 {
		return math.MaxInt
	}
	return limit
}

// allReader reads all streams of some slices up to the newest position at its
// beginning.
type allReader struct {
	slices  journal.SliceRange
	begun   bool
	after   int64 // what was read into records or before
	last    int64
	left    int               // how many more are wanted
	records []envelope.Record // the page
}

func (r *allReader) readPage(ctx context.Context, s *session) (err error) {
	r.records = r.records[:0:0] // the former page belongs to whoever got its records
	if !r.begun {
		if r.last, err = s.newest(ctx); err != nil {
			return err
		}
		r.begun = true
	}
	if r.after >= r.last {
		return nil
	}
	query := "SELECT " + recordColumns + streamColumns + " FROM events WHERE position > ? AND position <= ? ORDER BY position LIMIT ?"
	last, most := r.last, min(r.left, pageRecords)
	args := []any{r.after, last, most}
	if !r.slices.All() {
		query = "SELECT " + recordColumns + streamColumns + ` FROM events
			WHERE position > ? AND position <= ? AND slice >= ? AND slice < ? ORDER BY position LIMIT ?`
		if r.last-r.after > scanPositions {
			last = r.after + scanPositions
		}
		args = []any{r.after, last, r.slices.From, r.slices.To, most}
	}
	bytes := 0
	err = s.records(ctx, query, args, envelope.Stream{}, func(rec envelope.Record) (bool, error) {
		r.records = append(r.records, rec)
		r.after = int64(rec.Position.Seq)
		r.left--
		bytes += rec.SizeBytes()
		return bytes < pageBytes, nil
	})
	if err == nil && len(r.records) < most && bytes < pageBytes {
		r.after = last // there is nothing more up to it
	}
	return err
}

// newest is the position of the newest record, 0 without any.
func (s *session) newest(ctx context.Context) (position int64, err error) {
	_, err = s.row(ctx, "SELECT coalesce(max(position), 0) FROM events", nil, &position)
	return position, err
}

// Lag implements [journal.Journal]. It counts positions: records that were
// scavenged are counted too. Nothing is ever withheld.
func (j *Journal) Lag(ctx context.Context, after journal.Position) (lag journal.Lag, err error) {
	err = j.view(ctx, "lag behind "+after.String(), func(ctx context.Context, s *session) error {
		from := positionOf(after)
		newest, err := s.newest(ctx)
		if err != nil {
			return err
		}
		lag.Newest = journal.Position{Seq: uint64(newest)}
		if newest <= from {
			return nil
		}
		lag.Records = uint64(newest - from)
		var micros int64
		_, err = s.row(ctx, "SELECT time FROM events WHERE position > ? ORDER BY position LIMIT 1", []any{from}, &micros)
		lag.Age = max(j.opts.now().Sub(fromMicros(micros)), time.Duration(0))
		return err
	})
	if err != nil {
		return journal.Lag{}, err
	}
	return lag, nil
}
