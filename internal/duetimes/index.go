package duetimes

import (
	"math"
	"slices"
	"sync"
	"time"

	"github.com/tidwall/btree"

	"github.com/troupe-go/troupe/journal"
)

// Index orders positions by times. The zero Index is empty and ready; it is safe
// for concurrent use.
type Index struct {
	mu    sync.RWMutex
	tree  *btree.BTreeG[entry] // nil until there is one
	times map[uint64]int64     // of positions
}

type entry struct {
	micros   int64
	position uint64
	slot     int
}

func before(a, b entry) bool {
	if a.micros != b.micros {
		return a.micros < b.micros
	}
	return a.position < b.position
}

// Add notes that the message at position is held back until due.
func (x *Index) Add(position uint64, slot int, due time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.tree == nil {
		x.tree = btree.NewBTreeGOptions(before, btree.Options{NoLocks: true})
		x.times = map[uint64]int64{}
	}
	e := entry{due.UnixMicro(), position, slot}
	x.tree.Set(e)
	x.times[position] = e.micros
}

// Remove forgets a position, if it is there.
func (x *Index) Remove(position uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if micros, ok := x.times[position]; ok {
		x.tree.Delete(entry{micros: micros, position: position})
		delete(x.times, position)
	}
}

// Len is how many positions there are.
func (x *Index) Len() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.times)
}

// Page answers q, which is the caller's to validate.
func (x *Index) Page(q journal.DelayedQuery) (page journal.DelayedPage) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if x.tree == nil {
		return page
	}
	until := int64(math.MinInt64)
	if !q.Until.IsZero() {
		until = q.Until.UnixMicro()
	}
	x.tree.Scan(func(e entry) bool {
		if !slices.ContainsFunc(q.Slots, func(r journal.SlotRange) bool { return r.Has(e.slot) }) {
			return true
		}
		if e.micros > until || len(page.Due) == q.Limit {
			page.Next = time.UnixMicro(e.micros).UTC()
			return false
		}
		page.Due = append(page.Due, e.position)
		return true
	})
	return page
}
