package bolt

import (
	"context"
	"iter"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// ReadAll implements [journal.Journal]. It ends at the newest record at the
// time of the call. One goroutine gives out positions and they show when they
// are durable, so none can appear behind one that was read.
func (j *Journal) ReadAll(ctx context.Context, after journal.Position, limit int) iter.Seq2[envelope.Record, error] {
	return j.readSlices(ctx, journal.AllSlices, after, limit)
}

// ReadSlices implements [journal.Journal]: it reads all records and passes on
// those of the slices.
func (j *Journal) ReadSlices(ctx context.Context, slices journal.SliceRange, after journal.Position, limit int) iter.Seq2[envelope.Record, error] {
	if err := slices.Validate(); err != nil {
		return func(yield func(envelope.Record, error) bool) { yield(envelope.Record{}, err) }
	}
	return j.readSlices(ctx, slices, after, limit)
}

func (j *Journal) readSlices(ctx context.Context, slices journal.SliceRange, after journal.Position, limit int) iter.Seq2[envelope.Record, error] {
	return func(yield func(envelope.Record, error) bool) {
		last, next := j.committed.Load(), after.Seq+1
		if after.Epoch > 0 || next == 0 {
			return // behind everything that there can be
		}
		left := limit
		if limit <= 0 {
			left = int(^uint(0) >> 1)
		}
		var names names
		for {
			if err := context.Cause(ctx); err != nil {
				yield(envelope.Record{}, err)
				return
			}
			records, err := j.readPositions(&next, last, min(left, pageRecords), slices, &names)
			for _, rec := range records {
				if !yield(rec, nil) {
					return
				}
			}
			if err != nil {
				yield(envelope.Record{}, err)
				return
			}
			if left -= len(records); left == 0 || next > last {
				return
			}
		}
	}
}

// readPositions reads one page of records of slices from position *next on, and
// moves *next behind it. What was read before an error is returned with it.
func (j *Journal) readPositions(next *uint64, last uint64, most int, slices journal.SliceRange, names *names) (records []envelope.Record, err error) {
	err = j.view(func(tx *bbolt.Tx) error {
		log, err := newLogReader(tx)
		if err != nil {
			return err
		}
		var arena pageArena
		all := slices.All()
		// Every entry counts, so that a transaction stays short.
		for entries, bytes := 0, 0; *next <= last && len(records) < most && entries < pageRecords && bytes < pageBytes; entries++ {
			position, e, size, err := log.forward(*next, last)
			if err != nil {
				return err
			}
			if *next = position + 1; e.kind == kindEvent {
				s := envelope.Stream{Type: names.intern(e.typ), ID: names.intern(e.id)}
				if all || slices.Has(s) {
					rec := e.record(position, &arena, names)
					rec.Stream = s
					records = append(records, rec)
				}
			}
			bytes += size
		}
		return nil
	})
	return records, err
}

// Lag implements [journal.Journal]. Records counts positions, those of notes
// and of scavenged records included.
func (j *Journal) Lag(ctx context.Context, after journal.Position) (journal.Lag, error) {
	newest := j.newest.Load()
	behind := journal.Position{Seq: newest}.Compare(after) <= 0
	var lag journal.Lag
	if newest > 0 {
		lag.Newest.Seq = newest
	}
	if !behind {
		lag.Records = newest - after.Seq
	}
	var names names
	for next := after.Seq + 1; ; {
		if err := context.Cause(ctx); err != nil {
			return journal.Lag{}, err
		}
		if behind {
			return lag, j.view(func(*bbolt.Tx) error { return nil }) // it may be closed
		}
		oldest, err := j.readPositions(&next, newest, 1, journal.AllSlices, &names)
		if err != nil {
			return journal.Lag{}, err
		}
		if len(oldest) > 0 {
			lag.Age = max(0, time.Since(oldest[0].Time))
			return lag, nil
		}
		behind = next > newest
	}
}

// record builds the record of an event stored at position, but for its stream.
// Nothing in it shares the entry's memory.
func (e *entry) record(position uint64, arena *pageArena, names *names) envelope.Record {
	return envelope.Record{
		Version:  e.version,
		Position: journal.Position{Seq: position},
		Time:     fromMicros(e.micros),
		Name:     names.intern(e.name),
		Schema:   e.schema,
		Codec:    names.intern(e.codec),
		Data:     arena.copy(e.data),
		Metadata: decodeMetadata(e.metadata),
	}
}

// pageArena holds the payloads of one page in few allocations.
type pageArena struct{ free []byte }

func (a *pageArena) copy(data []byte) []byte {
	const chunk = 16 << 10
	if len(data) == 0 {
		return nil
	}
	if len(data) > len(a.free) {
		if len(data) > chunk/4 {
			return append(make([]byte, 0, len(data)), data...)
		}
		a.free = make([]byte, chunk)
	}
	n := copy(a.free, data)
	taken := a.free[:n:n]
	a.free = a.free[n:]
	return taken
}

// names gives equal bytes one string: most records of a page repeat their
// neighbours' names.
type names struct{ known map[string]string }

func (n *names) intern(b []byte) string {
	if s, ok := n.known[string(b)]; ok {
		return s
	}
	const most = 1_024
	if n.known == nil || len(n.known) >= most {
		n.known = make(map[string]string, 16)
	}
	s := string(b)
	n.known[s] = s
	return s
}
