// Package shapes has a parameter of every shape that an event can hold.
package shapes

import (
	"encoding/json"
	"math/big"
	stdtime "time"

	"github.com/troupe-go/troupe/aggregate"
)

// Point is a struct with an embedded one.
type Point struct {
	Base
	X, Y float64
}

// Base is embedded.
type Base struct {
	Unit string `json:"unit"`
}

// Pair is generic.
type Pair[A, B any] struct {
	First  A
	Second B
}

type (
	colour string // not exported, as its users are not
	level  uint8
	tags   []string
	index  map[string][]level
	alias  = Point
)

// Shape has all of them.
//
//sourced:aggregate shape
//sourced:snapshot schema=1
type Shape struct {
	aggregate.Root
	Base // embedded beside the root

	Flag    bool
	Ints    [3]int
	Numbers []float64
	Text    string
	Bytes   []byte
	When    stdtime.Time
	Takes   stdtime.Duration
	Where   *Point
	Deep    map[string]map[int][]*Point
	Pair    Pair[string, []int]
	Colour  colour
	Level   level
	Tags    tags
	Index   index
	Alias   alias
	Big     *big.Int
	Raw     json.RawMessage
	Any     any
	Inline  struct{ A, B int }
	Maybe   *string
	rune    rune
	skipped func() `snapshot:"-"`
}

//sourced:event plain
func (s *Shape) plain(flag bool, i8 int8, u64 uint64, f32 float32, text string, r rune, b byte) {
	s.Flag, s.Text, s.rune = flag, text, r
	s.Numbers = []float64{float64(f32), float64(i8), float64(u64), float64(b)}
}

//sourced:event lists
func (s *Shape) lists(ints [3]int, bytes []byte, deep map[string]map[int][]*Point, tags tags, index index) {
	s.Ints, s.Bytes, s.Deep, s.Tags, s.Index = ints, bytes, deep, tags, index
}

//sourced:event named
func (s *Shape) named(when stdtime.Time, takes stdtime.Duration, colour colour, level level, pair Pair[string, []int], alias alias) {
	s.When, s.Takes, s.Colour, s.Level, s.Pair, s.Alias = when, takes, colour, level, pair, alias
}

//sourced:event pointed
func (s *Shape) pointed(where *Point, big *big.Int, maybe *string) {
	s.Where, s.Big, s.Maybe = where, big, maybe
}

//sourced:event loose
func (s *Shape) loose(raw json.RawMessage, anything any, inline struct{ A, B int }) {
	s.Raw, s.Any, s.Inline = raw, anything, inline
}

//sourced:event based
func (s *Shape) based(base Base) { s.Base = base }
