package bolt_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/bolt"
	"github.com/troupe-go/troupe/snapshot"
)

var writeGolden = flag.Bool("write-golden", false, "write the newest file in testdata; only ever for a format that is not released")

// forEver keeps the receipts of old files, whatever day it is.
var forEver = &bolt.Options{ReceiptRetention: 200 * 365 * 24 * time.Hour}

// unpack writes an old file to a path of its own. Whatever is released must
// stay readable for ever.
func unpack(t *testing.T, golden string) (path string) {
	t.Helper()
	packed, err := os.Open(golden)
	require.NoError(t, err)
	defer packed.Close()
	unpack, err := gzip.NewReader(packed)
	require.NoError(t, err)
	content, err := io.ReadAll(unpack)
	require.NoError(t, err)
	path = newPath(t)
	require.NoError(t, os.WriteFile(path, content, 0o600))
	return path
}

// TestReadsFormat1 reads a file that an older program wrote, before there were
// messages, rows and truncation. It has heads and runs in buckets, and entries
// behind the last checkpoint.
func TestReadsFormat1(t *testing.T) {
	t.Parallel()
	path := unpack(t, "testdata/format1.db.gz")
	j := open(t, path, forEver)
	lag, err := j.Lag(t.Context(), journal.Position{Seq: 170})
	require.NoError(t, err)
	require.Equal(t, journal.Lag{Newest: journal.Position{Seq: 171}, Records: 1, Age: lag.Age}, lag)
	requireGolden(t, j, 171) // the note took a position
	_, found, err := j.Row(t.Context(), "counters", counter("1", 0).Key)
	require.NoError(t, err)
	require.False(t, found)

	// It takes all that this program writes.
	b := widen(batch(events(todo("2"), 16, 1)), "new")
	b.Rows = []envelope.Row{counter("1", 7)}
	commit(t, j, truncate(b))
	n, err := j.Scavenge(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, 16, n)
	require.NoError(t, j.Close())
	j = open(t, path, forEver)
	requireGoldenParts(t, j, 17, "new")
	for _, id := range []string{"early", "note", "late"} {
		requireReceipt(t, j, todo("1"), id)
	}
}

// TestReadsFormat2 reads a file with all parts: truncated streams, scavenged
// and not, notes and gaps, behind the last checkpoint and before.
func TestReadsFormat2(t *testing.T) {
	t.Parallel()
	j := open(t, unpack(t, "testdata/format2.db.gz"), forEver)
	require.Empty(t, delayed(t, j))
	requireFormat2(t, j)
}

// TestReadsFormat3 reads a file that has, beside all that, messages that are held
// back.
func TestReadsFormat3(t *testing.T) {
	t.Parallel()
	const golden = "testdata/format3.db.gz"
	if *writeGolden {
		goldenFile(t, golden)
	}
	j := open(t, unpack(t, golden), forEver)
	require.Equal(t, []uint64{6, 5}, delayed(t, j))
	requireFormat2(t, j)
	require.NoError(t, j.Outbox().Settle(t.Context(), "test", journal.Settlement{Pending: []uint64{6}}))
	soon := message("soon")
	messages, err := outbox(t, j)
	require.NoError(t, err)
	require.Equal(t, []envelope.StoredMessage{{Message: soon, Position: 6, Slot: soon.Slot()}}, messages)
	require.Equal(t, []uint64{5}, delayed(t, j))
}

// requireFormat2 demands what both files have.
func requireFormat2(t *testing.T, j *bolt.Journal) {
	t.Helper()
	requireGoldenParts(t, j, 18, "early message", "late message")
	lag, err := j.Lag(t.Context(), journal.Position{})
	require.NoError(t, err)
	requireGolden(t, j, lag.Newest.Seq)
	latest, err := j.LoadLatest(t.Context(), todo("cut"))
	require.NoError(t, err)
	require.Equal(t, [2]uint64{30, 30}, [2]uint64{latest.First, latest.Version})
	n, err := j.Scavenge(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, 20, n, "records of the second truncation")
	for m, err := range j.Outbox().Parked(t.Context(), journal.ParkedFilter{}) {
		require.NoError(t, err)
		parked := message("parked")
		require.Equal(t, journal.ParkedMessage{
			StoredMessage: envelope.StoredMessage{Message: parked, Position: 4, Slot: parked.Slot()}, Parking: goldenParking, Order: journal.OrderRequeue,
		}, m)
	}
	figures, err := j.Outbox().Figures(t.Context())
	require.NoError(t, err)
	require.Equal(t, []int{2, 1}, []int{figures.Pending, figures.Parked})
	leaseAll(t, j)
	require.NoError(t, j.Outbox().Settle(t.Context(), "test", journal.Settlement{Published: []uint64{1, 2, 4}}))
	requireMessages(t, j)
	requireReceipt(t, j, todo("cut"), "of a scavenged record")
}

// requireGolden demands what both files have, and writes to j.
func requireGolden(t *testing.T, j *bolt.Journal, last uint64) {
	t.Helper()
	all, err := readAll(t, j)
	require.NoError(t, err)
	require.Equal(t, journal.Position{Seq: last}, all[len(all)-1].Position)
	for n := range 5 {
		latest, err := j.LoadLatest(t.Context(), todo(fmt.Sprint(n)))
		require.NoError(t, err)
		for _, rec := range load(t, j, todo(fmt.Sprint(n)), latest.First-1) {
			require.Equal(t, when, rec.Time)
			require.Equal(t, goldenMetadata, rec.Metadata)
		}
	}
	require.Len(t, load(t, j, todo("0"), 0), 100)
	require.Len(t, load(t, j, todo("4"), 0), 16)
	latest, err := j.LoadLatest(t.Context(), todo("0"))
	require.NoError(t, err)
	require.Equal(t, uint64(60), latest.Snapshot.Version)
	require.Equal(t, "state", string(latest.Snapshot.Data))
	for _, id := range []string{"early", "note", "late"} {
		requireReceipt(t, j, todo("1"), id)
	}
	commit(t, j, batch(events(todo("0"), 100, 1)))
}

// requireGoldenParts demands a stream that was truncated, messages and their
// receipts, and a row.
func requireGoldenParts(t *testing.T, j *bolt.Journal, first uint64, messages ...string) {
	t.Helper()
	latest, err := j.LoadLatest(t.Context(), todo("2"))
	require.NoError(t, err)
	require.Equal(t, first, latest.First)
	require.Len(t, load(t, j, todo("2"), first-1), int(latest.Version-first+1))
	stored, err := outbox(t, j)
	require.NoError(t, err)
	require.Len(t, stored, len(messages))
	for i, id := range messages {
		m := message(id)
		require.Equal(t, envelope.StoredMessage{Message: m, Position: uint64(i + 1), Slot: m.Slot()}, stored[i])
		r, found, err := j.MessageReceipt(t.Context(), "load", id)
		require.NoError(t, err)
		require.True(t, found)
		require.Equal(t, when, r.Time)
		b := batch()
		b.Messages = []envelope.Message{m}
		_, err = journal.Commit(t.Context(), j, b)
		require.ErrorIs(t, err, journal.ErrMessageExists)
	}
	row, found, err := j.Row(t.Context(), "counters", counter("1", 0).Key)
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, []envelope.Column{{Name: "n", Value: int64(7)}}, row.Columns)
}

var goldenParking = journal.Parking{Reason: "too large", Attempts: 3, Time: when, Behind: true}

var goldenMetadata = envelope.Metadata{CorrelationID: "c", CommandID: "d", Keys: map[string]string{"tenant": "acme"}}

func goldenFile(t *testing.T, golden string) {
	path := newPath(t)
	j := open(t, path, &bolt.Options{CheckpointEvents: 60, ReceiptWindow: 4})
	write := func(b *journal.Batch) {
		for i := range b.Appends {
			for k := range b.Appends[i].Records {
				b.Appends[i].Records[k].Metadata = goldenMetadata
			}
		}
		commit(t, j, b)
	}
	write(receipt(batch(events(todo("1"), 0, 2)), todo("1"), "early"))
	write(receipt(batch(), todo("1"), "note"))
	write(receipt(batch(events(todo("cut"), 0, 9)), todo("cut"), "of a scavenged record"))
	for i := range uint64(4) {
		b := batch(events(todo("0"), 20*i, 20), events(todo("2"), 4*i, 4), events(todo("3"), 4*i, 4), events(todo("4"), 4*i, 4))
		if i == 2 {
			b.Snapshots = []snapshot.Snapshot{{Stream: todo("0"), Version: 60, Schema: 1, Codec: "json", Data: []byte("state"), Time: when}}
		}
		write(b)
	}
	b := widen(batch(events(todo("2"), 16, 2)), "early message")
	b.Rows = []envelope.Row{counter("1", 6)}
	write(truncate(b))
	write(truncate(batch(events(todo("cut"), 9, 1))))
	n, err := j.Scavenge(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, 17+9, n)
	for i := range uint64(10) {
		write(batch(events(todo("1"), 2+2*i, 2)))
	}
	b = batch()
	b.Rows = []envelope.Row{counter("1", 7)}
	write(b)
	write(widen(batch(events(todo("2"), 18, 1)), "late message"))
	b = batch()
	b.Messages = []envelope.Message{message("published"), message("parked")}
	write(b)
	b = batch()
	b.Messages = []envelope.Message{message("later"), message("soon")}
	b.Messages[0].NotBefore, b.Messages[1].NotBefore = when.Add(2*time.Hour), when.Add(time.Hour)
	write(b)
	leaseAll(t, j)
	require.NoError(t, j.Outbox().Settle(t.Context(), "test", journal.Settlement{
		Published: []uint64{3}, Parked: []journal.Park{{Position: 4, Parking: goldenParking}},
	}))
	_, err = j.Outbox().OrderParked(t.Context(), journal.ParkedFilter{}, journal.OrderRequeue)
	require.NoError(t, err)
	for i := range uint64(2) {
		write(truncate(batch(events(todo("cut"), 10+10*i, 10))))
	}
	write(receipt(batch(events(todo("0"), 80, 20)), todo("1"), "late"))
	content, err := os.ReadFile(copyFile(t, path)) // not closed: something is left to replay
	require.NoError(t, err)
	used := (len(bytes.TrimRight(content, "\x00")) + 4095) / 4096 * 4096
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	require.NoError(t, err)
	_, err = w.Write(append(content[:used:used], make([]byte, 8*4096)...)) // pages in use may be blank at the end
	require.NoError(t, errors.Join(err, w.Close()))
	require.NoError(t, os.WriteFile(golden, packed.Bytes(), 0o644))
}
