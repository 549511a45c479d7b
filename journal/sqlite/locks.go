package sqlite

import (
	"context"
	"time"

	"github.com/troupe-go/troupe/lock"
)

// Locks returns the leases that are kept in the journal's database, by this
// machine's clock: a database is for processes of one machine. They are there
// as long as the journal is open.
//
// Errors of its methods: those of [journal.Journal.Load].
func (j *Journal) Locks() lock.Store { return locks{j} }

type locks struct{ journal *Journal }

// TryLock implements [lock.Store].
func (l locks) TryLock(ctx context.Context, key, token string, ttl time.Duration) (ok bool, left time.Duration, err error) {
	err = l.journal.write(ctx, "lock "+key, func(ctx context.Context, s *session) error {
		now := time.Now()
		n, err := s.count(ctx, `INSERT INTO locks (key, token, until) VALUES (?, ?, ?)
			ON CONFLICT (key) DO UPDATE SET token = excluded.token, until = excluded.until
			WHERE locks.token = excluded.token OR locks.until <= ?`, key, token, now.Add(ttl).UnixMicro(), now.UnixMicro())
		if ok = n > 0; ok || err != nil {
			return err
		}
		var until int64
		_, err = s.row(ctx, "SELECT until FROM locks WHERE key = ?", []any{key}, &until)
		left = max(time.UnixMicro(until).Sub(now), 0)
		return err
	})
	return ok && err == nil, left, err
}

// Renew implements [lock.Store].
func (l locks) Renew(ctx context.Context, key, token string, ttl time.Duration) (bool, error) {
	now := time.Now()
	n, err := l.exec(ctx, "renew lock "+key, "UPDATE locks SET until = ? WHERE key = ? AND token = ? AND until > ?",
		now.Add(ttl).UnixMicro(), key, token, now.UnixMicro())
	return n > 0, err
}

// Unlock implements [lock.Store].
func (l locks) Unlock(ctx context.Context, key, token string) (bool, error) {
	n, err := l.exec(ctx, "unlock "+key, "DELETE FROM locks WHERE key = ? AND token = ? AND until > ?", key, token, time.Now().UnixMicro())
	return n > 0, err
}

// Sweep implements [lock.Store].
func (l locks) Sweep(ctx context.Context) (int, error) {
	n, err := l.exec(ctx, "sweep locks", "DELETE FROM locks WHERE until <= ?", time.Now().UnixMicro())
	return int(n), err
}

func (l locks) exec(ctx context.Context, doing, query string, args ...any) (n int64, err error) {
	err = l.journal.write(ctx, doing, func(ctx context.Context, s *session) (err error) {
		n, err = s.count(ctx, query, args...)
		return err
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}
