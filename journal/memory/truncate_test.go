package memory

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

func append1(s envelope.Stream, version uint64, name string) *journal.Batch {
	rec := envelope.Record{Stream: s, Version: version, Name: name, Schema: 1, Codec: "json"}
	return &journal.Batch{ID: journal.NewBatchID(), Appends: []journal.Append{{Stream: s, Expected: version - 1, Records: []envelope.Record{rec}}}}
}

func TestScavengedRecordsFreeTheirMemory(t *testing.T) {
	t.Parallel()
	j, err := Open(nil)
	require.NoError(t, err)
	defer j.Close()
	s, other := envelope.Stream{Type: "todo", ID: "1"}, envelope.Stream{Type: "todo", ID: "2"}
	const n = 100 * blockSize
	for v := uint64(1); v <= n; v++ {
		_, err = journal.Commit(t.Context(), j, append1(s, v, "happened"))
		require.NoError(t, err)
	}
	_, err = journal.Commit(t.Context(), j, append1(other, 1, "happened"))
	require.NoError(t, err)
	b := append1(s, n+1, envelope.TombstoneName)
	b.Truncates = []journal.Truncate{{Stream: s, Before: n + 1}}
	_, err = journal.Commit(t.Context(), j, b)
	require.NoError(t, err)
	deleted, err := j.Scavenge(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, n, deleted)

	different := map[*[blockSize]entry]bool{}
	for _, block := range j.log.list {
		different[block] = true
	}
	require.LessOrEqual(t, len(different), 2, "blocks with records, and the empty one")
	require.Len(t, j.streams[s].numbers, 1)
	require.Less(t, cap(j.streams[s].numbers), blockSize)
	require.Empty(t, j.truncated)
	require.Equal(t, uint64(n+1), j.streams[s].head())
}

// Rows alone leave no trace of their batch but the memory of its id.
func TestBatchesOfRowsAloneAreRemembered(t *testing.T) {
	t.Parallel()
	j, err := Open(nil)
	require.NoError(t, err)
	defer j.Close()
	write := func(id int, expected uint64) *journal.Batch {
		return &journal.Batch{ID: journal.NewBatchID(), Rows: []envelope.Row{{
			Table: "todos", Op: envelope.RowUpsert, Expected: &expected, Key: []envelope.Column{{Name: "id", Value: int64(id)}},
		}}}
	}
	first := write(0, 0)
	_, err = journal.Commit(t.Context(), j, first)
	require.NoError(t, err)
	_, err = journal.Commit(t.Context(), j, write(0, 1)) // another writer's
	require.NoError(t, err)
	first.Resubmit = true
	for id := 1; id < rememberedBatches-1; id++ {
		_, err = journal.Commit(t.Context(), j, write(id, 0))
		require.NoError(t, err)
	}
	_, err = journal.Commit(t.Context(), j, first)
	require.NoError(t, err, "it is among the last %d", rememberedBatches)
	row, found, err := j.Row(t.Context(), "todos", first.Rows[0].Key)
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, uint64(2), row.Version)

	for id := range 10 {
		_, err = journal.Commit(t.Context(), j, write(rememberedBatches+id, 0))
		require.NoError(t, err)
	}
	_, err = journal.Commit(t.Context(), j, first)
	require.ErrorIs(t, err, journal.ErrRowConflict, "forgotten")
	require.Len(t, j.batches.known, rememberedBatches)
	require.Len(t, j.batches.recent, rememberedBatches)
}
