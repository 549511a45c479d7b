package actor_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/troupe-go/troupe/actor"
	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/journal/memory"
)

// seat is a seat in a theatre.
type seat struct {
	aggregate.Root
	Taken string
}

type seatReserved struct {
	Guest string `json:"guest"`
}

var (
	reserved = aggregate.On("reserved", func(s *seat, e seatReserved) { s.Taken = e.Guest }).
			Require(func(s *seat, _ seatReserved) error {
			if s.Taken != "" {
				return aggregate.Reject("the seat is taken")
			}
			return nil
		})
	seats = aggregate.Define("seat", reserved)
)

type reserve struct{ Seat, Guest string }

func (r reserve) AggregateID() string { return r.Seat }

var reserveSeat = aggregate.NewCommand("seat.reserve",
	func(_ *aggregate.Context, s *seat, r reserve) (string, error) {
		return "enjoy the show, " + r.Guest, reserved.Record(s, seatReserved{Guest: r.Guest})
	})

func Example() {
	journal, err := memory.Open(nil)
	if err != nil {
		log.Fatal(err)
	}
	system, err := actor.NewSystem(journal, nil)
	if err != nil {
		log.Fatal(err)
	}
	theatre, err := actor.Host(system, seats, nil)
	if err != nil {
		log.Fatal(err)
	}

	ctx := context.Background()
	reply, err := reserveSeat.Ask(ctx, theatre, reserve{"A1", "Ada"}, aggregate.WithCommandID("order-1"))
	fmt.Println(reply, err)
	_, err = reserveSeat.Ask(ctx, theatre, reserve{"A1", "Bob"})
	fmt.Println(err, errors.Is(err, aggregate.ErrRejected))
	// The same order once more: it has had its effect, and gets the same reply.
	reply, err = reserveSeat.Ask(ctx, theatre, reserve{"A1", "Ada"}, aggregate.WithCommandID("order-1"))
	fmt.Println(reply, err)

	fmt.Println(system.Stop(ctx), journal.Close())
	// Output:
	// enjoy the show, Ada <nil>
	// the seat is taken true
	// enjoy the show, Ada <nil>
	// <nil> <nil>
}
