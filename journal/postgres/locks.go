package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/troupe-go/troupe/lock"
)

// Locks returns the leases that are kept in the journal's schema, by the
// server's clock. They are there as long as the journal is open.
//
// Errors of its methods: those of [journal.Journal.Load].
func (j *Journal) Locks() lock.Store { return locks{j} }

type locks struct{ journal *Journal }

// TryLock implements [lock.Store].
func (l locks) TryLock(ctx context.Context, key, token string, ttl time.Duration) (ok bool, left time.Duration, err error) {
	table := l.journal.table("locks")
	err = l.journal.read(ctx, "lock "+key, func(ctx context.Context, conn *pgx.Conn) error {
		ok, left = false, 0
		tag, err := conn.Exec(ctx, fmt.Sprintf(`INSERT INTO %s AS l (key, token, until)
			VALUES ($1, $2, clock_timestamp() + $3 * interval '1 microsecond')
			ON CONFLICT (key) DO UPDATE SET token = excluded.token, until = excluded.until
			WHERE l.token = excluded.token OR l.until <= clock_timestamp()`, table), key, token, ttl.Microseconds())
		if err != nil {
			return err
		}
		if ok = tag.RowsAffected() > 0; ok {
			return nil
		}
		var micros int64
		err = conn.QueryRow(ctx, fmt.Sprintf("SELECT (extract(epoch FROM until - clock_timestamp()) * 1000000)::bigint FROM %s WHERE key = $1", table), key).Scan(&micros)
		if errors.Is(err, pgx.ErrNoRows) { // it was given back in this moment
			return nil
		}
		left = max(time.Duration(micros)*time.Microsecond, 0)
		return err
	})
	if err != nil {
		return false, 0, typed("lock "+key, err)
	}
	return ok, left, nil
}

// Renew implements [lock.Store].
func (l locks) Renew(ctx context.Context, key, token string, ttl time.Duration) (bool, error) {
	n, err := l.exec(ctx, "renew lock "+key, `UPDATE %s SET until = clock_timestamp() + $3 * interval '1 microsecond'
		WHERE key = $1 AND token = $2 AND until > clock_timestamp()`, key, token, ttl.Microseconds())
	return n > 0, err
}

// Unlock implements [lock.Store].
func (l locks) Unlock(ctx context.Context, key, token string) (bool, error) {
	n, err := l.exec(ctx, "unlock "+key, "DELETE FROM %s WHERE key = $1 AND token = $2 AND until > clock_timestamp()", key, token)
	return n > 0, err
}

// Sweep implements [lock.Store].
func (l locks) Sweep(ctx context.Context) (int, error) {
	n, err := l.exec(ctx, "sweep locks", "DELETE FROM %s WHERE until <= clock_timestamp()")
	return int(n), err
}

func (l locks) exec(ctx context.Context, doing, query string, args ...any) (n int64, err error) {
	query = fmt.Sprintf(query, l.journal.table("locks"))
	err = l.journal.read(ctx, doing, func(ctx context.Context, conn *pgx.Conn) error {
		tag, err := conn.Exec(ctx, query, args...)
		n = tag.RowsAffected()
		return err
	})
	if err != nil {
		return 0, typed(doing, err)
	}
	return n, nil
}
