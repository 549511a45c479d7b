package sqlite_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/troupe-go/troupe/internal/testenv"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/journaltest"
	"github.com/troupe-go/troupe/journal/sqlite"
)

func TestMain(m *testing.M) {
	testenv.RunChild(map[string]func() error{"load": childLoad, "contend": childContend})
	goleak.VerifyTestMain(m)
}

const queueBytes = 1 << 20

func inFile(t testing.TB) journaltest.Harness {
	path := newPath(t)
	open := func(t testing.TB) journal.Journal {
		j, err := sqlite.OpenAndMigrate(t.Context(), path, &sqlite.Options{QueueBytes: queueBytes})
		require.NoError(t, err)
		return j
	}
	return journaltest.Harness{Journal: open(t), Reopen: open, QueueBytes: queueBytes}
}

// inMemory has groups of a few events, so that what happens between groups
// happens often.
func inMemory(t testing.TB) journaltest.Harness {
	j, err := sqlite.OpenAndMigrate(t.Context(), ":memory:", &sqlite.Options{QueueBytes: queueBytes, MaxGroupEvents: 7})
	require.NoError(t, err)
	return journaltest.Harness{Journal: j, QueueBytes: queueBytes}
}

// The race detector, and the pointer checks that come with it, make SQLite
// translated to Go twenty times slower. With it each case runs once, on a file
// or in memory, and the four slowest not at all, unless TROUPE_SOAK is 1.
var reduced = raceDetector && os.Getenv("TROUPE_SOAK") != "1"

// readsMuch are cases that read or write very many rows from one goroutine.
// With the race detector they run in memory, and the other cases on a file.
var readsMuch = []string{"LargestBatchIsTaken", "ReadAllResumesByPosition", "ManyReceiptsAreFound", "ManyStreamsInOneBatch"}

// slowest are cases that only run without the race detector.
var slowest = []string{"LoadOfLongStream", "ReaderMayStopEarly", "LoadAfterAnyVersion", "ReadAllLimit"}

func TestSuite(t *testing.T) {
	run(t, inFile, func(name string) bool { return !slices.Contains(readsMuch, name) })
}

func TestSuiteInMemory(t *testing.T) {
	run(t, inMemory, func(name string) bool { return slices.Contains(readsMuch, name) })
}

// run is journaltest.Run, but for what is left out with the race detector.
func run(t *testing.T, open journaltest.Open, withDetector func(name string) bool) {
	for _, c := range journaltest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			if reduced && (slices.Contains(slowest, c.Name) || !withDetector(c.Name)) {
				t.Skip("too slow with the race detector; it runs without, or with TROUPE_SOAK=1")
			}
			t.Parallel()
			c.Run(t, open)
		})
	}
}

func TestModel(t *testing.T) {
	if reduced {
		checks := flag.Lookup("rapid.checks").Value
		before := checks.String()
		require.NoError(t, checks.Set("4")) // of 100: 40 sequences instead of 1,000
		defer func() { _ = checks.Set(before) }()
	}
	journaltest.RunModel(t, inFile)
}

func newPath(t testing.TB) string { return filepath.Join(t.TempDir(), "journal.db") }
