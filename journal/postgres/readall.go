package postgres

import (
	"context"
	"iter"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// ReadAll implements [journal.Journal]. It ends at the newest record at the
// time when the loop over it begins, or before an older one that is still on
// its way.
func (j *Journal) ReadAll(ctx context.Context, after journal.Position, limit int) iter.Seq2[envelope.Record, error] {
	return j.readRange(ctx, journal.AllSlices, after, limit)
}

// ReadSlices implements [journal.Journal].
func (j *Journal) ReadSlices(ctx context.Context, slices journal.SliceRange, after journal.Position, limit int) iter.Seq2[envelope.Record, error] {
	if err := slices.Validate(); err != nil {
		return func(yield func(envelope.Record, error) bool) { yield(envelope.Record{}, err) }
	}
	return j.readRange(ctx, slices, after, limit)
}

func (j *Journal) readRange(ctx context.Context, slices journal.SliceRange, after journal.Position, limit int) iter.Seq2[envelope.Record, error] {
	return func(yield func(envelope.Record, error) bool) {
		r := allReader{journal: j, slices: slices, after: after, left: math.MaxInt}
		if limit > 0 {
			r.left = limit
		}
		doing := "read all behind " + after.String()
		if after.Epoch >= math.MaxInt64 || after.Seq > math.MaxInt64 {
			return // behind everything that there can be
		}
		if err := r.find(ctx, doing); err != nil {
			yield(envelope.Record{}, err)
			return
		}
		for r.left > 0 {
			if int64(r.after.Epoch) >= r.below {
				if more, err := r.refine(ctx, doing); !more {
					if err != nil {
						yield(envelope.Record{}, err)
					}
					return
				}
			}
			if err := j.read(ctx, doing, r.readPage); err != nil {
				yield(envelope.Record{}, typed(doing, err))
				return
			}
			for i := range r.records {
				if !yield(r.records[i], nil) {
					return
				}
			}
			if len(r.records) > 0 {
				continue
			}
			if more, err := r.refine(ctx, doing); !more {
				if err != nil {
					yield(envelope.Record{}, err)
				}
				return
			}
		}
	}
}

// allReader reads all streams up to the newest record at its beginning.
type allReader struct {
	journal *Journal
	slices  journal.SliceRange
	after   journal.Position // what was read into records or before
	bound
	exact   bool
	left    int               // how many more are wanted
	records []envelope.Record // the page
}

// find finds out how far it may read.
func (r *allReader) find(ctx context.Context, doing string) (err error) {
	r.bound, err = r.journal.fastBound(ctx, doing)
	return err
}

// refine is called when all that may be read was read. It looks further if more
// was there when the reader began, and reports whether there is more to read
// now.
func (r *allReader) refine(ctx context.Context, doing string) (bool, error) {
	if r.exact || r.newest < r.below || r.newest < int64(r.after.Epoch) {
		return false, nil
	}
	before := r.below
	refined, err := r.journal.widen(ctx, doing, r.bound)
	r.below, r.exact = max(before, refined.below), true
	return r.below > before, err
}

func (r *allReader) readPage(ctx context.Context, conn *pgx.Conn) error {
	args := []any{int64(r.after.Epoch), int64(r.after.Seq), min(r.below, r.newest+1), min(r.left, pageRecords), pageBytes}
	query := r.journal.sql.readPage
	if !r.slices.All() {
		query = r.journal.sql.readSlices
		args = append(args, r.slices.From, r.slices.To)
	}
	rows, err := conn.Query(ctx, query, args...)
	if err != nil {
		return err
	}
	page, err := readRecords(rows, nil, envelope.Stream{}) // the former page belongs to whoever got its records
	if err != nil {
		return err
	}
	r.records = page
	r.left -= len(page)
	if len(page) > 0 {
		r.after = page[len(page)-1].Position
	}
	return nil
}

// Lag implements [journal.Journal]. It counts, so it takes as long as reading
// an index of what is behind the reader.
func (j *Journal) Lag(ctx context.Context, after journal.Position) (lag journal.Lag, err error) {
	doing := "lag behind " + after.String()
	b, err := j.fastBound(ctx, doing)
	if err == nil && b.newest >= b.below {
		b, err = j.widen(ctx, doing, b)
	}
	if err != nil {
		return journal.Lag{}, err
	}
	epoch, seq := int64(min(after.Epoch, math.MaxInt64)), int64(min(after.Seq, math.MaxInt64))
	err = j.read(ctx, doing, func(ctx context.Context, conn *pgx.Conn) error {
		var xid, position, behind, withheld int64
		var oldest *time.Time
		if err := conn.QueryRow(ctx, j.sql.lag, epoch, seq, b.below).Scan(&xid, &position, &behind, &oldest, &withheld); err != nil {
			return err
		}
		lag = journal.Lag{
			Newest:  journal.Position{Epoch: uint64(xid), Seq: uint64(position)},
			Records: uint64(behind), Withheld: uint64(withheld),
		}
		if oldest != nil {
			lag.Age = max(0, time.Since(*oldest))
		}
		if withheld > 0 {
			lag.BlockedBy = b.blockedBy
		}
		return nil
	})
	if err != nil {
		return journal.Lag{}, typed(doing, err)
	}
	return lag, nil
}
