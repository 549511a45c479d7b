package order

import (
	"encoding/json"
	"fmt"
	"net/url"
	"time"
)

const size = 2

// Item is one line of an order.
type Item struct {
	*Base
	Price
	Name   string `json:"name"`
	Amount int    `json:"amount,omitempty"`
	Weight uint32 `json:",string"`
	Skip   string `json:"-"`
	Dash   string `json:"-,"`
	hidden int
}

// Base is embedded by a pointer.
type Base struct {
	SKU  string `json:"sku"`
	Name string // hidden by that of Item
}

// Price is embedded.
type Price struct {
	Cents    int64  `json:"cents"`
	Currency string `json:"currency,omitzero"`
}

// Pair is generic.
type Pair[A, B any] struct {
	First  A
	Second B
}

type (
	colour string
	level  uint8
	octet  byte
	tags   []string
	index  map[string][]level
	alias  = Item
	forest []forest
)

// tree contains itself.
type tree struct {
	Left, Right *tree           `json:",omitempty"`
	More        map[string]tree `json:"more,omitempty"`
}

// hex writes itself.
type hex []byte

// MarshalText writes h in hexadecimal digits.
func (h hex) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%x", []byte(h)), nil }

// shade is a colour or a list of them.
type shade struct{ colours []string }

// MarshalJSON writes one colour as a string.
func (s shade) MarshalJSON() ([]byte, error) {
	if len(s.colours) == 1 {
		return json.Marshal(s.colours[0])
	}
	return json.Marshal(s.colours)
}

// stamp is written as its time is.
type stamp struct {
	time.Time
	Zone string
}

// tagged has the rarer tags.
type tagged struct {
	url.Userinfo
	Price   `json:"price"`
	Bad     string  `json:"a\"b"`
	Number  *int    `json:"number,string"`
	Text    string  `json:"größe,string"`
	List    []int   `json:"list,string"`
	Ratio   float64 `json:"ratio,omitempty,string"`
	Private struct {
		Inner bool `json:"inner"`
	} `json:"private"`
}
