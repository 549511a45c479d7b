package postgres

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// horizonEvery is how often at most it is asked how far the outbox is complete:
// the answer takes about a millisecond of the server, and what it saves is
// passing by the rows that were deleted since.
const horizonEvery = 50 * time.Millisecond

// outboxHorizon finds positions of the outbox below which no message will appear
// any more. Positions are given out before the commit, so one that is read does
// not prove that a lower one is not still on its way.
//
// Whoever inserts into a table holds a lock on it from before the first position
// is given out until its transaction is visible to all. So: read the last
// position that was given out; then, in a later statement, who holds such a lock.
// Once all of those are gone, everything up to that position is there, or never
// will be. Transactions that do not write to this table do not matter, however
// long they are open.
type outboxHorizon struct {
	complete atomic.Uint64

	mu      sync.Mutex // held by whoever asks
	asked   time.Time
	next    uint64   // complete once holders are gone
	holders []string // virtual transaction ids
}

// advance returns how far the outbox is complete. A page that is read afterwards
// has all messages up to there.
func (h *outboxHorizon) advance(ctx context.Context, conn *pgx.Conn, sql *statements) (uint64, error) {
	if !h.mu.TryLock() {
		return h.complete.Load(), nil
	}
	defer h.mu.Unlock()
	if time.Since(h.asked) < horizonEvery {
		return h.complete.Load(), nil
	}
	if len(h.holders) == 0 {
		var last int64
		if err := conn.QueryRow(ctx, sql.lastMessage).Scan(&last); err != nil {
			return 0, err
		}
		h.next = uint64(last)
	}
	rows, err := conn.Query(ctx, sql.outboxWriters, h.holders)
	if err != nil {
		return 0, err
	}
	holders, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return 0, err
	}
	h.asked = time.Now()
	if h.holders = holders; len(holders) == 0 {
		h.complete.Store(max(h.complete.Load(), h.next))
	}
	return h.complete.Load(), nil
}
