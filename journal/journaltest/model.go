package journaltest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/internal/testenv"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/snapshot"
)

// RunModel runs random sequences of operations on the journal and on a simple
// model, and demands that they never differ: 1,000 sequences, or 10,000 when
// the variable TROUPE_SOAK is 1. A failure is minimised and its seed printed;
// -rapid.seed repeats it.
func RunModel(t *testing.T, open Open) {
	t.Helper()
	runModel(t, t, open, testenv.Count(1_000, 10_000))
}

// runModel lets rapid run as many sequences as asked for, 100 by each Check,
// unless -rapid.checks says otherwise. Failures go to t, clean-up to owner.
func runModel(t rapid.TB, owner testing.TB, open Open, sequences int) {
	r := &modelRunner{owner: owner, open: open}
	owner.Cleanup(r.close)
	for range sequences / 100 {
		rapid.Check(t, r.sequence)
		if t.Failed() {
			return
		}
	}
}

// modelRunner keeps one journal for many sequences, each with streams of its
// own, since opening one can cost more than a sequence does.
type modelRunner struct {
	owner   testing.TB
	open    Open
	harness Harness
	j       journal.Journal // nil: the next sequence opens a fresh one
	used    int             // sequences that ran on j
	after   journal.Position

	afterMessage uint64 // position of the last message of the sequences before
	letGo        int    // records of the sequences before that the next Scavenge deletes
}

func (r *modelRunner) close() {
	if r.j != nil {
		_ = r.j.Close() // the suite's cases check what Close returns
		r.j = nil
	}
}

// sequence is one property check.
func (r *modelRunner) sequence(t *rapid.T) {
	const perJournal = 50
	if r.j == nil || r.used == perJournal {
		r.close()
		r.harness = r.open(r.owner)
		r.j, r.used, r.after = r.harness.Journal, 0, journal.Position{}
		r.afterMessage, r.letGo = 0, 0
		if r.harness.Tables != nil && r.j.Features().Rows {
			r.harness.Tables(r.owner, Tables())
		}
	}
	r.used++
	m := newModel(r)
	good := false
	defer func() {
		if !good { // whatever the journal holds now, the next sequence starts afresh
			r.close()
		}
	}()
	t.Repeat(map[string]func(*rapid.T){
		"batch": m.batch, "batch again": m.batch, "pipeline": m.pipeline, "resubmit": m.resubmit,
		"load": m.load, "latest": m.latest, "many": m.many, "read all": m.readAll, "receipt": m.receipt,
		"reopen": m.reopen, "slices": m.slices, "effect": m.effect, "messages": m.checkMessages, "release": m.release, "rows": m.checkRows, "scavenge": m.scavenge,
	})
	m.checkAll(t)
	m.checkMessages(t)
	m.checkRows(t)
	r.after, r.letGo = m.end(), r.letGo+m.letGo()
	if len(m.messages) > 0 {
		r.afterMessage = m.lastMessage
	}
	good = true
}

// model is what the journal ought to hold, as plainly as it can be said.
type model struct {
	r        *modelRunner
	base     journal.Position // the sequence's records lie behind it
	names    []envelope.Stream
	streams  map[envelope.Stream]*modelStream
	receipts map[modelKey]modelReceipt
	messages []modelMessage // in the order of commits
	rows     map[string]*modelRow
	sent     []*journal.Batch
	step     int

	places      []modelPlace      // of the records seen so far, oldest first
	outbox      map[string]uint64 // positions of the messages seen so far
	lastMessage uint64
}

// modelPlace is where a record was seen.
type modelPlace struct {
	position journal.Position
	stream   envelope.Stream
	version  uint64
}

type modelStream struct {
	records []envelope.Record
	batches []journal.BatchID // batches[i] wrote records[i]
	steps   []int             // and did so in this step
	snap    *snapshot.Snapshot

	first     uint64 // replay begins with it
	scavenged uint64 // versions up to this one were deleted
}

func (s *modelStream) head() uint64 { return uint64(len(s.records)) }

type modelKey struct {
	stream   envelope.Stream
	consumer string
	id       string
}

func keyOf(r envelope.Receipt) modelKey { return modelKey{r.Stream, r.Consumer, r.ID} }

type modelReceipt struct {
	receipt envelope.Receipt
	batch   journal.BatchID
}

func newModel(r *modelRunner) *model {
	m := &model{
		r: r, base: r.after,
		streams: map[envelope.Stream]*modelStream{}, receipts: map[modelKey]modelReceipt{},
		rows: map[string]*modelRow{}, outbox: map[string]uint64{},
	}
	for _, suffix := range []string{"a", "b", "c", "d", "e"} {
		s := stream(fmt.Sprint(suffix, "-", r.used))
		m.names = append(m.names, s)
		m.streams[s] = &modelStream{first: 1}
	}
	return m
}

// expect is the model's answer to b, which it then holds: nil, a DuplicateError,
// or ErrConflict, ErrMessageExists or ErrRowConflict, since several streams,
// messages or rows may be the one that it names.
func (m *model) expect(b *journal.Batch) error {
	if b.Resubmit && m.holds(b) {
		return nil
	}
	dup := &journal.DuplicateError{}
	for _, r := range b.Receipts {
		if stored, ok := m.receipts[keyOf(r)]; ok {
			dup.Receipts = append(dup.Receipts, stored.receipt)
		}
	}
	if len(dup.Receipts) > 0 {
		return dup
	}
	for _, a := range b.Appends {
		if m.streams[a.Stream].head() != a.Expected {
			return journal.ErrConflict
		}
	}
	for _, a := range b.Asserts {
		if m.streams[a.Stream].head() != a.Expected {
			return journal.ErrConflict
		}
	}
	if err := m.checkEffects(b); err != nil {
		return err
	}
	m.store(b)
	return nil
}

// holds reports whether b was stored under its id.
func (m *model) holds(b *journal.Batch) bool {
	if len(b.Appends) > 0 {
		a := &b.Appends[0]
		s := m.streams[a.Stream]
		return s.head() > a.Expected && s.batches[a.Expected] == b.ID
	}
	for _, r := range b.Receipts {
		if stored, ok := m.receipts[keyOf(r)]; ok && stored.batch == b.ID {
			return true
		}
	}
	for _, msg := range b.Messages {
		if stored := m.message(msg.ID); stored != nil && stored.batch == b.ID {
			return true
		}
	}
	return false
}

func (m *model) store(b *journal.Batch) {
	for _, a := range b.Appends {
		s := m.streams[a.Stream]
		for _, rec := range a.Records {
			s.records = append(s.records, rec)
			s.batches = append(s.batches, b.ID)
			s.steps = append(s.steps, m.step)
		}
	}
	for _, t := range b.Truncates {
		s := m.streams[t.Stream]
		s.first = t.Before
		if s.snap != nil && s.snap.Version < t.Before {
			s.snap = nil
		}
	}
	for _, name := range b.DropSnapshots {
		m.streams[name].snap = nil
	}
	for _, sn := range b.Snapshots {
		s := m.streams[sn.Stream]
		if sn.Version >= s.first && sn.Version <= s.head() && (s.snap == nil || s.snap.Version < sn.Version) {
			s.snap = &sn
		}
	}
	for _, r := range b.Receipts {
		m.receipts[keyOf(r)] = modelReceipt{r, b.ID}
	}
	m.storeEffects(b)
}

// compare demands that the journal answered b as the model does.
func (m *model) compare(t *rapid.T, want error, p *pending) {
	select {
	case <-p.done:
	case <-time.After(patience):
		t.Fatalf("no answer to a batch")
	}
	if want == nil {
		require.NoError(t, p.err, "the model stores it")
		return
	}
	var duplicate *journal.DuplicateError
	if errors.As(want, &duplicate) {
		stored := len(duplicate.Receipts)
		require.ErrorAs(t, p.err, &duplicate)
		require.Len(t, duplicate.Receipts, stored)
		for _, got := range duplicate.Receipts {
			sameReceipt(t, m.receipts[keyOf(got)].receipt, got)
		}
		return
	}
	require.ErrorIs(t, p.err, want)
	if m.sameRefusal(t, want, p) {
		return
	}
	var conflict *journal.ConflictError
	require.ErrorAs(t, p.err, &conflict)
	require.NotEqual(t, conflict.Expected, conflict.Actual)
	require.Equal(t, m.streams[conflict.Stream].head(), conflict.Actual)
}

// reopen closes and opens the journal, one time in ten.
func (m *model) reopen(t *rapid.T) {
	if m.r.harness.Reopen == nil || rapid.IntRange(0, 9).Draw(t, "reopen if 0") > 0 {
		t.Skip("not now")
	}
	require.NoError(t, m.r.j.Close())
	m.r.j = m.r.harness.Reopen(m.r.owner)
}
