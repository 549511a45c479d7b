package knativebus

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
)

// ManifestOptions say what [Manifests] writes. Service is required, and a
// Subscriber that is not the Kubernetes Service of that name.
type ManifestOptions struct {
	// Service and Namespace are those of [Options]. An empty Namespace is left
	// out: that of whoever applies the manifests.
	Service, Namespace string

	// Publishes says that the service publishes events, and so has a broker for
	// them.
	Publishes bool

	// Producers names the service that publishes each event, by the event's
	// name. Those of events that are not subscribed to are ignored, so that all
	// services can share one.
	Producers map[string]string

	// Subscriber gets the messages. Its zero value is the Kubernetes Service
	// called Service, at the path "/".
	Subscriber Address

	// Delivery is what the broker does with what the subscriber does not
	// accept.
	Delivery Delivery

	// BrokerClass is the class of the service's own brokers, such as
	// "MTChannelBasedBroker" or "Kafka". Empty leaves it to the cluster.
	BrokerClass string
}

// Address is where a broker delivers to.
type Address struct {
	// Name is the object that has the address, in the namespace of the trigger.
	// APIVersion and Kind are its; empty means a Service of Kubernetes, "v1".
	// That of Knative Serving is "serving.knative.dev/v1".
	Name, APIVersion, Kind string

	// URI is an address instead of a Name: an absolute URL of http or https,
	// for a service that runs outside, as in development.
	URI string

	// Path is the path there; empty means "/".
	Path string
}

// Delivery says how a broker delivers. What is zero is left to the broker.
type Delivery struct {
	// Retry is how often it tries again; -1 is never.
	Retry int

	// Backoff is "linear" or "exponential", with Delay, in whole milliseconds,
	// as the first wait.
	Backoff string
	Delay   time.Duration

	// DeadLetters gets what is given up. The zero Address is nobody: the broker
	// forgets it.
	DeadLetters Address
}

// Manifests writes the YAML of what a service that handles plan needs: its
// broker of commands with a trigger for each, its broker of events if it
// publishes any, and a trigger for each event at the broker of the service that
// publishes it. The same input gives the same bytes. Names of triggers depend
// only on the service and the message, so applying it again changes nothing
// else; what is not handled any more is to be deleted, or applied with
// "kubectl apply --prune".
//
// Errors: [bus.ErrInvalid], joined, one for each wrong option and each event
// without a producer, naming it and its value.
func Manifests(opts ManifestOptions, plan bus.Plan) ([]byte, error) {
	r := renderer{opts: opts}
	r.check()
	commands, events := sortedNames(plan.Commands), sortedNames(plan.Events)
	if len(commands) > 0 {
		r.broker(CommandsBroker(opts.Service))
	}
	if opts.Publishes {
		r.broker(EventsBroker(opts.Service))
	}
	for _, name := range commands {
		r.trigger(CommandsBroker(opts.Service), envelope.KindCommand, name)
	}
	for _, name := range events {
		if producer, ok := r.producer(name); ok {
			r.trigger(EventsBroker(producer), envelope.KindEvent, name)
		}
	}
	if len(r.errs) == 0 && len(r.objects) == 0 {
		r.note(envelope.Invalid("plan", opts.Service, "handles nothing, and the service publishes nothing"))
	}
	if len(r.errs) > 0 {
		return nil, errors.Join(r.errs...)
	}
	return encodeYAML(r.objects)
}

func sortedNames(names []string) []string {
	names = slices.Clone(names)
	slices.Sort(names)
	return slices.Compact(names)
}

type renderer struct {
	opts       ManifestOptions
	subscriber destination
	delivery   *delivery
	objects    []any
	names      map[string]string // of triggers → the message
	errs       []error
}

func (r *renderer) note(err error) {
	if err != nil {
		r.errs = append(r.errs, err)
	}
}

func (r *renderer) check() {
	o := &r.opts
	r.note(checkService("Service", o.Service))
	if o.Namespace != "" {
		if why := labelFault(o.Namespace, maxLabel); why != "" {
			r.note(envelope.Invalid("option Namespace", o.Namespace, why))
		}
	}
	if o.BrokerClass != "" {
		r.note(envelope.ValidateName("option BrokerClass", o.BrokerClass, envelope.MaxNameBytes))
	}
	to := o.Subscriber
	if to.Name == "" && to.URI == "" {
		if to.Kind != "" || to.APIVersion != "" {
			r.note(envelope.Invalid("option Subscriber", to.Kind, "has no Name"))
			return
		}
		to.Name = o.Service
	}
	r.subscriber = r.address("Subscriber", to)
	r.checkDelivery()
}

func (r *renderer) checkDelivery() {
	d, out := r.opts.Delivery, delivery{}
	switch {
	case d.Retry < -1 || d.Retry > math.MaxInt32:
		r.note(envelope.Invalid("option Delivery.Retry", strconv.Itoa(d.Retry), "want -1 to 2147483647"))
	case d.Retry != 0:
		out.Retry = new(int32(max(d.Retry, 0)))
	}
	if d.Backoff != "" && d.Backoff != "linear" && d.Backoff != "exponential" {
		r.note(envelope.Invalid("option Delivery.Backoff", d.Backoff, "want linear or exponential"))
	}
	if d.Delay < 0 || d.Delay%time.Millisecond != 0 {
		r.note(envelope.Invalid("option Delivery.Delay", d.Delay.String(), "want whole milliseconds, none negative"))
	}
	if (d.Backoff == "") != (d.Delay == 0) {
		r.note(envelope.Invalid("option Delivery", d.Backoff+" "+d.Delay.String(), "Backoff and Delay are of use together only"))
	}
	out.BackoffPolicy = d.Backoff
	if d.Delay > 0 {
		out.BackoffDelay = "PT" + strconv.FormatFloat(d.Delay.Seconds(), 'f', -1, 64) + "S" // ISO 8601
	}
	if d.DeadLetters != (Address{}) {
		out.DeadLetterSink = new(r.address("Delivery.DeadLetters", d.DeadLetters))
	}
	if out != (delivery{}) {
		r.delivery = &out
	}
}

// address checks a.
func (r *renderer) address(option string, a Address) destination {
	option = "option " + option
	path := a.Path
	if path == "" {
		path = "/"
	}
	if u, err := url.Parse(path); err != nil || path[0] != '/' || strings.HasPrefix(path, "//") || u.Fragment != "" {
		r.note(envelope.Invalid(option+".Path", a.Path, "want an absolute path"))
	}
	if (a.Name == "") == (a.URI == "") {
		r.note(envelope.Invalid(option, strings.TrimSpace(a.Name+" "+a.URI), "want either Name or URI"))
		return destination{}
	}
	if a.URI != "" {
		if a.Kind != "" || a.APIVersion != "" {
			r.note(envelope.Invalid(option+".Kind", a.Kind, "a URI has no kind"))
		}
		r.note(checkURL(option+".URI", a.URI))
		if strings.Contains(a.URI, "?") {
			r.note(envelope.Invalid(option+".URI", a.URI[strings.Index(a.URI, "?"):], "is a query: give it with Path"))
		}
		return destination{URI: strings.TrimSuffix(a.URI, "/") + path}
	}
	if why := labelFault(a.Name, maxLabel); why != "" {
		r.note(envelope.Invalid(option+".Name", a.Name, why))
	}
	ref := reference{APIVersion: a.APIVersion, Kind: a.Kind, Name: a.Name}
	if (a.Kind == "") != (a.APIVersion == "") {
		r.note(envelope.Invalid(option+".Kind", a.Kind, "Kind and APIVersion go together"))
	}
	if ref.Kind == "" {
		ref.APIVersion, ref.Kind = "v1", "Service"
	}
	return destination{Ref: &ref, URI: path}
}

// producer is the service whose broker has the event.
func (r *renderer) producer(event string) (string, bool) {
	service := r.opts.Producers[event]
	switch {
	case service == "":
		r.note(envelope.Invalid("option Producers", event, "no service is named that publishes this event"))
		return "", false
	case service == r.opts.Service && !r.opts.Publishes:
		r.note(envelope.Invalid("option Producers", event, "this service is named as its producer, but Publishes is not set"))
		return "", false
	}
	if err := checkService("Producers "+event, service); err != nil {
		r.note(err)
		return "", false
	}
	return service, true
}

func (r *renderer) broker(name string) {
	b := object{APIVersion: apiVersion, Kind: "Broker", Metadata: metadata{Name: name, Namespace: r.opts.Namespace}}
	if r.opts.BrokerClass != "" {
		b.Metadata.Annotations = map[string]string{"eventing.knative.dev/broker.class": r.opts.BrokerClass}
	}
	r.objects = append(r.objects, b)
}

func (r *renderer) trigger(broker string, kind envelope.Kind, name string) {
	if err := envelope.ValidateName(kind.String()+" name", name, envelope.MaxNameBytes); err != nil {
		r.note(err)
		return
	}
	if why := typeFault(name); why != "" {
		r.note(envelope.Invalid(kind.String()+" name", name, why))
		return
	}
	called := triggerName(r.opts.Service, kind, name)
	if r.names == nil {
		r.names = map[string]string{}
	}
	if other, taken := r.names[called]; taken { // a collision of hashes
		r.note(envelope.Invalid(kind.String()+" name", name, fmt.Sprintf("its trigger %q would be that of %q", called, other)))
		return
	}
	r.names[called] = name
	r.objects = append(r.objects, trigger{
		object: object{
			APIVersion: apiVersion, Kind: "Trigger",
			Metadata: metadata{Name: called, Namespace: r.opts.Namespace, Labels: map[string]string{"eventing.knative.dev/broker": broker}},
		},
		Spec: triggerSpec{
			Broker: broker, Filter: filter{Attributes: map[string]string{"type": name}},
			Subscriber: r.subscriber, Delivery: r.delivery,
		},
	})
}

const apiVersion = "eventing.knative.dev/v1"

// The objects of Knative Eventing, as far as they are written here. Types of
// our own, because the cluster takes a field that it does not know for nothing.
type object struct {
	APIVersion string   `yaml:"apiVersion"`
	Kind       string   `yaml:"kind"`
	Metadata   metadata `yaml:"metadata"`
}

type metadata struct {
	Name        string            `yaml:"name"`
	Namespace   string            `yaml:"namespace,omitempty"`
	Labels      map[string]string `yaml:"labels,omitempty"`
	Annotations map[string]string `yaml:"annotations,omitempty"`
}

type trigger struct {
	object `yaml:",inline"`
	Spec   triggerSpec `yaml:"spec"`
}

type triggerSpec struct {
	Broker     string      `yaml:"broker"`
	Filter     filter      `yaml:"filter"`
	Subscriber destination `yaml:"subscriber"`
	Delivery   *delivery   `yaml:"delivery,omitempty"`
}

type filter struct {
	Attributes map[string]string `yaml:"attributes"`
}

// destination is the duck type of that name: with a reference the URI is
// relative to its address.
type destination struct {
	Ref *reference `yaml:"ref,omitempty"`
	URI string     `yaml:"uri,omitempty"`
}

type reference struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`
	Name       string `yaml:"name"`
}

type delivery struct {
	Retry          *int32       `yaml:"retry,omitempty"`
	BackoffPolicy  string       `yaml:"backoffPolicy,omitempty"`
	BackoffDelay   string       `yaml:"backoffDelay,omitempty"`
	DeadLetterSink *destination `yaml:"deadLetterSink,omitempty"`
}

func encodeYAML(objects []any) ([]byte, error) {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	for _, o := range objects {
		if err := e.Encode(o); err != nil {
			return nil, fmt.Errorf("knativebus: manifests: %w", err)
		}
	}
	if err := e.Close(); err != nil {
		return nil, fmt.Errorf("knativebus: manifests: %w", err)
	}
	return b.Bytes(), nil
}
