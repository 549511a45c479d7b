package postgres_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
)

// A stream whose records grow and shrink from page to page is read whole, and a
// page has no more than fits.
func TestRecordsOfAllSizesInOneStream(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	j := d.open(nil)
	sizes := []int{10, 300_000, 10, 1 << 20, 0, 2_000}
	version := uint64(0)
	var want []int
	for _, size := range sizes {
		n := 1100 // more than a page
		if size > 100_000 {
			n = 9
		}
		for left := n; left > 0; {
			b := batch(events(todo("1"), version, min(left, 500)))
			if size > 100_000 {
				b = batch(events(todo("1"), version, 1))
			}
			for i := range b.Appends[0].Records {
				b.Appends[0].Records[i].Data = bytes.Repeat([]byte("x"), size)
				want = append(want, size)
			}
			version += uint64(len(b.Appends[0].Records))
			left -= len(b.Appends[0].Records)
			commit(t, j, b)
		}
	}
	for _, after := range []uint64{0, 1, 1099, 1105, version - 1} {
		next := after
		for rec, err := range j.Load(t.Context(), todo("1"), after) {
			require.NoError(t, err)
			next++
			require.Equal(t, next, rec.Version)
			require.Len(t, rec.Data, want[next-1])
		}
		require.Equal(t, version, next)
	}
	var first envelope.Record
	for rec, err := range j.Load(t.Context(), todo("1"), 0) {
		require.NoError(t, err)
		first = rec
		break
	}
	require.Equal(t, uint64(1), first.Version)
}
