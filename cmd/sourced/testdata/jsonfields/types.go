// Package jsonfields has structs and types that encode themselves in every way
// that embedding allows.
package jsonfields

import (
	"math/big"
	"time"
)

// Values are pointers to a value of each type that a test asks encoding/json about.
var Values = []any{
	&money{}, &text{}, &inner{}, &left{}, &right{}, &purse1{}, &unexportedTagged{}, &structTagged{},
	&namedGeneric{}, &diamond{}, &embedsItself{}, &oddTags{Several: 1}, &duration{}, &alias{}, &twice{},
	&outermost{}, &both{}, &ownText{}, &defined{}, &over{}, &ofTime{}, &textOfTime{},
	&twoTimes{Int: big.NewInt(1)}, &rational{},
}

type (
	money         struct{ C int }
	text          struct{ T int }
	cash          = money
	word          string
	pairOf[T any] struct{ First T }
	Pair          pairOf[int]
	stamp         = time.Time
	inner         struct {
		A int `json:"a"`
		B int
	}
	left struct {
		inner
		X int
	}
	right struct {
		inner
		X int `json:"X"`
	}
	purse1 struct{ money }
	purse2 struct{ money }

	unexportedTagged struct {
		word `json:"w"`
		X    int
	}
	structTagged struct {
		inner `json:"inner"`
		B     string
	}
	namedGeneric struct {
		Pair
		Y int
	}
	diamond struct {
		left
		right
		B int
	}
	embedsItself struct {
		*embedsItself
		X int
	}
	oddTags struct {
		Quoted  int `json:"a'b"`
		Blank   int `json:"o k"`
		Dash    int `json:"-,"`
		Skipped int `json:"-"`
		Several int `json:",omitempty,string"`
	}
	duration struct {
		time.Duration
		X int
	}
	alias struct {
		cash
		X int
	}
	twice struct {
		purse1
		purse2
		X int
	}
	outermost struct {
		purse1
		text
	}
	both struct {
		text
		money
	}
	ownText struct{ money }
	defined cash
	over    purse1
	ofTime  struct {
		stamp
		X int
	}
	textOfTime struct {
		time.Time
		money
	}
	twoTimes struct {
		time.Time
		*big.Int
		X int
	}
	rational struct {
		big.Rat
		X int
	}
)

func (money) MarshalJSON() ([]byte, error)   { return []byte("1"), nil }
func (text) MarshalText() ([]byte, error)    { return []byte("t"), nil }
func (ownText) MarshalText() ([]byte, error) { return []byte("t"), nil }
