package postgres_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/internal/testenv"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/postgres"
)

// insertMessage stores a message as a journal does, in tx.
func (d *database) insertMessage(tx pgx.Tx, id string) (position int64, err error) {
	err = tx.QueryRow(context.Background(), d.named(`INSERT INTO @outbox (slot, message, kind, name, destination, key, content_type, codec,
			data, time, source_type, source_id, source_version)
		VALUES (1, $1, 1, 'happened', '', 'late', '', '', '', now(), '', '', 0) RETURNING position`), id).Scan(&position)
	return position, err
}

func pendingAfter(t testing.TB, j *postgres.Journal, after uint64, limit int) journal.PendingPage {
	t.Helper()
	page, err := j.Outbox().Pending(context.Background(), journal.PendingQuery{
		Slots: []journal.SlotRange{journal.AllSlots}, After: after, Limit: limit,
	})
	require.NoError(t, err)
	return page
}

// A message whose transaction takes long holds the mark of completeness below
// its position; a transaction that writes to another table does not, nor does
// one in another database.
func TestOutboxIsCompleteUpToTheOldestWriter(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	j := d.open(nil)
	defer d.stranger("")()
	defer d.stranger("postgres")()
	conn, err := pgx.Connect(t.Context(), d.url)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	commit(t, j, message(batch(events(todo("1"), 0, 1)), "before"))
	reaches := func(position uint64) func() bool {
		return func() bool { return pendingAfter(t, j, 0, 10).Complete >= position }
	}
	require.Eventually(t, reaches(1), 10*time.Second, time.Millisecond)

	tx, err := conn.Begin(t.Context())
	require.NoError(t, err)
	late, err := d.insertMessage(tx, "late")
	require.NoError(t, err)
	commit(t, j, message(batch(events(todo("1"), 1, 1)), "after"))
	for range 20 {
		page := pendingAfter(t, j, 0, 10)
		require.Len(t, page.Messages, 2)
		require.Less(t, page.Complete, uint64(late))
		time.Sleep(10 * time.Millisecond) // it is asked for again every 50 ms
	}
	require.NoError(t, tx.Commit(t.Context()))
	require.Eventually(t, reaches(uint64(late)+1), 10*time.Second, time.Millisecond)
	require.Len(t, pendingAfter(t, j, 0, 10).Messages, 3)

	// One that rolls back frees the mark, too.
	tx, err = conn.Begin(t.Context())
	require.NoError(t, err)
	late, err = d.insertMessage(tx, "never")
	require.NoError(t, err)
	require.NoError(t, tx.Rollback(t.Context()))
	require.Eventually(t, reaches(uint64(late)), 10*time.Second, time.Millisecond)
}

// TestLateMessagesAreNotSkipped has writers that take their time between insert
// and commit, some of whom roll back, beside strangers' open transactions, and a
// dispatcher that passes by what it has published. A control that goes on behind
// the last position it saw must miss some, or the test shows nothing.
func TestLateMessagesAreNotSkipped(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	j := d.open(nil)
	const writers = 16
	each := testenv.Count(20, 200)
	defer d.stranger("")()
	defer d.stranger("postgres")()
	var stop atomic.Bool
	var mu sync.Mutex
	committed := map[string]bool{}
	published, naive := map[string]int{}, map[string]bool{}
	ok, err := j.Outbox().Lease(t.Context(), journal.OutboxLease{Token: "t", Owner: "t", Slots: journal.AllSlots}, time.Hour)
	require.NoError(t, err)
	require.True(t, ok)

	var writing, reading sync.WaitGroup
	reading.Go(func() {
		floor, last := uint64(0), uint64(0)
		for ended := false; ; {
			over := stop.Load()
			page := pendingAfter(t, j, floor, 50)
			settled := journal.Settlement{}
			for _, m := range page.Messages {
				published[m.ID]++
				if m.Position > last {
					naive[m.ID] = true
				}
				settled.Published = append(settled.Published, m.Position)
			}
			if n := len(page.Messages); n > 0 {
				last = max(last, page.Messages[n-1].Position)
			}
			if err := j.Outbox().Settle(context.Background(), "t", settled); err != nil {
				t.Errorf("settle: %v", err)
				return
			}
			if n := len(page.Messages); page.More && n > 0 {
				floor = max(floor, min(page.Complete, page.Messages[n-1].Position))
			} else {
				floor = max(floor, page.Complete)
			}
			if ended && len(page.Messages) == 0 {
				return
			}
			ended = over
		}
	})
	for w := range writers {
		writing.Go(func() {
			conn, err := pgx.Connect(context.Background(), d.url)
			if err != nil {
				t.Errorf("connect: %v", err)
				return
			}
			defer conn.Close(context.Background())
			for i := range each {
				tx, err := conn.Begin(context.Background())
				if err != nil {
					t.Errorf("begin: %v", err)
					return
				}
				id := fmt.Sprintf("%d-%d", w, i)
				if _, err := d.insertMessage(tx, id); err != nil {
					t.Errorf("insert: %v", err)
					return
				}
				time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond) // it takes its time
				if rand.IntN(5) == 0 {
					err = tx.Rollback(context.Background())
				} else if err = tx.Commit(context.Background()); err == nil {
					mu.Lock()
					committed[id] = true
					mu.Unlock()
				}
				if err != nil {
					t.Errorf("end: %v", err)
					return
				}
			}
		})
	}
	writing.Wait()
	stop.Store(true)
	reading.Wait()
	require.Len(t, published, len(committed))
	for id := range committed {
		require.Equal(t, 1, published[id], "message %s", id)
	}
	require.Less(t, len(naive), len(committed), "the control missed none")
	t.Logf("the control missed %d of %d messages", len(committed)-len(naive), len(committed))
}
