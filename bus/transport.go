package bus

import (
	"context"
	"time"

	"github.com/troupe-go/troupe/envelope"
)

// Publisher hands messages to a broker. A Publisher is safe for concurrent use.
type Publisher interface {
	// PublishBatch hands over messages, each by its Kind, and returns once the
	// broker has confirmed or refused each of them, or ctx ended. It keeps no
	// reference to messages.
	//
	// If some were not confirmed the error is a [BatchError], whose errors are
	// [ErrInvalid], [ErrRefused], [ErrUnavailable], [ErrUnroutable],
	// [ErrClosed] or the context's; any other error speaks of all of them.
	// [PublishErrors] reads both.
	//
	// With [Features].OrderedPublish messages of one ordering key may be in
	// one call: they are stored in the order of the call, and when one is not
	// confirmed no later one of its key is. Without, they may not.
	PublishBatch(ctx context.Context, messages []envelope.Message) error

	// Features says what the transport does. It never changes.
	Features() Features
}

// Features says what a transport does.
type Features struct {
	Name string // the transport: "nats"

	Durable        bool // what it confirmed survives its restart
	Consumes       bool // has sources; without, Listen and Subscribe are ErrUnsupported
	DeadLetters    bool // keeps dead letters
	Retained       bool // a group that subscribes for the first time gets events published before
	Deduplicates   bool // drops a message that is published again within its window
	OrderedPublish bool // see Publisher

	// OrderedCommands and OrderedEvents: messages of one ordering key reach the
	// handlers of a group in the order in which they were published, over all
	// replicas of the group.
	OrderedCommands bool
	OrderedEvents   bool

	// ReportsUnroutable: a command that nobody listens to is an ErrUnroutable.
	ReportsUnroutable bool

	// MaxMessageBytes bounds payload and headers of a message; 0 is unknown.
	MaxMessageBytes int

	// MaxRedelivery is how long after its publishing a message can still be
	// delivered, again or at last; 0 is for ever.
	MaxRedelivery time.Duration
}

// Transport is what a broker's adapter implements; [New] makes a [Bus] of it.
// Package bustest holds the suite that it must pass. A Transport is safe for
// concurrent use.
type Transport interface {
	Publisher

	// Listen opens the source of commands of these names, which replicas of
	// one group compete for. What the broker needs for it (queues, streams,
	// consumers) is made, or brought up to date, here. names is sorted and not
	// empty.
	//
	// Errors: [ErrUnavailable], [ErrUnauthorized], [ErrUnsupported],
	// [ErrInvalid], [ErrClosed].
	Listen(ctx context.Context, names []string) (Source, error)

	// Subscribe opens the source of events of these names, of which each group
	// gets one copy.
	//
	// Errors as Listen.
	Subscribe(ctx context.Context, names []string) (Source, error)

	// Group names the consumer of this transport, for receipts and dead
	// letters: "{namespace}.{group}", or the group alone without a namespace.
	Group() string

	// DeadLetters keeps what consumers set aside. A transport without says so
	// in its Features and returns nil.
	DeadLetters() DeadLetters

	// Close gives back what is held and disconnects. A second call returns nil.
	Close() error
}

// Order says how well a [Source] keeps messages of one ordering key in order.
type Order uint8

const (
	// Unordered says that a message that is given back comes later, anywhere, and
	// another replica may have its successor meanwhile.
	Unordered Order = iota

	// OrderedWhileHeld says that one replica gets all messages of a key, in order, as
	// long as it gives none back.
	OrderedWhileHeld

	// OrderedAlways says that also a message that is given back comes before those
	// behind it in its key.
	OrderedAlways
)

// Source gives what a broker delivers to one consumer. Its methods are called
// by one goroutine at a time, except for Close, and beside those of its
// deliveries.
type Source interface {
	// Receive waits until there is something and returns at least one and at
	// most limit deliveries, in their order. When ctx ends it returns the
	// context's error, and keeps what had arrived.
	//
	// An error is transient ([ErrUnavailable]): whoever reads waits a little
	// and calls again, and the source connects again by itself; except for
	// [ErrClosed], [ErrUnauthorized] and permanent ones, which end the run.
	Receive(ctx context.Context, limit int) ([]Delivery, error)

	// Order says how well keys are kept in order.
	Order() Order

	// Lease is how long a delivery may be held without [Delivery.Extend]; 0 is
	// for ever.
	Lease() time.Duration

	// Close gives back everything that was received and not settled, at once
	// where the broker can, and releases the source. Settling afterwards is an
	// [ErrClosed]. A second call returns nil.
	Close(ctx context.Context) error
}

// Delivery is one message on loan from a [Source]. Exactly one of Ack, Retry
// and DeadLetter settles it. Its methods may be called from any goroutine, one
// at a time.
//
// Errors of all that settle: [ErrUnavailable] (the message will be delivered
// again, unless the broker understood after all), [ErrClosed].
type Delivery interface {
	// Message is what arrived. Of a malformed one it has what could be read.
	// It belongs to the receiver, Data included.
	Message() *envelope.Message

	// Malformed is why the message cannot be understood, an [ErrMalformed], or
	// nil.
	Malformed() error

	// Attempt counts deliveries of this message to this group, from 1; where
	// the broker does not count it is 1 for the first this source knows of.
	Attempt() int

	// Resent reports that the message was a dead letter and was sent again.
	Resent() bool

	// Ack tells the broker that the effect is durable. It may return before the
	// broker has heard; if it never does, the message comes again.
	Ack(ctx context.Context) error

	// Retry gives the message back; it comes again, not before delay.
	Retry(ctx context.Context, delay time.Duration) error

	// DeadLetter stores the message among the dead letters of the group, then
	// takes it from the broker: after a crash in between it is in both.
	DeadLetter(ctx context.Context, why Failure) error

	// Extend begins the source's Lease anew.
	Extend(ctx context.Context) error
}

// Revocable is a [Delivery] that the broker may give to another replica while this
// one has it, as Kafka does with partitions. A run asks before it handles one.
type Revocable interface {
	Delivery

	// Begin is called before each attempt to handle the message. If it returns
	// false the message is another replica's by now: it is not handled, not
	// settled, and End is not called.
	Begin() bool

	// End is called behind an attempt, whatever came of it. Until then no other
	// replica gets the message, unless the source's patience is over.
	End()
}
