package sqlite_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/sqlite"
)

// payload is an event of 120 bytes, the size that bench/ uses everywhere.
var payload = []byte(`{"id":"a3f5c9d2","user_id":"u-1042","task":"write the benchmark first","completed":false,"at":"2026-01-01T00:00:00.000Z"}`)[:120]

// roundTime is how long one side of a comparison runs at a time. Rounds of both
// sides take turns, so that both meet the same machine.
const roundTime = 150 * time.Millisecond

// BenchmarkSubmit compares the journal with a bare group commit into the same
// tables: each caller appends one event to a stream of its own and waits for
// the answer before its next. One iteration is a round of each; what counts are
// the medians and the ratio.
func BenchmarkSubmit(b *testing.B) {
	for _, callers := range []int{1, 64, 1_000, 10_000} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			ours, bare := newLoad(openBench(b), callers, false), newLoad(openBare(b), callers, false)
			ours.round(b)
			bare.round(b)
			compare(b, "journal", ours, "bare", bare)
		})
	}
}

// BenchmarkReceipts is what a command id costs: a receipt stored with the
// event.
func BenchmarkReceipts(b *testing.B) {
	for _, callers := range []int{64, 1_000} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			with, without := newLoad(openBench(b), callers, true), newLoad(openBench(b), callers, false)
			with.round(b)
			without.round(b)
			compare(b, "with", with, "without", without)
		})
	}
}

// BenchmarkManyReceipts is what a million stored receipts change: of other
// streams, or of the same.
func BenchmarkManyReceipts(b *testing.B) {
	const callers, stored = 1_000, 1_000_000
	for _, of := range []string{"others", "same"} {
		b.Run("of="+of, func(b *testing.B) {
			full := openBench(b)
			fillReceipts(b, full, of, callers, stored)
			many, few := newLoad(full, callers, true), newLoad(openBench(b), callers, true)
			many.round(b)
			few.round(b)
			compare(b, "many", many, "few", few)
		})
	}
}

// fillReceipts stores receipts of commands that had come before.
func fillReceipts(b *testing.B, j journal.Journal, of string, streams, n int) {
	b.Helper()
	const perBatch = 2_000
	for first := 0; first < n; first += perBatch {
		batch := &journal.Batch{ID: journal.NewBatchID()}
		for i := first; i < first+perBatch; i++ {
			s := streamOf(i % streams)
			if of == "others" {
				s.ID = "former-" + s.ID
			}
			batch.Receipts = append(batch.Receipts, envelope.Receipt{Stream: s, ID: fmt.Sprint("former-", i), Version: 1, Time: time.Now()})
		}
		_, err := journal.Commit(b.Context(), j, batch)
		require.NoError(b, err)
	}
}

func openBench(b *testing.B) journal.Journal {
	j, err := sqlite.OpenAndMigrate(b.Context(), filepath.Join(b.TempDir(), "journal.db"), nil)
	require.NoError(b, err)
	b.Cleanup(func() { _ = j.Close() })
	return j
}

// compare runs rounds of both in turns.
func compare(b *testing.B, nameA string, a *load, nameB string, c *load) {
	var ratesA, ratesB, ratios []float64
	for b.Loop() {
		rateA, rateB := a.round(b), c.round(b)
		ratesA, ratesB, ratios = append(ratesA, rateA), append(ratesB, rateB), append(ratios, rateA/rateB)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(ratesA), nameA+"-events/s")
	b.ReportMetric(median(ratesB), nameB+"-events/s")
	b.ReportMetric(median(ratios), "ratio")
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// submitter is what the callers need of a journal.
type submitter interface {
	Submit(b *journal.Batch, done func(journal.Result, error))
}

// load is a number of callers of one journal.
type load struct {
	to       submitter
	receipts bool
	callers  []*caller
}

// caller is one writer: its stream, where it is, and a batch that it uses
// again and again.
type caller struct {
	stream  envelope.Stream
	version uint64
	batch   journal.Batch
	answer  chan error
	done    func(journal.Result, error)
}

func streamOf(n int) envelope.Stream {
	return envelope.Stream{Type: "todo", ID: fmt.Sprint("stream-", n)}
}

func newLoad(to submitter, callers int, receipts bool) *load {
	l := &load{to: to, receipts: receipts}
	for n := range callers {
		c := &caller{stream: streamOf(n), answer: make(chan error, 1)}
		c.done = func(_ journal.Result, err error) { c.answer <- err }
		l.callers = append(l.callers, c)
	}
	return l
}

func (c *caller) append(to submitter, receipt bool) error {
	c.batch.Reset()
	c.batch.ID = journal.NewBatchID()
	now := time.Now()
	records := []envelope.Record{{
		Stream: c.stream, Version: c.version + 1, Time: now,
		Name: "initialized", Schema: 1, Codec: "json", Data: payload,
	}}
	c.batch.Appends = append(c.batch.Appends, journal.Append{Stream: c.stream, Expected: c.version, Records: records})
	if receipt {
		c.batch.Receipts = append(c.batch.Receipts, envelope.Receipt{
			Stream: c.stream, ID: fmt.Sprint("command-", c.version), Version: c.version + 1, Time: now,
		})
	}
	to.Submit(&c.batch, c.done)
	err := <-c.answer
	if err == nil {
		c.version++
	}
	return err
}

// round lets all callers append for a while and returns the events per second.
func (l *load) round(b *testing.B) float64 {
	b.Helper()
	var stored atomic.Int64
	var wg sync.WaitGroup
	begin := time.Now()
	for _, c := range l.callers {
		wg.Go(func() {
			for time.Since(begin) < roundTime {
				if err := c.append(l.to, l.receipts); err != nil {
					b.Error(err)
					return
				}
				stored.Add(1)
			}
		})
	}
	wg.Wait()
	return float64(stored.Load()) / time.Since(begin).Seconds()
}
