package knativebus_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/knativebus"
)

// A command for the service shipping is posted to its broker; in a cluster
// Options.Brokers stays empty.
func Example() {
	broker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println(r.Header.Get("Ce-Type"), "from", r.Header.Get("Ce-Source"), "about", r.Header.Get("Ce-Partitionkey"))
		w.WriteHeader(http.StatusAccepted)
	}))
	defer broker.Close()
	orders, err := knativebus.New(knativebus.Options{
		Service: "orders",
		Brokers: map[string]string{knativebus.CommandsBroker("shipping"): broker.URL},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer orders.Close()
	err = orders.Send(context.Background(), "shipping.ship", map[string]string{"item": "tea"}, bus.To("shipping"), bus.WithKey("customer-1"))
	fmt.Println(err)
	// Output:
	// shipping.ship from orders about customer-1
	// <nil>
}

// The manifests of a service that handles one command and one event.
func ExampleManifests() {
	yaml, err := knativebus.Manifests(knativebus.ManifestOptions{
		Service:   "shipping",
		Producers: map[string]string{"order.placed": "orders"},
	}, bus.Plan{Commands: []string{"shipping.ship"}, Events: []string{"order.placed"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(string(yaml))
	// Output:
	// apiVersion: eventing.knative.dev/v1
	// kind: Broker
	// metadata:
	//   name: shipping-commands
	// ---
	// apiVersion: eventing.knative.dev/v1
	// kind: Trigger
	// metadata:
	//   name: shipping--command-shipping-ship
	//   labels:
	//     eventing.knative.dev/broker: shipping-commands
	// spec:
	//   broker: shipping-commands
	//   filter:
	//     attributes:
	//       type: shipping.ship
	//   subscriber:
	//     ref:
	//       apiVersion: v1
	//       kind: Service
	//       name: shipping
	//     uri: /
	// ---
	// apiVersion: eventing.knative.dev/v1
	// kind: Trigger
	// metadata:
	//   name: shipping--event-order-placed
	//   labels:
	//     eventing.knative.dev/broker: orders-events
	// spec:
	//   broker: orders-events
	//   filter:
	//     attributes:
	//       type: order.placed
	//   subscriber:
	//     ref:
	//       apiVersion: v1
	//       kind: Service
	//       name: shipping
	//     uri: /
}
