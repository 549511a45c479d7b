// Package baseline has aggregates whose history can be let go.
package baseline

import (
	"time"

	"github.com/troupe-go/troupe/aggregate"
)

// Meter counts what is read. It has no snapshots.
//
//sourced:aggregate meter
//sourced:baseline schema=3
type Meter struct {
	aggregate.Root

	Total  int
	Unit   string
	Last   time.Time
	cached string `snapshot:"-"` // left out of the baseline too
}

//sourced:event read schema=2
func (m *Meter) read(n int, at time.Time) {
	m.Total += n
	m.Last = at
}

//sourced:upcast read from=1
func readWithTime(old struct{ N int }) MeterRead { return MeterRead{N: old.N} }

type meterV1 struct {
	Sum int `json:"sum"`
}

type meterV2 struct {
	Total int    `json:"total"`
	Unit  string `json:"unit"`
}

//sourced:upcast meter/baseline from=1
func meterWithUnit(old meterV1) meterV2 { return meterV2{old.Sum, "kWh"} }

//sourced:upcast meter/baseline from=2
func meterWithTime(old meterV2) MeterBaseline {
	return MeterBaseline{Total: old.Total, Unit: old.Unit}
}

// Shelf has snapshots too, a root in a field, parts that are copied, and an
// event that was called baseline before the shelf had one.
//
//sourced:aggregate shelf root=base enqueue
//sourced:snapshot schema=1 id=serial
//sourced:baseline schema=1
//sourced:rename baseline stored
type Shelf struct {
	base   aggregate.Root
	stock  map[string]int
	Labels []string `json:"tags"`
}

//sourced:event stored
func (s *Shelf) store(name string, n int) {
	if s.stock == nil {
		s.stock = map[string]int{}
	}
	s.stock[name] += n
	s.Labels = append(s.Labels, name)
}

// Chart has an event of that name and no baseline.
//
//sourced:aggregate chart
type Chart struct {
	aggregate.Root
	Level int
}

//sourced:event baseline schema=2
func (c *Chart) draw(level int) { c.Level = level }

//sourced:upcast chart/baseline from=1
func drawn(old struct{ Height int }) ChartBaseline { return ChartBaseline{old.Height} }
