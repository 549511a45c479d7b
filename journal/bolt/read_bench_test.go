package bolt_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/bolt"
)

// fill stores total events in streams of equal length, in turns.
func fill(b *testing.B, j journal.Journal, streams, total int) {
	b.Helper()
	answers := make(chan error, 1_000)
	pending := 0
	for version, stored := uint64(0), 0; stored < total; version++ {
		for n := range streams {
			a := events(todo(fmt.Sprint("stream-", n)), version, 1)
			a.Records[0].Data = payload
			j.Submit(batch(a), func(_ journal.Result, err error) { answers <- err })
			stored++
			for pending++; pending == cap(answers); pending-- {
				require.NoError(b, <-answers)
			}
		}
	}
	for ; pending > 0; pending-- {
		require.NoError(b, <-answers)
	}
}

// BenchmarkLoad reads a stream that lies scattered among others.
func BenchmarkLoad(b *testing.B) {
	for _, length := range []int{10, 1_000, 100_000} {
		b.Run(fmt.Sprintf("events=%d", length), func(b *testing.B) {
			j := open(b, newPath(b), nil)
			fill(b, j, max(1, 100_000/length), 100_000)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				for _, err := range j.Load(b.Context(), todo("stream-0"), 0) {
					require.NoError(b, err)
					n++
				}
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkReadAll reads everything in the order of positions.
func BenchmarkReadAll(b *testing.B) {
	j := open(b, newPath(b), nil)
	fill(b, j, 1_000, 100_000)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		for _, err := range j.ReadAll(b.Context(), journal.Position{}, 0) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkOpen opens a file as a crash left it, with so many events to replay
// (nearly: up to the last checkpoint), and one that was closed.
func BenchmarkOpen(b *testing.B) {
	const total = 1_000_000
	for _, clean := range []bool{true, false} {
		b.Run(fmt.Sprintf("events=%d/clean=%t", total, clean), func(b *testing.B) {
			path := newPath(b)
			opts := &bolt.Options{CheckpointEvents: 1_100_000}
			j := open(b, path, opts)
			fill(b, j, 50_000, total)
			crashed := copyFile(b, path)
			require.NoError(b, j.Close())
			if !clean {
				path = crashed
			}
			content, err := os.ReadFile(path)
			require.NoError(b, err)
			for b.Loop() {
				b.StopTimer()
				require.NoError(b, os.WriteFile(path, content, 0o600))
				b.StartTimer()
				j, err := bolt.Open(path, opts)
				require.NoError(b, err)
				b.StopTimer()
				require.NoError(b, j.Close())
				b.StartTimer()
			}
		})
	}
}
