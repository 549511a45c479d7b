package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// raiseEpoch makes sure that what is stored next lies behind what is stored.
//
// A position begins with the number of its transaction, and a server counts
// its own. After a dump was restored elsewhere, the stored numbers may lie
// above that server's counter: readers would wait until it gets there, and new
// events would lie before old ones. Then the difference is added to every
// number from now on: in the default of events.xid, so that also those who
// write by other means use it, and in settings, for the readers. Both travel
// with a dump.
//
// It is done before this process appends anything. Other processes must not
// be running on a database into which something is being restored.
func (j *Journal) raiseEpoch(ctx context.Context) error {
	lags := "SELECT coalesce((SELECT max(xid) FROM " + j.table("events") + "), 0)," +
		" pg_snapshot_xmax(pg_current_snapshot())::text::bigint + xid_offset, xid_offset FROM " + j.table("settings")
	var newest, next, offset int64
	if err := j.pool.QueryRow(ctx, lags).Scan(&newest, &next, &offset); err != nil {
		return typed("open schema "+j.opts.Schema, err)
	}
	if newest < next {
		return nil
	}
	err := pgx.BeginFunc(ctx, j.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", lockKey(j.opts.Schema, "epoch")); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "LOCK TABLE "+j.table("events")+" IN ACCESS EXCLUSIVE MODE"); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, lags).Scan(&newest, &next, &offset); err != nil || newest < next {
			return err
		}
		offset += newest - next + 1
		alter := fmt.Sprintf("ALTER TABLE %s ALTER COLUMN xid SET DEFAULT (pg_current_xact_id()::text::bigint + %d)", j.table("events"), offset)
		if _, err := tx.Exec(ctx, alter); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "UPDATE "+j.table("settings")+" SET xid_offset = $1", offset)
		return err
	})
	if err != nil {
		return typed("raise the epoch of schema "+j.opts.Schema, err)
	}
	j.opts.Logger.Warn("postgres: the database was restored, positions go on behind it", "schema", j.opts.Schema, "offset", offset)
	return nil
}
