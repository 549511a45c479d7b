package memory

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// gone reports whether the record was scavenged.
func (e *entry) gone() bool { return e.record.Version == 0 }

// ReadAll yields at most limit records behind position after, in the order in
// which they were stored, up to the newest at the time when the loop over them
// begins.
func (j *Journal) ReadAll(ctx context.Context, after journal.Position, limit int) iter.Seq2[envelope.Record, error] {
	return func(yield func(envelope.Record, error) bool) {
		log, err := j.wholeLog()
		if err != nil {
			yield(envelope.Record{}, err)
			return
		}
		for n, begin := behind(after, &log), behind(after, &log); ; n++ {
			if (n-begin)%checkEvery == 0 {
				if err := context.Cause(ctx); err != nil {
					yield(envelope.Record{}, fmt.Errorf("memory: read all behind %s: %w", after, err))
					return
				}
			}
			if n == log.end {
				return
			}
			e := log.at(n)
			if e.gone() {
				continue
			}
			if !yield(e.record, nil) {
				return
			}
			if limit--; limit == 0 {
				return
			}
		}
	}
}

// wholeLog is the log as it is now, to be read without the lock.
func (j *Journal) wholeLog() (log, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return log{}, journal.ErrClosed
	}
	return j.log, nil
}

// behind is the number of the first record behind position after. This
// journal's epoch is 0.
func behind(after journal.Position, l *log) uint64 {
	if after.Epoch > 0 {
		return l.end
	}
	return min(after.Seq, l.end)
}

// ReadSlices is ReadAll of the streams of some slices.
func (j *Journal) ReadSlices(ctx context.Context, slices journal.SliceRange, after journal.Position, limit int) iter.Seq2[envelope.Record, error] {
	return journal.InSlices(j.ReadAll(ctx, after, 0), slices, limit)
}

// Lag tells how far a reader is behind. Records counts places in the log, those
// of scavenged records included.
func (j *Journal) Lag(ctx context.Context, after journal.Position) (journal.Lag, error) {
	if err := context.Cause(ctx); err != nil {
		return journal.Lag{}, fmt.Errorf("memory: lag behind %s: %w", after, err)
	}
	log, err := j.wholeLog()
	if err != nil {
		return journal.Lag{}, err
	}
	if log.end == 0 {
		return journal.Lag{}, nil
	}
	n := behind(after, &log)
	lag := journal.Lag{Newest: journal.Position{Seq: log.end}, Records: log.end - n}
	for ; n < log.end; n++ {
		// The newest record is never scavenged: a baseline of its stream would
		// be newer.
		if e := log.at(n); !e.gone() {
			lag.Age = max(0, time.Since(e.record.Time))
			break
		}
	}
	return lag, nil
}
