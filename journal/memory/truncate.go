package memory

import (
	"context"
	"fmt"
	"slices"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// scavengePage is how many records go at once.
const scavengePage = 1000

// truncate comes after the events and before the snapshots of b, so that one
// of b itself is measured with the new beginning.
func (j *Journal) truncate(b *journal.Batch) {
	for i := range b.Truncates {
		st := j.streams[b.Truncates[i].Stream] // its baseline was stored just now
		st.first = b.Truncates[i].Before
		if st.snapshot != nil && st.snapshot.Version < st.first {
			st.snapshot = nil
		}
		if st.scavenged < st.first-1 {
			j.truncated[st] = struct{}{}
		}
	}
}

// Scavenge deletes the records of all streams that were truncated before the
// call, stream by stream, the oldest first. Data of the records that archive
// gets must not be changed.
func (j *Journal) Scavenge(ctx context.Context, archive func(context.Context, []envelope.Record) error) (int, error) {
	select {
	case j.scavenging <- struct{}{}:
		defer func() { <-j.scavenging }()
	case <-ctx.Done():
		return 0, fmt.Errorf("memory: scavenge: %w", context.Cause(ctx))
	}
	deleted := 0
	for streams := j.toScavenge(); ; {
		if err := context.Cause(ctx); err != nil {
			return deleted, fmt.Errorf("memory: scavenge: %w", err)
		}
		var next page
		var err error
		if next, streams, err = j.nextPage(streams); err != nil || len(next.records) == 0 {
			return deleted, err
		}
		if archive != nil {
			if err := archive(ctx, next.records); err != nil {
				return deleted, fmt.Errorf("memory: archive %d records: %w", len(next.records), err)
			}
		}
		if err := j.delete(next); err != nil {
			return deleted, err
		}
		deleted += len(next.records)
	}
}

// page is what Scavenge deletes at once.
type page struct {
	records []envelope.Record
	numbers []uint64 // of the records in the log
	cuts    []cut
}

// cut is how far a page reaches in one stream.
type cut struct {
	stream  *stream
	through uint64 // version
}

// toScavenge lists the truncated streams in the order of their names.
func (j *Journal) toScavenge() []*stream {
	j.mu.Lock()
	defer j.mu.Unlock()
	all := make([]*stream, 0, len(j.truncated))
	for st := range j.truncated {
		all = append(all, st)
	}
	slices.SortFunc(all, func(a, b *stream) int { return a.name.Compare(b.name) })
	return all
}

// nextPage reads the next records to delete, and returns the streams that have
// more. Nobody else deletes meanwhile.
func (j *Journal) nextPage(streams []*stream) (next page, rest []*stream, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return page{}, nil, journal.ErrClosed
	}
	for len(streams) > 0 && len(next.records) < scavengePage {
		st := streams[0]
		through := min(st.first-1, st.scavenged+uint64(scavengePage-len(next.records)))
		for v := st.scavenged + 1; v <= through; v++ {
			next.numbers = append(next.numbers, st.number(v))
			next.records = append(next.records, j.log.at(st.number(v)).record)
		}
		next.cuts = append(next.cuts, cut{st, through})
		if through == st.first-1 {
			streams = streams[1:]
		}
	}
	return next, streams, nil
}

func (j *Journal) delete(p page) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return journal.ErrClosed
	}
	j.log.clear(p.numbers, (*entry).gone)
	for _, c := range p.cuts {
		st := c.stream
		st.numbers = st.numbers[c.through-st.scavenged:]
		st.scavenged = c.through
		if st.scavenged == st.first-1 {
			st.numbers = slices.Clone(st.numbers) // frees those of the deleted
			delete(j.truncated, st)
		}
	}
	return nil
}
