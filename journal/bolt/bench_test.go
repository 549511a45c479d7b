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

// BenchmarkParts is BenchmarkSubmit of a thousand callers whose batches have
// one more part, each with an id of its own.
func BenchmarkParts(b *testing.B) {
	for _, part := range []string{"none", "message", "effect", "row"} {
		b.Run("part="+part, func(b *testing.B) {
			j, err := bolt.Open(filepath.Join(b.TempDir(), "journal.db"), nil)
			require.NoError(b, err)
			defer j.Close()
			var n atomic.Uint64
			benchmarkBatches(b, j, 1_000, func(_ *caller, batch *journal.Batch) {
				id := fmt.Sprint(n.Add(1))
				switch part {
				case "message":
					batch.Messages = append(batch.Messages, envelope.Message{ID: id, Kind: envelope.KindEvent, Name: "happened", Codec: "json", Data: payload})
				case "effect":
					batch.Receipts = append(batch.Receipts, envelope.Receipt{Consumer: "mailer", ID: id})
				case "row":
					batch.Rows = append(batch.Rows, envelope.Row{
						Table: "todos", Op: envelope.RowUpsert, Key: []envelope.Column{{Name: "id", Value: id}},
						Columns: []envelope.Column{{Name: "task", Value: string(payload)}},
					})
				}
			})
		})
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

func (c *caller) append(j journal.Journal, add func(*caller, *journal.Batch)) error {
	c.batch.Reset()
	c.batch.ID = journal.NewBatchID()
	now := time.Now()
	records := []envelope.Record{{
		Stream: c.stream, Version: c.version + 1, Time: now,
		Name: "initialized", Schema: 1, Codec: "json", Data: payload,
	}}
	c.batch.Appends = append(c.batch.Appends, journal.Append{Stream: c.stream, Expected: c.version, Records: records})
	if add != nil {
		add(c, &c.batch)
	}
	j.Submit(&c.batch, c.done)
	err := <-c.answer
	if err == nil {
		c.version++
	}
	return err
}

func benchmarkCallers(b *testing.B, j journal.Journal, callers int, receipts bool) {
	var add func(*caller, *journal.Batch)
	if receipts {
		add = func(c *caller, batch *journal.Batch) {
			batch.Receipts = append(batch.Receipts, envelope.Receipt{
				Stream: c.stream, ID: fmt.Sprint("command-", c.version), Version: c.version + 1, Time: time.Now(),
			})
		}
	}
	benchmarkBatches(b, j, callers, add)
}

func benchmarkBatches(b *testing.B, j journal.Journal, callers int, add func(*caller, *journal.Batch)) {
	b.ReportAllocs()
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	b.ResetTimer()
	for n := range callers {
		wg.Go(func() {
			for c := newCaller(n); left.Add(-1) >= 0; {
				if err := c.append(j, add); err != nil {
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
