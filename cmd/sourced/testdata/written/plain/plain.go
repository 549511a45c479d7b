// Package plain has a field of every type that the generated JSON methods
// know, and some that are left to encoding/json.
package plain

//go:generate go tool sourced

import (
	"strings"
	"time"

	"github.com/troupe-go/troupe/aggregate"
)

// Types of the package over plain ones.
type (
	Word  string
	Words []Word
	Flag  bool
	Level int16
	Share float64
	Blob  []byte
	Alias = Word
	Delay time.Duration
)

// Loud has its own way into JSON, which must be asked.
type Loud string

// MarshalText writes l in capitals.
func (l Loud) MarshalText() ([]byte, error) { return []byte(strings.ToUpper(string(l))), nil }

// Octet is a byte, but a slice of it is no []byte.
type Octet byte

// Tree is made of itself.
type Tree []Tree

// Thing has a field of each.
//
//sourced:aggregate thing
//sourced:snapshot schema=1
type Thing struct {
	aggregate.Root

	Text     string
	Renamed  string `json:"größe.x-1,omitempty"`
	Bool     bool
	Int      int
	Int8     int8
	Int16    int16
	Int32    int32
	Int64    int64
	Rune     rune
	Uint     uint
	Uint8    uint8
	Uint16   uint16
	Uint32   uint32
	Uint64   uint64
	Byte     byte
	Float32  float32
	Float64  float64
	Time     time.Time
	Duration time.Duration
	Bytes    []byte

	Word  Word
	Flag  Flag
	Level Level
	Share Share
	Blob  Blob
	Alias Alias
	Delay Delay

	Texts     []string
	Bools     []bool
	Ints      []int
	Int8s     []int8
	Uint64s   []uint64
	Float32s  []float32
	Float64s  []float64
	Times     []time.Time
	Durations []time.Duration
	Blobs     [][]byte
	Words     Words
	Levels    []Level

	TextP     *string
	BoolP     *bool
	IntP      *int
	Uint8P    *uint8
	Float32P  *float32
	Float64P  *float64
	TimeP     *time.Time
	DurationP *time.Duration
	WordP     *Word
}

//sourced:event text
func (t *Thing) noteText(text string) {}

//sourced:event numbers
func (t *Thing) noteNumbers(n int64, share float64, at time.Time) {}

//sourced:event empty
func (t *Thing) noteEmpty() {}

// The payloads of the events below have no JSON methods.

//sourced:event loud
func (t *Thing) noteLoud(loud Loud) {}

//sourced:event louds
func (t *Thing) noteLouds(louds []Loud) {}

//sourced:event octets
func (t *Thing) noteOctets(octets []Octet) {}

//sourced:event tree
func (t *Thing) noteTree(tree Tree) {}

//sourced:event nested
func (t *Thing) noteNested(nested [][]string) {}

//sourced:event pointers
func (t *Thing) notePointers(pointers []*int) {}

//sourced:event mapped
func (t *Thing) noteMapped(mapped map[string]int) {}

//sourced:event array
func (t *Thing) noteArray(array [2]int) {}

//sourced:event method.name
func (t *Thing) noteNamed(appendJSON string) {}

//sourced:event own
func (t *Thing) noteOwn(text string) {}

// MarshalJSON is the payload's own way into JSON.
func (ThingOwn) MarshalJSON() ([]byte, error) { return []byte(`"own"`), nil }

// UnmarshalJSON reads nothing.
func (*ThingOwn) UnmarshalJSON([]byte) error { return nil }
