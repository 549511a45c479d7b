package outboxsql

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/journal"
)

func TestInSlots(t *testing.T) {
	t.Parallel()
	for want, slots := range map[string][]journal.SlotRange{
		"":             {{From: 512, To: 1024}, {From: 0, To: 512}},
		" AND (false)": {{}},
		" AND (slot >= 3 AND slot < 9 OR slot >= 20 AND slot < 21 OR false)": {{From: 20, To: 21}, {From: 3, To: 5}, {From: 5, To: 9}},
	} {
		require.Equal(t, want, InSlots(slots))
	}
	require.Equal(t, " AND (false)", InSlots(nil))
}

func TestDue(t *testing.T) {
	t.Parallel()
	require.Zero(t, Due(time.Time{}))
	require.Equal(t, int64(1), Due(time.Unix(0, 0)), "one that is held back is never 0")
	require.Equal(t, int64(1_500_000), Due(time.UnixMilli(1500)))
}
