package knativebus_test

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/knativebus"
)

var update = flag.Bool("update", false, "write the golden files")

// The objects as the cluster's own definitions have them, written down anew: a
// misspelt field is an error of the decoder.
type wantObject struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string
	Metadata   struct {
		Name, Namespace     string
		Labels, Annotations map[string]string
	}
	Spec *struct {
		Broker     string
		Filter     struct{ Attributes map[string]string }
		Subscriber wantDestination
		Delivery   *struct {
			Retry          *int
			BackoffPolicy  string           `yaml:"backoffPolicy"`
			BackoffDelay   string           `yaml:"backoffDelay"`
			DeadLetterSink *wantDestination `yaml:"deadLetterSink"`
		}
	}
}

type wantDestination struct {
	Ref *struct {
		APIVersion string `yaml:"apiVersion"`
		Kind, Name string
	}
	URI string
}

func decode(t *testing.T, text []byte) (all []wantObject) {
	t.Helper()
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	for {
		var o wantObject
		err := d.Decode(&o)
		if errors.Is(err, io.EOF) {
			return all
		}
		require.NoError(t, err)
		require.Equal(t, "eventing.knative.dev/v1", o.APIVersion)
		all = append(all, o)
	}
}

func TestManifests(t *testing.T) {
	t.Parallel()
	plan := bus.Plan{Commands: []string{"shipping.ship", "shipping.cancel", "Shipping.Ship"}, Events: []string{"order.placed", "order-placed", "true", "1"}}
	producers := map[string]string{"order.placed": "orders", "order-placed": "orders", "true": "truth", "1": "shipping", "unused": "other"}
	for name, o := range map[string]knativebus.ManifestOptions{
		"default": {Service: "shipping", Publishes: true, Producers: producers},
		"full": {
			Service: "shipping", Namespace: "shop", Publishes: true, Producers: producers, BrokerClass: "Kafka",
			Subscriber: knativebus.Address{Name: "shipping-v2", APIVersion: "serving.knative.dev/v1", Kind: "Service", Path: "/cloudevent"},
			Delivery:   knativebus.Delivery{Retry: 5, Backoff: "exponential", Delay: 200 * time.Millisecond, DeadLetters: knativebus.Address{Name: "morgue"}},
		},
		"local": {
			Service: "shipping", Publishes: true, Producers: producers,
			Subscriber: knativebus.Address{URI: "http://host.internal:8080/", Path: "/events"},
			Delivery:   knativebus.Delivery{Retry: -1, DeadLetters: knativebus.Address{URI: "https://dead.example"}},
		},
	} {
		got, err := knativebus.Manifests(o, plan)
		require.NoError(t, err)
		mixed := bus.Plan{Commands: slices.Clone(plan.Commands), Events: append(slices.Clone(plan.Events), "1")}
		slices.Reverse(mixed.Commands)
		slices.Reverse(mixed.Events)
		again, err := knativebus.Manifests(o, mixed)
		require.NoError(t, err)
		require.Equal(t, string(got), string(again), "the order of the plan does not matter")

		file := filepath.Join("testdata", "manifests-"+name+".yaml")
		if *update {
			require.NoError(t, os.WriteFile(file, got, 0o644))
		}
		want, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, string(want), string(got), "go test -update writes it")

		names, types := map[string]bool{}, []string{}
		for _, obj := range decode(t, got) {
			require.False(t, names[obj.Kind+obj.Metadata.Name])
			names[obj.Kind+obj.Metadata.Name] = true
			require.LessOrEqual(t, len(obj.Metadata.Name), 63)
			require.Equal(t, o.Namespace, obj.Metadata.Namespace)
			if obj.Kind == "Trigger" {
				require.Equal(t, obj.Spec.Broker, obj.Metadata.Labels["eventing.knative.dev/broker"])
				types = append(types, obj.Spec.Broker+" "+obj.Spec.Filter.Attributes["type"])
			}
		}
		require.Equal(t, []string{
			"shipping-commands Shipping.Ship", "shipping-commands shipping.cancel", "shipping-commands shipping.ship",
			"shipping-events 1", "orders-events order-placed", "orders-events order.placed", "truth-events true",
		}, types)
	}
}

// TestTriggerNames: labels of RFC 1123, one for each message of each service,
// that other messages have no part in.
func TestTriggerNames(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 54)
	events := []string{"a", "a.b", "a-b", "a_b", "A.b", "a..b", "a.", ".a", ".", "-", "a/b", "event.a", "event-a", long, long + "b", strings.Repeat("x.", 90)}
	seen := map[string]string{}
	for _, service := range []string{"s", "s-event", "s--event", "s--event-a", long} {
		producers := map[string]string{}
		for _, e := range events {
			producers[e] = "p"
		}
		o := knativebus.ManifestOptions{Service: service, Producers: producers}
		all, err := knativebus.Manifests(o, bus.Plan{Commands: events, Events: events})
		require.NoError(t, err)
		objects := decode(t, all)
		require.Len(t, objects, 1+2*len(events))
		for _, obj := range objects[1:] {
			name := obj.Metadata.Name
			require.Regexp(t, `^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`, name)
			what := service + " " + obj.Spec.Broker + " " + obj.Spec.Filter.Attributes["type"]
			require.Empty(t, seen[name], "%s of %s", name, what)
			seen[name] = what
		}
		alone, err := knativebus.Manifests(o, bus.Plan{Events: []string{"a-b"}})
		require.NoError(t, err)
		require.NotEmpty(t, seen[decode(t, alone)[0].Metadata.Name])
	}
}

func TestWrongManifestsAreErrors(t *testing.T) {
	t.Parallel()
	plan := bus.Plan{Commands: []string{"do"}}
	address := func(a knativebus.Address) knativebus.ManifestOptions {
		return knativebus.ManifestOptions{Service: "s", Subscriber: a}
	}
	deliver := func(d knativebus.Delivery) knativebus.ManifestOptions {
		return knativebus.ManifestOptions{Service: "s", Delivery: d}
	}
	for text, c := range map[string]struct {
		o knativebus.ManifestOptions
		p bus.Plan
	}{
		`option Service "S"`:                     {knativebus.ManifestOptions{Service: "S"}, plan},
		`option Namespace "N"`:                   {knativebus.ManifestOptions{Service: "s", Namespace: "N"}, plan},
		`option Producers "lost"`:                {knativebus.ManifestOptions{Service: "s"}, bus.Plan{Events: []string{"lost"}}},
		`option Producers e "P"`:                 {knativebus.ManifestOptions{Service: "s", Producers: map[string]string{"e": "P"}}, bus.Plan{Events: []string{"e"}}},
		`option Producers "own"`:                 {knativebus.ManifestOptions{Service: "s", Producers: map[string]string{"own": "s"}}, bus.Plan{Events: []string{"own"}}},
		`handles nothing`:                        {knativebus.ManifestOptions{Service: "s"}, bus.Plan{}},
		`command name "a b"`:                     {knativebus.ManifestOptions{Service: "s"}, bus.Plan{Commands: []string{"a b"}}},
		`command name ""`:                        {knativebus.ManifestOptions{Service: "s"}, bus.Plan{Commands: []string{""}}},
		`option Subscriber "n http://x"`:         {address(knativebus.Address{Name: "n", URI: "http://x"}), plan},
		`option Subscriber.Name "N"`:             {address(knativebus.Address{Name: "N"}), plan},
		`option Subscriber.Kind "K"`:             {address(knativebus.Address{Name: "n", Kind: "K"}), plan},
		`option Subscriber.Path "x"`:             {address(knativebus.Address{Path: "x"}), plan},
		`option Subscriber.Path "//x"`:           {address(knativebus.Address{Path: "//x"}), plan},
		`option Subscriber.URI "x"`:              {address(knativebus.Address{URI: "x"}), plan},
		`option Subscriber.URI "?a"`:             {address(knativebus.Address{URI: "http://x?a"}), plan},
		`option Delivery.Retry "-2"`:             {deliver(knativebus.Delivery{Retry: -2}), plan},
		`option Delivery.Backoff "cubic"`:        {deliver(knativebus.Delivery{Backoff: "cubic", Delay: time.Second}), plan},
		`option Delivery.Delay "1µs"`:            {deliver(knativebus.Delivery{Backoff: "linear", Delay: time.Microsecond}), plan},
		`option Delivery "linear 0s"`:            {deliver(knativebus.Delivery{Backoff: "linear"}), plan},
		`option Delivery.DeadLetters ""`:         {deliver(knativebus.Delivery{DeadLetters: knativebus.Address{Path: "/x"}}), plan},
		`option Delivery.DeadLetters.Name "D D"`: {deliver(knativebus.Delivery{DeadLetters: knativebus.Address{Name: "D D"}}), plan},
	} {
		_, err := knativebus.Manifests(c.o, c.p)
		require.ErrorIs(t, err, bus.ErrInvalid, text)
		require.ErrorContains(t, err, text)
	}
}
