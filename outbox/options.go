package outbox

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"time"

	"github.com/troupe-go/troupe/envelope"
)

// Options tune a [Dispatcher]. A nil *Options means all defaults.
type Options struct {
	// Owner names this dispatcher to people who look at leases. Empty means
	// the host's name and the process's id.
	Owner string

	// Lanes is how many ranges this dispatcher takes and gives back slots in:
	// at least as many as there are dispatchers. Others may have another number.
	// Zero means 16; at most [envelope.Slots].
	Lanes int

	// LeaseTTL is how long slots stay taken when their dispatcher dies. Leases
	// are renewed every third of it. Zero means 10 s; at least 10 ms.
	LeaseTTL time.Duration

	// Window is how many messages are published at a time: as many may be
	// published twice by a dispatcher that lost its leases without noticing.
	// Zero means 1,000.
	Window int

	// PollInterval is how often the outbox is looked at without being told of a
	// change, how often orders for parked messages are, and how soon lanes are
	// shared out anew. Zero means 1 s.
	PollInterval time.Duration

	// PublishTimeout bounds the wait for the broker's confirmation of one
	// window. Zero means 30 s.
	PublishTimeout time.Duration

	// DrainTimeout bounds how long a window that is under way may take once
	// the run's context has ended. Zero means 5 s.
	DrainTimeout time.Duration

	// MinBackoff and MaxBackoff bound how long it waits after a failure: the
	// first time the minimum, then twice as long each time, with jitter. Zero
	// means 100 ms and 30 s.
	MinBackoff, MaxBackoff time.Duration

	// MaxAttempts is after how many failures a message is parked that the
	// broker does not confirm while it confirms others. Failures while it
	// confirms nothing do not count: an outage counts once or twice, where it
	// begins and ends between the messages of one window. Zero means 20, which
	// with the other defaults is more than 6 minutes; -1 never.
	MaxAttempts int

	// Archive, if there is one, gets messages that were confirmed before they
	// are deleted, in the order of publishing within a key. It may keep them.
	// After an error, and after a crash, they are published and given to it
	// again. Use it to keep what was published.
	Archive func(ctx context.Context, published []envelope.StoredMessage) error

	// Logger gets failures. Nil means slog.Default().
	Logger *slog.Logger
}

func (o *Options) withDefaults() (Options, error) {
	var v Options
	if o != nil {
		v = *o
	}
	for _, f := range []struct {
		name        string
		value       int64
		least, most int64
	}{
		{"Lanes", int64(v.Lanes), 0, envelope.Slots}, {"LeaseTTL", int64(v.LeaseTTL), 0, int64(time.Hour)},
		{"Window", int64(v.Window), 0, 100_000}, {"PollInterval", int64(v.PollInterval), 0, int64(time.Hour)},
		{"PublishTimeout", int64(v.PublishTimeout), 0, int64(time.Hour)}, {"DrainTimeout", int64(v.DrainTimeout), 0, int64(time.Hour)},
		{"MinBackoff", int64(v.MinBackoff), 0, int64(time.Hour)}, {"MaxBackoff", int64(v.MaxBackoff), 0, int64(24 * time.Hour)},
		{"MaxAttempts", int64(v.MaxAttempts), -1, 1 << 31},
	} {
		if f.value < f.least || f.value > f.most {
			return v, envelope.Invalid("option "+f.name, fmt.Sprint(f.value), fmt.Sprintf("want %d to %d", f.least, f.most))
		}
	}
	if v.LeaseTTL > 0 && v.LeaseTTL < 10*time.Millisecond {
		return v, envelope.Invalid("option LeaseTTL", v.LeaseTTL.String(), "is under 10ms")
	}
	if v.Owner == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "unknown"
		}
		v.Owner = fmt.Sprintf("%s/%d", host, os.Getpid())
	}
	if err := envelope.ValidateName("option Owner", v.Owner, envelope.MaxNameBytes); err != nil {
		return v, err
	}
	def := func(value *int, unset int) {
		if *value == 0 {
			*value = unset
		}
	}
	defTime := func(value *time.Duration, unset time.Duration) {
		if *value == 0 {
			*value = unset
		}
	}
	def(&v.Lanes, 16)
	def(&v.Window, 1000)
	def(&v.MaxAttempts, 20)
	defTime(&v.LeaseTTL, 10*time.Second)
	defTime(&v.PollInterval, time.Second)
	defTime(&v.PublishTimeout, 30*time.Second)
	defTime(&v.DrainTimeout, 5*time.Second)
	defTime(&v.MinBackoff, 100*time.Millisecond)
	defTime(&v.MaxBackoff, max(30*time.Second, v.MinBackoff))
	if v.Logger == nil {
		v.Logger = slog.Default()
	}
	return v, nil
}

// backoff is how long to wait behind so many failures, give or take a fifth.
func (o *Options) backoff(failures int) time.Duration {
	d := o.MinBackoff << min(max(failures-1, 0), 30)
	if d <= 0 || d > o.MaxBackoff {
		d = o.MaxBackoff
	}
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
}
