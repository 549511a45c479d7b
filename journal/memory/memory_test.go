package memory_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/memory"
)

// BenchmarkSubmit appends one event of 120 bytes per batch to 1,000 streams.
func BenchmarkSubmit(b *testing.B) {
	for _, receipts := range []bool{false, true} {
		b.Run(fmt.Sprintf("receipts=%v", receipts), func(b *testing.B) {
			j, err := memory.Open(nil)
			if err != nil {
				b.Fatal(err)
			}
			var (
				data    = make([]byte, 120)
				now     = time.Now()
				streams = make([]envelope.Stream, 1000)
				heads   = make([]uint64, len(streams))
				records [1]envelope.Record
				batch   journal.Batch
				done    = func(_ journal.Result, err error) {
					if err != nil {
						b.Fatal(err)
					}
				}
			)
			for i := range streams {
				streams[i] = envelope.Stream{Type: "todo", ID: fmt.Sprint(i)}
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				s := i % len(streams)
				batch.Reset()
				batch.ID = journal.NewBatchID()
				records[0] = envelope.Record{
					Stream: streams[s], Version: heads[s] + 1, Time: now, Name: "initialized", Schema: 1, Codec: "json", Data: data,
				}
				batch.Appends = append(batch.Appends, journal.Append{Stream: streams[s], Expected: heads[s], Records: records[:]})
				if receipts {
					batch.Receipts = append(batch.Receipts, envelope.Receipt{
						Stream: streams[s], ID: fmt.Sprint("c", i), Version: heads[s] + 1, Time: now,
					})
				}
				j.Submit(&batch, done)
				heads[s]++
				i++
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
		})
	}
}
