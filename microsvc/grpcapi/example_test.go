package grpcapi_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/microsvc"
	"github.com/troupe-go/troupe/microsvc/grpcapi"
)

type order struct {
	Dish string `json:"dish"`
}

func Example() {
	svc := microsvc.New("kitchen").Register(
		microsvc.Handle("dish.order", func(c *microsvc.Context, in order) (string, error) {
			guest, err := c.UserID()
			if err != nil {
				return "", err
			}
			if in.Dish == "soup" {
				return "", aggregate.Reject("there is no soup today")
			}
			return in.Dish + " for " + guest, nil
		}, microsvc.RequireFields("dish")))

	// grpcapi.Serve(ctx, ":50051", svc, nil) does the same on a port of its own.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- grpcapi.ServeListener(ctx, l, svc, &grpcapi.Options{DrainDelay: -1}) }()

	client, err := grpcapi.NewClient(l.Addr().String(), nil)
	if err != nil {
		log.Fatal(err)
	}
	as := grpcapi.WithMetadata(microsvc.KeyUserID, "Ada")
	reply, err := grpcapi.Call[string](ctx, client, "dish.order", order{"cake"}, as)
	fmt.Println(reply, err)
	_, err = grpcapi.Call[string](ctx, client, "dish.order", order{"soup"}, as)
	fmt.Println(err, errors.Is(err, aggregate.ErrRejected))
	_, err = grpcapi.Call[string](ctx, client, "dish.order", order{"cake"})
	fmt.Println(err, errors.Is(err, aggregate.ErrUnauthorized))

	fmt.Println(client.Close())
	stop()
	fmt.Println(<-ended)
	// Output:
	// cake for Ada <nil>
	// there is no soup today true
	// session has no x-hasura-user-id true
	// <nil>
	// <nil>
}
