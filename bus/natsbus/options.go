package natsbus

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
)

// Options tune a bus. Group and Namespace are required; the zero value of the
// others is the default.
type Options struct {
	// Group is the service: its replicas compete for messages, and each group
	// gets a copy of every event. It names consumers, so it cannot have '.',
	// '*', '>', '/', '\' or white space. A Rust service replaces these by '_' in
	// the name of its group: write '_', and the groups are the same.
	Group string

	// Namespace is the prefix of all names of one application: buses of
	// different namespaces do not see each other's messages. It is made of
	// tokens between dots, as subjects are; one namespace cannot begin with all
	// tokens of another one.
	Namespace string

	// Stream limits the stream of the namespace, and Dead that of its dead
	// letters. They count when the bus makes the stream. One that exists is
	// used as it is, if it can be, see UpdateStreams.
	Stream, Dead Limits

	// UpdateStreams changes streams that exist with other limits to Stream and
	// Dead. Without, what differs is logged.
	UpdateStreams bool

	// SingleActive has each consumer served by one replica at a time, which
	// keeps the order of each ordering key over all replicas; another one takes
	// over when it ends, or gives no sign of life for AckWait. All replicas must
	// agree.
	SingleActive bool

	// AckWait is how long a replica may be silent before its messages go to
	// another one; a run renews it while a handler works. All replicas of a
	// group should agree: the last one to start decides for the broker. Zero
	// means 30 seconds.
	AckWait time.Duration

	// MaxAckPending bounds the messages of a group that were delivered and not
	// settled, those that wait to be tried again included: beyond it the group
	// gets nothing more. Zero means 100,000.
	MaxAckPending int

	// MaxInFlight bounds the messages of this bus that were sent and not
	// confirmed yet. Publishing beyond it waits. Zero means 1,024.
	MaxInFlight int

	// ConfirmTimeout bounds how long the broker may take to confirm a message,
	// or to answer, where the caller's context gives it longer. Zero means 10
	// seconds.
	ConfirmTimeout time.Duration

	// ConnectTimeout bounds making a connection. Zero means 5 seconds.
	ConnectTimeout time.Duration

	// Domain is the JetStream domain. Empty means the server's own.
	Domain string

	// Conn are further options of the connection that [Connect] makes, such as
	// credentials and TLS. [FromConn] does not look at them.
	Conn []nats.Option

	// Logger gets what happens to connections. Nil means slog.Default().
	Logger *slog.Logger
}

// Limits bound a stream. The zero value of each field is its default.
type Limits struct {
	// MaxAge is how long a message is kept, handled or not. Zero means 7 days,
	// and for dead letters for ever; -1 is for ever.
	MaxAge time.Duration

	// MaxBytes is how much the stream may hold; the broker reserves it. Zero
	// means 1 GiB, and for dead letters 256 MiB; -1 is without a limit.
	MaxBytes int64

	// MaxMessages is how many messages the stream may hold. Zero is without a
	// limit.
	MaxMessages int64

	// Replicas is how many servers of a cluster keep each message, 1 to 5. Zero
	// means 1.
	Replicas int

	// Memory keeps the stream in the broker's memory: its restart loses it.
	Memory bool

	// DedupWindow is for how long the broker knows the ids of messages, and
	// drops one that is published again. Zero means 2 minutes, or MaxAge if that
	// is shorter.
	DedupWindow time.Duration
}

// dedupWindow is the broker's own default.
const dedupWindow = 2 * time.Minute

func (l Limits) withDefaults(field string, maxAge time.Duration, maxBytes int64) (Limits, error) {
	if l.MaxAge < -1 || l.MaxBytes < -1 || l.MaxMessages < 0 || l.DedupWindow < 0 {
		return l, envelope.Invalid(field, fmt.Sprintf("%+v", l), "has a negative limit")
	}
	if l.Replicas < 0 || l.Replicas > 5 {
		return l, envelope.Invalid(field+".Replicas", fmt.Sprint(l.Replicas), "want 1 to 5")
	}
	switch l.MaxAge {
	case 0:
		l.MaxAge = maxAge
	case -1:
		l.MaxAge = 0
	}
	if l.MaxBytes == 0 {
		l.MaxBytes = maxBytes
	}
	if l.MaxMessages == 0 {
		l.MaxMessages = -1
	}
	l.Replicas = max(l.Replicas, 1)
	if l.DedupWindow == 0 {
		l.DedupWindow = dedupWindow
		if l.MaxAge > 0 {
			l.DedupWindow = min(l.DedupWindow, l.MaxAge)
		}
	}
	return l, nil
}

// apply writes the limits into c.
func (l Limits) apply(c jetstream.StreamConfig) jetstream.StreamConfig {
	c.Discard = jetstream.DiscardNew
	c.MaxAge, c.MaxBytes, c.MaxMsgs, c.Replicas, c.Duplicates = l.MaxAge, l.MaxBytes, l.MaxMessages, l.Replicas, l.DedupWindow
	return c
}

func (o Options) withDefaults() (Options, error) {
	if err := checkGroup(o.Group); err != nil {
		return o, err
	}
	if err := checkNamespace(o.Namespace); err != nil {
		return o, err
	}
	var err error
	if o.Stream, err = o.Stream.withDefaults("Stream", 7*24*time.Hour, 1<<30); err != nil {
		return o, err
	}
	if o.Dead, err = o.Dead.withDefaults("Dead", 0, 256<<20); err != nil {
		return o, err
	}
	for _, n := range []struct {
		field string
		value *int
		def   int
	}{
		{"MaxAckPending", &o.MaxAckPending, 100_000}, {"MaxInFlight", &o.MaxInFlight, 1024},
	} {
		if *n.value < 0 {
			return o, envelope.Invalid(n.field, fmt.Sprint(*n.value), "is negative")
		}
		if *n.value == 0 {
			*n.value = n.def
		}
	}
	for _, t := range []struct {
		field string
		value *time.Duration
		def   time.Duration
	}{
		{"AckWait", &o.AckWait, 30 * time.Second}, {"ConfirmTimeout", &o.ConfirmTimeout, 10 * time.Second},
		{"ConnectTimeout", &o.ConnectTimeout, 5 * time.Second},
	} {
		if *t.value < 0 {
			return o, envelope.Invalid(t.field, t.value.String(), "is negative")
		}
		if *t.value == 0 {
			*t.value = t.def
		}
	}
	if o.AckWait < 100*time.Millisecond {
		return o, envelope.Invalid("AckWait", o.AckWait.String(), "want at least 100ms, or a run cannot renew it in time")
	}
	if o.Domain != "" {
		if err := checkTokens("Domain", o.Domain); err != nil {
			return o, err
		}
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o, nil
}

// features of a bus on the stream with this configuration.
func (o *Options) features(c *jetstream.StreamConfig, maxPayload int64) bus.Features {
	most := maxPayload
	if c.MaxMsgSize > 0 {
		most = min(most, int64(c.MaxMsgSize))
	}
	return bus.Features{
		Name: "nats", Consumes: true, DeadLetters: true,
		Durable: c.Storage == jetstream.FileStorage, Retained: c.Retention == jetstream.LimitsPolicy, Deduplicates: c.Duplicates > 0,
		OrderedCommands: o.SingleActive, OrderedEvents: o.SingleActive,
		MaxMessageBytes: int(max(most-reserved, 1)),
	}
}
