package postgres

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// bound says how far events may be read.
//
// Readers go by (xid, position). What one reads must never be followed by an
// event that lies before it. An event's xid is the number of its transaction,
// and events appear when that commits, so everything below the oldest number
// that is still running is complete: xid < pg_snapshot_xmin, the fast form.
//
// But that oldest transaction may be a stranger's, in another database of the
// server even, open since yesterday. Then the exact form: of the numbers that
// are running (and of those that come later, from pg_snapshot_xmax on), only
// those matter that may add events, and a transaction that does so holds a lock
// on the table events. It must have taken that lock before it got its number:
// then, of each number that the snapshot tells, either the lock is found
// afterwards, or the transaction has ended and its events are seen by every
// later statement. A single INSERT into events locks the table before it gets
// a number, and the transactions of the slow step begin with LOCK TABLE.
// Whoever else writes events inserts them with the first writing statement of
// the transaction, or begins with that too.
type bound struct {
	below     int64 // xid: what is less may be read
	newest    int64 // xid of the newest stored event, which may not be
	blockedBy int   // of the exact form: process whose transaction is the bound
}

// horizon remembers whether the exact form was needed lately.
type horizon struct {
	mu     sync.Mutex
	needed time.Time
}

const (
	// patience is how long a reader waits for the fast form to let it see what
	// is there. Committers' own transactions take a few milliseconds, and the
	// exact form looks at all locks of the server.
	patience = 20 * time.Millisecond

	// remembered is for how long readers do not wait again once they waited
	// in vain.
	remembered = time.Second
)

func (h *horizon) lately() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return time.Since(h.needed) < remembered
}

func (h *horizon) note() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.needed = time.Now()
}

// fastBound is the fast form.
func (j *Journal) fastBound(ctx context.Context, doing string) (b bound, err error) {
	err = j.read(ctx, doing, func(ctx context.Context, conn *pgx.Conn) error {
		return conn.QueryRow(ctx, j.sql.bound).Scan(&b.below, &b.newest)
	})
	if err != nil {
		return bound{}, typed(doing, err)
	}
	return b, nil
}

// widen finds a better bound where the newest event is not below it.
func (j *Journal) widen(ctx context.Context, doing string, b bound) (bound, error) {
	newest := b.newest
	for wait, waited := time.Millisecond, time.Duration(0); waited < patience && !j.horizon.lately(); wait *= 2 {
		if !sleep(ctx, wait) {
			break // reading says why
		}
		waited += wait
		next, err := j.fastBound(ctx, doing)
		if err != nil || newest < next.below {
			return next, err
		}
	}
	exact := bound{newest: newest}
	err := j.read(ctx, doing, func(ctx context.Context, conn *pgx.Conn) error {
		return conn.QueryRow(ctx, j.sql.exactBound).Scan(&exact.below, &exact.blockedBy)
	})
	if err != nil {
		return bound{}, typed(doing, err)
	}
	j.horizon.note()
	return exact, nil
}

// sleep reports whether ctx has not ended meanwhile.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
