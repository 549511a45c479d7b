package sqlite_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/journal"
)

// pagesPerCommand is how many pages each of many commands changes: callers have
// a stream each and come together. With receipts, each command has an id. The
// log grows by what every commit changed, since it is never begun anew.
func pagesPerCommand(t *testing.T, callers, rounds int, receipts bool) float64 {
	t.Helper()
	path := newPath(t)
	j := open(t, path, nil)
	require.NoError(t, j.ExecOnWriter(t.Context(), "PRAGMA wal_autocheckpoint = 0"))
	size := func() int64 {
		info, err := os.Stat(path + "-wal")
		require.NoError(t, err)
		return info.Size()
	}
	before, answers := size(), make(chan error, callers)
	for round := range rounds {
		for i := range callers {
			s := streamOf(i)
			b := batch(events(s, uint64(round), 1))
			if receipts {
				receipt(b, s, fmt.Sprint("command-", round))
			}
			j.Submit(b, func(_ journal.Result, err error) { answers <- err })
		}
		for range callers {
			require.NoError(t, <-answers)
		}
	}
	const frame = 24 + 4096 // https://sqlite.org/fileformat2.html#walformat
	return float64(size()-before) / frame / float64(callers*rounds)
}

// TestReceiptsChangeFewPages: the pages that a commit writes are most of what it
// costs. When the index took each receipt at once, 64 callers with ids changed
// twice as many, and 1,000 nearly so.
func TestReceiptsChangeFewPages(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		callers, rounds int
		most            float64
	}{{64, 300, 0.2}, {1_000, 20, 0.05}} {
		without, with := pagesPerCommand(t, c.callers, c.rounds, false), pagesPerCommand(t, c.callers, c.rounds, true)
		t.Logf("%d callers: %.2f pages a command without receipts, %.2f with", c.callers, without, with)
		require.Less(t, with-without, c.most)
	}
}
