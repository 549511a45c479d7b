package actor_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/actor"
	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/memory"
)

type counter struct {
	aggregate.Root
	N int
}
type added struct {
	By int `json:"by"`
}
type counterState struct {
	N int `json:"n"`
}

var (
	addedEvent  = aggregate.On("added", func(c *counter, e added) { c.N += e.By })
	counterSpec = aggregate.Define("counter", addedEvent,
		aggregate.Snapshots(1, func(c *counter) counterState { return counterState{c.N} },
			func(c *counter, s counterState) { c.N = s.N }))
)

type add struct {
	ID string
	By int
}

func (a add) AggregateID() string { return a.ID }

var addCmd = aggregate.NewCommand("counter.add", func(ctx *aggregate.Context, c *counter, in add) (int, error) {
	if in.By > 0 {
		if err := addedEvent.Record(c, added{in.By}); err != nil {
			return 0, err
		}
	}
	if in.By < 0 {
		_ = addedEvent.Record(c, added{in.By})
		if in.By < -1 {
			panic("boom")
		}
		return 0, aggregate.Reject("negative")
	}
	return c.N, nil
})

func TestSmoke(t *testing.T) {
	var j journal.Journal
	j, err := memory.Open(nil)
	require.NoError(t, err)
	sys, err := actor.NewSystem(j, nil)
	require.NoError(t, err)
	h, err := actor.Host(sys, counterSpec, &actor.HostOptions{PassivateAfter: time.Millisecond})
	require.NoError(t, err)
	var wg sync.WaitGroup
	for g := range 64 {
		wg.Go(func() {
			for i := range 500 {
				_, err := addCmd.Ask(t.Context(), h, add{fmt.Sprint("c", g%8), 1})
				require.NoError(t, err)
				if i%50 == 0 {
					_, err = addCmd.Ask(t.Context(), h, add{fmt.Sprint("c", g%8), -1})
					require.ErrorIs(t, err, aggregate.ErrRejected)
				}
				if i%100 == 0 {
					_, err = addCmd.Ask(t.Context(), h, add{fmt.Sprint("c", g%8), -2})
					require.ErrorIs(t, err, aggregate.ErrPanic)
				}
			}
		})
	}
	wg.Wait()
	for i := range 8 {
		n, err := addCmd.Ask(t.Context(), h, add{fmt.Sprint("c", i), 0})
		require.NoError(t, err)
		require.Equal(t, 4000, n)
	}
	t.Logf("%+v", sys.Stats())
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	require.NoError(t, sys.Stop(ctx))
	t.Logf("%+v", sys.Stats())
}
