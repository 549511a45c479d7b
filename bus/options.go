package bus

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// FailurePolicy says what becomes of a message that failed for good.
type FailurePolicy uint8

const (
	// PolicyDeadLetter sets the message aside, with its reason; the next ones
	// of its key go on. It is the default.
	PolicyDeadLetter FailurePolicy = iota

	// PolicyPark sets the message aside, and every later one of its key behind it,
	// until they are sent again, oldest first, or discarded.
	PolicyPark

	// PolicyRetry delivers it again, for ever, as if the failure could pass.
	PolicyRetry

	// PolicyLogAndAck logs the failure and takes the message as handled: it is lost.
	PolicyLogAndAck

	// PolicyStop gives the message back and ends the run with [ErrStopped].
	PolicyStop
)

// String is the policy's name in logs: "dead letter", "park", "retry", "log and
// ack", "stop".
func (p FailurePolicy) String() string {
	if int(p) < len(policyNames) {
		return policyNames[p]
	}
	return fmt.Sprintf("policy %d", uint8(p))
}

var policyNames = [...]string{"dead letter", "park", "retry", "log and ack", "stop"}

// RunOptions tune a run. [Idempotent] and [Inbox] make them; change fields as
// needed. The zero RunOptions is Idempotent().
type RunOptions struct {
	// Policy is for permanent failures; zero means [PolicyDeadLetter].
	Policy FailurePolicy

	// MaxAttempts makes a retryable failure permanent once the handler ran so
	// often. Zero means never: it is delivered again until it succeeds.
	MaxAttempts int

	// Concurrency is how many messages, of different keys, are handled at
	// once. Zero means 16.
	Concurrency int

	// Prefetch is how many messages may wait in memory for a handler. Zero
	// means 256, or four times Concurrency if that is more.
	Prefetch int

	// MaxHeld bounds all messages in memory, also those of keys that wait for
	// their next attempt; beyond it nothing is received. Zero means 10,000.
	MaxHeld int

	// MinBackoff and MaxBackoff bound how long a failed message waits: the
	// first time the minimum, then twice as long each time, with jitter. Zero
	// means 100 ms and 1 minute.
	MinBackoff, MaxBackoff time.Duration

	// HoldFor is how long a failing message is held, with those behind it in
	// its key, before it is given back to a broker that keeps its place
	// ([OrderedAlways]). Zero means 30 seconds.
	HoldFor time.Duration

	// HandlerTimeout ends a handler's context. Zero means no limit.
	HandlerTimeout time.Duration

	// DrainTimeout is how long messages in hand may take to be finished once
	// the run's context has ended; then handlers' contexts end, and the rest
	// is given back. Zero means 10 seconds.
	DrainTimeout time.Duration

	// UntilIdle ends the run once there was nothing to do for so long. Zero
	// means never.
	UntilIdle time.Duration

	// Limit ends the run once so many messages were received and settled. Zero
	// means never. With UntilIdle it makes one pass of a loop of your own.
	Limit int

	// Consumer names the receiver in receipts. Empty means the bus's group.
	Consumer string

	// Observe is told of every settled message, on the goroutine that handled
	// it. It must be quick and safe for concurrent use. Nil means nobody is;
	// see [Counters].
	Observe func(Settled)

	// Logger gets failures. Nil means slog.Default().
	Logger *slog.Logger

	inbox       journal.Journal
	deadLetters DeadLetters // of the bus that runs, for what is parked
}

// Idempotent trusts the handlers: the effect of a message that is delivered
// twice is that of once.
func Idempotent() RunOptions { return RunOptions{} }

// Inbox makes the effect of a message exactly-once, by receipts in journal j,
// within its retention of receipts.
//
// A command that the handler asks of an aggregate gets an id made of the
// consumer, the message, the aggregate, the command and its place, so that a
// second run of the handler gets the replies of the first. The message's own
// receipt is part of the batch that the handler commits by a Repository or a
// Transact on j; one that commits nothing of that kind has it written when it
// returns. After such a commit nothing more can be committed or asked:
// [ErrInboxCommitted]. Effects outside of j are not covered.
//
// Messages need an id that is not blank, has at most
// [envelope.MaxMessageIDBytes] bytes and no control characters; one without
// fails for good.
func Inbox(j journal.Journal) RunOptions { return RunOptions{inbox: j} }

func (o *RunOptions) validate(f Features) error {
	for _, n := range []struct {
		field string
		value int64
	}{
		{"max attempts", int64(o.MaxAttempts)}, {"concurrency", int64(o.Concurrency)}, {"prefetch", int64(o.Prefetch)},
		{"max held", int64(o.MaxHeld)}, {"min backoff", int64(o.MinBackoff)}, {"max backoff", int64(o.MaxBackoff)},
		{"hold for", int64(o.HoldFor)}, {"handler timeout", int64(o.HandlerTimeout)}, {"drain timeout", int64(o.DrainTimeout)},
		{"until idle", int64(o.UntilIdle)}, {"limit", int64(o.Limit)},
	} {
		if n.value < 0 {
			return envelope.Invalid("run option "+n.field, fmt.Sprint(n.value), "is negative")
		}
	}
	if int(o.Policy) >= len(policyNames) {
		return envelope.Invalid("run option policy", o.Policy.String(), "is none")
	}
	if o.Policy == PolicyPark && !f.DeadLetters {
		return fmt.Errorf("%w: %s has no dead letters to park in", ErrUnsupported, f.Name)
	}
	return nil
}

func (o RunOptions) withDefaults() RunOptions {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	defTime := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	def(&o.Concurrency, 16)
	def(&o.Prefetch, max(256, 4*o.Concurrency))
	def(&o.MaxHeld, 10_000)
	defTime(&o.MinBackoff, 100*time.Millisecond)
	defTime(&o.MaxBackoff, max(time.Minute, o.MinBackoff))
	defTime(&o.HoldFor, 30*time.Second)
	defTime(&o.DrainTimeout, 10*time.Second)
	if o.Observe == nil {
		o.Observe = func(Settled) {}
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

// backoff is how long to wait before attempt+1, give or take a fifth.
func (o *RunOptions) backoff(attempt int) time.Duration {
	d := o.MinBackoff << min(max(attempt-1, 0), 30)
	if d <= 0 || d > o.MaxBackoff {
		d = o.MaxBackoff
	}
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
}

// Outcome says what became of a delivered message.
type Outcome uint8

// The outcomes.
const (
	Handled      Outcome = iota + 1 // its handler succeeded
	Duplicate                       // its receipt was there: it had its effect before
	Unhandled                       // nobody wanted it; acknowledged
	Retried                         // it failed, and comes again
	DeadLettered                    // it failed for good, and was set aside
	Parked                          // the same, and its key waits
	Dropped                         // it failed for good, and was acknowledged, by [PolicyLogAndAck]
	Unsettled                       // the broker could not be told; it comes again
)

// String is the outcome's name in logs.
func (o Outcome) String() string {
	names := [...]string{"", "handled", "duplicate", "unhandled", "retried", "dead-lettered", "parked", "dropped", "unsettled"}
	if int(o) < len(names) {
		return names[o]
	}
	return fmt.Sprintf("outcome %d", uint8(o))
}

// Settled tells of one message that a run is done with, for now.
type Settled struct {
	Message *envelope.Message // not to be kept or changed
	Outcome Outcome
	Attempt int           // which this was, from 1
	Err     error         // of the handler, or of settling
	Took    time.Duration // the handler's time
}

// Counters counts outcomes; its method Observe fits [RunOptions].Observe. It is
// safe for concurrent use.
type Counters struct {
	outcomes [int(Unsettled) + 1]atomic.Int64
}

// Observe counts s.
func (c *Counters) Observe(s Settled) { c.outcomes[s.Outcome].Add(1) }

// Count returns how many messages had that outcome.
func (c *Counters) Count(o Outcome) int64 { return c.outcomes[o].Load() }
