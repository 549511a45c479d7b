// Package several has two aggregates, one of them unexported, with an event of
// the same name.
package several

import "github.com/troupe-go/troupe/aggregate"

//go:generate go tool sourced

type (
	// Order is what a customer wants.
	//
	//sourced:aggregate order
	Order struct {
		aggregate.Root
		base
	}

	// parcel is what a customer gets.
	//
	//sourced:aggregate parcel
	//sourced:snapshot schema=1
	parcel struct {
		base
		aggregate.Root
		weight int
	}
)

type base struct{ City string }

// ship sends the order.
//
//sourced:event order.shipped
func (e *Order) ship(city string) { e.City = city }

// ship sends the parcel.
//
//sourced:event shipped schema=2
func (p *parcel) ship(weight int) { p.weight = weight }

//sourced:event customer.called
func (e *Order) call(subject struct {
	Text string `json:"text"`
}) {
	e.City = subject.Text
}

//sourced:upcast shipped from=1
func weightless(struct{}) ParcelShipped { return ParcelShipped{} }
