package journaltest

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// begin is the version that replay of s begins with.
func (d *disk) begin(y *toy, s envelope.Stream) uint64 { return max(1, d.first[y.key(s)]) }

func (d *disk) truncate(y *toy, b *journal.Batch) {
	for _, t := range b.Truncates {
		if y.fault == "truncates ignored" {
			continue
		}
		key := y.key(t.Stream)
		d.first[key] = t.Before
		if sn := d.snaps[key]; sn != nil && sn.Version < t.Before && y.fault != "snapshots outlive a truncation" {
			delete(d.snaps, key)
		}
		if y.fault == "truncating deletes at once" {
			d.remove(y, d.letGo())
		}
	}
}

// letGo lists the records that a truncation let go, each stream's in order.
func (d *disk) letGo() []*toyRecord {
	var all []*toyRecord
	for _, r := range d.log {
		if r.rec.Version < d.first[r.rec.Stream] {
			all = append(all, r)
		}
	}
	return all
}

func (d *disk) remove(y *toy, records []*toyRecord) {
	gone := map[*toyRecord]bool{}
	for _, r := range records {
		gone[r] = true
		if y.fault == "receipts go with their records" {
			maps.DeleteFunc(d.receipts, func(_ modelKey, stored modelReceipt) bool { return stored.batch == r.batch })
		}
	}
	is := func(r *toyRecord) bool { return gone[r] }
	d.log = slices.DeleteFunc(slices.Clone(d.log), is)
	for s, all := range d.streams {
		d.streams[s] = slices.DeleteFunc(slices.Clone(all), is)
	}
}

func (y *toy) Scavenge(ctx context.Context, archive func(context.Context, []envelope.Record) error) (int, error) {
	if err := y.check(ctx); err != nil {
		return 0, err
	}
	d := y.disk
	if y.fault != "scavenge runs twice" {
		select {
		case d.scavenging <- struct{}{}:
			defer func() { <-d.scavenging }()
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
	deleted := 0
	for {
		d.mu.Lock()
		page := d.letGo()
		page = page[:min(1000, len(page))]
		if y.fault == "scavenged before it is archived" {
			d.remove(y, page)
		}
		d.mu.Unlock()
		if len(page) == 0 {
			return deleted, nil
		}
		if archive != nil && y.fault != "archive forgotten" {
			if err := y.archive(ctx, archive, page); err != nil && y.fault != "archive errors ignored" {
				return deleted, fmt.Errorf("toy: archive: %w", err)
			}
		}
		d.mu.Lock()
		d.remove(y, page)
		if y.fault == "positions close up" {
			for i, r := range d.log {
				r.pos.Seq = uint64(i+1) * 3
			}
		}
		d.mu.Unlock()
		deleted += len(page)
	}
}

func (y *toy) archive(ctx context.Context, archive func(context.Context, []envelope.Record) error, page []*toyRecord) error {
	records := make([]envelope.Record, len(page))
	for i, r := range page {
		records[i] = r.read()
	}
	if y.fault == "scavenge holds the writer" {
		y.disk.writing.Lock()
		defer y.disk.writing.Unlock()
	}
	return archive(ctx, records)
}

func (y *toy) ReadSlices(ctx context.Context, r journal.SliceRange, after journal.Position, limit int) iter.Seq2[envelope.Record, error] {
	switch y.fault {
	case "slices overlap":
		if r.To < envelope.Slices {
			r.To++
		}
	case "limited before sliced":
		return journal.InSlices(y.ReadAll(ctx, after, limit), r, 0)
	case "any slices":
		return y.ReadAll(ctx, after, limit)
	}
	return journal.InSlices(y.ReadAll(ctx, after, 0), r, limit)
}

func (y *toy) Lag(ctx context.Context, after journal.Position) (journal.Lag, error) {
	if err := y.check(ctx); err != nil {
		return journal.Lag{}, err
	}
	y.disk.mu.Lock()
	defer y.disk.mu.Unlock()
	var lag journal.Lag
	for _, r := range y.disk.log {
		lag.Newest = r.pos
		if r.pos.Compare(after) <= 0 {
			continue
		}
		if lag.Records++; lag.Records == 1 || y.fault == "age of the newest" {
			lag.Age = time.Since(r.rec.Time)
		}
	}
	switch y.fault {
	case "lag counts streams":
		lag.Records = min(lag.Records, uint64(len(y.disk.streams)))
	case "newest is where the reader is":
		lag.Newest = after
	}
	return lag, nil
}
