package kafkabus

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
)

// Options tune a bus. Group and Namespace are required; the zero value of the
// others is the default.
type Options struct {
	// Group is the service: its replicas share the partitions of topics, and each
	// group gets a copy of every event. It is part of the names of consumer
	// groups.
	Group string

	// Namespace is the prefix of all names of one application: buses of different
	// namespaces do not see each other's messages. It has letters, digits, '.',
	// '_' and '-'; no namespace may be another one with ".cmd", ".evt" or
	// ".again" and more behind it.
	Namespace string

	// Compat lets replicas of a Rust service be members of the same groups: they
	// know the assignor range only, which takes all partitions from everybody
	// whenever a replica comes or goes. All replicas of a group must agree.
	Compat bool

	// Partitions is how many partitions a topic is made with: no more replicas
	// than that share its messages. Topics that exist are used as they are. Zero
	// means 8.
	Partitions int

	// Replication is how many brokers keep each message of a topic that is made.
	// Zero means the broker's default.
	Replication int

	// MaxMessageBytes bounds payload, key and headers of a message; the limit of
	// its topic (max.message.bytes) counts, too, where that can be read. Zero
	// means 1,000,000; Kafka's own default has little more.
	MaxMessageBytes int

	// SessionTimeout is how long a replica may give no sign of life before its
	// partitions go to others. Brokers refuse less than
	// group.min.session.timeout.ms, 6 seconds by default. Zero means 30 seconds.
	SessionTimeout time.Duration

	// HandOver is how long handlers may go on with messages of partitions that
	// another replica is about to get. One that takes longer may see a message
	// handled at the same time there. Zero means 30 seconds.
	HandOver time.Duration

	// CommitInterval is how often what was settled is told to the broker. What was
	// handled since the last time is handled again after a crash. Zero means 100
	// milliseconds.
	CommitInterval time.Duration

	// ConfirmTimeout bounds how long the broker may take to confirm a message, or
	// to answer, where the caller's context gives it longer. Zero means 10
	// seconds.
	ConfirmTimeout time.Duration

	// ConnectTimeout bounds making a connection. Zero means 5 seconds.
	ConnectTimeout time.Duration

	// Client are further options of the clients that the bus makes, such as
	// [kgo.SASL] and [kgo.DialTLSConfig].
	Client []kgo.Opt

	// Logger gets what happens to connections and groups. Nil means
	// slog.Default().
	Logger *slog.Logger
}

// Limits of options: of the broker's 16 and 32 bits, and of what makes sense.
const (
	maxPartitions   = 10_000
	maxReplication  = 100
	maxMessageBytes = 64 << 20
)

func (o Options) withDefaults() (Options, error) {
	if err := checkName("group", o.Group); err != nil {
		return o, err
	}
	if err := checkName("namespace", o.Namespace); err != nil {
		return o, err
	}
	for _, n := range []struct {
		field     string
		value     *int
		def, most int
	}{
		{"Partitions", &o.Partitions, 8, maxPartitions},
		{"Replication", &o.Replication, -1, maxReplication},
		{"MaxMessageBytes", &o.MaxMessageBytes, 1_000_000, maxMessageBytes},
	} {
		if *n.value < 0 || *n.value > n.most {
			return o, envelope.Invalid(n.field, fmt.Sprint(*n.value), fmt.Sprintf("want 1 to %d", n.most))
		}
		if *n.value == 0 {
			*n.value = n.def
		}
	}
	if o.MaxMessageBytes < reserved {
		return o, envelope.Invalid("MaxMessageBytes", fmt.Sprint(o.MaxMessageBytes), fmt.Sprintf("want at least %d", reserved))
	}
	for _, t := range []struct {
		field string
		value *time.Duration
		def   time.Duration
	}{
		{"SessionTimeout", &o.SessionTimeout, 30 * time.Second}, {"HandOver", &o.HandOver, 30 * time.Second},
		{"CommitInterval", &o.CommitInterval, 100 * time.Millisecond}, {"ConfirmTimeout", &o.ConfirmTimeout, 10 * time.Second},
		{"ConnectTimeout", &o.ConnectTimeout, 5 * time.Second},
	} {
		if *t.value < 0 {
			return o, envelope.Invalid(t.field, t.value.String(), "is negative")
		}
		if *t.value == 0 {
			*t.value = t.def
		}
	}
	if o.SessionTimeout < time.Second {
		return o, envelope.Invalid("SessionTimeout", o.SessionTimeout.String(), "want at least 1s")
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o, nil
}

// heartbeat is how often a member of a group gives a sign of life, and hears that
// others come and go.
func (o *Options) heartbeat() time.Duration {
	return max(min(o.SessionTimeout/30, 3*time.Second), 50*time.Millisecond)
}

func (o *Options) features() bus.Features {
	return bus.Features{
		Name: "kafka", Durable: true, Consumes: true, DeadLetters: true, Retained: true,
		OrderedPublish: true, OrderedCommands: true, OrderedEvents: true,
		MaxMessageBytes: o.MaxMessageBytes,
	}
}
