package bolt_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/troupe-go/troupe/internal/testenv"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/bolt"
	"github.com/troupe-go/troupe/journal/journaltest"
)

func TestMain(m *testing.M) {
	testenv.RunChild(map[string]func() error{
		"open":   childOpen,
		"load":   childLoad,
		"faulty": childFaulty,
	})
	goleak.VerifyTestMain(m)
}

// tiny makes everything that happens rarely happen all the time: evictions,
// checkpoints, runs and their merging.
func tiny() *bolt.Options {
	return &bolt.Options{MaxHeads: 2, CheckpointEvents: 8, ReceiptWindow: 8, MaxGroupEvents: 7}
}

func TestSuite(t *testing.T) { runSuite(t, bolt.Options{}) }

func TestSuiteWithTinyWindows(t *testing.T) { runSuite(t, *tiny()) }

func TestWholeBatchModel(t *testing.T) {
	for name, opts := range map[string]bolt.Options{"default": {}, "tiny windows": *tiny()} {
		t.Run(name, func(t *testing.T) { journaltest.RunModel(t, harness(opts)) })
	}
}

func TestAllPartsAreTaken(t *testing.T) { journaltest.AllPartsTaken(t, open(t, newPath(t), nil)) }

func runSuite(t *testing.T, opts bolt.Options) {
	journaltest.Run(t, harness(opts))
}

// harness makes journals for the suite.
func harness(opts bolt.Options) journaltest.Open {
	opts.QueueBytes = 1 << 20
	return func(t testing.TB) journaltest.Harness {
		path := filepath.Join(t.TempDir(), "journal.db")
		open := func(t testing.TB) journal.Journal {
			j, err := bolt.Open(path, &opts)
			require.NoError(t, err)
			return j
		}
		return journaltest.Harness{Journal: open(t), Reopen: open, QueueBytes: opts.QueueBytes}
	}
}
