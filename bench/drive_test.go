package bench_test

import (
	"flag"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	roundTime = flag.Duration("round", 600*time.Millisecond, "how long each side of a comparison is driven per round")
	rounds    = flag.Int("rounds", 5, "rounds of a comparison; medians are reported")
)

// figures are what one drive measured.
type figures struct {
	perSecond float64
	p50, p99  float64 // microseconds
}

// drive has callers call op in a closed loop, each its next one after the last
// was answered: a fifth of d to warm up, then d measured.
func drive(b *testing.B, callers int, d time.Duration, op func(caller, i int) error) figures {
	b.Helper()
	const warmUp, measure, stop = 0, 1, 2
	var phase atomic.Int32
	latencies := make([][]uint32, callers) // in tenths of a microsecond
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			var mine []uint32
			for i := 0; ; i++ {
				p := phase.Load()
				if p == stop {
					break
				}
				began := time.Now()
				if err := op(c, i); err != nil {
					failed.CompareAndSwap(nil, &err)
					break
				}
				if p == measure {
					mine = append(mine, uint32(min(time.Since(began)/100, 1<<32-1)))
				}
			}
			latencies[c] = mine
		})
	}
	time.Sleep(d / 5)
	phase.Store(measure)
	began := time.Now()
	time.Sleep(d)
	phase.Store(stop)
	took := time.Since(began).Seconds()
	wg.Wait()
	if err := failed.Load(); err != nil {
		b.Fatal(*err)
	}
	all := slices.Concat(latencies...)
	if len(all) == 0 {
		b.Fatal("nothing was answered in a whole round")
	}
	slices.Sort(all)
	at := func(q float64) float64 { return float64(all[int(q*float64(len(all)-1))]) / 10 }
	return figures{perSecond: float64(len(all)) / took, p50: at(.5), p99: at(.99)}
}

// comparison drives both sides in turns and reports medians. Each side is a
// function that drives once.
func comparison(b *testing.B, framework, bare func() figures) (f, base figures, ratio float64) {
	b.Helper()
	var fs, bs []figures
	var ratios []float64
	for range *rounds {
		x, y := bare(), framework()
		bs, fs = append(bs, x), append(fs, y)
		ratios = append(ratios, y.perSecond/x.perSecond)
	}
	f, base, ratio = medians(fs), medians(bs), median(ratios)
	b.ReportMetric(0, "ns/op") // a drive is bounded by time, not by b.N
	b.ReportMetric(f.perSecond, "cmds/s")
	b.ReportMetric(base.perSecond, "bare/s")
	b.ReportMetric(f.p50, "p50-µs")
	b.ReportMetric(f.p99, "p99-µs")
	b.ReportMetric(ratio, "ratio")
	return f, base, ratio
}

func medians(all []figures) figures {
	var per, p50, p99 []float64
	for _, f := range all {
		per, p50, p99 = append(per, f.perSecond), append(p50, f.p50), append(p99, f.p99)
	}
	return figures{median(per), median(p50), median(p99)}
}

func median(values []float64) float64 {
	values = slices.Sorted(slices.Values(values))
	return values[len(values)/2]
}
