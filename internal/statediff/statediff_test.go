package statediff_test

import (
	"math"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/internal/statediff"
)

type cart struct {
	aggregate.Root
	Items  map[string]item
	Tags   []string
	At     time.Time
	Rate   float64
	Any    any
	Next   *cart
	Sum    *big.Int
	Fixed  [2]int
	C      complex128
	when   time.Time
	hidden struct{ deep []item }
	cache  int `snapshot:"-"`
	hook   func()
	feed   chan int
}

type item struct {
	Count int
	price uint8
}

func TestEqual(t *testing.T) {
	t.Parallel()
	now := time.Now()
	ring := func() *cart { c := &cart{}; c.Next = c; return c }
	for name, pair := range map[string][2]any{
		"Zero":            {&cart{}, &cart{}},
		"Values":          {cart{Tags: []string{"a"}}, cart{Tags: []string{"a"}}},
		"NilAndEmpty":     {&cart{Items: map[string]item{}, Tags: []string{}}, &cart{}},
		"SameInstant":     {&cart{At: now, when: now}, &cart{At: now.UTC().Round(0), when: now.In(time.FixedZone("x", 60))}},
		"InstantInAny":    {&cart{Any: now}, &cart{Any: now.UTC()}},
		"NaN":             {&cart{Rate: math.NaN(), C: complex(math.NaN(), 1)}, &cart{Rate: math.NaN(), C: complex(math.NaN(), 1)}},
		"Ring":            {ring(), ring()},
		"BigInt":          {&cart{Sum: big.NewInt(7)}, &cart{Sum: big.NewInt(7)}},
		"Nothing":         {nil, nil},
		"NotState":        {&cart{cache: 1, hook: func() {}, feed: make(chan int)}, &cart{cache: 2}},
		"MapWithNaNAsKey": {&cart{Any: map[float64]int{math.NaN(): 1}}, &cart{Any: map[float64]int{math.NaN(): 1}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Empty(t, statediff.Diff(pair[0], pair[1]))
		})
	}
}

func TestDifferent(t *testing.T) {
	t.Parallel()
	deep := func(n int) *cart { c := &cart{}; c.hidden.deep = []item{{}, {Count: n}}; return c }
	moved := func(id string) *cart { c := &cart{}; c.SetID(id); return c }
	for name, c := range map[string]struct {
		a, b any
		want string
	}{
		"MapValue":     {&cart{Items: map[string]item{"pen": {Count: 3}}}, &cart{Items: map[string]item{"pen": {Count: 4}}}, `Items["pen"].Count: 3 and 4`},
		"Unexported":   {&cart{Items: map[string]item{"pen": {price: 3}}}, &cart{Items: map[string]item{"pen": {price: 4}}}, `Items["pen"].price: 3 and 4`},
		"MissingKey":   {&cart{Items: map[string]item{"b": {}}}, &cart{Items: map[string]item{"a": {}, "b": {}}}, `Items["a"]: nothing and {0 0}`},
		"Deep":         {deep(1), deep(2), `hidden.deep[1].Count: 1 and 2`},
		"Length":       {&cart{Tags: []string{"a"}}, &cart{}, `Tags: 1 elements and 0`},
		"Instant":      {&cart{when: time.Unix(1, 0).UTC()}, &cart{when: time.Unix(2, 0).UTC()}, `when: 1970-01-01 00:00:01 +0000 UTC and 1970-01-01 00:00:02 +0000 UTC`},
		"Pointer":      {&cart{Next: &cart{Rate: 1}}, &cart{Next: &cart{Rate: 2}}, `Next.Rate: 1 and 2`},
		"NaN":          {&cart{Rate: math.NaN()}, &cart{}, `Rate: NaN and 0`},
		"DynamicType":  {&cart{Any: 1}, &cart{Any: 1.0}, `Any: int and float64`},
		"DynamicNil":   {&cart{Any: 1}, &cart{}, `Any: 1 and nothing`},
		"Array":        {&cart{Fixed: [2]int{0, 1}}, &cart{}, `Fixed[1]: 1 and 0`},
		"ID":           {moved("a"), moved("b"), `ID: "a" and "b"`},
		"Type":         {1, "1", `value: int and string`},
		"One":          {1, nil, `value: 1 and nothing`},
		"Complex":      {&cart{C: 1}, &cart{C: 2}, `C: (1+0i) and (2+0i)`},
		"FirstOfMany":  {&cart{Rate: 1, Fixed: [2]int{1}}, &cart{}, `Rate: 1 and 0`},
		"IntKeyInMap":  {&cart{Any: map[int]int{1: 1}}, &cart{Any: map[int]int{1: 2}}, `Any[1]: 1 and 2`},
		"LongIsCut":    {strings.Repeat("ä", 100), "", ""},
		"NestedTyping": {[]any{[]any{1}}, []any{[]any{2}}, `[0][0]: 1 and 2`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := statediff.Diff(c.a, c.b)
			if name == "LongIsCut" {
				require.Less(t, len(got), 100)
				return
			}
			require.Equal(t, c.want, got)
			require.NotEmpty(t, statediff.Diff(c.b, c.a), "the other way round")
		})
	}
}

// A nil *cart is no cart.
func TestNilPointer(t *testing.T) {
	t.Parallel()
	var none *cart
	require.Empty(t, statediff.Diff(none, none))
	require.NotEmpty(t, statediff.Diff(none, &cart{}))
	require.NotEmpty(t, statediff.Diff(&cart{Next: &cart{}}, &cart{}))
}
