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
		into[i].first = 1
		if st := j.streams[s]; st != nil {
			into[i].stream = *st
		}
	}
	return nil
}

func (v *view) latest(ctx context.Context, s envelope.Stream) journal.Latest {
	latest := journal.Latest{Stream: s, Version: v.head(), First: v.first}
	after := uint64(0)
	if v.snapshot != nil {
		snap := *v.snapshot
		latest.Snapshot = &snap
		after = snap.Version
	}
	latest.Records = v.records(ctx, after)
	return latest
}

// records yields what lies behind version after, and not before replay begins.
func (v *view) records(ctx context.Context, after uint64) iter.Seq2[envelope.Record, error] {
	return func(yield func(envelope.Record, error) bool) {
		if after >= v.head() {
			if err := ended(ctx, v.name); err != nil {
				yield(envelope.Record{}, err)
			}
			return
		}
		begin := max(after, v.first-1)
		for i, number := range v.numbers[begin-v.scavenged:] {
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
	return j.receipt(ctx, receiptKey{stream: s, id: commandID})
}

// MessageReceipt returns the stored receipt of a message, unless it is older
// than the retention.
func (j *Journal) MessageReceipt(ctx context.Context, consumer, messageID string) (envelope.Receipt, bool, error) {
	return j.receipt(ctx, receiptKey{consumer: consumer, id: messageID})
}

func (j *Journal) receipt(ctx context.Context, key receiptKey) (envelope.Receipt, bool, error) {
	if err := context.Cause(ctx); err != nil {
		return envelope.Receipt{}, false, fmt.Errorf("memory: receipt %q: %w", key.id, err)
	}
	now := time.Now()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return envelope.Receipt{}, false, journal.ErrClosed
	}
	stored := j.receipts.find(key, now)
	if stored == nil {
		return envelope.Receipt{}, false, nil
	}
	return stored.receipt, true, nil
}
