package bench_test

import (
	"testing"

	"github.com/troupe-go/troupe/journal"
)

// grouping is a journal that counts its commits.
type grouping interface {
	Groups() (groups, events uint64)
}

// countGroups returns a function that reports the mean number of events per
// commit since the call.
func countGroups(j journal.Journal) func(b *testing.B, f figures) {
	g, ok := j.(grouping)
	if !ok {
		return func(*testing.B, figures) {}
	}
	groups, events := g.Groups()
	return func(b *testing.B, _ figures) {
		g2, e2 := g.Groups()
		if g2 > groups {
			b.ReportMetric(float64(e2-events)/float64(g2-groups), "batch")
		}
	}
}
