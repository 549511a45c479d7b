package ceingress_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/knativebus"
	"github.com/troupe-go/troupe/microsvc"
	"github.com/troupe-go/troupe/microsvc/ceingress"
)

type parcel struct {
	Item string `json:"item"`
}

// A service beside others on one server, and a command for it. In a cluster the
// broker is between the two; here the publisher posts to the service itself.
func Example() {
	shipping := microsvc.New("shipping").Register(
		microsvc.Handle("shipping.ship", func(c *microsvc.Context, in parcel) (any, error) {
			fmt.Println("shipping", in.Item, "in conversation", c.Session().Get(microsvc.KeyCorrelationID))
			return nil, nil
		}))
	// With effects in a journal: bus.Inbox(journal).
	ingress, err := ceingress.Handler(shipping, bus.Idempotent(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	mux := http.NewServeMux()
	mux.Handle("/events/", http.StripPrefix("/events", ingress))
	server := httptest.NewServer(mux)
	defer server.Close()

	orders, err := knativebus.New(knativebus.Options{
		Service: "orders",
		Brokers: map[string]string{knativebus.CommandsBroker("shipping"): server.URL + "/events/"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer orders.Close()
	order := microsvc.New("orders").Register(
		microsvc.Handle("order.place", func(c *microsvc.Context, in parcel) (any, error) {
			return nil, orders.Send(c, "shipping.ship", in, bus.To("shipping"))
		}))
	session := microsvc.Session{microsvc.KeyCorrelationID: "c-1"}
	_, err = order.Dispatch(context.Background(), "order.place", parcel{"tea"}, session)
	fmt.Println(err)
	// Output:
	// shipping tea in conversation c-1
	// <nil>
}
