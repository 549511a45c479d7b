package seating

import (
	"github.com/troupe-go/troupe/actor"
	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/examples/seats/theatre"
	"github.com/troupe-go/troupe/microsvc"
)

// Input is a [theatre.Seat] on its way to the seat.
type Input theatre.Seat

// AggregateID is the seat.
func (in Input) AggregateID() string { return in.Seat }

// none is the reply of a command that nobody waits for.
type none struct{}

// The commands of a seat. That it is taken is an answer, not an error.
var (
	Hold = aggregate.NewCommand(theatre.HoldSeat,
		func(ctx *aggregate.Context, s *Seat, in Input) (none, error) {
			if s.Booking != "" {
				ctx.Publish(theatre.SeatTaken, in)
				return none{}, nil
			}
			ctx.Publish(theatre.SeatHeld, in)
			return none{}, s.Hold(in.Booking)
		})

	Sell = aggregate.NewCommand(theatre.SellSeat,
		func(ctx *aggregate.Context, s *Seat, in Input) (none, error) {
			if s.Booking != in.Booking || s.Sold {
				return none{}, aggregate.Reject("seat %s is not kept for booking %s", s.ID(), in.Booking)
			}
			ctx.Publish(theatre.SeatSold, in)
			return none{}, s.Sell(in.Booking)
		}, aggregate.MustExist())

	Free = aggregate.NewCommand(theatre.FreeSeat,
		func(_ *aggregate.Context, s *Seat, in Input) (none, error) {
			if s.Booking != in.Booking || s.Sold {
				return none{}, aggregate.Reject("seat %s is not kept for booking %s", s.ID(), in.Booking)
			}
			return none{}, s.Free(in.Booking)
		}, aggregate.MustExist())
)

// Register gives svc what it needs to be the service of seats.
func Register(system *actor.System, svc *microsvc.Service) error {
	seats, err := actor.Host(system, Spec, nil)
	if err != nil {
		return err
	}
	svc.Register(
		microsvc.Expose(Hold, seats),
		microsvc.Expose(Sell, seats),
		microsvc.Expose(Free, seats))
	return nil
}
