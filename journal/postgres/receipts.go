package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/troupe-go/troupe/envelope"
)

// Receipt implements [journal.Journal].
func (j *Journal) Receipt(ctx context.Context, of envelope.Stream, commandID string) (envelope.Receipt, bool, error) {
	r := envelope.Receipt{Stream: of, ID: commandID}
	ok, err := j.readReceipt(ctx, "receipt of "+of.String(), &r, j.sql.receipt, of.Type, of.ID, commandID, j.opts.expired())
	if err != nil || !ok {
		return envelope.Receipt{}, false, err
	}
	return r, true, nil
}

// MessageReceipt implements [journal.Journal].
func (j *Journal) MessageReceipt(ctx context.Context, consumer, messageID string) (envelope.Receipt, bool, error) {
	r := envelope.Receipt{Consumer: consumer, ID: messageID}
	ok, err := j.readReceipt(ctx, "receipt of "+consumer, &r, j.sql.inboxReceipt, consumer, messageID, j.opts.expired())
	if err != nil || !ok {
		return envelope.Receipt{}, false, err
	}
	return r, true, nil
}

// readReceipt reads one that did not expire. Whether it was swept yet makes no
// difference.
func (j *Journal) readReceipt(ctx context.Context, doing string, r *envelope.Receipt, query string, args ...any) (found bool, err error) {
	err = j.read(ctx, doing, func(ctx context.Context, conn *pgx.Conn) error {
		var version int64
		err := conn.QueryRow(ctx, query, args...).Scan(&version, &r.Codec, &r.Reply, &r.Time)
		found = err == nil
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		r.Version, r.Time = uint64(version), r.Time.UTC()
		return err
	})
	if err != nil {
		return false, typed(doing, err)
	}
	return found, nil
}

const (
	// sweepPause lies between two deletions, so that those who store receipts
	// feel nothing of it.
	sweepPause = 100 * time.Millisecond

	// sweepEvery is how often at most the sweeper begins.
	sweepEvery = 10 * time.Second

	// sweepRows is how many rows go at once.
	sweepRows = 1_000
)

// sweepSoon says that receipts were stored, so there may be some to delete.
func (j *Journal) sweepSoon() {
	select {
	case j.sweeps <- struct{}{}:
	default:
	}
}

// sweep deletes what expired, a little at a time, until Close.
func (j *Journal) sweep() {
	for {
		select {
		case <-j.sweeps:
		case <-j.stopped.Done():
			return
		}
		for n := sweepRows; n == sweepRows; {
			var err error
			if n, err = j.sweepSome(j.stopped, sweepRows); err != nil && j.stopped.Err() == nil {
				j.opts.Logger.Warn("postgres: sweep receipts", "schema", j.opts.Schema, "error", err)
			}
			if !sleep(j.stopped, sweepPause) {
				return
			}
		}
		if !sleep(j.stopped, sweepEvery) {
			return
		}
	}
}

// sweepSome deletes at most limit expired rows of each table, the oldest first,
// and returns how many it deleted of the one that had most. Two processes do
// not wait for each other: one skips what the other deletes.
func (j *Journal) sweepSome(ctx context.Context, limit int) (most int, err error) {
	for _, name := range [...]string{"receipts", "inbox", "batches"} {
		query := fmt.Sprintf(`DELETE FROM %[1]s WHERE ctid = ANY (ARRAY(
			SELECT ctid FROM %[1]s WHERE stored <= $1 ORDER BY stored LIMIT $2 FOR UPDATE SKIP LOCKED))`, j.table(name))
		tag, err := j.pool.Exec(ctx, query, j.opts.expired(), limit)
		if err != nil {
			return 0, err
		}
		most = max(most, int(tag.RowsAffected()))
	}
	return most, nil
}
