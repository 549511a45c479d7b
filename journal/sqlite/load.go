package sqlite

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/snapshot"
)

// Bounds of what is read in one transaction.
const (
	pageRecords = 1_000
	pageBytes   = 1 << 20
)

// view runs fn in a read transaction, so that what it reads is of one moment.
// fn must be short and call no one else's code.
func (j *Journal) view(ctx context.Context, doing string, fn func(ctx context.Context, s *session) error) error {
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("sqlite: %s: %w", doing, err)
	}
	s, err := j.readers.take(ctx)
	if err != nil {
		return fmt.Errorf("sqlite: %s: %w", doing, err)
	}
	defer j.readers.put(s)
	ctx = context.WithoutCancel(ctx)
	if err = s.exec(ctx, "BEGIN"); err == nil {
		if err = fn(ctx, s); err == nil {
			err = s.exec(ctx, "ROLLBACK")
		}
	}
	if err != nil {
		s.undo(ctx)
		return typed(doing, err)
	}
	return nil
}

// Load implements [journal.Journal].
func (j *Journal) Load(ctx context.Context, s envelope.Stream, after uint64) iter.Seq2[envelope.Record, error] {
	return func(yield func(envelope.Record, error) bool) {
		r := streamReader{journal: j, stream: s, after: after}
		err := j.view(ctx, r.doing(), func(ctx context.Context, s *session) (err error) {
			if err = r.begin(ctx, s); err != nil {
				return err
			}
			return r.readPage(ctx, s, &page{records: pageRecords, bytes: pageBytes})
		})
		if err != nil {
			yield(envelope.Record{}, err)
			return
		}
		r.yieldAll(ctx, yield)
	}
}

// LoadLatest implements [journal.Journal]: the head, the snapshot and the
// first page come from one transaction.
func (j *Journal) LoadLatest(ctx context.Context, s envelope.Stream) (journal.Latest, error) {
	all, err := j.LoadMany(ctx, []envelope.Stream{s})
	if err != nil {
		return journal.Latest{}, err
	}
	return all[0], nil
}

// LoadMany implements [journal.Journal], in one transaction. What the first
// pages of all streams hold together is bounded as one page is; the rest is
// read when it is ranged over.
func (j *Journal) LoadMany(ctx context.Context, streams []envelope.Stream) ([]journal.Latest, error) {
	doing := fmt.Sprintf("load %d streams", len(streams))
	if len(streams) == 1 {
		doing = "load " + streams[0].String()
	}
	results := make([]journal.Latest, len(streams))
	readers := make([]streamReader, len(streams))
	err := j.view(ctx, doing, func(ctx context.Context, s *session) (err error) {
		room := page{records: pageRecords, bytes: pageBytes}
		for i := range streams {
			readers[i] = streamReader{journal: j, stream: streams[i]}
			if results[i], err = readers[i].latest(ctx, s, &room); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := range readers {
		results[i].Records = func(yield func(envelope.Record, error) bool) { readers[i].yieldAll(ctx, yield) }
	}
	return results, nil
}

// page is how much room is left in what one transaction reads.
type page struct{ records, bytes int }

// streamReader reads one stream up to the head at its beginning, a page at a
// time.
type streamReader struct {
	journal *Journal
	stream  envelope.Stream
	after   uint64 // what was read into records or before
	head    head
	records []envelope.Record // the page
}

func (r *streamReader) doing() string { return "load " + r.stream.String() }

// begin reads the head, and skips what was truncated.
func (r *streamReader) begin(ctx context.Context, s *session) error {
	var version, first int64
	_, err := s.row(ctx, "SELECT version, first FROM heads WHERE type = ? AND id = ?",
		[]any{r.stream.Type, r.stream.ID}, &version, &first)
	r.head = head{version: uint64(version), first: uint64(first)}
	r.after = max(r.after, r.head.begin()-1)
	return err
}

// latest reads the head, the snapshot and the first page behind it.
func (r *streamReader) latest(ctx context.Context, s *session, room *page) (latest journal.Latest, err error) {
	if err := r.begin(ctx, s); err != nil {
		return latest, err
	}
	latest = journal.Latest{Stream: r.stream, Version: r.head.version, First: r.head.begin()}
	if latest.Version == 0 {
		return latest, nil
	}
	stored, ok, err := s.snapshot(ctx, r.stream)
	if err != nil {
		return latest, err
	}
	if ok && stored.Version <= latest.Version && stored.Version >= latest.First {
		latest.Snapshot = &stored
		r.after = stored.Version
	}
	return latest, r.readPage(ctx, s, room)
}

// readPage reads the next records, as many as there is room for.
func (r *streamReader) readPage(ctx context.Context, s *session, room *page) error {
	r.records = r.records[:0:0] // the former page belongs to whoever got its records
	if r.after >= r.head.version || room.records <= 0 || room.bytes <= 0 {
		return nil
	}
	const query = "SELECT " + recordColumns + ` FROM events
		WHERE type = ? AND id = ? AND version > ? AND version <= ? ORDER BY version LIMIT ?`
	r.records = make([]envelope.Record, 0, min(r.head.version-r.after, uint64(room.records)))
	args := []any{r.stream.Type, r.stream.ID, int64(r.after), int64(r.head.version), room.records}
	gap := false
	err := s.records(ctx, query, args, r.stream, func(rec envelope.Record) (bool, error) {
		if gap = rec.Version != r.after+1 || r.isGone(&rec); gap {
			return false, nil
		}
		r.after++
		r.records = append(r.records, rec)
		room.records--
		room.bytes -= rec.SizeBytes()
		return room.bytes > 0, nil
	})
	if err == nil && (gap || len(r.records) == 0) {
		return r.missing(ctx, s)
	}
	return err
}

// isGone reports whether rec stands where a truncated stream begins, and is no
// baseline.
func (r *streamReader) isGone(rec *envelope.Record) bool {
	return r.head.first > 1 && rec.Version == r.head.first && !rec.BeginsHistory()
}

// missing is the error for the version behind after, which is not there.
func (r *streamReader) missing(ctx context.Context, s *session) error {
	now := *r
	if err := now.begin(ctx, s); err != nil {
		return err
	}
	switch {
	case now.after > r.after:
		return fmt.Errorf("sqlite: %w: stream %s was truncated to version %d while it was read: load again",
			journal.ErrHistoryGone, r.stream, now.head.first)
	case r.head.first > 1 && r.after+1 == r.head.first:
		return fmt.Errorf("sqlite: %w: stream %s has no baseline at version %d, which it begins with",
			journal.ErrHistoryGone, r.stream, r.head.first)
	}
	return corrupt("stream %s has no version %d", r.stream, r.after+1)
}

// yieldAll yields the page that was read and all that follow.
func (r *streamReader) yieldAll(ctx context.Context, yield func(envelope.Record, error) bool) {
	for {
		if err := context.Cause(ctx); err != nil {
			yield(envelope.Record{}, fmt.Errorf("sqlite: %s: %w", r.doing(), err))
			return
		}
		for i := range r.records {
			if !yield(r.records[i], nil) {
				return
			}
		}
		if r.after >= r.head.version {
			return
		}
		err := r.journal.view(ctx, r.doing(), func(ctx context.Context, s *session) error {
			return r.readPage(ctx, s, &page{records: pageRecords, bytes: pageBytes})
		})
		if err != nil {
			yield(envelope.Record{}, err)
			return
		}
	}
}

// snapshot reads the stored snapshot of a stream.
func (s *session) snapshot(ctx context.Context, of envelope.Stream) (snap snapshot.Snapshot, ok bool, err error) {
	var version, fingerprint, micros int64
	ok, err = s.row(ctx, "SELECT version, schema, fingerprint, codec, data, time FROM snapshots WHERE type = ? AND id = ?",
		[]any{of.Type, of.ID}, &version, &snap.Schema, &fingerprint, &snap.Codec, &snap.Data, &micros)
	snap.Stream, snap.Version, snap.Fingerprint, snap.Time = of, uint64(version), uint64(fingerprint), fromMicros(micros)
	return snap, ok, err
}

func fromMicros(micros int64) time.Time { return time.UnixMicro(micros).UTC() }
