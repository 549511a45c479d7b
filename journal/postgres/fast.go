package postgres

import (
	"slices"
	"sort"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/snapshot"
)

// fastGroup is what one statement stores: units of one stream each.
type fastGroup struct {
	journal *Journal
	units   map[envelope.Stream]*unit // nil for a stream of which the rest is left to the slow step
	sorted  []*unit
	spare   []*unit

	asserts, receipts, messages, snapshots int

	events   eventColumns
	heads    headColumns
	replies  receiptColumns
	outbox   messageColumns
	snaps    snapshotColumns
	unitType []string // of the outbox' rows: whose gate they are behind
	unitID   []string
	params   params
}

// unit is what shares one gate: batches of one stream of which each expects the
// version that the one before makes. They are stored all or none.
type unit struct {
	stream   envelope.Stream
	expected uint64
	version  uint64 // behind the last
	routes   []*route
	snapshot *snapshot.Snapshot
	results  []journal.Result
	passed   bool
}

func (g *fastGroup) reset(j *Journal) {
	g.journal = j
	if g.units == nil {
		g.units = make(map[envelope.Stream]*unit)
	}
	clear(g.units)
	for _, u := range g.sorted {
		clear(u.routes)
		*u = unit{routes: u.routes[:0], results: u.results[:0]}
	}
	g.spare = append(g.spare, g.sorted...)
	clear(g.sorted)
	g.sorted = g.sorted[:0]
	g.asserts, g.receipts, g.messages, g.snapshots = 0, 0, 0, 0
}

func (g *fastGroup) empty() bool { return len(g.sorted) == 0 }

// take adds rt if the statement can store it, and otherwise leaves it and
// everything of its streams that follows.
func (g *fastGroup) take(rt *route, refused *refusals) bool {
	if len(rt.streams) == 1 {
		if u, known := g.units[rt.streams[0]]; (!known || u != nil) && plain(rt) && g.join(rt, u, refused) {
			return true
		}
	}
	for _, s := range rt.streams {
		g.units[s] = nil
	}
	return false
}

// plain reports whether rt is one append, or one assert of a stream that
// exists, and nothing that has to be looked at first.
func plain(rt *route) bool {
	b := rt.item.Value.batch
	if b.Resubmit || len(b.Appends)+len(b.Asserts) != 1 ||
		len(b.Rows)+len(b.Truncates)+len(b.DropSnapshots) > 0 || len(b.Snapshots) > 1 {
		return false
	}
	if len(b.Asserts) == 1 && (b.Asserts[0].Expected == 0 || len(b.Messages)+len(b.Snapshots) > 0) {
		return false
	}
	if tooHigh(rt) {
		return false
	}
	for i := range b.Receipts {
		if b.Receipts[i].IsMessage() {
			return false
		}
	}
	return true
}

// tooHigh reports whether the expected version is beyond a bigint. The slow
// step says so, with the true version.
func tooHigh(rt *route) bool {
	b := rt.item.Value.batch
	for i := range b.Appends {
		if beyond(b.Appends[i].Expected + uint64(len(b.Appends[i].Records))) {
			return true
		}
	}
	for i := range b.Asserts {
		if beyond(b.Asserts[i].Expected) {
			return true
		}
	}
	return false
}

func beyond(version uint64) bool { return version >= 1<<62 }

// join adds rt to the unit of its stream, or begins one.
func (g *fastGroup) join(rt *route, u *unit, refused *refusals) bool {
	b := rt.item.Value.batch
	s := rt.streams[0]
	var expected, version uint64
	if len(b.Appends) == 1 {
		expected = b.Appends[0].Expected
		version = expected + uint64(len(b.Appends[0].Records))
	} else {
		expected = b.Asserts[0].Expected
		version = expected
	}
	switch {
	case refused.has(rt.item.Number, s, expected),
		u != nil && (u.version != expected || sharesReceipt(u, b)):
		return false
	case u == nil:
		u = g.newUnit(s, expected)
	}
	u.routes = append(u.routes, rt)
	u.version = version
	for i := range b.Snapshots {
		// As if stored one after the other: the newest, of equals the first,
		// and none that was ahead of its stream.
		if snap := &b.Snapshots[i]; snap.Version <= version && (u.snapshot == nil || u.snapshot.Version < snap.Version) {
			if u.snapshot == nil {
				g.snapshots++
			}
			u.snapshot = snap
		}
	}
	g.asserts += len(b.Asserts)
	g.receipts += len(b.Receipts)
	g.messages += len(b.Messages)
	return true
}

// sharesReceipt reports whether b has a receipt that a batch of u has too: it
// is a duplicate then.
func sharesReceipt(u *unit, b *journal.Batch) bool {
	for i := range b.Receipts {
		for _, rt := range u.routes {
			before := rt.item.Value.batch.Receipts
			for k := range before {
				if before[k].ID == b.Receipts[i].ID {
					return true
				}
			}
		}
	}
	return false
}

func (g *fastGroup) newUnit(s envelope.Stream, expected uint64) *unit {
	var u *unit
	if n := len(g.spare); n > 0 {
		u = g.spare[n-1]
		g.spare = g.spare[:n-1]
	} else {
		u = &unit{}
	}
	u.stream, u.expected, u.version = s, expected, expected
	g.units[s] = u
	g.sorted = append(g.sorted, u)
	return u
}

// arrange sorts the units, as everybody does who locks heads, and lays out the
// statement's parameters.
func (g *fastGroup) arrange() {
	slices.SortFunc(g.sorted, func(a, b *unit) int { return a.stream.Compare(b.stream) })
	g.heads.reset()
	g.events.reset()
	g.replies.reset()
	g.outbox.reset()
	g.snaps.reset()
	g.unitType, g.unitID = g.unitType[:0], g.unitID[:0]
	now := g.journal.opts.now().UnixMicro()
	for _, u := range g.sorted {
		var last []byte
		for _, rt := range u.routes {
			b := rt.item.Value.batch
			last = b.ID[:]
			for i := range b.Appends {
				g.events.add(b.ID[:], &b.Appends[i])
			}
			for i := range b.Receipts {
				g.replies.add(ownBatch(b), &b.Receipts[i], now)
			}
			for i := range b.Messages {
				g.outbox.add(&b.Messages[i])
				g.unitType = append(g.unitType, u.stream.Type)
				g.unitID = append(g.unitID, u.stream.ID)
			}
		}
		g.heads.add(u.stream, u.version, u.version-u.expected, last)
		if u.snapshot != nil {
			g.snaps.add(u.snapshot)
		}
	}
}

// allPassed notes that all units are stored, their events in one transaction,
// at positions that come as an array in the order of the events.
func (g *fastGroup) allPassed(xid uint64, positions []byte) error {
	for _, u := range g.sorted {
		u.passed = true
		u.results = append(u.results[:0], make([]journal.Result, len(u.routes))...)
	}
	if len(g.events.types) == 0 && positions == nil {
		return nil
	}
	of, at, left := 0, -1, 0 // the batch of the event that comes next, and its events
	n, ok := bigintsOf(positions, func(_ int, position int64) {
		for left == 0 && of < len(g.sorted) {
			if at++; at == len(g.sorted[of].routes) {
				of, at = of+1, -1
				continue
			}
			left = g.sorted[of].routes[at].item.Events
		}
		if left--; left == 0 {
			g.sorted[of].results[at].Position = journal.Position{Epoch: xid, Seq: uint64(position)}
		}
	})
	if !ok || n != len(g.events.types) {
		return corrupt("the server stored %d of %d events", n, len(g.events.types))
	}
	return nil
}

// passed notes that a version of a stream is stored, at position, or, when that
// is zero, that the gate of an assert was passed.
func (g *fastGroup) passed(typ, id []byte, version uint64, position journal.Position) error {
	u := g.find(typ, id)
	if u == nil {
		return corrupt("the server stored version %d of %s/%s, which nobody sent", version, typ, id)
	}
	if !u.passed {
		u.passed = true
		u.results = append(u.results[:0], make([]journal.Result, len(u.routes))...)
	}
	if position.IsZero() {
		return nil
	}
	at := sort.Search(len(u.routes), func(i int) bool { return endOf(u.routes[i]) >= version })
	if at < len(u.routes) && endOf(u.routes[at]) == version {
		u.results[at].Position = position
	}
	return nil
}

// endOf is the version behind a plain batch.
func endOf(rt *route) uint64 {
	b := rt.item.Value.batch
	if len(b.Appends) == 1 {
		return b.Appends[0].Expected + uint64(len(b.Appends[0].Records))
	}
	return b.Asserts[0].Expected
}

// find is the unit of a stream whose name came over the wire.
func (g *fastGroup) find(typ, id []byte) *unit {
	at := sort.Search(len(g.sorted), func(i int) bool {
		s := &g.sorted[i].stream
		return s.Type > string(typ) || s.Type == string(typ) && s.ID >= string(id)
	})
	if at == len(g.sorted) || g.sorted[at].stream.Type != string(typ) || g.sorted[at].stream.ID != string(id) {
		return nil
	}
	return g.sorted[at]
}
