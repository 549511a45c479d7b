package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/troupe-go/troupe/envelope"
)

// Scavenge implements [journal.Journal]. It goes through the truncated streams
// in the order of their names, a page of a stream at a time, and deletes each
// page in a transaction of its own.
func (j *Journal) Scavenge(ctx context.Context, archive func(context.Context, []envelope.Record) error) (deleted int, err error) {
	select {
	case j.scavenging <- struct{}{}:
		defer func() { <-j.scavenging }()
	case <-ctx.Done():
		return 0, fmt.Errorf("postgres: scavenge: %w", context.Cause(ctx))
	}
	var cut cut
	for {
		if found, err := j.nextCut(ctx, &cut); !found || err != nil {
			return deleted, err
		}
		for cut.kept < cut.first {
			n, err := j.scavengePage(ctx, &cut, archive)
			deleted += n
			if err != nil {
				return deleted, err
			}
		}
	}
}

// cut is one stream's records that are to go: from version kept on, below
// version first.
type cut struct {
	stream      envelope.Stream
	kept, first int64
}

// nextCut finds the next stream behind that of c.
func (j *Journal) nextCut(ctx context.Context, c *cut) (found bool, err error) {
	behind := c.stream
	err = j.read(ctx, "scavenge", func(ctx context.Context, conn *pgx.Conn) error {
		err := conn.QueryRow(ctx, j.sql.nextTruncated, behind.Type, behind.ID).Scan(&c.stream.Type, &c.stream.ID, &c.kept, &c.first)
		found = err == nil
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	if err != nil {
		return false, typed("scavenge", err)
	}
	return found, nil
}

// scavengePage archives and deletes the next page of c.
func (j *Journal) scavengePage(ctx context.Context, c *cut, archive func(context.Context, []envelope.Record) error) (deleted int, err error) {
	doing := "scavenge " + c.stream.String()
	r := streamReader{journal: j, stream: c.stream}
	err = j.read(ctx, doing, func(ctx context.Context, conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, j.sql.scavengePage, c.stream.Type, c.stream.ID, c.kept-1, c.first-1, pageRecords, pageBytes)
		if err != nil {
			return err
		}
		return r.scanPage(rows)
	})
	if err != nil {
		return 0, typed(doing, err)
	}
	through := c.first - 1
	if n := len(r.records); n > 0 {
		through = int64(r.records[n-1].Version)
		if archive != nil {
			if err := archive(ctx, r.records); err != nil {
				return 0, fmt.Errorf("postgres: archive %d records of %s: %w", n, c.stream, err)
			}
		}
	}
	err = j.read(ctx, doing, func(ctx context.Context, conn *pgx.Conn) error {
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			// Heads before events, as everybody locks them.
			if _, err := tx.Exec(ctx, j.sql.scavengeHead, c.stream.Type, c.stream.ID, through+1); err != nil {
				return err
			}
			tag, err := tx.Exec(ctx, j.sql.scavengeEvents, c.stream.Type, c.stream.ID, c.kept, through)
			deleted = int(tag.RowsAffected())
			return err
		})
	})
	if err != nil {
		return 0, typed(doing, err)
	}
	c.kept = through + 1
	return deleted, nil
}
