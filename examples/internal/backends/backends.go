// Package backends opens the journal and the bus that flags of the examples
// name:
//
//	-journal memory                  nothing outlives the program
//	-journal bolt:FILE, FILE.db      one file
//	-journal sqlite:FILE             one SQLite database
//	-journal postgres://…            a PostgreSQL database, a schema for each service
//
//	-bus memory                      services in this process
//	-bus postgres://…
//	-bus nats://host:4222
//	-bus amqp://… or amqps://…       RabbitMQ
//	-bus kafka://host:9092,host:9093
//
// A FILE that ends in a slash is a folder, in which each service has a file. Your
// own program has one of each and needs nothing of this: it calls bolt.Open and
// natsbus.Connect.
package backends

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/kafkabus"
	"github.com/troupe-go/troupe/bus/membus"
	"github.com/troupe-go/troupe/bus/natsbus"
	"github.com/troupe-go/troupe/bus/pgbus"
	"github.com/troupe-go/troupe/bus/rabbitbus"
	"github.com/troupe-go/troupe/envelope"
)

// Memory is the journal, and the bus, of this process only.
const Memory = "memory"

// Backends are the values of the flags. The zero Backends is memory for both. It
// is safe for concurrent use once the flags are parsed.
type Backends struct {
	Journal   string // value of -journal; empty means memory
	Bus       string // value of -bus; empty means memory
	Namespace string // value of -namespace; empty means "examples"

	// Logger is for journals and buses. Nil means slog.Default().
	Logger *slog.Logger

	once   sync.Once
	broker *membus.Broker
}

// Flags defines -journal, -bus and -namespace.
func (b *Backends) Flags(flags *flag.FlagSet) {
	flags.StringVar(&b.Journal, "journal", Memory, `where events are kept: memory, bolt:FILE, sqlite:FILE or postgres://…; a FILE that ends in / is a folder with a file for each service`)
	flags.StringVar(&b.Bus, "bus", Memory, `what messages go over: memory, postgres://…, nats://…, amqp://… or kafka://host:port`)
	flags.StringVar(&b.Namespace, "namespace", "examples", "prefix of names on the bus and of PostgreSQL schemas")
}

func (b *Backends) namespace() string {
	if b.Namespace == "" {
		return "examples"
	}
	return b.Namespace
}

// Durable reports whether events outlive the process.
func (b *Backends) Durable() bool { return b.Journal != "" && b.Journal != Memory }

// Shared reports whether other processes can be on the bus.
func (b *Backends) Shared() bool { return b.Bus != "" && b.Bus != Memory }

// OpenBus connects the service to the bus. Services of one Backends that is in
// memory share a broker.
//
// Errors: name the flag's value if it is none of a bus; those of the transport.
func (b *Backends) OpenBus(ctx context.Context, service string) (*bus.Bus, error) {
	url := b.Bus
	scheme, rest, _ := strings.Cut(url, "://")
	if url == "" || url == Memory {
		scheme = Memory
	} else if rest == "" {
		return nil, fmt.Errorf("-bus %q: want memory, postgres://…, nats://…, amqp://… or kafka://host:port", url)
	}
	var opened *bus.Bus
	var err error
	switch scheme {
	case Memory:
		if err := errors.Join(envelope.ValidateName("service", service, envelope.MaxNameBytes),
			envelope.ValidateName("-namespace", b.namespace(), envelope.MaxNameBytes)); err != nil {
			return nil, err
		}
		b.once.Do(func() { b.broker = membus.NewBroker(nil) })
		return b.broker.Connect(&membus.Options{Group: service, Namespace: b.namespace()}), nil
	case "postgres", "postgresql":
		opened, err = pgbus.OpenAndMigrate(ctx, url, pgbus.Options{Group: service, Namespace: b.namespace(), Logger: b.Logger})
	case "nats", "tls":
		opened, err = natsbus.Connect(ctx, url, natsbus.Options{Group: service, Namespace: b.namespace(), Logger: b.Logger})
	case "amqp", "amqps":
		opened, err = rabbitbus.Connect(ctx, url, rabbitbus.Options{Group: service, Namespace: b.namespace(), Logger: b.Logger})
	case "kafka":
		opened, err = kafkabus.Connect(ctx, rest, kafkabus.Options{Group: service, Namespace: b.namespace(), Logger: b.Logger})
	default:
		return nil, fmt.Errorf("-bus %q: no bus is called %q; want memory, postgres://…, nats://…, amqp://… or kafka://host:port", url, scheme)
	}
	if err != nil {
		return nil, fmt.Errorf("-bus %s: %w", hidden(url), err)
	}
	return opened, nil
}
