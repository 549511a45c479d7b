package aggregatetest_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/aggregate/aggregatetest"
)

// jar has a baseline that leaves its label out when it is to.
type jar struct {
	aggregate.Root
	Label string
	Count int
}

type jarFilled struct {
	Label string `json:"label"`
}

type jarState struct {
	Label string `json:"label"`
	Count int    `json:"count"`
}

// fillJar is the command that fills a jar of a model of its own.
func fillJar(complete bool) (*aggregate.Spec[jar], *aggregate.Command[jar, input, int]) {
	filled := aggregate.On("filled", func(j *jar, e jarFilled) { j.Label, j.Count = e.Label, j.Count+1 })
	spec := aggregate.Define("jar", filled, aggregate.Baseline(
		func(j *jar) jarState {
			if complete {
				return jarState{j.Label, j.Count}
			}
			return jarState{Count: j.Count}
		},
		func(j *jar, s jarState) { j.Label, j.Count = s.Label, s.Count }))
	return spec, aggregate.NewCommand("jar.fill", func(_ *aggregate.Context, j *jar, in input) (int, error) {
		err := filled.Record(j, jarFilled{in.Text})
		return j.Count, err
	})
}

func TestBaselineKeepsTheState(t *testing.T) {
	t.Parallel()
	spec, fill := fillJar(true)
	aggregatetest.For(t, spec).When(fill, input{"1", "salt"}).Then(jarFilled{"salt"}).ThenReply(1)

	spec, fill = fillJar(false)
	r := record(func(t testing.TB) {
		aggregatetest.For(t, spec).When(fill, input{"1", "salt"}).Then(jarFilled{"salt"})
	})
	require.Contains(t, strings.Join(r.texts, "\n"), `the baseline loses state; before and after it, Label: "salt" and ""`)
}
