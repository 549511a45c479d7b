package postgres

import (
	"context"
	"fmt"
	"iter"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/snapshot"
)

// Bounds of what is read at once.
const (
	pageRecords = 1_000
	pageBytes   = 1 << 20
)

// read runs fn with a connection of the pool. fn must be short, call no one
// else's code, and give the same result when it is run again, which happens
// when the connection is lost.
func (j *Journal) read(ctx context.Context, doing string, fn func(ctx context.Context, conn *pgx.Conn) error) error {
	var err error
	for range 3 {
		if j.closed.Load() {
			return fmt.Errorf("postgres: %s: %w", doing, journal.ErrClosed)
		}
		var lost bool
		lost, err = j.readOnce(ctx, fn)
		if cause := context.Cause(ctx); cause != nil && err != nil {
			return fmt.Errorf("postgres: %s: %w", doing, cause)
		}
		if err == nil || !lost {
			break
		}
	}
	if err != nil && j.closed.Load() {
		return fmt.Errorf("postgres: %s: %w", doing, journal.ErrClosed)
	}
	if err != nil && !deterministic(err) {
		return typed(doing, err)
	}
	return err
}

func (j *Journal) readOnce(ctx context.Context, fn func(ctx context.Context, conn *pgx.Conn) error) (lost bool, err error) {
	if err := context.Cause(ctx); err != nil {
		return false, err
	}
	conn, err := j.pool.Acquire(ctx)
	if err != nil {
		return false, err
	}
	defer conn.Release()
	// The server gives up first; this is for one that says nothing at all.
	ctx, cancel := context.WithTimeout(ctx, j.opts.StatementTimeout+frozen)
	defer cancel()
	err = fn(ctx, conn.Conn())
	return conn.Conn().IsClosed(), err
}

// Load implements [journal.Journal].
func (j *Journal) Load(ctx context.Context, s envelope.Stream, after uint64) iter.Seq2[envelope.Record, error] {
	return func(yield func(envelope.Record, error) bool) {
		r := streamReader{journal: j, stream: s}
		var latest journal.Latest
		err := j.read(ctx, r.doing(), func(ctx context.Context, conn *pgx.Conn) error {
			b := snapshotBatch()
			r.queueHead(b, &latest)
			b.Queue(j.sql.loadFrom, s.Type, s.ID, int64(min(after, math.MaxInt64)), pageRecords, pageBytes).Query(r.scanPage)
			b.Queue("COMMIT")
			return conn.SendBatch(ctx, b).Close()
		})
		if err == nil {
			err = r.begin(ctx, &latest, after)
		}
		if err != nil {
			yield(envelope.Record{}, typed(r.doing(), err))
			return
		}
		r.yieldAll(ctx, yield)
	}
}

// LoadLatest implements [journal.Journal]: the head, the snapshot and the
// first page come from one transaction, in one round trip.
func (j *Journal) LoadLatest(ctx context.Context, s envelope.Stream) (journal.Latest, error) {
	all, err := j.LoadMany(ctx, []envelope.Stream{s})
	if err != nil {
		return journal.Latest{}, err
	}
	return all[0], nil
}

// LoadMany implements [journal.Journal], in one transaction. What the first
// pages of all streams hold together is bounded about as one page is; the rest
// is read when it is ranged over.
func (j *Journal) LoadMany(ctx context.Context, streams []envelope.Stream) ([]journal.Latest, error) {
	doing := fmt.Sprintf("load %d streams", len(streams))
	if len(streams) == 1 {
		doing = "load " + streams[0].String()
	}
	results := make([]journal.Latest, len(streams))
	readers := make([]streamReader, len(streams))
	share := max(1, len(streams))
	err := j.read(ctx, doing, func(ctx context.Context, conn *pgx.Conn) error {
		b := snapshotBatch()
		for i, s := range streams {
			readers[i] = streamReader{journal: j, stream: s}
			readers[i].queueHead(b, &results[i])
			b.Queue(j.sql.loadLatest, s.Type, s.ID, max(1, pageRecords/share), max(1, pageBytes/share)).Query(readers[i].scanPage)
		}
		b.Queue("COMMIT")
		return conn.SendBatch(ctx, b).Close()
	})
	if err != nil {
		return nil, typed(doing, err)
	}
	for i := range readers {
		after := uint64(0)
		if snap := results[i].Snapshot; snap != nil {
			after = snap.Version
		}
		if err := readers[i].begin(ctx, &results[i], after); err != nil {
			return nil, err
		}
		results[i].Records = func(yield func(envelope.Record, error) bool) { readers[i].yieldAll(ctx, yield) }
	}
	return results, nil
}

// snapshotBatch begins a pipeline whose statements all see one moment.
func snapshotBatch() *pgx.Batch {
	b := &pgx.Batch{}
	b.Queue("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
	return b
}

// streamReader reads one stream up to the head at its beginning, a page at a
// time.
type streamReader struct {
	journal *Journal
	stream  envelope.Stream
	after   uint64 // what was read into records or before
	head    uint64
	records []envelope.Record // the page
}

func (r *streamReader) doing() string { return "load " + r.stream.String() }

// queueHead reads the head and the snapshot.
func (r *streamReader) queueHead(b *pgx.Batch, into *journal.Latest) {
	*into = journal.Latest{Stream: r.stream, First: 1}
	b.Queue(r.journal.sql.loadHead, r.stream.Type, r.stream.ID).Query(func(rows pgx.Rows) error {
		defer rows.Close()
		if !rows.Next() {
			return rows.Err()
		}
		var version, first int64
		var at, schema, fingerprint *int64
		var codec *string
		var data []byte
		var t *time.Time
		if err := rows.Scan(&version, &first, &at, &schema, &fingerprint, &codec, &data, &t); err != nil {
			return err
		}
		into.Version, into.First = uint64(version), uint64(first)
		if at != nil && version > 0 {
			into.Snapshot = &snapshot.Snapshot{
				Stream: r.stream, Version: uint64(*at), Schema: uint32(*schema), Fingerprint: uint64(*fingerprint),
				Codec: *codec, Data: data, Time: t.UTC(),
			}
		}
		rows.Close()
		return rows.Err()
	})
}

// begin checks the first page against the head.
func (r *streamReader) begin(ctx context.Context, latest *journal.Latest, after uint64) error {
	r.head, r.after = latest.Version, max(after, latest.First-1)
	if r.after >= r.head {
		r.records = nil
		return nil
	}
	if after < latest.First && latest.First > 1 {
		// Replay begins with the record that stands for what was let go.
		if len(r.records) == 0 || r.records[0].Version != latest.First || !r.records[0].BeginsHistory() {
			return fmt.Errorf("postgres: stream %s: %w: there is no baseline at version %d", r.stream, journal.ErrHistoryGone, latest.First)
		}
	}
	return r.accept(ctx)
}

// accept checks that the page goes on where the last one ended.
func (r *streamReader) accept(ctx context.Context) error {
	for i := range r.records {
		if r.records[i].Version != r.after+1 {
			return r.gap(ctx)
		}
		r.after++
	}
	if len(r.records) == 0 {
		return r.gap(ctx)
	}
	return nil
}

// gap says why the next version is not there.
func (r *streamReader) gap(ctx context.Context) error {
	var now journal.Latest
	err := r.journal.read(ctx, r.doing(), func(ctx context.Context, conn *pgx.Conn) error {
		b := &pgx.Batch{}
		r.queueHead(b, &now)
		return conn.SendBatch(ctx, b).Close()
	})
	if err != nil {
		return err
	}
	if now.First > r.after+1 {
		return fmt.Errorf("postgres: stream %s: %w: it was truncated to version %d while it was read", r.stream, journal.ErrHistoryGone, now.First)
	}
	return corrupt("stream %s has no version %d", r.stream, r.after+1)
}

func (r *streamReader) scanPage(rows pgx.Rows) error {
	r.records = nil // the former page belongs to whoever got its records
	if r.head > r.after {
		r.records = make([]envelope.Record, 0, min(r.head-r.after, pageRecords))
	}
	var err error
	r.records, err = readRecords(rows, r.records, r.stream)
	return err
}

// yieldAll yields the page that was read and all that follow.
func (r *streamReader) yieldAll(ctx context.Context, yield func(envelope.Record, error) bool) {
	for {
		if err := context.Cause(ctx); err != nil {
			yield(envelope.Record{}, fmt.Errorf("postgres: %s: %w", r.doing(), err))
			return
		}
		for i := range r.records {
			if !yield(r.records[i], nil) {
				return
			}
		}
		if r.after >= r.head {
			return
		}
		limit := r.nextRows()
		err := r.journal.read(ctx, r.doing(), func(ctx context.Context, conn *pgx.Conn) error {
			rows, err := conn.Query(ctx, r.journal.sql.loadPage, r.stream.Type, r.stream.ID, int64(r.after), int64(r.head), limit)
			if err != nil {
				return err
			}
			return r.scanPage(rows)
		})
		if err == nil {
			err = r.accept(ctx)
		}
		if err != nil {
			yield(envelope.Record{}, typed(r.doing(), err))
			return
		}
	}
}

// nextRows is how many records the next page is asked for: as many as fill one if
// they are like those of the last, of which it may have twice as many. The server
// sends all that it is asked for; to have it stop by their size would cost it as
// much again as reading them.
func (r *streamReader) nextRows() int {
	bytes := 1
	for i := range r.records {
		bytes += len(r.records[i].Data)
	}
	n := len(r.records)
	return max(1, min(pageRecords, 2*n, n*pageBytes/bytes))
}
