package sqlite_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/sqlite"
)

// baseline appends one to s, and truncates everything before it.
func baseline(s envelope.Stream, expected uint64) *journal.Batch {
	b := batch(events(s, expected, 1))
	b.Appends[0].Records[0].Name = envelope.BaselineName
	b.Truncates = []journal.Truncate{{Stream: s, Before: expected + 1}}
	return b
}

func scavenge(t *testing.T, j journal.Journal) int {
	t.Helper()
	n, err := j.Scavenge(t.Context(), nil)
	require.NoError(t, err)
	return n
}

// TestResubmissionOfWhatIsGone submits batches again whose only traces were
// deleted since: by Scavenge, by whoever publishes messages, by a later row.
func TestResubmissionOfWhatIsGone(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	var hours atomic.Int64
	opts := quiet()
	opts.ReceiptRetention = time.Hour
	opts.SetClock(func() time.Time { return when.Add(time.Duration(hours.Load()) * time.Hour) })
	j := open(t, path, opts)
	_, err := raw(t, path).Exec(rowTables)
	require.NoError(t, err)
	s := todo("1")
	sent := map[string]*journal.Batch{
		"events": batch(events(s, 0, 3)),
		"message": {ID: journal.NewBatchID(), Messages: []envelope.Message{
			{ID: "m", Kind: envelope.KindCommand, Name: "do", Time: when},
		}},
		"row": rowsOnly(envelope.Row{Table: "strictly", Op: envelope.RowInsert, Key: []envelope.Column{{Name: "id", Value: "x"}}, Columns: []envelope.Column{n(int64(1))}}),
	}
	for _, b := range sent {
		commit(t, j, b)
		b.Resubmit = true
	}
	commit(t, j, baseline(s, 3))
	require.Equal(t, 3, scavenge(t, j))
	_, err = raw(t, path).Exec("DELETE FROM outbox; DELETE FROM strictly")
	require.NoError(t, err)
	for name, b := range sent {
		commit(t, j, b)
		messages := 0
		for range j.Messages(t.Context(), 0, 0) {
			messages++
		}
		require.Zero(t, messages, name)
	}
	records, err := readAll(t, j)
	require.NoError(t, err)
	require.Len(t, records, 1, "nothing is stored twice")

	hours.Store(2)
	commit(t, j, rowsOnly(upsert("strictly", "y", n(int64(1)))))
	var left int
	require.NoError(t, raw(t, path).QueryRow("SELECT count(*) FROM batches").Scan(&left))
	require.Equal(t, 1, left, "the others are expired")
}

func TestMissingBaselineIsHistoryGone(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	j := open(t, path, nil)
	lost, broken := todo("lost"), todo("broken")
	for _, s := range []envelope.Stream{lost, broken} {
		commit(t, j, batch(events(s, 0, 2)))
		commit(t, j, baseline(s, 2))
		commit(t, j, batch(events(s, 3, 1)))
	}
	_, err := raw(t, path).Exec("DELETE FROM events WHERE id = 'lost' AND version = 3; UPDATE events SET name = 'x' WHERE id = 'broken' AND version = 3")
	require.NoError(t, err)
	for _, s := range []envelope.Stream{lost, broken} {
		_, err := j.LoadLatest(t.Context(), s)
		require.ErrorIs(t, err, journal.ErrHistoryGone)
		for _, err = range j.Load(t.Context(), s, 0) {
		}
		require.ErrorIs(t, err, journal.ErrHistoryGone)
	}
}

// TestTruncatedWhileRead lets go of a stream behind the back of a reader that
// has more pages to come.
func TestTruncatedWhileRead(t *testing.T) {
	t.Parallel()
	j := open(t, newPath(t), nil)
	s := todo("1")
	commit(t, j, batch(events(s, 0, 2_500)))
	seen := 0
	var err error
	for _, err = range j.Load(t.Context(), s, 0) {
		if seen++; seen == 10 {
			commit(t, j, baseline(s, 2_500))
			require.Equal(t, 2_500, scavenge(t, j))
		}
	}
	require.ErrorIs(t, err, journal.ErrHistoryGone)
	require.ErrorContains(t, err, "load again")
	require.Equal(t, 1_001, seen, "the page and the error")
}

func TestScavengeOfManyStreams(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	j := open(t, path, nil)
	const streams = 250 // more than a page has
	for i := range streams {
		commit(t, j, batch(events(todo(fmt.Sprint(i)), 0, 3)))
		commit(t, j, baseline(todo(fmt.Sprint(i)), 3))
	}
	other := open(t, path, &sqlite.Options{})
	counts := make(chan int, 2)
	for _, j := range []journal.Journal{j, other} { // at once
		go func() {
			n, err := j.Scavenge(t.Context(), nil)
			if err != nil {
				t.Error(err)
			}
			counts <- n
		}()
	}
	require.Equal(t, 3*streams, <-counts+<-counts)
	require.Zero(t, scavenge(t, other))
	var left int
	require.NoError(t, raw(t, path).QueryRow("SELECT count(*) FROM truncated").Scan(&left))
	require.Zero(t, left)
	records, err := readAll(t, j)
	require.NoError(t, err)
	require.Len(t, records, streams)
}
