package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/microsvc"
	"github.com/troupe-go/troupe/microsvc/httpapi"
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

	// httpapi.Serve(ctx, ":8080", svc, nil) does the same on a port of its own.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- httpapi.ServeListener(ctx, l, svc, &httpapi.Options{DrainDelay: -1}) }()

	client, err := httpapi.NewClient("http://"+l.Addr().String(), nil)
	if err != nil {
		log.Fatal(err)
	}
	as := httpapi.WithHeader(microsvc.KeyUserID, "Ada")
	reply, err := httpapi.Call[string](ctx, client, "dish.order", order{"cake"}, as)
	fmt.Println(reply, err)
	_, err = httpapi.Call[string](ctx, client, "dish.order", order{"soup"}, as)
	fmt.Println(err, errors.Is(err, aggregate.ErrRejected))
	_, err = httpapi.Call[string](ctx, client, "dish.order", order{"cake"})
	fmt.Println(err, errors.Is(err, aggregate.ErrUnauthorized))

	client.Close()
	stop()
	fmt.Println(<-ended)
	// Output:
	// cake for Ada <nil>
	// there is no soup today true
	// session has no x-hasura-user-id true
	// <nil>
}
