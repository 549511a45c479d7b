// Package shipping listens to orders.
package shipping

import (
	"context"
	"net"

	"github.com/troupe-go/troupe/aggregate"
	shop "github.com/troupe-go/troupe/cmd/sourced/testdata/catalogue/order"
)

// Parcel is what a customer gets.
//
//sourced:aggregate parcel
//sourced:baseline schema=2
type Parcel struct{ aggregate.Root }

//sourced:upcast baseline from=1
func parcelOfNoOrder(old struct{ Order string }) ParcelBaseline { return ParcelBaseline{} }

// pack closes the box.
//
//sourced:event packed
func (p *Parcel) pack(order string, weight Weight) {}

// Weight is in grams.
type Weight uint32

// Pack asks for a parcel.
type Pack struct{ ID string }

// AggregateID is the parcel's number.
func (c Pack) AggregateID() string { return c.ID }

// PackParcel packs a parcel.
var PackParcel = aggregate.NewCommand("parcel.pack",
	func(_ *aggregate.Context, p *Parcel, c Pack) (struct{}, error) { return struct{}{}, p.Pack(c.ID, 1) })

// SendLate is a command of another package's aggregate.
var SendLate = aggregate.NewCommand("order.send.late",
	func(ctx *aggregate.Context, o *shop.Order, _ shop.Number) (bool, error) {
		return true, o.Send(ctx.Now())
	})

// Start listens.
func Start(m *aggregate.Emitter) {
	aggregate.Listen(m, func(_ context.Context, e shop.OrderPlaced, _ aggregate.Emission) {})
	aggregate.Listen[shop.OrderEvent](m, all)
	m.Listen("refunded", func(context.Context, aggregate.Emission) {})
	aggregate.Listen(m, func(_ context.Context, n int, _ aggregate.Emission) {})
	aggregate.Listen(m, func(_ context.Context, p ParcelPacked, _ aggregate.Emission) {})
}

func all(_ context.Context, e shop.OrderEvent, _ aggregate.Emission) {}

// Desk has emitters of its own.
type Desk struct{ emitters []*aggregate.Emitter }

// Open listens with methods.
func (d *Desk) Open() error {
	d.emitters[0].Listen("sent", d.sent)
	d.emitters[0].Listen("rang", d.sent)
	d.emitters[0].Listen("packed", d.sent)
	_, err := net.Listen("tcp", "localhost:0") // not one of ours
	return err
}

func (d *Desk) sent(context.Context, aggregate.Emission) {}

var stop = new(aggregate.Emitter).Listen("", func(context.Context, aggregate.Emission) {})
