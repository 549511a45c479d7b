package journaltest

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"maps"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/snapshot"
)

// patience is how long anything may take before it counts as never happening.
// It only costs time when a promise is broken. The tests of the suite, where
// promises are broken on purpose, shorten it.
var patience = 60 * time.Second

// world is what one case works with: a journal, and short words for what the
// cases do all the time.
type world struct {
	testing.TB
	ctx     context.Context
	j       journal.Journal
	harness Harness
	sent    []*pending
	tables  bool // were made
}

func newWorld(t testing.TB, open Open) *world {
	t.Helper()
	h := open(t)
	require.NotNil(t, h.Journal)
	ctx, cancel := context.WithTimeout(context.Background(), 10*patience) // full counts on a machine that does other things, too
	w := &world{TB: t, ctx: ctx, j: h.Journal, harness: h}
	t.Cleanup(func() {
		cancel()
		closed := make(chan error, 1)
		go func() { closed <- w.j.Close() }()
		select {
		case err := <-closed:
			if err != nil {
				t.Errorf("close: %v", err)
			}
		case <-time.After(patience):
			t.Errorf("close did not return within %v", patience)
		}
		for _, p := range w.sent {
			if n := p.calls.Load(); n != 1 {
				t.Errorf("done of batch %s was called %d times", p.batch.ID, n)
			}
		}
	})
	return w
}

// inEveryLife runs check, and again after each of two reopenings if the
// adapter is durable: whatever holds, holds afterwards.
func (w *world) inEveryLife(check func()) {
	w.Helper()
	check()
	for range 2 {
		if w.harness.Reopen == nil {
			return
		}
		w.reopen()
		check()
	}
}

func (w *world) reopen() {
	w.Helper()
	require.NoError(w, w.j.Close())
	w.j = w.harness.Reopen(w.TB)
	require.NotNil(w, w.j)
}

// pending is a submitted batch.
type pending struct {
	batch *journal.Batch
	calls atomic.Int32
	done  chan struct{} // closed by the first call of done
	res   journal.Result
	err   error
}

// answered reports whether done was called.
func (p *pending) answered() bool { return p.calls.Load() > 0 }

// submit sends b as soon as there is credit, and does not wait for the answer.
// It is for one goroutine per world.
func (w *world) submit(b *journal.Batch) *pending {
	w.Helper()
	ready := make(chan struct{})
	if !w.j.Credit(b.Events(), b.SizeBytes(), func() { close(ready) }) {
		w.await(ready, "credit")
	}
	p := send(w.j, b)
	w.sent = append(w.sent, p)
	return p
}

// send is submit for any goroutine: it asks for no credit, and nobody checks
// that done is called once.
func send(j journal.Journal, b *journal.Batch) *pending {
	p := &pending{batch: b, done: make(chan struct{})}
	j.Submit(b, func(res journal.Result, err error) {
		if p.calls.Add(1) > 1 {
			return
		}
		p.res, p.err = res, err
		close(p.done)
	})
	return p
}

// outcome waits for the answer to p.
func (w *world) outcome(p *pending) (journal.Result, error) {
	w.Helper()
	w.await(p.done, "the answer to a batch")
	return p.res, p.err
}

// await waits for ch to be closed.
func (w *world) await(ch <-chan struct{}, what string) {
	w.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-ch:
	case <-late.C:
		require.FailNow(w, "waited in vain for "+what, "%v", patience)
	}
}

// commit sends b and waits.
func (w *world) commit(b *journal.Batch) (journal.Result, error) {
	w.Helper()
	return w.outcome(w.submit(b))
}

// must sends b, waits, and demands success.
func (w *world) must(b *journal.Batch) journal.Result {
	w.Helper()
	res, err := w.commit(b)
	require.NoError(w, err)
	return res
}

// fill brings the new stream s to version n, in batches of several sizes.
func (w *world) fill(s envelope.Stream, n uint64) {
	w.Helper()
	var waiting []*pending
	for head, size := uint64(0), uint64(1); head < n; size = size%97 + 5 {
		size = min(size, n-head)
		waiting = append(waiting, w.submit(newBatch(events(s, head, int(size)))))
		head += size
	}
	for _, p := range waiting {
		_, err := w.outcome(p)
		require.NoError(w, err)
	}
}

// load returns the records of s behind after.
func (w *world) load(s envelope.Stream, after uint64) []envelope.Record {
	w.Helper()
	return w.collect(w.j.Load(w.ctx, s, after))
}

// collect drains records and demands that no error is among them.
func (w *world) collect(records iter.Seq2[envelope.Record, error]) []envelope.Record {
	w.Helper()
	all, err := drain(records)
	require.NoError(w, err)
	return all
}

// drain returns the records, copied, and the error that ends them.
func drain(records iter.Seq2[envelope.Record, error]) ([]envelope.Record, error) {
	var all []envelope.Record
	var failed error
	for rec, err := range records {
		if failed != nil {
			return all, fmt.Errorf("an error is not the last thing yielded: %w", failed)
		}
		if err != nil {
			failed = err
			continue
		}
		rec.Data = bytes.Clone(rec.Data)
		all = append(all, rec)
	}
	return all, failed
}

// versions demands that s holds exactly the versions 1 to n, and names none
// but s in its records.
func (w *world) versions(s envelope.Stream, n uint64) {
	w.Helper()
	records := w.load(s, 0)
	require.Len(w, records, int(n), "records of %s", s)
	for i := range records {
		require.Equal(w, uint64(i+1), records[i].Version, "version in %s", s)
		require.Equal(w, s, records[i].Stream)
	}
	latest, err := w.j.LoadLatest(w.ctx, s)
	require.NoError(w, err)
	require.Equal(w, n, latest.Version, "version of %s by LoadLatest", s)
	w.beginsAt(latest, 1)
}

// beginsAt demands that replay of a stream begins with a version.
func (w *world) beginsAt(latest journal.Latest, first uint64) {
	w.Helper()
	if w.j.Features().Truncation {
		require.Equal(w, first, latest.First, "first version of %s by LoadLatest", latest.Stream)
	}
}

// readAll returns the first n records behind after, and waits for them if the
// adapter shows them late.
func (w *world) readAll(after journal.Position, n int) []envelope.Record {
	w.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for {
		changed := w.j.Changed()
		records := w.collect(w.j.ReadAll(w.ctx, after, n))
		if len(records) >= n {
			return records
		}
		select {
		case <-changed:
		case <-poll.C:
		case <-late.C:
			require.FailNow(w, "ReadAll skips", "got %d of %d records", len(records), n)
		}
	}
}

// conflict demands that err is the conflict of s, with the facts.
func (w *world) conflict(err error, s envelope.Stream, expected, actual uint64) {
	w.Helper()
	require.ErrorIs(w, err, journal.ErrConflict)
	var facts *journal.ConflictError
	require.ErrorAs(w, err, &facts)
	require.Equal(w, journal.ConflictError{Stream: s, Expected: expected, Actual: actual}, *facts)
}

// at is a time as a journal keeps it, different for each n.
func at(n uint64) time.Time {
	return time.Date(2026, 2, 3, 4, 5, 6, 123_000, time.UTC).Add(time.Duration(n) * 1_000_001 * time.Microsecond)
}

// stream is a stream of the suite's usual type.
func stream(id string) envelope.Stream { return envelope.Stream{Type: "todo", ID: id} }

// event is a record whose every field tells which one it is.
func event(s envelope.Stream, version uint64) envelope.Record {
	return envelope.Record{
		Stream: s, Version: version, Time: at(version),
		Name: fmt.Sprint("happened.", version%7), Schema: uint32(1 + version%3), Codec: envelope.CodecJSON,
		Data:     fmt.Appendf(nil, `{"stream":%q,"version":%d}`, s, version),
		Metadata: envelope.Metadata{CorrelationID: fmt.Sprint("c", version%5)},
	}
}

// events is an append of n events behind version expected.
func events(s envelope.Stream, expected uint64, n int) journal.Append {
	a := journal.Append{Stream: s, Expected: expected}
	for i := range n {
		a.Records = append(a.Records, event(s, expected+1+uint64(i)))
	}
	return a
}

// newBatch is a batch of its parts, with a new id.
func newBatch(parts ...any) *journal.Batch {
	b := &journal.Batch{ID: journal.NewBatchID()}
	for _, part := range parts {
		switch part := part.(type) {
		case journal.Append:
			b.Appends = append(b.Appends, part)
		case journal.Assert:
			b.Asserts = append(b.Asserts, part)
		case snapshot.Snapshot:
			b.Snapshots = append(b.Snapshots, part)
		case envelope.Receipt:
			b.Receipts = append(b.Receipts, part)
		case envelope.Stream:
			b.DropSnapshots = append(b.DropSnapshots, part)
		case journal.Truncate:
			b.Truncates = append(b.Truncates, part)
		case envelope.Message:
			b.Messages = append(b.Messages, part)
		case envelope.Row:
			b.Rows = append(b.Rows, part)
		default:
			panic(fmt.Sprintf("no part of a batch: %T", part))
		}
	}
	return b
}

// again is the identical batch, to be submitted after an unknown outcome.
func again(b *journal.Batch) *journal.Batch {
	c := *b
	c.Resubmit = true
	return &c
}

// receipt is the receipt of a command on s, with a reply that names it.
func receipt(s envelope.Stream, id string, version uint64) envelope.Receipt {
	return envelope.Receipt{
		Stream: s, ID: id, Version: version, Time: at(version),
		Reply: fmt.Appendf(nil, `{"reply":%q}`, id), Codec: envelope.CodecJSON,
	}
}

// snap is a snapshot of s at version, with a state that names both.
func snap(s envelope.Stream, version uint64) snapshot.Snapshot {
	return snapshot.Snapshot{
		Stream: s, Version: version, Schema: 2, Fingerprint: 1<<63 | version, Codec: envelope.CodecJSON,
		Data: fmt.Appendf(nil, `{"state of":%q,"at":%d}`, s, version), Time: at(version),
	}
}

// tb is what a testing.TB and a rapid.T have in common.
type tb interface {
	require.TestingT
	Helper()
}

// sameRecord demands that got is want as a journal keeps it.
func sameRecord(t tb, want, got envelope.Record) {
	t.Helper()
	if isRecord(&want, &got) {
		return // told without reflection: cases compare many thousands
	}
	require.Truef(t, want.Time.Truncate(time.Microsecond).Equal(got.Time.Truncate(time.Microsecond)),
		"time: want %v, got %v", want.Time, got.Time)
	require.Truef(t, bytes.Equal(want.Data, got.Data), "data: want %.100q (%d bytes), got %.100q (%d bytes)",
		want.Data, len(want.Data), got.Data, len(got.Data))
	require.Equal(t, flat(want.Metadata), flat(got.Metadata), "metadata")
	want.Time, want.Data, want.Metadata, want.Position = got.Time, got.Data, got.Metadata, got.Position
	require.Equal(t, want, got)
}

// isRecord reports whether got is want as a journal keeps it.
func isRecord(want, got *envelope.Record) bool {
	w, g := &want.Metadata, &got.Metadata
	return want.Stream == got.Stream && want.Version == got.Version &&
		want.Time.Truncate(time.Microsecond).Equal(got.Time.Truncate(time.Microsecond)) &&
		want.Name == got.Name && want.Schema == got.Schema && want.Codec == got.Codec && bytes.Equal(want.Data, got.Data) &&
		w.CorrelationID == g.CorrelationID && w.CausationID == g.CausationID && w.CommandID == g.CommandID && maps.Equal(w.Keys, g.Keys)
}

func flat(m envelope.Metadata) map[string]string {
	all := map[string]string{}
	for key, value := range m.All() {
		all[key] = value
	}
	return all
}

// sameReceipt demands that got is want as a journal keeps it.
func sameReceipt(t tb, want, got envelope.Receipt) {
	t.Helper()
	require.Truef(t, want.Time.Equal(got.Time), "time: want %v, got %v", want.Time, got.Time)
	require.Truef(t, bytes.Equal(want.Reply, got.Reply), "reply: want %q, got %q", want.Reply, got.Reply)
	want.Time, want.Reply = got.Time, got.Reply
	require.Equal(t, want, got)
}

// sameSnapshot demands that got is want as a journal keeps it.
func sameSnapshot(t tb, want snapshot.Snapshot, got *snapshot.Snapshot) {
	t.Helper()
	require.NotNilf(t, got, "snapshot of %s", want.Stream)
	require.Truef(t, want.Time.Equal(got.Time), "time: want %v, got %v", want.Time, got.Time)
	require.Truef(t, bytes.Equal(want.Data, got.Data), "data: want %.100q, got %.100q", want.Data, got.Data)
	want.Time, want.Data = got.Time, got.Data
	require.Equal(t, want, *got)
}
