// Package former has events of former times.
package former

import "github.com/troupe-go/troupe/aggregate"

// Box moves.
//
//sourced:aggregate box
//sourced:rename measured weighed
//sourced:rename scaled weighed
//sourced:drop painted
type Box struct {
	aggregate.Root

	Place  string
	Weight int
}

//sourced:event left
func (b *Box) leave(from string) { b.Place = "" }

//sourced:event came
func (b *Box) come(to string) { b.Place = to }

//sourced:event weighed schema=2
func (b *Box) weigh(grams int) { b.Weight = grams }

//sourced:upcast weighed from=1
func weighedInKilograms(old struct{ Kilograms int }) BoxWeighed {
	return BoxWeighed{Grams: 1000 * old.Kilograms}
}

type lifted struct{ Pounds int }

//sourced:rename lifted weighed
func wasLifted(old lifted) BoxWeighed { return BoxWeighed{Grams: 454 * old.Pounds} }

type movedV1 struct{ Path string }

type moved struct{ From, To string }

//sourced:split moved schema=2
func wasMoved(old moved) []BoxEvent { return []BoxEvent{BoxLeft{old.From}, BoxCame{old.To}} }

//sourced:upcast moved from=1
func movedByPath(old movedV1) moved { return moved{old.Path[:1], old.Path[1:]} }
