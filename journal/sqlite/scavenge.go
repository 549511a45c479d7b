package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/troupe-go/troupe/envelope"
)

// Bounds of what one transaction of Scavenge deletes: the committer waits that
// long.
const (
	scavengeRecords = 500
	scavengeStreams = 100
)

// Scavenge implements [journal.Journal]. Deleted pages are used again for what
// comes; the file does not shrink before a VACUUM.
func (j *Journal) Scavenge(ctx context.Context, archive func(context.Context, []envelope.Record) error) (deleted int, err error) {
	select {
	case j.scavenging <- struct{}{}:
		defer func() { <-j.scavenging }()
	case <-ctx.Done():
		return 0, fmt.Errorf("sqlite: scavenge: %w", context.Cause(ctx))
	case <-j.finished:
	}
	for {
		var p scavengePage
		if err := j.view(ctx, "scavenge", p.read); err != nil || len(p.streams) == 0 {
			return deleted, err
		}
		if archive != nil && len(p.records) > 0 {
			if err := archive(ctx, p.records); err != nil {
				return deleted, err
			}
		}
		n, err := j.remove(ctx, &p)
		deleted += n
		if err != nil {
			return deleted, err
		}
	}
}

// scavengePage is what is deleted at once.
type scavengePage struct {
	streams []truncatedStream
	records []envelope.Record
}

// truncatedStream is one of which events below first may go.
type truncatedStream struct {
	stream envelope.Stream
	first  int64
	upTo   int64 // the last that is in the page, 0 if none is
	rest   bool  // there may be more than those
}

// read fills the page with events of as many streams as it takes.
func (p *scavengePage) read(ctx context.Context, s *session) error {
	err := s.rows(ctx, "SELECT type, id, first FROM truncated ORDER BY id, type LIMIT ?", []any{scavengeStreams}, func(rows *sql.Rows) (bool, error) {
		var c truncatedStream
		err := rows.Scan(&c.stream.Type, &c.stream.ID, &c.first)
		p.streams = append(p.streams, c)
		return true, err
	})
	if err != nil {
		return err
	}
	bytes := 0
	for i := range p.streams {
		c := &p.streams[i]
		room := scavengeRecords - len(p.records)
		if room == 0 || bytes >= pageBytes {
			p.streams = p.streams[:i]
			return nil
		}
		const query = "SELECT " + recordColumns + " FROM events WHERE type = ? AND id = ? AND version < ? ORDER BY version LIMIT ?"
		n := 0
		err := s.records(ctx, query, []any{c.stream.Type, c.stream.ID, c.first, room}, c.stream, func(rec envelope.Record) (bool, error) {
			p.records = append(p.records, rec)
			c.upTo = int64(rec.Version)
			n++
			bytes += rec.SizeBytes()
			return bytes < pageBytes, nil
		})
		if err != nil {
			return err
		}
		c.rest = n == room || bytes >= pageBytes
	}
	return nil
}

// remove deletes the page's records, between two groups of the committer, and
// returns how many were still there. The ids of their batches stay, for those
// that are submitted again.
func (j *Journal) remove(ctx context.Context, p *scavengePage) (deleted int, err error) {
	err = j.write(ctx, "scavenge", func(ctx context.Context, s *session) (err error) {
		deleted, err = j.removeFrom(ctx, s, p)
		return err
	})
	if err != nil {
		return 0, err
	}
	return deleted, nil
}

// removeFrom is the work of remove, within its transaction.
func (j *Journal) removeFrom(ctx context.Context, s *session, p *scavengePage) (deleted int, err error) {
	now := j.opts.now()
	for i := range p.streams {
		c := &p.streams[i]
		if c.upTo > 0 {
			err := s.exec(ctx, `INSERT OR IGNORE INTO batches (batch, stored) SELECT batch, ? FROM events
				WHERE type = ? AND id = ? AND version <= ? AND batch IS NOT NULL`, now.UnixMicro(), c.stream.Type, c.stream.ID, c.upTo)
			if err != nil {
				return 0, err
			}
			n, err := s.count(ctx, "DELETE FROM events WHERE type = ? AND id = ? AND version <= ?", c.stream.Type, c.stream.ID, c.upTo)
			if err != nil {
				return 0, err
			}
			deleted += int(n)
		}
		if c.rest {
			continue
		}
		// Unless it was truncated again since.
		if err := s.exec(ctx, "DELETE FROM truncated WHERE type = ? AND id = ? AND first = ?",
			c.stream.Type, c.stream.ID, c.first); err != nil {
			return 0, err
		}
	}
	_, err = sweepBatches.run(ctx, s, len(p.records)+1, now.Add(-j.opts.ReceiptRetention))
	return deleted, err
}
