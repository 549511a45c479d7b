package journaltest

import (
	"fmt"
	"math"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// truncationCases hold what is left of a stream whose beginning was let go.
var truncationCases = []Case{
	{"TruncateBeginsAtTheBaseline", func(w *world) {
		if w.lacks(truncation) {
			return
		}
		s, other := stream("s"), stream("other")
		w.fill(s, 70)
		w.fill(other, 70)
		w.must(truncating(s, 70, envelope.BaselineName))
		w.inEveryLife(func() {
			w.begins(s, 71, 71)
			w.versions(other, 70)
		})
		w.fillFrom(s, 71, 80)
		w.inEveryLife(func() { w.begins(s, 71, 80) })
		// Again, with events on both sides, and from the first version on.
		b := newBatch(events(s, 80, 5), journal.Truncate{Stream: s, Before: 83}, events(other, 70, 1))
		b.Appends[0].Records[2].Name = envelope.BaselineName
		w.must(b)
		whole := truncating(stream("new"), 0, envelope.BaselineName)
		w.must(whole)
		w.inEveryLife(func() {
			w.begins(s, 83, 85)
			w.versions(other, 71)
			w.versions(stream("new"), 1)
		})
		for _, stale := range []uint64{0, 70, 82, 84, 86} {
			_, err := w.commit(newBatch(events(s, stale, 1)))
			w.conflict(err, s, stale, 85)
		}
		w.must(newBatch(events(s, 85, 1), journal.Assert{Stream: other, Expected: 71}))
	}},
	{"DeletedStreamGoesOnCountingVersions", func(w *world) {
		if w.lacks(truncation) {
			return
		}
		s := stream("s")
		w.fill(s, 9)
		deletion := truncating(s, 9, envelope.TombstoneName)
		w.must(deletion)
		w.inEveryLife(func() { w.begins(s, 10, 10) })
		scavenged, err := w.j.Scavenge(w.ctx, nil)
		require.NoError(w, err)
		require.Equal(w, 9, scavenged)
		w.inEveryLife(func() {
			w.begins(s, 10, 10)
			for _, stale := range []uint64{0, 9} { // nobody makes it anew
				_, err := w.commit(newBatch(events(s, stale, 1)))
				w.conflict(err, s, stale, 10)
			}
			w.must(again(deletion)) // it is still known
		})
		w.must(newBatch(events(s, 10, 1)))
		w.inEveryLife(func() { w.begins(s, 10, 11) })
	}},
	{"SnapshotBelowTheBaselineIsNotUsed", func(w *world) {
		if w.lacks(truncation) {
			return
		}
		s, own, kept := stream("s"), stream("own"), stream("kept")
		for _, of := range []envelope.Stream{s, own, kept} {
			w.fill(of, 10)
			w.must(newBatch(snap(of, 8)))
		}
		latest, err := w.j.LoadLatest(w.ctx, s)
		require.NoError(w, err)
		sameSnapshot(w, snap(s, 8), latest.Snapshot)
		w.must(truncating(s, 10, envelope.BaselineName))
		b := truncating(own, 10, envelope.BaselineName)
		b.Snapshots = append(b.Snapshots, snap(own, 11))
		w.must(b)
		b = truncating(kept, 10, envelope.BaselineName)
		b.Snapshots = append(b.Snapshots, snap(kept, 10)) // of the state that the baseline holds, but below it
		w.must(b)
		w.must(newBatch(snap(s, 9))) // late, of a turn before the truncation: left out
		w.inEveryLife(func() {
			w.begins(s, 11, 11)
			w.begins(kept, 11, 11)
			latest, err := w.j.LoadLatest(w.ctx, own)
			require.NoError(w, err)
			sameSnapshot(w, snap(own, 11), latest.Snapshot)
			require.Equal(w, uint64(11), latest.First)
			require.Empty(w, w.collect(latest.Records))
		})
		w.fillFrom(s, 11, 13)
		w.must(newBatch(snap(s, 12)))
		w.inEveryLife(func() {
			latest, err := w.j.LoadLatest(w.ctx, s)
			require.NoError(w, err)
			sameSnapshot(w, snap(s, 12), latest.Snapshot)
			require.Equal(w, uint64(11), latest.First)
			require.Len(w, w.collect(latest.Records), 1)
		})
	}},
	{"TruncatesOfOneQueue", func(w *world) {
		if w.lacks(truncation) {
			return
		}
		s := stream("s")
		var waiting []*pending
		for v := uint64(0); v < 200; v += 2 {
			waiting = append(waiting, w.submit(newBatch(events(s, v, 1))), w.submit(truncating(s, v+1, envelope.BaselineName)))
		}
		for _, p := range waiting {
			_, err := w.outcome(p)
			require.NoError(w, err)
		}
		w.inEveryLife(func() { w.begins(s, 200, 200) })
		_, err := w.commit(truncating(s, 150, envelope.BaselineName)) // stale: truncates nothing
		w.conflict(err, s, 150, 200)
		w.begins(s, 200, 200)
	}},
}

// boundCases hold where a replay begins and ends, whatever it is asked for.
var boundCases = []Case{
	{"ReplayBounds", func(w *world) {
		streams := []struct {
			name        string
			first, head uint64
		}{{"empty", 1, 0}, {"one", 1, 1}, {"whole", 1, 70}, {"truncated", 66, 70}, {"only a baseline", 71, 71}, {"scavenged", 66, 70}}
		if !w.has(truncation) {
			streams = streams[:3]
		}
		for _, of := range streams {
			s := stream(of.name)
			if of.first > 1 {
				w.fill(s, of.first-1)
				w.must(truncating(s, of.first-1, envelope.BaselineName))
				if of.head > of.first {
					w.fillFrom(s, of.first, of.head)
				}
			} else {
				w.fill(s, of.head)
			}
			if of.name == "scavenged" {
				_, err := w.j.Scavenge(w.ctx, nil)
				require.NoError(w, err)
			}
			w.inEveryLife(func() {
				for _, after := range []uint64{
					0, 1, of.first - 1, of.first, of.first + 1, 63, 64, 65, 66, of.head - min(1, of.head), of.head, of.head + 1,
					1 << 40, math.MaxInt64, math.MaxInt64 + 1, math.MaxUint64,
				} {
					want := of.first
					if after >= of.first {
						want = min(after, of.head) + 1 // not after+1: it may be the last number
					}
					records := w.load(s, after)
					require.Len(w, records, int(of.head+1-want), "%s behind %d", of.name, after)
					for i, rec := range records {
						require.Equal(w, want+uint64(i), rec.Version, "%s behind %d", of.name, after)
						require.Equal(w, s, rec.Stream)
					}
				}
				latest, err := w.j.LoadLatest(w.ctx, s)
				require.NoError(w, err)
				require.Equal(w, of.head, latest.Version)
				w.beginsAt(latest, of.first)
			})
		}
	}},
}

// truncating appends a record at version head+1 that replay of s begins with
// from then on.
func truncating(s envelope.Stream, head uint64, name string) *journal.Batch {
	b := newBatch(events(s, head, 1), journal.Truncate{Stream: s, Before: head + 1})
	b.Appends[0].Records[0].Name = name
	return b
}

// begins demands that s is at version head, without a snapshot, and that every
// way to load it begins at version first.
func (w *world) begins(s envelope.Stream, first, head uint64) {
	w.Helper()
	check := func(what string, after uint64, records []envelope.Record) {
		w.Helper()
		begin := max(first, after+1)
		require.Len(w, records, int(head+1-begin), "%s of %s", what, s)
		for i, rec := range records {
			want := event(s, begin+uint64(i))
			want.Name = rec.Name // one of them is a baseline or a tombstone
			sameRecord(w, want, rec)
		}
	}
	for _, after := range []uint64{0, first - 1, first, head} {
		check(fmt.Sprint("records behind ", after), after, w.load(s, after))
	}
	require.True(w, w.load(s, 0)[0].BeginsHistory(), "replay of %s begins with an event", s)
	latest, err := w.j.LoadLatest(w.ctx, s)
	require.NoError(w, err)
	many, err := w.j.LoadMany(w.ctx, []envelope.Stream{s})
	require.NoError(w, err)
	require.Len(w, many, 1)
	for _, l := range append(many, latest) {
		require.Equal(w, s, l.Stream)
		require.Equal(w, head, l.Version)
		require.Equal(w, first, l.First, "first version of %s", s)
		require.Nil(w, l.Snapshot, "snapshot of %s", s)
		check("records of LoadLatest", 0, w.collect(l.Records))
	}
}
