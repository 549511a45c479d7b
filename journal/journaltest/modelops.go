package journaltest

import (
	"context"
	"fmt"
	"iter"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// drawBatch makes any batch: mostly one that fits, with one to three appends,
// asserts, receipts that may be stored already, snapshots of any age, drops,
// and whatever else the adapter takes.
func (m *model) drawBatch(t *rapid.T) *journal.Batch {
	b := newBatch()
	used := rapid.Permutation(m.names).Draw(t, "streams")
	appends := rapid.IntRange(0, 3).Draw(t, "appends")
	asserts := rapid.SampledFrom([]int{0, 0, 0, 1, 2}).Draw(t, "asserts")
	for i, s := range used[:appends+asserts] {
		expected := m.drawExpected(t, s)
		if i < appends {
			b.Appends = append(b.Appends, events(s, expected, rapid.IntRange(1, 5).Draw(t, "records")))
		} else {
			b.Asserts = append(b.Asserts, journal.Assert{Stream: s, Expected: expected})
		}
	}
	for range rapid.SampledFrom([]int{0, 0, 0, 1, 2}).Draw(t, "receipts") {
		r := receipt(m.drawStream(t), fmt.Sprint("id", rapid.IntRange(0, 20).Draw(t, "command")), uint64(len(m.sent)))
		if !m.inBatch(b, r) {
			b.Receipts = append(b.Receipts, r)
		}
	}
	for range rapid.SampledFrom([]int{0, 0, 1, 2}).Draw(t, "snapshots") {
		s := m.drawStream(t)
		sn := snap(s, rapid.Uint64Range(1, m.streams[s].head()+5).Draw(t, "snapshot version"))
		sn.Schema = uint32(len(m.sent) + 1)
		b.Snapshots = append(b.Snapshots, sn)
	}
	if rapid.IntRange(0, 9).Draw(t, "drop if 0") == 0 {
		b.DropSnapshots = append(b.DropSnapshots, m.drawStream(t))
	}
	m.drawEffects(t, b)
	if len(b.Appends)+len(b.Asserts)+len(b.Receipts)+len(b.Snapshots)+len(b.DropSnapshots)+len(b.Messages)+len(b.Rows) == 0 {
		b.Asserts = append(b.Asserts, journal.Assert{Stream: used[0], Expected: m.streams[used[0]].head()})
	}
	return b
}

func (m *model) drawStream(t *rapid.T) envelope.Stream {
	return rapid.SampledFrom(m.names).Draw(t, "stream")
}

// drawExpected is right eight times in ten, else stale or too high.
func (m *model) drawExpected(t *rapid.T, s envelope.Stream) uint64 {
	head := m.streams[s].head()
	switch kind := rapid.IntRange(0, 9).Draw(t, "stale if 8, high if 9"); {
	case kind == 8 && head > 0:
		return rapid.Uint64Range(0, head-1).Draw(t, "stale")
	case kind == 9:
		return head + rapid.Uint64Range(1, 3).Draw(t, "ahead by")
	}
	return head
}

func (m *model) inBatch(b *journal.Batch, r envelope.Receipt) bool {
	for _, other := range b.Receipts {
		if keyOf(other) == keyOf(r) {
			return true
		}
	}
	return false
}

// batch submits one batch and waits.
func (m *model) batch(t *rapid.T) {
	b := m.drawBatch(t)
	m.sent = append(m.sent, b)
	m.step++
	want := m.expect(b)
	m.compare(t, want, send(m.r.j, b))
}

// resubmit sends an old batch again, whether or not it was stored.
func (m *model) resubmit(t *rapid.T) {
	if len(m.sent) == 0 {
		t.Skip("nothing sent")
	}
	b := again(rapid.SampledFrom(m.sent).Draw(t, "old batch"))
	if !m.tells(b) {
		t.Skip("nothing is left that tells whether it was stored")
	}
	m.step++
	want := m.expect(b)
	m.compare(t, want, send(m.r.j, b))
}

// pipeline submits several batches whose versions are assigned in advance, and
// then waits for them all. Between them are stale ones, which conflict; no
// batch builds on one of those.
func (m *model) pipeline(t *rapid.T) {
	m.step++
	var waiting []*pending
	var wants []error
	for range rapid.IntRange(2, 8).Draw(t, "batches") {
		s := m.drawStream(t)
		b := newBatch(events(s, m.streams[s].head(), rapid.IntRange(1, 3).Draw(t, "records")))
		if rapid.IntRange(0, 4).Draw(t, "stale if 0") == 0 {
			b = newBatch(events(s, m.streams[s].head()+1000, 1))
		}
		m.sent = append(m.sent, b)
		wants = append(wants, m.expect(b))
		waiting = append(waiting, send(m.r.j, b))
	}
	for i, p := range waiting {
		<-p.done
		if wants[i] == nil {
			require.NoError(t, p.err, "the model stores it")
		} else {
			require.ErrorIs(t, p.err, wants[i])
		}
	}
}

func (m *model) load(t *rapid.T) {
	s := m.drawStream(t)
	after := rapid.Uint64Range(0, m.streams[s].head()+1).Draw(t, "after")
	got, err := drain(m.r.j.Load(context.Background(), s, after))
	require.NoError(t, err)
	m.sameRecords(t, s, after, got)
}

func (m *model) sameRecords(t *rapid.T, s envelope.Stream, after uint64, got []envelope.Record) {
	want := m.streams[s].records[min(max(after, m.streams[s].first-1), m.streams[s].head()):]
	require.Len(t, got, len(want), "records of %s behind %d", s, after)
	for i := range want {
		sameRecord(t, want[i], got[i])
	}
}

func (m *model) latest(t *rapid.T) {
	s := m.drawStream(t)
	latest, err := m.r.j.LoadLatest(context.Background(), s)
	require.NoError(t, err)
	m.sameLatest(t, s, latest)
}

func (m *model) many(t *rapid.T) {
	streams := rapid.SliceOfN(rapid.SampledFrom(m.names), 0, 6).Draw(t, "streams")
	all, err := m.r.j.LoadMany(context.Background(), streams)
	require.NoError(t, err)
	require.Len(t, all, len(streams))
	for i, s := range streams {
		m.sameLatest(t, s, all[i])
	}
}

func (m *model) sameLatest(t *rapid.T, s envelope.Stream, latest journal.Latest) {
	want := m.streams[s]
	require.Equal(t, s, latest.Stream)
	require.Equal(t, want.head(), latest.Version)
	if m.r.j.Features().Truncation {
		require.Equal(t, want.first, latest.First, "first version of %s", s)
	}
	after := uint64(0)
	if want.snap == nil {
		require.Nil(t, latest.Snapshot)
	} else {
		sameSnapshot(t, *want.snap, latest.Snapshot)
		after = want.snap.Version
	}
	got, err := drain(latest.Records)
	require.NoError(t, err)
	m.sameRecords(t, s, after, got)
}

func (m *model) receipt(t *rapid.T) {
	s, id := m.drawStream(t), fmt.Sprint("id", rapid.IntRange(0, 20).Draw(t, "command"))
	want, stored := m.receipts[modelKey{stream: s, id: id}]
	got, found, err := m.r.j.Receipt(context.Background(), s, id)
	require.NoError(t, err)
	require.Equal(t, stored, found, "receipt %q of %s", id, s)
	if stored {
		sameReceipt(t, want.receipt, got)
	}
}

// readAll reads from any position that was seen, with and without a limit.
func (m *model) readAll(t *rapid.T) {
	m.readSlices(t, journal.AllSlices, m.r.j.ReadAll)
}

// slices is readAll of the streams of some slices.
func (m *model) slices(t *rapid.T) {
	var some journal.SliceRange
	some.From = rapid.IntRange(0, envelope.Slices-1).Draw(t, "from slice")
	some.To = rapid.IntRange(some.From+1, envelope.Slices).Draw(t, "to slice")
	m.readSlices(t, some, func(ctx context.Context, after journal.Position, limit int) iter.Seq2[envelope.Record, error] {
		return m.r.j.ReadSlices(ctx, some, after, limit)
	})
}

func (m *model) readSlices(t *rapid.T, some journal.SliceRange, read func(context.Context, journal.Position, int) iter.Seq2[envelope.Record, error]) {
	m.checkAll(t)
	from := rapid.IntRange(0, len(m.places)).Draw(t, "from the n-th")
	limit := rapid.IntRange(0, len(m.places)+2).Draw(t, "limit")
	after := m.base
	if from > 0 {
		after = m.places[from-1].position
	}
	var want []modelPlace
	for _, place := range m.places[from:] {
		if some.Has(place.stream) {
			want = append(want, place)
		}
	}
	if limit > 0 {
		want = want[:min(limit, len(want))]
	}
	got, err := drain(read(context.Background(), after, limit))
	require.NoError(t, err)
	require.Len(t, got, len(want))
	for i := range want {
		require.Equal(t, want[i].position, got[i].Position)
	}
}

// checkAll demands that the journal holds exactly the model's records behind
// base: at the places where they were seen before, each stream in its order,
// and whole steps one after the other.
func (m *model) checkAll(t *rapid.T) {
	got, err := drain(m.r.j.ReadAll(context.Background(), m.base, 0))
	require.NoError(t, err)
	total := 0
	heads := map[envelope.Stream]uint64{}
	for name, s := range m.streams {
		total += len(s.records) - int(s.scavenged)
		heads[name] = s.scavenged
	}
	require.Len(t, got, total, "records by position")
	last, step := m.base, 0
	for i, rec := range got {
		s, ours := m.streams[rec.Stream]
		require.True(t, ours, "a record of the stranger %s", rec.Stream)
		n := heads[rec.Stream]
		heads[rec.Stream]++
		require.Less(t, n, s.head())
		sameRecord(t, s.records[n], rec)
		require.Equal(t, 1, rec.Position.Compare(last), "position %s after %s", rec.Position, last)
		require.LessOrEqual(t, step, s.steps[n], "a record lies in front of one that was acknowledged earlier")
		last, step = rec.Position, s.steps[n]
		if i < len(m.places) {
			require.Equal(t, m.places[i].position, rec.Position, "the position of a record changed")
		} else {
			m.places = append(m.places, modelPlace{rec.Position, rec.Stream, rec.Version})
		}
	}
}

// end is the position of the sequence's last record.
func (m *model) end() journal.Position {
	if n := len(m.places); n > 0 {
		return m.places[n-1].position
	}
	return m.base
}
