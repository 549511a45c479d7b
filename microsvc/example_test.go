package microsvc_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/troupe-go/troupe/actor"
	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/journal/memory"
	"github.com/troupe-go/troupe/microsvc"
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

type reserve struct {
	Seat  string `json:"seat"`
	Guest string `json:"guest"`
}

func (r reserve) AggregateID() string { return r.Seat }

var cmdReserve = aggregate.NewCommand("seat.reserve",
	func(_ *aggregate.Context, s *seat, r reserve) (string, error) {
		return "enjoy the show, " + r.Guest, reserved.Record(s, seatReserved{Guest: r.Guest})
	})

// A file per handler exports one value like these.
var (
	SeatReserve = microsvc.Expose(cmdReserve, nil, microsvc.RequireFields("seat", "guest"))

	ShopHours = microsvc.Handle("shop.hours", func(c *microsvc.Context, _ struct{}) (string, error) {
		user, err := c.UserID()
		return "open until ten, " + user, err
	})
)

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
	svc := microsvc.New("theatre").WithHosts(theatre).Register(SeatReserve, ShopHours)
	if err := svc.Check(); err != nil {
		log.Fatal(err)
	}

	// httpapi.Serve and Service.Run serve the same; this is a direct call.
	ctx := context.Background()
	reply, err := microsvc.Call[string](ctx, svc, "seat.reserve", reserve{"A1", "Ada"}, nil)
	fmt.Println(reply, err)
	_, err = svc.Dispatch(ctx, "seat.reserve", reserve{"A1", "Bob"}, nil)
	fmt.Println(microsvc.Status(err), err, errors.Is(err, aggregate.ErrRejected))
	_, err = svc.Dispatch(ctx, "seat.reserve", []byte(`{"seat":"A1"}`), nil)
	fmt.Println(microsvc.Status(err), err)
	data, err := svc.Dispatch(ctx, "shop.hours", struct{}{}, microsvc.Session{microsvc.KeyUserID: "Ada"})
	fmt.Println(string(data), err)

	fmt.Println(system.Stop(ctx), journal.Close())
	// Output:
	// enjoy the show, Ada <nil>
	// 422 the seat is taken true
	// 400 input lacks guest
	// "open until ten, Ada" <nil>
	// <nil> <nil>
}
