package bolt_test

import (
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/bolt"
)

// payload is an event of 120 bytes, the size that bench/ uses everywhere.
var payload = []byte(`{"id":"a3f5c9d2","user_id":"u-1042","task":"write the benchmark first","completed":false,"at":"2026-01-01T00:00:00.000Z"}`)[:120]

// BenchmarkSubmit appends one event per batch; each caller has a stream of its
// own and waits for the answer before its next. b.N counts events.
func BenchmarkSubmit(b *testing.B) {
	for _, receipts := range []bool{false, true} {
		for _, callers := range []int{1, 64, 1_000, 10_000} {
			b.Run(fmt.Sprintf("receipts=%t/callers=%d", receipts, callers), func(b *testing.B) {
				j, err := bolt.Open(filepath.Join(b.TempDir(), "journal.db"), nil)
				require.NoError(b, err)
				defer j.Close()
				benchmarkCallers(b, j, callers, receipts)
			})
		}
	}
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

func newCaller(n int) *caller {
	c := &caller{stream: envelope.Stream{Type: "todo", ID: fmt.Sprint("stream-", n)}, answer: make(chan error, 1)}
	c.done = func(_ journal.Result, err error) { c.answer <- err }
	return c
}

func (c *caller) append(j journal.Journal, receipt bool) error {
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
	j.Submit(&c.batch, c.done)
	err := <-c.answer
	if err == nil {
		c.version++
	}
	return err
}

func benchmarkCallers(b *testing.B, j journal.Journal, callers int, receipts bool) {
	b.ReportAllocs()
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	b.ResetTimer()
	for n := range callers {
		wg.Go(func() {
			for c := newCaller(n); left.Add(-1) >= 0; {
				if err := c.append(j, receipts); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
}
