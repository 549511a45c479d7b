package bus

import (
	"context"
	"iter"
	"time"

	"github.com/troupe-go/troupe/envelope"
)

// Failure is why a consumer set a message aside.
type Failure struct {
	Reason   string // of the last attempt, for people
	Attempts int    // how often the handler ran
	Time     time.Time

	// Parked: the message's key waits for it, by [PolicyPark]; or it waits behind
	// another one of its key.
	Parked bool
}

// MaxReasonBytes bounds the reason that is stored with a dead letter; what is
// longer is cut.
const MaxReasonBytes = 2 << 10

// Headers of a dead letter on the wire.
const (
	HeaderDeadReason   = envelope.ReservedPrefix + "dead-reason"
	HeaderDeadName     = envelope.ReservedPrefix + "dead-name"
	HeaderDeadGroup    = envelope.ReservedPrefix + "dead-group"
	HeaderDeadAttempts = envelope.ReservedPrefix + "dead-attempts"
	HeaderDeadAt       = envelope.ReservedPrefix + "dead-at" // RFC 3339, with microseconds
	HeaderDeadParked   = envelope.ReservedPrefix + "dead-parked"
)

// DeadLetter is a message that a consumer set aside, as it was delivered, and
// why.
type DeadLetter struct {
	ID      string // of the dead letter, not of its message; opaque
	Group   string // that failed, see [Transport].Group
	Message envelope.Message
	Failure
}

// DeadLetterFilter picks dead letters; the zero one picks all of the group.
type DeadLetterFilter struct {
	AllGroups bool   // of the namespace; else those of this bus's own group
	Name      string // of the message; empty is any
	Key       string // ordering key; empty is any
	Parked    bool   // only parked ones
}

// Matches reports whether l is picked by a bus of that group.
func (f *DeadLetterFilter) Matches(l *DeadLetter, group string) bool {
	return (f.AllGroups || l.Group == group) &&
		(f.Name == "" || l.Message.Name == f.Name) &&
		(f.Key == "" || l.Message.OrderingKey() == f.Key) &&
		(!f.Parked || l.Parked)
}

// DeadLetters keeps what consumers set aside. Its methods are safe for
// concurrent use.
//
// Errors of all: [ErrUnavailable], [ErrUnauthorized], [ErrClosed], the
// context's.
type DeadLetters interface {
	// List yields those that filter picks, oldest first. An error is the last
	// thing yielded. What is added or removed meanwhile may be seen or not.
	List(ctx context.Context, filter DeadLetterFilter) iter.Seq2[DeadLetter, error]

	// Show returns one.
	//
	// Errors: also [ErrNotFound].
	Show(ctx context.Context, id string) (DeadLetter, error)

	// Resend delivers one again, to the group that set it aside and to no
	// other, with its message's id, and removes it. After a crash in between
	// it is in both places.
	//
	// Errors: also [ErrNotFound].
	Resend(ctx context.Context, id string) error

	// ResendAll is Resend of all that filter picks, oldest first, and returns
	// how many.
	ResendAll(ctx context.Context, filter DeadLetterFilter) (int, error)

	// Discard removes one for good.
	//
	// Errors: also [ErrNotFound].
	Discard(ctx context.Context, id string) error
}
