package bolt_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/bolt"
	"github.com/troupe-go/troupe/snapshot"
)

// history is what a file holds: enough to tell whether what is read is true.
type history struct {
	records  []envelope.Record // in the order of positions
	versions map[envelope.Stream]uint64
	first    map[envelope.Stream]uint64
	receipts map[string]bool
	messages []envelope.StoredMessage
	delayed  []uint64           // positions of messages that are held back, by their times
	rows     map[string][]int64 // the column of each version, by id
	effects  map[string]bool
	content  []byte // of the file
}

// makeHistory fills a file and returns its content, closed or as a crash would
// leave it. It has everything in it: streams that were truncated, scavenged and
// not, and batches with messages, rows and receipts of messages.
func makeHistory(t *testing.T, clean bool) *history {
	t.Helper()
	path := newPath(t)
	h := &history{
		versions: map[envelope.Stream]uint64{}, first: map[envelope.Stream]uint64{}, receipts: map[string]bool{},
		rows: map[string][]int64{}, effects: map[string]bool{},
	}
	j := open(t, path, &bolt.Options{CheckpointEvents: 400, ReceiptWindow: 120})
	for i := range 600 {
		s := todo(fmt.Sprint(i * i % 37))
		b := batch(events(s, h.versions[s], 1+i%3, "and some more to fill the pages"))
		if i%2 == 0 {
			receipt(b, todo("1"), fmt.Sprint(i))
			h.receipts[fmt.Sprint(i)] = true
		}
		h.versions[s] += uint64(1 + i%3)
		if i%20 == 0 {
			b.Snapshots = append(b.Snapshots, snapshot.Snapshot{Stream: s, Version: h.versions[s], Schema: 1, Codec: "json", Data: bytes.Repeat([]byte("s"), 200)})
		}
		if i%3 == 0 {
			widen(b, fmt.Sprint(i))
			h.effects[fmt.Sprint(i)] = true
			id := fmt.Sprint(i % 41)
			b.Rows = append(b.Rows, counter(id, int64(i)))
			h.rows[id] = append(h.rows[id], int64(i))
		}
		if i%7 == 0 {
			m := message(fmt.Sprint("delayed ", i))
			m.NotBefore = when.Add(time.Duration(i*5%11) * time.Hour)
			b.Messages = append(b.Messages, m)
		}
		if i%25 == 7 {
			truncate(b)
			h.first[s] = h.versions[s]
		}
		commit(t, j, b)
		if i == 400 {
			n, err := j.Scavenge(t.Context(), nil)
			require.NoError(t, err)
			require.NotZero(t, n)
		}
	}
	var err error
	h.records, err = readAll(t, j)
	require.NoError(t, err)
	h.messages, err = outbox(t, j)
	require.NoError(t, err)
	require.Len(t, h.messages, 200)
	h.delayed = delayed(t, j)
	require.Len(t, h.delayed, 86)
	if clean {
		require.NoError(t, j.Close())
	}
	h.content, err = os.ReadFile(path)
	require.NoError(t, err)
	return h
}

// check opens a damaged file. It may be refused as corrupt; what is served is
// true: the records are the first ones of the history, all but the last commit
// at least, and every stream, snapshot, receipt, message and row is what they
// say, or corrupt. It reports what became of the file.
func (h *history) check(t *testing.T, path string) (verdict string) {
	j, err := bolt.Open(path, &bolt.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		if !strings.Contains(err.Error(), "this program knows format 3") { // its number has no checksum
			require.ErrorIs(t, err, journal.ErrCorrupt)
		}
		return "refused"
	}
	defer j.Close()
	verdict = "whole"
	partly := func(err error) bool {
		if err == nil {
			return false
		}
		require.ErrorIs(t, err, journal.ErrCorrupt)
		verdict = "partly"
		return true
	}
	records, err := readAll(t, j)
	stopped := partly(err)
	require.LessOrEqual(t, len(records), len(h.records))
	for i := range records {
		require.Equal(t, h.records[i], records[i])
	}
	lost := 0
	if !stopped {
		lost = len(h.records) - len(records)
		require.LessOrEqual(t, lost, 3, "more than the last commit is gone")
	}
	for s, version := range h.versions {
		before := max(h.first[s], 1) - 1
		read, err := loadAll(t, j, s, before)
		if !partly(err) {
			missing := int(version-before) - len(read)
			require.GreaterOrEqual(t, missing, 0, "stream %s", s)
			require.LessOrEqual(t, missing, 3, "stream %s", s)
			if lost == 0 && !stopped {
				require.Zero(t, missing, "stream %s", s)
			}
		}
		latest, err := j.LoadLatest(t.Context(), s)
		if !partly(err) {
			require.Equal(t, before+1, latest.First, "stream %s", s)
			if latest.Snapshot != nil {
				require.Equal(t, bytes.Repeat([]byte("s"), 200), latest.Snapshot.Data)
			}
		}
	}
	h.checkReceipts(t, j, partly)
	h.checkEffects(t, j, partly)
	h.checkScavenge(t, j)
	return verdict
}

func (h *history) checkReceipts(t *testing.T, j *bolt.Journal, partly func(error) bool) {
	t.Helper()
	missing := 0
	for id := range h.receipts {
		r, ok, err := j.Receipt(t.Context(), todo("1"), id)
		if partly(err) {
			continue
		}
		if !ok {
			missing++
			continue
		}
		require.Equal(t, "reply "+id, string(r.Reply))
	}
	for id := range h.effects {
		r, ok, err := j.MessageReceipt(t.Context(), "load", id)
		if partly(err) {
			continue
		}
		if !ok {
			missing++
			continue
		}
		require.Equal(t, envelope.Receipt{Consumer: "load", ID: id, Time: when}, r)
	}
	require.LessOrEqual(t, missing, 2, "receipts missing beyond the last commit")
}

func (h *history) checkEffects(t *testing.T, j *bolt.Journal, partly func(error) bool) {
	t.Helper()
	messages, err := outbox(t, j)
	if !partly(err) {
		require.LessOrEqual(t, len(h.messages)-len(messages), 1)
	}
	require.LessOrEqual(t, len(messages), len(h.messages))
	for i := range messages {
		require.Equal(t, h.messages[i], messages[i])
	}
	for id, values := range h.rows {
		row := counter(id, 0)
		got, found, err := j.Row(t.Context(), row.Table, row.Key)
		if partly(err) {
			continue
		}
		require.True(t, found, "row %s", id)
		require.GreaterOrEqual(t, int(got.Version), len(values)-1, "row %s", id)
		require.LessOrEqual(t, int(got.Version), len(values), "row %s", id)
		require.Equal(t, []envelope.Column{{Name: "n", Value: values[got.Version-1]}}, got.Columns)
	}
	// What is held back comes when it is due, or nobody can tell.
	require.Equal(t, h.delayed, delayed(t, j))
	leaseAll(t, j)
	if !partly(j.Outbox().Settle(t.Context(), "test", journal.Settlement{Pending: h.delayed})) {
		require.Empty(t, delayed(t, j))
		if got, err := outbox(t, j); !partly(err) {
			require.Len(t, got, len(messages)+len(h.delayed))
		}
	}
	// An id that is taken stays so: the batch is refused, or nobody can tell.
	b := batch()
	b.Messages = []envelope.Message{message(h.messages[7].ID)}
	_, err = journal.Commit(t.Context(), j, b)
	if !errors.Is(err, journal.ErrMessageExists) {
		require.True(t, partly(err), "a message id was given twice")
	}
}

// checkScavenge scavenges a damaged file: what is left must still be true.
func (h *history) checkScavenge(t *testing.T, j *bolt.Journal) {
	t.Helper()
	_, err := j.Scavenge(t.Context(), nil)
	require.True(t, err == nil || errors.Is(err, journal.ErrCorrupt) || errors.Is(err, journal.ErrUnavailable), "%v", err)
	left := map[journal.Position]envelope.Record{}
	for _, rec := range h.records {
		left[rec.Position] = rec
	}
	records, err := readAll(t, j)
	require.True(t, err == nil || errors.Is(err, journal.ErrCorrupt) || errors.Is(err, journal.ErrUnavailable), "%v", err)
	for _, rec := range records {
		require.Equal(t, left[rec.Position], rec)
	}
}
