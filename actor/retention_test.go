package actor_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/journal"
)

// TestTruncateAndDeleteBesideCommands: history is let go of aggregates that are
// in memory, and their actors follow.
func TestTruncateAndDeleteBesideCommands(t *testing.T) {
	t.Parallel()
	j := openMemory(t)
	w := newWorld(t, j, nil, nil)
	for range 20 {
		w.put("a", 1)
	}
	require.NoError(t, w.purses.Truncate(t.Context(), "a"))
	require.Equal(t, answer{Coins: 20, Version: 21}, w.look("a"))
	require.Equal(t, answer{Coins: 21, Version: 22}, w.put("a", 1))

	again := newWorld(t, j, nil, nil) // from the journal
	require.Equal(t, answer{Coins: 21, Version: 22}, again.look("a"))

	require.NoError(t, w.purses.Delete(t.Context(), "a"))
	_, err := cmdTake.Ask(t.Context(), w.purses, order{ID: "a", N: 1})
	require.ErrorIs(t, err, aggregate.ErrNotFound)
	require.ErrorIs(t, w.purses.Delete(t.Context(), "a"), aggregate.ErrNotFound)
	require.ErrorIs(t, w.purses.Truncate(t.Context(), "a"), aggregate.ErrNotFound)
	require.Equal(t, answer{Coins: 2, Version: 24}, w.put("a", 2), "a new life; versions count on")

	n, err := j.Scavenge(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, 22, n)
	third := newWorld(t, j, nil, nil)
	require.Equal(t, answer{Coins: 2, Version: 24}, third.look("a"))
	latest, err := j.LoadLatest(t.Context(), purses.Stream("a"))
	require.NoError(t, err)
	require.Equal(t, journal.Latest{Stream: purses.Stream("a"), Version: 24, First: 23}, journal.Latest{Stream: latest.Stream, Version: latest.Version, First: latest.First})
}
