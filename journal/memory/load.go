package memory

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// checkEvery is after how many records a reader looks whether its context has
// ended.
const checkEvery = 256

// Load yields the records of s behind version after, oldest first, up to the
// newest at the time when the loop over them begins.
func (j *Journal) Load(ctx context.Context, s envelope.Stream, after uint64) iter.Seq2[envelope.Record, error] {
	return func(yield func(envelope.Record, error) bool) {
		l, err := j.latest(s)
		if err != nil {
			yield(envelope.Record{}, err)
			return
		}
		l.records(ctx, after)(yield)
	}
}

// LoadLatest reads what s is rebuilt from.
func (j *Journal) LoadLatest(ctx context.Context, s envelope.Stream) (journal.Latest, error) {
	if err := ended(ctx, s); err != nil {
		return journal.Latest{}, err
	}
	l, err := j.latest(s)
	if err != nil {
		return journal.Latest{}, err
	}
	return l.latest(ctx, s), nil
}

// LoadMany is LoadLatest of several streams at one point in time.
func (j *Journal) LoadMany(ctx context.Context, streams []envelope.Stream) ([]journal.Latest, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, fmt.Errorf("memory: load %d streams: %w", len(streams), err)
	}
	views := make([]view, len(streams))
	if err := j.views(streams, views); err != nil {
		return nil, err
	}
	all := make([]journal.Latest, len(streams))
	for i, s := range streams {
		all[i] = views[i].latest(ctx, s)
	}
	return all, nil
}

// view is one stream as it was at one point in time, to be read without the
// journal's lock.
type view struct {
	log log
	stream
}

func (j *Journal) latest(s envelope.Stream) (view, error) {
	var one [1]view
	err := j.views([]envelope.Stream{s}, one[:])
	return one[0], err
}

func (j *Journal) views(streams []envelope.Stream, into []view) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return journal.ErrClosed
	}
	for i, s := range streams {
		into[i].log = j.log
		if st := j.streams[s]; st != nil {
			into[i].stream = *st
		}
	}
	return nil
}

func (v *view) latest(ctx context.Context, s envelope.Stream) journal.Latest {
	latest := journal.Latest{Stream: s, Version: v.head()}
	after := uint64(0)
	if v.snapshot != nil {
		snap := *v.snapshot
		latest.Snapshot = &snap
		after = snap.Version
	}
	latest.Records = v.records(ctx, after)
	return latest
}

// records yields what lies behind version after.
func (v *view) records(ctx context.Context, after uint64) iter.Seq2[envelope.Record, error] {
	return func(yield func(envelope.Record, error) bool) {
		if after >= v.head() {
			if err := ended(ctx, v.name); err != nil {
				yield(envelope.Record{}, err)
			}
			return
		}
		for i, number := range v.numbers[after:] {
			if i%checkEvery == 0 {
				if err := ended(ctx, v.name); err != nil {
					yield(envelope.Record{}, err)
					return
				}
			}
			if !yield(v.log.at(number).record, nil) {
				return
			}
		}
	}
}

// ended returns the reason why ctx has ended, if it has.
func ended(ctx context.Context, s envelope.Stream) error {
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("memory: load %s: %w", s, err)
	}
	return nil
}

// Receipt returns the stored receipt of a command, unless it is older than the
// retention.
func (j *Journal) Receipt(ctx context.Context, s envelope.Stream, commandID string) (envelope.Receipt, bool, error) {
	if err := context.Cause(ctx); err != nil {
		return envelope.Receipt{}, false, fmt.Errorf("memory: receipt of %s: %w", s, err)
	}
	now := time.Now()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return envelope.Receipt{}, false, journal.ErrClosed
	}
	stored := j.receipts.find(s, commandID, now)
	if stored == nil {
		return envelope.Receipt{}, false, nil
	}
	return stored.receipt, true, nil
}

// ReadAll yields at most limit records behind position after, in the order in
// which they were stored, up to the newest at the time when the loop over them
// begins.
func (j *Journal) ReadAll(ctx context.Context, after journal.Position, limit int) iter.Seq2[envelope.Record, error] {
	return func(yield func(envelope.Record, error) bool) {
		j.mu.Lock()
		log, closed := j.log, j.closed
		j.mu.Unlock()
		if closed {
			yield(envelope.Record{}, journal.ErrClosed)
			return
		}
		last := log.end
		switch {
		case after.Epoch > 0 || after.Seq >= last: // beyond the end; this journal's epoch is 0
			last = after.Seq
		case limit > 0 && uint64(limit) < last-after.Seq:
			last = after.Seq + uint64(limit)
		}
		for n := uint64(0); ; n++ {
			if n%checkEvery == 0 {
				if err := context.Cause(ctx); err != nil {
					yield(envelope.Record{}, fmt.Errorf("memory: read all behind %s: %w", after, err))
					return
				}
			}
			if after.Seq+n >= last || !yield(log.at(after.Seq+n).record, nil) {
				return
			}
		}
	}
}
