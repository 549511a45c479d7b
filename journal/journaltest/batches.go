package journaltest

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// batchCases hold what may be in a batch.
var batchCases = []Case{
	{"InvalidBatchesRefusedBeforeAnyWrite", func(w *world) {
		s, other := stream("s"), stream("other")
		w.fill(s, 3)
		for _, bad := range invalidBatches {
			// A whole batch whose every part could be stored, spoilt in one place.
			b := newBatch(events(s, 3, 2), events(other, 0, 2), journal.Assert{Stream: stream("absent")},
				snap(s, 4), receipt(s, "id", 5), stream("dropped"))
			bad.spoil(b)
			_, err := w.commit(b)
			require.ErrorIs(w, err, journal.ErrInvalid, bad.name)
		}
		w.inEveryLife(func() {
			w.versions(s, 3)
			w.versions(other, 0)
			_, found, err := w.j.Receipt(w.ctx, s, "id")
			require.NoError(w, err)
			require.False(w, found)
			latest, err := w.j.LoadLatest(w.ctx, s)
			require.NoError(w, err)
			require.Nil(w, latest.Snapshot)
		})
		w.must(newBatch(events(s, 3, 2), events(other, 0, 2), receipt(s, "id", 5)))
	}},
	{"UnsupportedPartsAreTypedErrors", func(w *world) {
		f := w.j.Features()
		require.NotEmpty(w, f.Name)
		require.Equal(w, f.Durable, w.harness.Reopen != nil, "a durable adapter's harness has Reopen, no other")
		for _, part := range append(slices.Clone(optionalParts), fencesPart) {
			if part.taken(f) {
				continue
			}
			s := stream(part.name)
			b := newBatch(events(s, 0, 1), receipt(s, "id", 1))
			part.add(b)
			_, err := w.commit(b)
			require.ErrorIs(w, err, journal.ErrUnsupported, part.name)
			var facts *journal.UnsupportedError
			require.ErrorAs(w, err, &facts)
			require.Equal(w, journal.UnsupportedError{Adapter: f.Name, Part: part.name}, *facts)
			w.inEveryLife(func() { w.versions(s, 0) })
			w.must(newBatch(events(s, 0, 1), receipt(s, "id", 1)))
		}
		require.Equal(w, f, w.j.Features(), "features never change")
	}},
	{"LargestBatchIsTaken", func(w *world) {
		// Also where it is larger than the queue: it waits until it is alone.
		most, wide := stream("most"), stream("wide")
		_, err := journal.Commit(w.ctx, w.j, newBatch(events(most, 0, journal.MaxBatchRecords)))
		require.NoError(w, err)
		b := newBatch(events(wide, 0, 8))
		for i := range b.Appends[0].Records {
			b.Appends[0].Records[i].Data = make([]byte, envelope.MaxDataBytes)
		}
		_, err = journal.Commit(w.ctx, w.j, b)
		require.NoError(w, err)
		w.inEveryLife(func() {
			w.versions(most, journal.MaxBatchRecords)
			w.versions(wide, 8)
		})
	}},
	{"ManyStreamsInOneBatch", func(w *world) {
		b := newBatch()
		for i := range 1000 {
			b.Appends = append(b.Appends, events(stream(fmt.Sprint(i)), 0, 2))
		}
		w.must(b)
		w.inEveryLife(func() {
			for i := range 1000 {
				w.versions(stream(fmt.Sprint(i)), 2)
			}
		})
	}},
	{"BatchBelongsToTheCallerAfterDone", func(w *world) {
		// One Batch, one slice of records and one map for all: what is reused
		// after done must not show in what was stored before.
		var b journal.Batch
		records := make([]envelope.Record, 2)
		s := stream("s")
		for v := uint64(0); v < 40; v += 2 {
			b.Reset()
			b.ID = journal.NewBatchID()
			records[0], records[1] = event(s, v+1), event(s, v+2)
			b.Appends = append(b.Appends, journal.Append{Stream: s, Expected: v, Records: records})
			b.Snapshots = append(b.Snapshots, snap(s, v+1))
			b.Receipts = append(b.Receipts, receipt(s, fmt.Sprint("id", v), v+2))
			w.must(&b)
		}
		clear(records)
		b.Reset()
		w.inEveryLife(func() {
			for i, rec := range w.load(s, 0) {
				sameRecord(w, event(s, uint64(i+1)), rec)
			}
			latest, err := w.j.LoadLatest(w.ctx, s)
			require.NoError(w, err)
			sameSnapshot(w, snap(s, 39), latest.Snapshot)
			for v := uint64(0); v < 40; v += 2 {
				got, found, err := w.j.Receipt(w.ctx, s, fmt.Sprint("id", v))
				require.NoError(w, err)
				require.True(w, found)
				sameReceipt(w, receipt(s, fmt.Sprint("id", v), v+2), got)
			}
		})
	}},
}

// invalidBatches spoils a good batch, one field at a time. Appends[0] is of
// stream s at 3, Appends[1] of another, two records each.
var invalidBatches = func() []invalidBatch {
	all := []invalidBatch{
		{"no batch id", func(b *journal.Batch) { b.ID = journal.BatchID{} }},
		{"nothing in it", func(b *journal.Batch) { *b = journal.Batch{ID: b.ID} }},
		{"append without records", func(b *journal.Batch) { b.Appends[1].Records = nil }},
		{"stream appended twice", func(b *journal.Batch) { b.Appends[1] = b.Appends[0] }},
		{"stream appended and asserted", func(b *journal.Batch) { b.Asserts[0].Stream = b.Appends[1].Stream }},
		{"stream asserted twice", func(b *journal.Batch) { b.Asserts = append(b.Asserts, b.Asserts[0]) }},
		{"record of another stream", func(b *journal.Batch) { b.Appends[1].Records[1].Stream = stream("else") }},
		{"record version repeated", func(b *journal.Batch) { b.Appends[1].Records[1].Version = 1 }},
		{"record version with a gap", func(b *journal.Batch) { b.Appends[1].Records[1].Version = 3 }},
		{"record version zero", func(b *journal.Batch) { b.Appends[1].Records[0].Version = 0 }},
		{"versions that begin elsewhere", func(b *journal.Batch) { b.Appends[1].Expected = 1 }},
		{"versions beyond the last number", func(b *journal.Batch) { b.Appends[1].Expected = math.MaxUint64 }},
		{"schema zero", func(b *journal.Batch) { b.Appends[1].Records[1].Schema = 0 }},
		{"payload of more than 1 MiB", func(b *journal.Batch) {
			b.Appends[1].Records[1].Data = make([]byte, envelope.MaxDataBytes+1)
		}},
		{"too many records", func(b *journal.Batch) { b.Appends[1] = events(stream("other"), 0, journal.MaxBatchRecords+1) }},
		{"too many bytes", func(b *journal.Batch) {
			b.Appends[1] = events(stream("other"), 0, journal.MaxBatchBytes/envelope.MaxDataBytes+1)
			data := make([]byte, envelope.MaxDataBytes)
			for i := range b.Appends[1].Records {
				b.Appends[1].Records[i].Data = data
			}
		}},
		{"too many metadata keys", func(b *journal.Batch) {
			keys := map[string]string{}
			for i := range envelope.MaxMetadataKeys + 1 {
				keys[fmt.Sprint("k", i)] = "v"
			}
			b.Appends[1].Records[1].Metadata.Keys = keys
		}},
		{"reserved metadata key", func(b *journal.Batch) {
			b.Appends[1].Records[1].Metadata.Keys = map[string]string{"X-Sourced-Kind": "event"}
		}},
		{"NUL in a metadata value", func(b *journal.Batch) {
			b.Appends[1].Records[1].Metadata.Keys = map[string]string{"k": "a\x00b"}
		}},
		{"snapshot version zero", func(b *journal.Batch) { b.Snapshots[0].Version = 0 }},
		{"snapshot schema zero", func(b *journal.Batch) { b.Snapshots[0].Schema = 0 }},
		{"receipt of a stream and a consumer", func(b *journal.Batch) { b.Receipts[0].Consumer = "c" }},
		{"receipt twice", func(b *journal.Batch) { b.Receipts = append(b.Receipts, b.Receipts[0]) }},
		{"command id of 129 bytes", func(b *journal.Batch) { b.Receipts[0].ID = strings.Repeat("x", envelope.MaxCommandIDBytes+1) }},
		{"reply of more than 256 KiB", func(b *journal.Batch) { b.Receipts[0].Reply = make([]byte, envelope.MaxReplyBytes+1) }},
	}
	// Every name is refused for the same reasons.
	for _, field := range []struct {
		name string
		of   func(b *journal.Batch) *string
	}{
		{"event name", func(b *journal.Batch) *string { return &b.Appends[1].Records[1].Name }},
		{"event codec", func(b *journal.Batch) *string { return &b.Appends[1].Records[1].Codec }},
		{"assert type", func(b *journal.Batch) *string { return &b.Asserts[0].Stream.Type }},
		{"assert id", func(b *journal.Batch) *string { return &b.Asserts[0].Stream.ID }},
		{"snapshot type", func(b *journal.Batch) *string { return &b.Snapshots[0].Stream.Type }},
		{"snapshot id", func(b *journal.Batch) *string { return &b.Snapshots[0].Stream.ID }},
		{"snapshot codec", func(b *journal.Batch) *string { return &b.Snapshots[0].Codec }},
		{"dropped type", func(b *journal.Batch) *string { return &b.DropSnapshots[0].Type }},
		{"dropped id", func(b *journal.Batch) *string { return &b.DropSnapshots[0].ID }},
		{"receipt type", func(b *journal.Batch) *string { return &b.Receipts[0].Stream.Type }},
		{"receipt id", func(b *journal.Batch) *string { return &b.Receipts[0].Stream.ID }},
		{"command id", func(b *journal.Batch) *string { return &b.Receipts[0].ID }},
	} {
		for _, bad := range []struct{ name, value string }{
			{"empty", ""}, {"blank", " \u3000"}, {"too long", strings.Repeat("x", envelope.MaxNameBytes+1)},
			{"not UTF-8", "a\xff"}, {"with NUL", "a\x00b"}, {"with a unit separator", "a\x1fb"}, {"with DEL", "a\x7f"}, {"with C1", "a\u0085"},
		} {
			all = append(all, invalidBatch{field.name + " " + bad.name, func(b *journal.Batch) { *field.of(b) = bad.value }})
		}
	}
	for _, bad := range []struct{ name, value string }{{"blank", ""}, {"with NUL", "a\x00b"}, {"not UTF-8", "\xff"}} {
		all = append(all, invalidBatch{"stream type " + bad.name, renameStream(func(s *envelope.Stream) { s.Type = bad.value })},
			invalidBatch{"stream id " + bad.name, renameStream(func(s *envelope.Stream) { s.ID = bad.value })})
	}
	return all
}()

type invalidBatch struct {
	name  string
	spoil func(b *journal.Batch)
}

// renameStream changes the second append's stream, in its records as well.
func renameStream(rename func(s *envelope.Stream)) func(b *journal.Batch) {
	return func(b *journal.Batch) {
		a := &b.Appends[1]
		rename(&a.Stream)
		for i := range a.Records {
			a.Records[i].Stream = a.Stream
		}
	}
}
