package sqlite_test

import (
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/sqlite"
)

// TestSettleSharesACommit: what a dispatcher settles is stored together with the
// batches that wait at the same time.
func TestSettleSharesACommit(t *testing.T) {
	t.Parallel()
	const patience = 30 * time.Second
	opts := &sqlite.Options{QueueEvents: 1000}
	j := open(t, filepath.Join(t.TempDir(), "j.db"), opts)
	b := batch(events(todo("0"), 0, 1))
	for n := range 2 {
		b.Messages = append(b.Messages, envelope.Message{
			ID: fmt.Sprint("m-", n), Kind: envelope.KindEvent, Name: "changed", Source: todo("0"), SourceVersion: 1, Data: []byte("{}"), Codec: "json", Time: when,
		})
	}
	commit(t, j, b)
	out := j.Outbox()
	ok, err := out.Lease(t.Context(), journal.OutboxLease{Token: "t", Owner: "o", Slots: journal.AllSlots}, time.Hour)
	require.NoError(t, err)
	require.True(t, ok)
	page, err := out.Pending(t.Context(), journal.PendingQuery{Slots: []journal.SlotRange{journal.AllSlots}, Limit: 10})
	require.NoError(t, err)
	require.Len(t, page.Messages, 2)

	var commits atomic.Int64
	release, err := j.HoldWriter(t.Context(), &commits)
	require.NoError(t, err)
	t.Cleanup(release)
	answers := make(chan error, 3)
	answer := func(_ journal.Result, err error) { answers <- err }
	j.Submit(batch(events(todo("1"), 0, 1)), answer)
	require.Eventually(t, func() bool { return j.Credit(opts.QueueEvents, 0, nil) }, patience, time.Millisecond, "the committer has taken it")
	before := j.Submitted()
	j.Submit(batch(events(todo("2"), 0, 1)), answer)
	go func() {
		answers <- out.Settle(t.Context(), "t", journal.Settlement{
			Published: []uint64{page.Messages[0].Position},
			Parked:    []journal.Park{{Position: page.Messages[1].Position, Parking: journal.Parking{Time: when, Reason: "r", Attempts: 1}}},
		})
	}()
	require.Eventually(t, func() bool { return j.Submitted() == before+2 }, patience, time.Millisecond, "both wait for the next group")
	release()
	for range cap(answers) {
		require.NoError(t, <-answers)
	}
	require.EqualValues(t, 2, commits.Load(), "the batch that was under way, and the group of both")
	figures, err := out.Figures(t.Context())
	require.NoError(t, err)
	require.Zero(t, figures.Pending)
	require.Equal(t, 1, figures.Parked)
}
