package sqlite_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/sqlite"
)

// when is a time with microseconds, which is what is kept.
var when = time.Date(2026, 2, 3, 4, 5, 6, 789_123_000, time.UTC)

func todo(id string) envelope.Stream { return envelope.Stream{Type: "todo", ID: id} }

// events appends n events to s, whose data says which they are.
func events(s envelope.Stream, expected uint64, n int) journal.Append {
	a := journal.Append{Stream: s, Expected: expected}
	for i := range n {
		version := expected + uint64(i) + 1
		a.Records = append(a.Records, envelope.Record{
			Stream: s, Version: version, Time: when, Name: "changed", Schema: 1, Codec: "json",
			Data: fmt.Appendf(nil, "%s@%d", s, version),
		})
	}
	return a
}

func batch(appends ...journal.Append) *journal.Batch {
	return &journal.Batch{ID: journal.NewBatchID(), Appends: appends}
}

// receipt adds a receipt for a command to b; its reply repeats the id.
func receipt(b *journal.Batch, s envelope.Stream, id string) *journal.Batch {
	b.Receipts = append(b.Receipts, envelope.Receipt{Stream: s, ID: id, Reply: []byte("reply " + id), Codec: "json", Time: when})
	return b
}

func open(t testing.TB, path string, opts *sqlite.Options) *sqlite.Journal {
	t.Helper()
	j, err := sqlite.OpenAndMigrate(t.Context(), path, opts)
	require.NoError(t, err)
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func commit(t testing.TB, j journal.Journal, b *journal.Batch) journal.Result {
	t.Helper()
	res, err := journal.Commit(t.Context(), j, b)
	require.NoError(t, err)
	return res
}

// readAll reads the whole journal.
func readAll(t testing.TB, j journal.Journal) (records []envelope.Record, err error) {
	for rec, err := range j.ReadAll(t.Context(), journal.Position{}, 0) {
		if err != nil {
			return records, err
		}
		records = append(records, rec)
	}
	return records, nil
}
