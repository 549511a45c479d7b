package bolt_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/bolt"
)

// when is a time with microseconds, which is what is kept.
var when = time.Date(2026, 2, 3, 4, 5, 6, 789_123_000, time.UTC)

func todo(id string) envelope.Stream { return envelope.Stream{Type: "todo", ID: id} }

// events appends n events to s, whose data says which they are.
func events(s envelope.Stream, expected uint64, n int, more ...string) journal.Append {
	a := journal.Append{Stream: s, Expected: expected}
	for i := range n {
		version := expected + uint64(i) + 1
		a.Records = append(a.Records, envelope.Record{
			Stream: s, Version: version, Time: when, Name: "changed", Schema: 1, Codec: "json",
			Data: fmt.Appendf(nil, "%s@%d %s", s, version, strings.Join(more, " ")),
		})
	}
	return a
}

func batch(appends ...journal.Append) *journal.Batch {
	return &journal.Batch{ID: journal.NewBatchID(), Appends: appends}
}

// receipt adds a receipt for a command to b; its reply repeats the id.
func receipt(b *journal.Batch, s envelope.Stream, id string) *journal.Batch {
	b.Receipts = append(b.Receipts, envelope.Receipt{Stream: s, ID: id, Reply: []byte("reply " + id), Codec: "json", Time: when})
	return b
}

// widen adds to b a message and the receipt of one, each named by id.
func widen(b *journal.Batch, id string) *journal.Batch {
	b.Messages = append(b.Messages, message(id))
	b.Receipts = append(b.Receipts, envelope.Receipt{Consumer: "load", ID: id, Time: when})
	return b
}

// message is one whose fields tell which it is.
func message(id string) envelope.Message {
	return envelope.Message{
		ID: id, Kind: envelope.KindEvent, Name: "happened", Key: "key " + id, ContentType: "application/json", Codec: "json",
		Data: []byte("data " + id), Time: when, Source: todo(id), SourceVersion: 7,
		Metadata: envelope.Metadata{CorrelationID: "c", Keys: map[string]string{"tenant": "acme"}},
	}
}

// delayed reads where the messages are that are held back.
func delayed(t *testing.T, j *bolt.Journal) []uint64 {
	t.Helper()
	page, err := j.Outbox().Delayed(t.Context(), journal.DelayedQuery{
		Slots: []journal.SlotRange{journal.AllSlots}, Until: when.Add(1000 * time.Hour), Limit: 1000,
	})
	require.NoError(t, err)
	require.Zero(t, page.Next)
	return page.Due
}

// counter is an upsert of a row of one column.
func counter(id string, n int64) envelope.Row {
	return envelope.Row{
		Table: "counters", Op: envelope.RowUpsert,
		Key: []envelope.Column{{Name: "id", Value: id}}, Columns: []envelope.Column{{Name: "n", Value: n}},
	}
}

// truncate makes the last record of each append of b the one that its stream
// begins with.
func truncate(b *journal.Batch) *journal.Batch {
	for i := range b.Appends {
		rec := &b.Appends[i].Records[len(b.Appends[i].Records)-1]
		rec.Name = envelope.BaselineName
		b.Truncates = append(b.Truncates, journal.Truncate{Stream: rec.Stream, Before: rec.Version})
	}
	return b
}

// outbox reads all messages.
func outbox(t testing.TB, j journal.Journal) (messages []envelope.StoredMessage, err error) {
	for m, err := range j.Messages(t.Context(), 0, 0) {
		if err != nil {
			return messages, err
		}
		messages = append(messages, m)
	}
	return messages, nil
}

func open(t testing.TB, path string, opts *bolt.Options) *bolt.Journal {
	t.Helper()
	j, err := bolt.Open(path, opts)
	require.NoError(t, err)
	t.Cleanup(func() { _ = j.Close() })
	return j
}

// leaseAll gives all slots of the outbox to the dispatcher "test".
func leaseAll(t testing.TB, j journal.Journal) {
	t.Helper()
	ok, err := j.Outbox().Lease(t.Context(), journal.OutboxLease{Token: "test", Owner: "test", Slots: journal.AllSlots}, time.Hour)
	require.NoError(t, err)
	require.True(t, ok)
}

// requireMessages demands that the outbox holds messages of these ids and no
// others, parked ones aside.
func requireMessages(t testing.TB, j journal.Journal, ids ...string) {
	t.Helper()
	stored, err := outbox(t, j)
	require.NoError(t, err)
	var got []string
	for _, m := range stored {
		got = append(got, m.ID)
	}
	require.Equal(t, ids, got)
}

func newPath(t testing.TB) string { return filepath.Join(t.TempDir(), "journal.db") }

func commit(t testing.TB, j journal.Journal, b *journal.Batch) journal.Result {
	t.Helper()
	res, err := journal.Commit(t.Context(), j, b)
	require.NoError(t, err)
	return res
}

// load reads s whole, and checks versions and data.
func load(t testing.TB, j journal.Journal, s envelope.Stream, after uint64) []envelope.Record {
	t.Helper()
	records, err := loadAll(t, j, s, after)
	require.NoError(t, err)
	return records
}

func loadAll(t testing.TB, j journal.Journal, s envelope.Stream, after uint64) (records []envelope.Record, err error) {
	for rec, err := range j.Load(t.Context(), s, after) {
		if err != nil {
			return records, err
		}
		after++
		if rec.Stream != s || rec.Version != after || !strings.HasPrefix(string(rec.Data), fmt.Sprintf("%s@%d ", s, after)) {
			return records, fmt.Errorf("stream %s: got version %d with data %q, want version %d", rec.Stream, rec.Version, rec.Data, after)
		}
		records = append(records, rec)
	}
	return records, nil
}

// readAll reads the whole journal.
func readAll(t testing.TB, j journal.Journal) (records []envelope.Record, err error) {
	for rec, err := range j.ReadAll(t.Context(), journal.Position{}, 0) {
		if err != nil {
			return records, err
		}
		records = append(records, rec)
	}
	return records, nil
}

// requireReceipt demands that the receipt of a command is found.
func requireReceipt(t testing.TB, j journal.Journal, s envelope.Stream, id string) {
	t.Helper()
	r, ok, err := j.Receipt(t.Context(), s, id)
	require.NoError(t, err)
	require.True(t, ok, "receipt of %s on %s", id, s)
	require.Equal(t, "reply "+id, string(r.Reply))
	var duplicate *journal.DuplicateError
	_, err = journal.Commit(t.Context(), j, receipt(&journal.Batch{ID: journal.NewBatchID()}, s, id))
	require.ErrorAs(t, err, &duplicate, "a repeated command")
	require.Equal(t, "reply "+id, string(duplicate.Receipts[0].Reply))
}
