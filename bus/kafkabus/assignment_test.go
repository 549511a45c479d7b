package kafkabus

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestNextOwnerGetsWhatIsNotSettled: whatever a replica settles, in whatever
// order, with offsets that do not exist in between, the next owner handles what is
// left and nothing else; and so does the one behind it.
func TestNextOwnerGetsWhatIsNotSettled(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var log []int64 // offsets of records
		for at := int64(rapid.IntRange(0, 3).Draw(t, "first")); len(log) < rapid.IntRange(1, 40).Draw(t, "records"); {
			log = append(log, at)
			at += int64(rapid.SampledFrom([]int{1, 1, 1, 2, 5}).Draw(t, "step"))
		}
		settled := map[int64]bool{}
		offset, note := log[0], ""
		for range rapid.IntRange(1, 5).Draw(t, "owners") {
			a := &assignment{next: -1, before: parseNote(offset, note)}
			var open []*place
			for _, at := range log {
				if at < offset {
					require.True(t, settled[at], "%d is before the offset %d", at, offset)
					continue
				}
				if rapid.IntRange(0, 9).Draw(t, "stop") == 0 {
					break // it gets no further
				}
				p := a.receive(at, 0)
				require.Equal(t, settled[at], p == nil, "%d", at)
				if p != nil {
					open = append(open, p)
				}
				for len(open) > 0 && rapid.Bool().Draw(t, "settle") {
					i := rapid.IntRange(0, len(open)-1).Draw(t, "which")
					settled[open[i].offset] = true
					a.settle(open[i])
					open = append(open[:i:i], open[i+1:]...)
				}
			}
			if at, _, text, ok := a.commit(); ok {
				require.GreaterOrEqual(t, at, offset, "it never goes back")
				offset, note = at, text
			}
		}
		last := parseNote(offset, note)
		for _, at := range log {
			if at >= offset {
				require.Equal(t, settled[at], last.passes(at), "%d", at)
			}
		}
	})
}

// TestNotesAreBounded: what does not fit is left out from the end.
func TestNotesAreBounded(t *testing.T) {
	a := &assignment{next: -1}
	for at := range int64(20_000) {
		if p := a.receive(at, 0); at%2 == 1 {
			a.settle(p)
		}
	}
	offset, _, note, ok := a.commit()
	require.True(t, ok)
	require.Zero(t, offset)
	require.LessOrEqual(t, len(note), maxNote)
	noted := parseNote(0, note)
	require.Greater(t, len(noted.all), 500)
	require.Equal(t, span{1, 1}, noted.all[0])
}

// TestForeignNotes: what others write beside an offset says nothing.
func TestForeignNotes(t *testing.T) {
	for _, note := range []string{"", "hello", notePrefix + "*", notePrefix + "/////////////w", "troupe2:AAA", notePrefix + "gA", strings.Repeat("x", 5000)} {
		require.Empty(t, parseNote(5, note).all, note)
	}
}
