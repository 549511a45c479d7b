package rabbitbus

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
)

// Options tune a bus. Group is required; the zero value of the others is the
// default.
type Options struct {
	// Group is the service: its replicas compete for messages, and each group
	// gets a copy of every event.
	Group string

	// Namespace is the prefix of all names of one application: buses of
	// different namespaces do not see each other's messages. Empty is one, too.
	Namespace string

	// Compat declares the work queues exactly as a Rust service does: durable,
	// classic, without arguments. All services of a namespace must agree.
	Compat bool

	// SingleActive has each work queue served by one replica at a time, which
	// keeps the order of each ordering key over all replicas; another one takes
	// over when it ends. All replicas must agree. It is not possible together
	// with Compat.
	SingleActive bool

	// MaxHeld is how many messages of a queue the active replica of
	// SingleActive may have, those of failing keys included, which wait in its
	// memory. Beyond it nothing more is received. Zero means 10,000, as many as
	// a run holds by default.
	MaxHeld int

	// Heartbeat is how often the broker gives a sign of life; after one and a
	// half times as long without one the connection is taken for dead. In whole
	// seconds; zero means 10 seconds.
	Heartbeat time.Duration

	// ConnectTimeout bounds making a connection. Zero means 5 seconds.
	ConnectTimeout time.Duration

	// ConfirmTimeout bounds how long the broker may take to confirm a message,
	// or to answer, where the caller's context gives it longer. Zero means 30
	// seconds.
	ConfirmTimeout time.Duration

	// TLS is for URLs that begin with amqps. Nil means the system's roots.
	TLS *tls.Config

	// Logger gets what happens to connections. Nil means slog.Default().
	Logger *slog.Logger
}

func (o Options) withDefaults() (Options, error) {
	if err := envelope.ValidateName("group", o.Group, envelope.MaxNameBytes); err != nil {
		return o, err
	}
	if o.Namespace != "" {
		if err := envelope.ValidateName("namespace", o.Namespace, envelope.MaxNameBytes); err != nil {
			return o, err
		}
	}
	if strings.HasPrefix(o.Namespace+".", "amq.") {
		return o, envelope.Invalid("namespace", o.Namespace, "RabbitMQ keeps names that begin with amq. for itself")
	}
	if o.Compat && o.SingleActive {
		return o, envelope.Invalid("SingleActive", "true", "is not possible with Compat: the argument of the queue would differ from the Rust service's")
	}
	if o.MaxHeld < 0 || o.MaxHeld > maxPrefetch {
		return o, envelope.Invalid("MaxHeld", fmt.Sprint(o.MaxHeld), fmt.Sprintf("want 0 to %d", maxPrefetch))
	}
	if o.MaxHeld == 0 {
		o.MaxHeld = 10_000
	}
	for _, t := range []struct {
		field string
		value *time.Duration
		def   time.Duration
	}{
		{"Heartbeat", &o.Heartbeat, 10 * time.Second}, {"ConnectTimeout", &o.ConnectTimeout, 5 * time.Second},
		{"ConfirmTimeout", &o.ConfirmTimeout, 30 * time.Second},
	} {
		if *t.value < 0 {
			return o, envelope.Invalid(t.field, t.value.String(), "is negative")
		}
		if *t.value == 0 {
			*t.value = t.def
		}
	}
	if o.Heartbeat < time.Second || o.Heartbeat > 65535*time.Second { // its field in the protocol: seconds, 16 bits
		return o, envelope.Invalid("Heartbeat", o.Heartbeat.String(), "want 1 second to 65,535 seconds")
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	n := names{o.Namespace}
	for _, name := range []string{n.events(), n.dead(), n.deadLock(), n.group(o.Group), n.again(o.Group), n.groupDelay(o.Group, maxDelay)} {
		if len(name) > maxShort {
			return o, envelope.Invalid("namespace and group", o.Namespace+" "+o.Group, fmt.Sprintf("%q has %d bytes, RabbitMQ takes names of at most %d", name, len(name), maxShort))
		}
	}
	return o, nil
}

// features of a transport with these options.
func (o *Options) features() bus.Features {
	return bus.Features{
		Name: "rabbitmq", Durable: true, Consumes: true, DeadLetters: true, ReportsUnroutable: true,
		OrderedCommands: o.SingleActive, OrderedEvents: o.SingleActive,
	}
}
