package bolt_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/bolt"
	"github.com/troupe-go/troupe/snapshot"
)

func TestHeadsAreEvictedAndReadFromTheFile(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	j := open(t, path, tiny())
	const streams, rounds = 50, 12
	for round := range uint64(rounds) {
		for n := range streams {
			commit(t, j, batch(events(todo(fmt.Sprint(n)), 2*round, 2)))
		}
	}
	for n := range streams {
		s := todo(fmt.Sprint(n))
		require.Len(t, load(t, j, s, 0), 2*rounds)
		_, err := journal.Commit(t.Context(), j, batch(events(s, 3, 1)))
		require.ErrorIs(t, err, journal.ErrConflict)
	}
	require.NoError(t, j.Close())
	j = open(t, path, tiny())
	for n := range streams {
		require.Len(t, load(t, j, todo(fmt.Sprint(n)), 0), 2*rounds)
	}
}

func TestReopensAtEveryStageOfACheckpoint(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	// The heads of 200 streams take several commits to write, at 64 a commit,
	// and each life ends at another point of it, without a last checkpoint:
	// what is opened is a copy of the file as it lies there.
	opts := &bolt.Options{CheckpointEvents: 400, ReceiptWindow: 1_000}
	j := open(t, path, opts)
	versions := map[string]uint64{}
	for i := range 1_200 {
		id := fmt.Sprint(i % 200)
		commit(t, j, receipt(batch(events(todo(id), versions[id], 1)), todo(id), fmt.Sprint("c", i)))
		versions[id]++
		if i%10 != 0 || i < 180 {
			continue
		}
		crashed := open(t, copyFile(t, path), opts)
		for id, version := range versions {
			require.Len(t, load(t, crashed, todo(id), 0), int(version))
		}
		for _, n := range []int{0, i / 2, i} {
			requireReceipt(t, crashed, todo(fmt.Sprint(n%200)), fmt.Sprint("c", n))
		}
		require.NoError(t, crashed.Close())
	}
}

func TestReceiptsMoveToRunsAndAreFound(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	opts := &bolt.Options{CheckpointEvents: 64, ReceiptWindow: 32}
	j := open(t, path, opts)
	s := todo("1")
	const commands = 700
	for i := range commands {
		b := receipt(&journal.Batch{ID: journal.NewBatchID()}, s, fmt.Sprint(i))
		if i%3 != 0 {
			b.Appends = append(b.Appends, events(s, uint64(i-i/3-1), 1))
		}
		commit(t, j, b)
	}
	for range 2 {
		for i := range commands {
			requireReceipt(t, j, s, fmt.Sprint(i))
		}
		_, ok, err := j.Receipt(t.Context(), s, "never")
		require.NoError(t, err)
		require.False(t, ok)
		require.NoError(t, j.Close())
		j = open(t, path, opts)
	}
}

func TestReceiptsArePastRetention(t *testing.T) {
	t.Parallel()
	j := open(t, newPath(t), &bolt.Options{CheckpointEvents: 16, ReceiptWindow: 8, ReceiptRetention: time.Microsecond})
	s := todo("1")
	commit(t, j, receipt(&journal.Batch{ID: journal.NewBatchID()}, s, "old"))
	// The run that the receipt moves to is dropped once it left memory too.
	for i := range uint64(2_000) {
		commit(t, j, receipt(batch(events(s, i, 1)), s, fmt.Sprint("new", i)))
	}
	_, ok, err := j.Receipt(t.Context(), s, "old")
	require.NoError(t, err)
	require.False(t, ok, "a receipt past its retention")
	requireReceipt(t, j, s, "new1999")
}

func TestAllDuplicatesOfABatchAreReported(t *testing.T) {
	t.Parallel()
	j := open(t, newPath(t), tiny())
	s, other := todo("1"), todo("2")
	commit(t, j, receipt(receipt(batch(events(s, 0, 1)), s, "a"), other, "a"))
	commit(t, j, receipt(batch(events(s, 1, 1)), s, "b"))
	b := receipt(receipt(receipt(receipt(batch(events(s, 0, 1)), s, "a"), s, "c"), other, "a"), s, "b")
	_, err := journal.Commit(t.Context(), j, b)
	var duplicate *journal.DuplicateError
	require.ErrorAs(t, err, &duplicate, "a repeated command gets its reply although the stream moved on")
	require.Len(t, duplicate.Receipts, 3)
	for i, want := range []envelope.Stream{s, other, s} {
		require.Equal(t, want, duplicate.Receipts[i].Stream)
	}
}

func TestLongStreamIsReadFromAnyVersion(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	j := open(t, path, nil)
	s := todo("long")
	const length = 5_000
	for version := uint64(0); version < length; version += 100 {
		commit(t, j, batch(events(s, version, 100), events(todo("other"), version/100, 1)))
	}
	for range 2 {
		for _, after := range []uint64{0, 1, 62, 63, 64, 65, 127, 128, 999, 1_000, 3_333, 4_991, 4_992, 4_993, 4_999, 5_000, 6_000} {
			require.Len(t, load(t, j, s, after), max(0, length-int(after)), "after %d", after)
		}
		require.NoError(t, j.Close())
		j = open(t, path, nil)
	}
}

// TestModel runs random operations against a map, with every window tiny, and
// reopens at random.
func TestModel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		path := newPath(t)
		j, err := bolt.Open(path, tiny())
		require.NoError(r, err)
		defer func() { _ = j.Close() }()
		versions := map[envelope.Stream]uint64{}
		snapshots := map[envelope.Stream]uint64{}
		receipts := map[string]bool{}
		streams := rapid.SampledFrom([]envelope.Stream{todo("1"), todo("2"), todo("3"), {Type: "user", ID: "1"}, {Type: "use", ID: "r1"}})
		r.Repeat(map[string]func(*rapid.T){
			"append": func(r *rapid.T) {
				b := batch()
				conflict, duplicate := false, false
				for _, s := range rapid.SliceOfNDistinct(streams, 1, 3, rapid.ID).Draw(r, "streams") {
					expected := versions[s]
					if rapid.IntRange(0, 9).Draw(r, "stale") == 0 {
						expected = rapid.Uint64Range(0, 3).Draw(r, "expected")
					}
					conflict = conflict || expected != versions[s]
					if rapid.IntRange(0, 4).Draw(r, "assert") == 0 {
						b.Asserts = append(b.Asserts, journal.Assert{Stream: s, Expected: expected})
					} else {
						b.Appends = append(b.Appends, events(s, expected, rapid.IntRange(1, 70).Draw(r, "n")))
					}
				}
				if rapid.Bool().Draw(r, "receipt") {
					id := fmt.Sprint(rapid.IntRange(0, 50).Draw(r, "id"))
					receipt(b, todo("1"), id)
					duplicate = receipts[id]
					if !duplicate && !conflict {
						receipts[id] = true
					}
				}
				_, err := journal.Commit(t.Context(), j, b)
				switch {
				case duplicate:
					require.ErrorIs(r, err, journal.ErrDuplicate)
				case conflict:
					require.ErrorIs(r, err, journal.ErrConflict)
				default:
					require.NoError(r, err)
					for i := range b.Appends {
						versions[b.Appends[i].Stream] += uint64(len(b.Appends[i].Records))
					}
				}
			},
			"snapshot": func(r *rapid.T) {
				s := streams.Draw(r, "stream")
				version := rapid.Uint64Range(1, 100).Draw(r, "version")
				b := batch()
				b.Snapshots = []snapshot.Snapshot{{Stream: s, Version: version, Schema: 1, Codec: "json", Data: fmt.Append(nil, version), Time: when}}
				commit(t, j, b)
				if version <= versions[s] {
					snapshots[s] = max(version, snapshots[s])
				}
			},
			"drop": func(r *rapid.T) {
				s := streams.Draw(r, "stream")
				b := batch()
				b.DropSnapshots = []envelope.Stream{s}
				commit(t, j, b)
				delete(snapshots, s)
			},
			"reopen": func(r *rapid.T) {
				if rapid.Bool().Draw(r, "crash") {
					path = copyFile(t, path)
				}
				require.NoError(r, j.Close())
				j, err = bolt.Open(path, tiny())
				require.NoError(r, err)
			},
			"": func(r *rapid.T) {
				total := 0
				for s, version := range versions {
					latest, err := j.LoadLatest(t.Context(), s)
					require.NoError(r, err)
					require.Equal(r, version, latest.Version)
					if want := snapshots[s]; want == 0 {
						require.Nil(r, latest.Snapshot)
					} else {
						require.Equal(r, want, latest.Snapshot.Version)
					}
					require.Len(r, load(t, j, s, 0), int(version))
					total += int(version)
				}
				all, err := readAll(t, j)
				require.NoError(r, err)
				require.Len(r, all, total)
				for id := range receipts {
					_, ok, err := j.Receipt(t.Context(), todo("1"), id)
					require.NoError(r, err)
					require.True(r, ok, id)
				}
			},
		})
	})
}
