package journaltest

import (
	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/snapshot"
)

// snapshotCases hold that a snapshot is a cache, and never ahead of the truth.
var snapshotCases = []Case{
	{"SnapshotOnlyIfNewer", func(w *world) {
		s := stream("s")
		w.fill(s, 10)
		w.must(newBatch(snap(s, 5)))
		for _, older := range []uint64{1, 4, 5} {
			late := snap(s, older)
			late.Data = []byte(`"too late"`)
			w.must(newBatch(late))
			w.inEveryLife(func() { w.snapshotIs(s, snap(s, 5), 10) })
		}
		w.must(newBatch(snap(s, 6)))
		w.must(newBatch(snap(s, 10)))
		w.inEveryLife(func() { w.snapshotIs(s, snap(s, 10), 10) })
		w.fillFrom(s, 10, 12)
		// Two in one batch: the newer stays, in whichever order they come.
		w.must(newBatch(snap(s, 12), snap(s, 11)))
		w.inEveryLife(func() { w.snapshotIs(s, snap(s, 12), 12) })
	}},
	{"SnapshotAheadOfStreamIsLeftOut", func(w *world) {
		s, absent := stream("s"), stream("absent")
		w.fill(s, 5)
		w.must(newBatch(snap(s, 3)))
		w.must(newBatch(snap(s, 6), snap(absent, 1))) // no error: it is a cache
		w.must(newBatch(events(s, 5, 1), snap(s, 8)))
		w.inEveryLife(func() {
			w.snapshotIs(s, snap(s, 3), 6)
			w.noSnapshot(absent, 0)
		})
		// Nor may it wait for the stream to reach it.
		w.fillFrom(s, 6, 20)
		w.fillFrom(absent, 0, 4)
		w.inEveryLife(func() {
			w.snapshotIs(s, snap(s, 3), 20)
			w.noSnapshot(absent, 4)
		})
	}},
	{"SnapshotOfItsOwnBatchIsStored", func(w *world) {
		s, other := stream("s"), stream("other")
		w.must(newBatch(events(s, 0, 4), snap(s, 4), events(other, 0, 2), snap(other, 1)))
		w.inEveryLife(func() {
			w.snapshotIs(s, snap(s, 4), 4)
			w.snapshotIs(other, snap(other, 1), 2)
		})
		w.must(newBatch(events(s, 4, 1), snap(s, 5)))
		w.inEveryLife(func() { w.snapshotIs(s, snap(s, 5), 5) })
	}},
	{"SnapshotMeasuresWithItsGroup", func(w *world) {
		// Queued behind the events that it includes, and in front of others.
		s := stream("s")
		var waiting []*pending
		for v := range uint64(50) {
			waiting = append(waiting, w.submit(newBatch(events(s, v, 1))), w.submit(newBatch(snap(s, v+1))), w.submit(newBatch(snap(s, v+2))))
		}
		for _, p := range waiting {
			_, err := w.outcome(p)
			require.NoError(w, err)
		}
		w.inEveryLife(func() { w.snapshotIs(s, snap(s, 50), 50) })
	}},
	{"DropSnapshot", func(w *world) {
		s, other, absent := stream("s"), stream("other"), stream("absent")
		w.fill(s, 10)
		w.fill(other, 10)
		w.must(newBatch(snap(s, 5), snap(other, 5)))
		w.must(newBatch(s, absent))
		w.inEveryLife(func() {
			w.noSnapshot(s, 10)
			w.snapshotIs(other, snap(other, 5), 10)
		})
		w.must(newBatch(s)) // there is none: no error
		w.must(newBatch(snap(s, 2)))
		w.inEveryLife(func() { w.snapshotIs(s, snap(s, 2), 10) }) // an older one may follow
	}},
	{"DropSnapshotComesBeforeSnapshots", func(w *world) {
		// So one batch replaces a snapshot by one that is not newer.
		s := stream("s")
		w.fill(s, 10)
		w.must(newBatch(snap(s, 7)))
		better := snap(s, 7)
		better.Schema = 3
		w.must(newBatch(better, s))
		w.inEveryLife(func() { w.snapshotIs(s, better, 10) })
		w.must(newBatch(snap(s, 4), s))
		w.inEveryLife(func() { w.snapshotIs(s, snap(s, 4), 10) })
	}},
	{"SnapshotBytesReturnedExactly", func(w *world) {
		for i, data := range [][]byte{nil, {}, allBytes(), make([]byte, 3<<20)} {
			s := envelope.Stream{Type: "ä/ö", ID: string(rune('a' + i))}
			sn := snap(s, 1)
			sn.Data, sn.Codec, sn.Schema, sn.Fingerprint = data, "raw", 1<<32-1, 1<<64-1
			w.must(newBatch(events(s, 0, 1), sn))
			w.inEveryLife(func() { w.snapshotIs(s, sn, 1) })
		}
	}},
	{"SnapshotBelongsToTheReader", func(w *world) {
		s := stream("s")
		w.fill(s, 5)
		w.must(newBatch(snap(s, 3)))
		latest, err := w.j.LoadLatest(w.ctx, s)
		require.NoError(w, err)
		latest.Snapshot.Version, latest.Snapshot.Data = 77, nil
		w.snapshotIs(s, snap(s, 3), 5)
	}},
}

// snapshotIs demands that s at version head is rebuilt from want and the
// records behind it.
func (w *world) snapshotIs(s envelope.Stream, want snapshot.Snapshot, head uint64) {
	w.Helper()
	latest, err := w.j.LoadLatest(w.ctx, s)
	require.NoError(w, err)
	w.latestIs(latest, s, &want, head)
}

// noSnapshot demands that s at version head is rebuilt from all its records.
func (w *world) noSnapshot(s envelope.Stream, head uint64) {
	w.Helper()
	latest, err := w.j.LoadLatest(w.ctx, s)
	require.NoError(w, err)
	w.latestIs(latest, s, nil, head)
}

// latestIs checks a Latest as a whole. It ranges over the records.
func (w *world) latestIs(latest journal.Latest, s envelope.Stream, want *snapshot.Snapshot, head uint64) {
	w.Helper()
	require.Equal(w, s, latest.Stream)
	require.Equal(w, head, latest.Version, "version of %s", s)
	w.beginsAt(latest, 1)
	after := uint64(0)
	if want == nil {
		require.Nil(w, latest.Snapshot, "snapshot of %s", s)
	} else {
		sameSnapshot(w, *want, latest.Snapshot)
		after = want.Version
	}
	records := w.collect(latest.Records)
	require.Len(w, records, int(head-after), "records of %s behind version %d", s, after)
	for i, rec := range records {
		sameRecord(w, event(s, after+uint64(i)+1), rec)
	}
}
