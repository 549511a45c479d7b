package postgres_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/troupe-go/troupe/internal/testenv"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/journaltest"
	"github.com/troupe-go/troupe/journal/postgres"
)

func TestMain(m *testing.M) {
	testenv.RunChild(map[string]func() error{"contend": childContend})
	goleak.VerifyTestMain(m)
}

const queueBytes = 1 << 20

// harness opens journals of their own schema, with groups of at most so many
// events.
func harness(groupEvents, committers int) journaltest.Open {
	return func(t testing.TB) journaltest.Harness {
		d := newDatabase(t)
		open := func(t testing.TB) journal.Journal {
			j, err := postgres.OpenAndMigrate(context.Background(), d.url, &postgres.Options{
				Schema: d.schema, QueueBytes: queueBytes, MaxGroupEvents: groupEvents, Committers: committers,
			})
			require.NoError(t, err)
			return j
		}
		return journaltest.Harness{Journal: open(t), Reopen: open, QueueBytes: queueBytes}
	}
}

func TestSuite(t *testing.T) { journaltest.Run(t, harness(0, 0)) }

// With small groups, what happens between groups happens often.
func TestSuiteInSmallGroups(t *testing.T) { journaltest.Run(t, harness(7, 3)) }

func TestModel(t *testing.T) { journaltest.RunModel(t, harness(0, 0)) }
