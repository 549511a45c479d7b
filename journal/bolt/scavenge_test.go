package bolt_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bbolt "go.etcd.io/bbolt"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/bolt"
)

// logEntries counts what lies in the log of a closed file.
func logEntries(t *testing.T, path string) (n int) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	require.NoError(t, err)
	defer db.Close()
	require.NoError(t, db.View(func(tx *bbolt.Tx) error {
		log := tx.Bucket([]byte("log"))
		return log.ForEachBucket(func(name []byte) error {
			n += log.Bucket(name).Stats().KeyN
			return nil
		})
	}))
	return n
}

func scavenge(t *testing.T, j *bolt.Journal, want int) {
	t.Helper()
	n, err := j.Scavenge(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, want, n)
}

// What stays in place of scavenged records goes once their receipts are past
// the retention.
func TestNotesGoWithTheirReceipts(t *testing.T) {
	t.Parallel()
	path, s := newPath(t), todo("1")
	long := &bolt.Options{CheckpointEvents: 50, ReceiptWindow: 50}
	j := open(t, path, long)
	const n = 300
	for v := range uint64(n) {
		commit(t, j, receipt(batch(events(s, v, 1)), s, fmt.Sprint(v)))
	}
	commit(t, j, truncate(batch(events(s, n, 1))))
	scavenge(t, j, n)
	for v := range n {
		requireReceipt(t, j, s, fmt.Sprint(v))
	}
	rows := batch() // of nothing but a row, which leaves a note
	rows.Rows = []envelope.Row{counter("1", 1)}
	commit(t, j, rows)
	require.NoError(t, j.Close())
	require.Equal(t, n+2, logEntries(t, path))

	j = open(t, path, long)
	scavenge(t, j, 0)
	again := *rows
	again.Resubmit = true
	later := batch()
	later.Rows = []envelope.Row{counter("1", 2)}
	commit(t, j, later)
	require.Zero(t, commit(t, j, &again).Position)
	row, _, err := j.Row(t.Context(), "counters", counter("1", 0).Key)
	require.NoError(t, err)
	require.EqualValues(t, 2, row.Version, "a batch of nothing but rows was stored twice")
	require.NoError(t, j.Close())
	require.Equal(t, n+3, logEntries(t, path))

	short := *long
	short.ReceiptRetention = time.Nanosecond
	j = open(t, path, &short)
	commit(t, j, batch(events(todo("2"), 0, 1))) // drops the runs
	scavenge(t, j, 0)
	require.Len(t, load(t, j, s, n), 1)
	all, err := readAll(t, j)
	require.NoError(t, err)
	require.Len(t, all, 2)
	require.NoError(t, j.Close())
	require.Equal(t, 4, logEntries(t, path), "a gap, two events, and a gap between them")
}

// A gap ends where its part of the log ends.
func TestScavengeAcrossPartsOfTheLog(t *testing.T) {
	t.Parallel()
	path, s, other := newPath(t), todo("1"), todo("2")
	j := open(t, path, nil)
	const others, n = 997_500, 5_000
	record := events(other, 0, 1).Records[0]
	for v := uint64(0); v < others; {
		a := journal.Append{Stream: other, Expected: v}
		for ; v < a.Expected+7_500; v++ {
			record.Version = v + 1
			a.Records = append(a.Records, record)
		}
		commit(t, j, batch(a))
	}
	commit(t, j, batch(events(s, 0, n)))
	commit(t, j, truncate(batch(events(s, n, 1))))
	scavenge(t, j, n)
	for range 2 {
		var left []envelope.Record
		for rec, err := range j.ReadAll(t.Context(), journal.Position{Seq: others}, 0) {
			require.NoError(t, err)
			left = append(left, rec)
		}
		require.Len(t, left, 1)
		require.Equal(t, journal.Position{Seq: others + n + 1}, left[0].Position)
		require.Len(t, load(t, j, s, n), 1)
		require.NoError(t, j.Close())
		j = open(t, path, nil)
	}
	require.Equal(t, uint64(others+n+2), commit(t, j, batch(events(s, n+1, 1))).Position.Seq)
	require.NoError(t, j.Close())
	require.LessOrEqual(t, logEntries(t, path), others+2+2+2, "two events, gaps, and the note of the batch that opened")
}

// Whoever reads a stream while its beginning goes is told to read it again.
func TestLoadOvertakenByScavenge(t *testing.T) {
	t.Parallel()
	j := open(t, newPath(t), nil)
	s := todo("1")
	const n = 3_000
	commit(t, j, batch(events(s, 0, n)))
	latest, err := j.LoadLatest(t.Context(), s)
	require.NoError(t, err)
	var last error
	read := uint64(0)
	for rec, err := range j.Load(t.Context(), s, 0) {
		if last = err; err != nil {
			break
		}
		if read++; read == 10 {
			commit(t, j, truncate(batch(events(s, n, 1))))
			scavenge(t, j, n)
		}
		require.Equal(t, read, rec.Version)
	}
	require.ErrorIs(t, last, journal.ErrUnavailable)
	require.Less(t, read, uint64(n))
	for _, err := range latest.Records {
		last = err
	}
	require.ErrorIs(t, last, journal.ErrUnavailable)
	require.Len(t, load(t, j, s, n), 1)
}

// A page that was archived and not deleted comes again after a crash.
func TestCrashBetweenArchiveAndDeletion(t *testing.T) {
	t.Parallel()
	path, s := newPath(t), todo("1")
	j := open(t, path, nil)
	const n = 2_500
	commit(t, j, batch(events(s, 0, n)))
	commit(t, j, truncate(batch(events(s, n, 1))))
	archived := 0
	_, err := j.Scavenge(t.Context(), func(_ context.Context, page []envelope.Record) error {
		if archived += len(page); archived > 1_500 {
			crashed := open(t, copyFile(t, path), nil)
			deleted := archived - len(page)
			scavenge(t, crashed, n-deleted)
			require.Len(t, load(t, crashed, s, n), 1)
		}
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, n, archived)
}
