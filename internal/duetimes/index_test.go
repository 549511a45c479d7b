package duetimes_test

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/internal/duetimes"
	"github.com/troupe-go/troupe/journal"
)

// The index answers as a list that is sorted anew each time.
func TestAsASortedList(t *testing.T) {
	type held struct {
		position uint64
		slot     int
		due      time.Time
	}
	start := time.UnixMicro(1_800_000_000_000_000).UTC()
	rapid.Check(t, func(t *rapid.T) {
		var x duetimes.Index
		var list []held
		next := uint64(0)
		at := func(name string) time.Time {
			return start.Add(time.Duration(rapid.IntRange(0, 5).Draw(t, name)) * time.Microsecond)
		}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				next++
				h := held{next, rapid.IntRange(0, envelope.Slots-1).Draw(t, "slot"), at("due")}
				x.Add(h.position, h.slot, h.due)
				list = append(list, h)
			},
			"remove": func(t *rapid.T) {
				position := rapid.Uint64Range(0, next+1).Draw(t, "position")
				x.Remove(position)
				list = slices.DeleteFunc(list, func(h held) bool { return h.position == position })
			},
			"page": func(t *rapid.T) {
				from := rapid.IntRange(0, envelope.Slots-1).Draw(t, "from")
				q := journal.DelayedQuery{
					Slots: []journal.SlotRange{{From: from, To: rapid.IntRange(from, envelope.Slots).Draw(t, "to")}},
					Until: at("until"), Limit: rapid.IntRange(1, 4).Draw(t, "limit"),
				}
				slices.SortFunc(list, func(a, b held) int { return cmp.Or(a.due.Compare(b.due), cmp.Compare(a.position, b.position)) })
				var want journal.DelayedPage
				for _, h := range list {
					switch {
					case !q.Slots[0].Has(h.slot) || !want.Next.IsZero():
					case h.due.After(q.Until) || len(want.Due) == q.Limit:
						want.Next = h.due
					default:
						want.Due = append(want.Due, h.position)
					}
				}
				require.Equal(t, want, x.Page(q))
			},
			"": func(t *rapid.T) { require.Equal(t, len(list), x.Len()) },
		})
	})
}

func TestEmpty(t *testing.T) {
	var x duetimes.Index
	x.Remove(1)
	require.Zero(t, x.Len())
	require.Zero(t, x.Page(journal.DelayedQuery{Slots: []journal.SlotRange{journal.AllSlots}, Limit: 1}))
}
