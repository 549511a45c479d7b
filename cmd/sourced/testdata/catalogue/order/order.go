// Package order has aggregates with events of every age and shape.
package order

import (
	"encoding/json"
	"math/big"
	"net/url"
	stdtime "time"

	"github.com/troupe-go/troupe/aggregate"
)

// Order is what a customer wants. It may be changed until it is sent.
//
//sourced:aggregate order enqueue
//sourced:snapshot schema=3 id=number
//sourced:rename bought placed
//sourced:drop looked
type Order struct {
	aggregate.Root

	Items []Item
	Sent  bool
}

// place begins the order. The first item is required.
//
//sourced:event placed schema=3 require o.mayPlace(items)
func (o *Order) place(customer string, items []Item) { o.Items = items }

//sourced:upcast placed from=1
func placedWithoutCustomer(old placedV1) placedV2 { return placedV2{Items: old.Items} }

//sourced:upcast placed from=2
func placedByName(old placedV2) OrderPlaced { return OrderPlaced{Customer: old.Name, Items: nil} }

type placedV1 struct{ Items []string }

type placedV2 struct {
	Name  string
	Items []string
}

// send hands the order over.
//
//sourced:event sent when !o.Sent && len(o.Items) > 0
func (o *Order) send(at stdtime.Time) { o.Sent = true }

//sourced:event refunded
func (o *Order) refund(cents int64) {}

type settled struct{ Cents int64 }

//sourced:split settled schema=2
func wasSettled(old settled) []OrderEvent { return []OrderEvent{OrderRefunded{Cents: old.Cents}} }

//sourced:upcast settled from=1
func settledInWhole(old struct{ Whole int64 }) settled { return settled{old.Whole * 100} }

type paidBack struct{ Cents int64 }

//sourced:rename paid.back refunded
func wasPaidBack(old paidBack) OrderRefunded { return OrderRefunded{Cents: old.Cents} }

func (o *Order) mayPlace(items []Item) error {
	if len(items) == 0 {
		return aggregate.Reject("an order without items")
	}
	return nil
}

// Note has a payload of every shape, and names that an output must escape.
//
//sourced:aggregate "note|größe"
type Note struct{ aggregate.Root }

//sourced:event plain
func (n *Note) plain(flag bool, whole int, i8 int8, i16 int16, i32 int32, i64 int64, u uint, u8 uint8, u16 uint16, u32 uint32, u64 uint64, f32 float32, f64 float64, text string, r rune, b byte) {
}

//sourced:event lists
func (n *Note) lists(ints [3]int, pairs [size]string, bytes []byte, octets []octet, sum [2]byte, deep map[string]map[int][]*Item, tags tags, index index, byLevel map[level]bool) {
}

//sourced:event named
func (n *Note) named(when stdtime.Time, takes stdtime.Duration, month stdtime.Month, colour colour, level level, pair Pair[string, []Item], same Pair[level, *colour], alias alias, hex hex, shade shade, stamp stamp) {
}

//sourced:event pointed
func (n *Note) pointed(item *Item, big *big.Int, maybe *string, when *stdtime.Time, tree tree, forest forest) {
}

//sourced:event loose{"x"}
func (n *Note) loose(raw json.RawMessage, anything any, inline struct{ A, B int }, address url.URL, tagged tagged) {
}
