package bolt_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/internal/testenv"
	"github.com/troupe-go/troupe/internal/testenv/crashdisk"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/bolt"
)

func TestPowerCutsUnderLoad(t *testing.T) {
	t.Parallel()
	random := testenv.Rand(t)
	disk := crashdisk.New(t, 256)
	var path string
	acknowledged, total := map[string]bool{}, 0
	for round := range testenv.Count(5, 50) {
		if round%5 == 0 {
			if path != "" {
				require.NoError(t, os.Remove(path))
			}
			path, acknowledged = filepath.Join(disk.Dir, fmt.Sprintf("journal-%d.db", round)), map[string]bool{}
		}
		before := len(acknowledged)
		loadUntil(t, random, path, round, acknowledged, func(child *testenv.Child) {
			disk.Cut()
			child.Kill()
		})
		disk.Restore()
		requireAcknowledged(t, path, acknowledged)
		total += len(acknowledged) - before
	}
	t.Logf("%d acknowledged batches", total)
}

func TestNewJournalSurvivesAPowerCutRightAway(t *testing.T) {
	t.Parallel()
	disk := crashdisk.New(t, 64)
	for i := range testenv.Count(3, 20) {
		path := filepath.Join(disk.Dir, fmt.Sprintf("journal-%d.db", i))
		j, err := bolt.Open(path, crashOptions())
		require.NoError(t, err)
		commit(t, j, batch(events(todo("1"), 0, 1)))
		disk.Cut()
		_, err = journal.Commit(t.Context(), j, batch(events(todo("1"), 1, 1)))
		require.Error(t, err)
		require.NoError(t, j.Close())
		disk.Restore()
		j = open(t, path, crashOptions())
		require.Len(t, load(t, j, todo("1"), 0), 1)
		require.NoError(t, j.Close())
	}
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	disk := crashdisk.New(t, 32)
	ballast := filepath.Join(disk.Dir, "ballast")
	require.NoError(t, os.WriteFile(ballast, make([]byte, 8<<20), 0o600))
	path := filepath.Join(disk.Dir, "journal.db")
	j := open(t, path, crashOptions())
	s, stored := todo("1"), uint64(0)
	fill := func() (err error) {
		for {
			b := receipt(batch(events(s, stored, 100, string(make([]byte, 500)))), s, fmt.Sprint(stored))
			if _, err = journal.Commit(t.Context(), j, b); err != nil {
				return err
			}
			stored += 100
		}
	}
	check := func() {
		require.Len(t, load(t, j, s, 0), int(stored))
		r, ok, err := j.Receipt(t.Context(), s, fmt.Sprint(stored-100))
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, fmt.Sprint("reply ", stored-100), string(r.Reply))
	}
	for range 3 {
		require.ErrorIs(t, fill(), journal.ErrUnavailable)
	}
	check()
	full := stored
	require.NoError(t, os.Remove(ballast))
	// The journal may wait a moment before it tries again.
	require.Eventually(t, func() bool {
		_, err := journal.Commit(t.Context(), j, batch(events(s, stored, 1)))
		require.True(t, err == nil || errors.Is(err, journal.ErrUnavailable), err)
		if err == nil {
			stored++
		}
		return err == nil
	}, waitLong, waitShort, "served again without a restart")
	require.ErrorIs(t, fill(), journal.ErrUnavailable)
	require.Greater(t, stored, full+100)
	require.NoError(t, j.Close())
	j = open(t, path, crashOptions())
	require.Len(t, load(t, j, s, 0), int(stored))
}
