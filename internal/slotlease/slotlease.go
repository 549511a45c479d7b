package slotlease

import (
	"slices"
	"sync"
	"time"

	"github.com/troupe-go/troupe/journal"
)

// Table holds leases. The zero Table is empty and ready; it is safe for
// concurrent use. Arguments are the caller's to validate.
type Table struct {
	mu     sync.Mutex
	leases []lease
}

type lease struct {
	journal.OutboxLease
	until time.Time
}

// Lease is that of [journal.Outbox].
func (t *Table) Lease(l journal.OutboxLease, ttl time.Duration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	t.sweep(now)
	same := -1
	for i := range t.leases {
		other := &t.leases[i]
		if other.Token == l.Token {
			if other.Slots == l.Slots {
				same = i
			}
			continue
		}
		if other.Slots.Overlaps(l.Slots) {
			return false
		}
	}
	kept := lease{OutboxLease: l, until: now.Add(ttl)}
	if same >= 0 {
		t.leases[same] = kept
	} else {
		t.leases = append(t.leases, kept)
	}
	return true
}

// Renew is that of [journal.Outbox].
func (t *Table) Renew(token string, ttl time.Duration) []journal.SlotRange {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	t.sweep(now)
	var held []journal.SlotRange
	for i := range t.leases {
		if l := &t.leases[i]; l.Token == token {
			l.until = now.Add(ttl)
			held = append(held, l.Slots)
		}
	}
	return held
}

// Release is that of [journal.Outbox].
func (t *Table) Release(token string, slots journal.SlotRange) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.leases = slices.DeleteFunc(t.leases, func(l lease) bool { return l.Token == token && l.Slots == slots })
}

// Leases is that of [journal.Outbox].
func (t *Table) Leases() []journal.OutboxLease {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	t.sweep(now)
	all := make([]journal.OutboxLease, 0, len(t.leases))
	for _, l := range t.leases {
		l.Left = l.until.Sub(now)
		all = append(all, l.OutboxLease)
	}
	slices.SortFunc(all, func(a, b journal.OutboxLease) int { return a.Slots.From - b.Slots.From })
	return all
}

// Holds reports whether token has a lease on slot now.
func (t *Table) Holds(token string, slot int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	return slices.ContainsFunc(t.leases, func(l lease) bool {
		return l.Token == token && l.Slots.Has(slot) && now.Before(l.until)
	})
}

// sweep forgets leases that have ended. t.mu is held.
func (t *Table) sweep(now time.Time) {
	t.leases = slices.DeleteFunc(t.leases, func(l lease) bool { return !now.Before(l.until) })
}
