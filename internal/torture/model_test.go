//go:build unix

package torture

import (
	"fmt"

	"github.com/troupe-go/troupe/aggregate"
)

// meter emits the numbers from 1, each as an event and as a message in the same
// commit.
type meter struct {
	aggregate.Root
	N int
}

type emitted struct {
	N int `json:"n"`
}

var (
	onEmitted = aggregate.On("emitted", func(m *meter, e emitted) { m.N = e.N })
	meters    = aggregate.Define("meter", onEmitted)
)

type emit struct {
	ID string `json:"id"`
	N  int    `json:"n"`
}

func (c emit) AggregateID() string { return c.ID }

var cmdEmit = aggregate.NewCommand("meter.emit", func(ctx *aggregate.Context, m *meter, c emit) (int, error) {
	switch {
	case c.N <= m.N:
		return m.N, nil
	case c.N > m.N+1:
		return 0, fmt.Errorf("%w: %d behind %d", aggregate.ErrRejected, c.N, m.N)
	}
	ctx.Publish("emitted", c)
	return c.N, onEmitted.Record(m, emitted{c.N})
})

// sink notes the numbers that reach it, in the order in which they do.
type sink struct {
	aggregate.Root
	Count int
}

type noted struct {
	N int `json:"n"`
}

var (
	onNoted = aggregate.On("noted", func(s *sink, _ noted) { s.Count++ })
	sinks   = aggregate.Define("sink", onNoted)
)

type note struct {
	ID string `json:"id"`
	N  int    `json:"n"`
}

func (c note) AggregateID() string { return c.ID }

var cmdNote = aggregate.NewCommand("sink.note", func(_ *aggregate.Context, s *sink, c note) (int, error) {
	return s.Count, onNoted.Record(s, noted{c.N})
})
