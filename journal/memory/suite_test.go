package memory_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/troupe-go/troupe/journal/journaltest"
	"github.com/troupe-go/troupe/journal/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB) journaltest.Harness {
	j, err := memory.Open(nil)
	require.NoError(t, err)
	return journaltest.Harness{Journal: j}
}

func TestJournal(t *testing.T) { journaltest.Run(t, open) }

func TestModel(t *testing.T) { journaltest.RunModel(t, open) }

func TestAllPartsAreTaken(t *testing.T) { journaltest.AllPartsTaken(t, open(t).Journal) }
