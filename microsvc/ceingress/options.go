package ceingress

import (
	"fmt"
	"strings"
	"time"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
)

// Options tune an [Ingress]. A nil *Options means all defaults.
type Options struct {
	// Session names the metadata that a message keeps, beside its correlation,
	// causation and command id: it becomes the caller's session, and goes on with
	// what the handler publishes. In any case; a name that ends in * is a prefix,
	// and "*" is all of it, for an endpoint that nobody but the broker reaches. Nil
	// means x-hasura-*; an empty list none. x-hasura-admin-secret is only let in
	// by its whole name.
	Session []string

	// EventsOnly refuses commands: 422.
	EventsOnly bool

	// MaxBodyBytes bounds a request's body; beyond it is 413. Zero means 4 MiB.
	// The data of one event is bounded by [envelope.MaxDataBytes].
	MaxBodyBytes int64

	// MaxHeaderBytes bounds a request's headers; beyond it is 431. Zero means
	// 128 KiB, which is room for all the metadata that a message can have. The
	// limit of the server counts, too.
	MaxHeaderBytes int

	// MaxBatch is how many events a batch may have; beyond it is 413. Zero
	// means 100.
	MaxBatch int

	// MaxRequests is how many requests are read and handled at once; others are
	// 503 at once. Zero means 256.
	MaxRequests int

	// ReadTimeout bounds how long a body may take to come; beyond it is 408. Zero
	// means 10 s.
	ReadTimeout time.Duration

	// RetryAfter is when senders are told to send again what answers 503. Zero
	// means 1 s.
	RetryAfter time.Duration
}

// adminSecret is a credential of a Hasura server: no pattern lets it in.
const adminSecret = "x-hasura-admin-secret"

func (o *Options) withDefaults() (Options, error) {
	var v Options
	if o != nil {
		v = *o
	}
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"MaxBodyBytes", v.MaxBodyBytes}, {"MaxHeaderBytes", int64(v.MaxHeaderBytes)}, {"MaxBatch", int64(v.MaxBatch)},
		{"MaxRequests", int64(v.MaxRequests)}, {"ReadTimeout", int64(v.ReadTimeout)}, {"RetryAfter", int64(v.RetryAfter)},
	} {
		if f.value < 0 {
			return v, fmt.Errorf("ceingress: %w", envelope.Invalid("option "+f.name, fmt.Sprint(f.value), "is negative"))
		}
	}
	if v.Session == nil {
		v.Session = []string{"x-hasura-*"}
	}
	session := make([]string, 0, len(v.Session))
	for _, pattern := range v.Session {
		if name := strings.TrimSuffix(pattern, "*"); name != "" || pattern == "" {
			if err := envelope.ValidateName("option Session", name, envelope.MaxMetadataKeyBytes); err != nil {
				return v, fmt.Errorf("ceingress: %w", err)
			}
		}
		session = append(session, strings.ToLower(pattern))
	}
	v.Session = session
	if v.MaxBodyBytes == 0 {
		v.MaxBodyBytes = 4 << 20
	}
	if v.MaxHeaderBytes == 0 {
		v.MaxHeaderBytes = 128 << 10
	}
	if v.MaxBatch == 0 {
		v.MaxBatch = 100
	}
	if v.MaxRequests == 0 {
		v.MaxRequests = 256
	}
	if v.ReadTimeout == 0 {
		v.ReadTimeout = 10 * time.Second
	}
	if v.RetryAfter == 0 {
		v.RetryAfter = time.Second
	}
	return v, nil
}

// allows reports whether metadata called key is kept.
func (o *Options) allows(key string) bool {
	name := strings.ToLower(key)
	for _, pattern := range o.Session {
		prefix, isPrefix := strings.CutSuffix(pattern, "*")
		if name == pattern || isPrefix && strings.HasPrefix(name, prefix) && name != adminSecret {
			return true
		}
	}
	return false
}

// runOptions makes of the user's those of the run of one request: one attempt per
// message, whose answer is the sender's to act on.
func runOptions(run bus.RunOptions, service string, o *Options) (bus.RunOptions, error) {
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"max attempts", int64(run.MaxAttempts)}, {"concurrency", int64(run.Concurrency)},
		{"handler timeout", int64(run.HandlerTimeout)}, {"drain timeout", int64(run.DrainTimeout)},
	} {
		if f.value < 0 {
			return run, fmt.Errorf("ceingress: %w", envelope.Invalid("run option "+f.name, fmt.Sprint(f.value), "is negative"))
		}
	}
	switch run.Policy {
	case bus.PolicyDeadLetter, bus.PolicyRetry, bus.PolicyLogAndAck:
	default:
		return run, fmt.Errorf("ceingress: %w", envelope.Invalid("run option policy", run.Policy.String(), "is for a bus: want dead letter, retry or log and ack"))
	}
	if run.Consumer == "" {
		run.Consumer = service
	}
	// All of a batch is in one lane per key from the beginning, and a lane whose
	// first message fails is given back at once.
	run.Prefetch, run.MaxHeld, run.HoldFor = o.MaxBatch, o.MaxBatch, time.Nanosecond
	run.MinBackoff, run.MaxBackoff = o.RetryAfter, o.RetryAfter
	run.UntilIdle = 0
	return run, nil
}
