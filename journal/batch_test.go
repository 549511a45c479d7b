package journal_test

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/snapshot"
)

func stream(id string) envelope.Stream { return envelope.Stream{Type: "todo", ID: id} }

// events is an append of n records behind version expected.
func events(id string, expected uint64, n int) journal.Append {
	a := journal.Append{Stream: stream(id), Expected: expected}
	for i := range n {
		a.Records = append(a.Records, envelope.Record{
			Stream: a.Stream, Version: expected + 1 + uint64(i), Name: "happened", Schema: 1, Codec: "json", Data: []byte("{}"),
		})
	}
	return a
}

// whole is a batch with one of everything.
func whole() *journal.Batch {
	return &journal.Batch{
		ID:            journal.NewBatchID(),
		Appends:       []journal.Append{events("a", 3, 2), events("b", 0, 1)},
		Asserts:       []journal.Assert{{Stream: stream("c"), Expected: 9}},
		Snapshots:     []snapshot.Snapshot{{Stream: stream("a"), Version: 4, Schema: 1, Codec: "json", Data: []byte("{}")}},
		DropSnapshots: []envelope.Stream{stream("d")},
		Messages: []envelope.Message{
			{ID: "m1", Kind: envelope.KindEvent, Name: "happened", Data: []byte("{}")},
			{ID: "m2", Kind: envelope.KindCommand, Name: "do", Destination: "x"},
		},
		Rows: []envelope.Row{{Table: "todos", Op: envelope.RowUpsert, Key: []envelope.Column{{Name: "id", Value: "1"}}}},
		Receipts: []envelope.Receipt{
			{Stream: stream("a"), ID: "1", Reply: []byte("{}")}, {Stream: stream("b"), ID: "1"}, {Stream: stream("a"), ID: "2"},
			{Consumer: "mailer", ID: "1"}, {Consumer: "printer", ID: "1"},
		},
		Fence: &journal.Fence{Shard: 1, Epoch: 2},
	}
}

func TestValidBatches(t *testing.T) {
	t.Parallel()
	id := journal.NewBatchID()
	for name, b := range map[string]*journal.Batch{
		"whole":         whole(),
		"assert alone":  {ID: id, Asserts: []journal.Assert{{Stream: stream("a")}}},
		"receipt alone": {ID: id, Receipts: []envelope.Receipt{{Stream: stream("a"), ID: "1"}}},
		"drop alone":    {ID: id, DropSnapshots: []envelope.Stream{stream("a")}},
		"resubmission":  {ID: id, Resubmit: true, Appends: []journal.Append{events("a", 0, 1)}},
		"most records":  {ID: id, Appends: []journal.Append{events("a", 0, journal.MaxBatchRecords)}},
		"last version":  {ID: id, Appends: []journal.Append{events("a", math.MaxUint64-1, 1)}},
	} {
		require.NoError(t, b.Validate(), name)
	}
}

func TestInvalidBatches(t *testing.T) {
	t.Parallel()
	for _, bad := range []struct {
		field string
		spoil func(b *journal.Batch)
	}{
		{"batch id", func(b *journal.Batch) { b.ID = journal.BatchID{} }},
		{"batch", func(b *journal.Batch) { *b = journal.Batch{ID: b.ID, Fence: b.Fence} }},
		{"batch", func(b *journal.Batch) { b.Appends[1] = events("b", 0, journal.MaxBatchRecords) }},
		{"batch", func(b *journal.Batch) {
			data := make([]byte, envelope.MaxDataBytes)
			b.Appends[1] = events("b", 0, 32)
			for i := range b.Appends[1].Records {
				b.Appends[1].Records[i].Data = data
			}
		}},
		{"append", func(b *journal.Batch) { b.Appends[1].Records = nil }},
		{"record stream", func(b *journal.Batch) { b.Appends[0].Records[1].Stream = stream("b") }},
		{"record version", func(b *journal.Batch) { b.Appends[0].Records[1].Version = 4 }},
		{"record version", func(b *journal.Batch) { b.Appends[0].Records[1].Version = 6 }},
		{"record version", func(b *journal.Batch) { b.Appends[0].Expected = 4 }},
		{"record version", func(b *journal.Batch) { b.Appends[1] = events("b", math.MaxUint64, 1) }},
		{"event name", func(b *journal.Batch) { b.Appends[1].Records[0].Name = "" }},
		{"event schema", func(b *journal.Batch) { b.Appends[1].Records[0].Schema = 0 }},
		{"batch stream", func(b *journal.Batch) { b.Appends[1] = b.Appends[0] }},
		{"batch stream", func(b *journal.Batch) { b.Asserts[0].Stream = stream("b") }},
		{"batch stream", func(b *journal.Batch) { b.Asserts = append(b.Asserts, b.Asserts[0]) }},
		{"stream id", func(b *journal.Batch) { b.Asserts[0].Stream.ID = "" }},
		{"snapshot version", func(b *journal.Batch) { b.Snapshots[0].Version = 0 }},
		{"stream type", func(b *journal.Batch) { b.DropSnapshots[0].Type = "\x00" }},
		{"message kind", func(b *journal.Batch) { b.Messages[1].Kind = 0 }},
		{"message id", func(b *journal.Batch) { b.Messages[1].ID = "m1" }},
		{"row key", func(b *journal.Batch) { b.Rows[0].Key = nil }},
		{"command id", func(b *journal.Batch) { b.Receipts[0].ID = strings.Repeat("x", 129) }},
		{"receipt", func(b *journal.Batch) { b.Receipts[2].ID = "1" }},
		{"receipt", func(b *journal.Batch) { b.Receipts[4].Consumer = "mailer" }},
	} {
		b := whole()
		bad.spoil(b)
		err := b.Validate()
		require.ErrorIs(t, err, journal.ErrInvalid)
		var facts *envelope.InvalidError
		require.ErrorAs(t, err, &facts)
		require.Equal(t, bad.field, facts.Field, "%v", err)
	}
}

func TestBatchSizes(t *testing.T) {
	t.Parallel()
	b := whole()
	require.Equal(t, 3, b.Events())
	small := b.SizeBytes()
	b.Appends[0].Records[0].Data = make([]byte, 1000)
	b.Snapshots[0].Data = make([]byte, 1000)
	b.Messages[0].Data = make([]byte, 1000)
	b.Receipts[0].Reply = make([]byte, 1000)
	require.Equal(t, small+4*(1000-len("{}")), b.SizeBytes(), "each payload counts")
}

func TestResetKeepsMemoryAndForgetsContent(t *testing.T) {
	t.Parallel()
	b := whole()
	appends := b.Appends
	b.Resubmit = true
	b.Reset()
	require.Equal(t, journal.BatchID{}, b.ID)
	require.False(t, b.Resubmit)
	require.Nil(t, b.Fence)
	require.Empty(t, b.Appends)
	require.Empty(t, b.Asserts)
	require.Empty(t, b.Snapshots)
	require.Empty(t, b.DropSnapshots)
	require.Empty(t, b.Messages)
	require.Empty(t, b.Rows)
	require.Empty(t, b.Receipts)
	require.Equal(t, 2, cap(b.Appends))
	require.Zero(t, appends[0], "what was in it can be collected")
}

func TestBatchIDsAreNew(t *testing.T) {
	t.Parallel()
	const goroutines, each = 4, 5000
	ids := make([][]journal.BatchID, goroutines)
	var all sync.WaitGroup
	for g := range goroutines {
		all.Go(func() {
			for range each {
				ids[g] = append(ids[g], journal.NewBatchID())
			}
		})
	}
	all.Wait()
	seen := map[journal.BatchID]bool{}
	for _, some := range ids {
		for _, id := range some {
			require.False(t, seen[id], "%s twice", id)
			seen[id] = true
		}
	}
	require.Len(t, ids[0][0].String(), 32)
	require.Equal(t, fmt.Sprintf("%x", ids[0][0][:]), ids[0][0].String())
}
