package sqlite_test
import "testing"
func BenchmarkZR(b *testing.B) {
	l := newLoad(openBench(b), 1000, true)
	l.round(b); var rs []float64; for b.Loop() { rs = append(rs, l.round(b)) }; b.ReportMetric(median(rs), "ev/s")
}
