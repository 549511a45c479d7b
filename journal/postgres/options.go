package postgres

import (
	"fmt"
	"log/slog"
	"math"
	"regexp"
	"time"
)

// Options tune a [Journal]. A nil *Options means all defaults.
type Options struct {
	// Schema is the PostgreSQL schema that holds the journal's tables: a
	// lower-case letter or underscore, then letters, digits and underscores,
	// at most 63 bytes. Empty means "troupe".
	Schema string

	// QueueEvents and QueueBytes bound what waits for the committers. At the
	// bound Credit says no; at twice the bound Submit answers ErrOverloaded.
	// Zero means 100,000 events and 64 MiB.
	QueueEvents int
	QueueBytes  int

	// MaxGroupEvents and MaxGroupBytes bound what one transaction stores; a
	// batch beyond them gets one of its own. More shares a flush among more
	// batches, and lets the first of them wait longer. Zero means 5,000 events
	// and 4 MiB.
	MaxGroupEvents int
	MaxGroupBytes  int

	// Committers is how many transactions store batches at once, besides one
	// for batches that touch several streams; each has a connection. More than
	// two pay only where the server has cores to spare. Zero means 2.
	Committers int

	// Readers is how many reads run at once, each on a connection of its own;
	// more wait. [FromPool] reads through the pool that it was given. Zero
	// means 4.
	Readers int

	// ConnectTimeout bounds the making of a connection. Zero means 5 s.
	ConnectTimeout time.Duration

	// StatementTimeout is how long the server works on one statement before it
	// gives up; one that stores batches and gets no answer for 5 s longer is an
	// ErrUnknownOutcome. Zero means 30 s.
	StatementTimeout time.Duration

	// LockTimeout is how long a statement waits for a lock that somebody else
	// holds: other processes with a journal do for milliseconds. After twice
	// that, batches of streams whose heads are still held are an
	// ErrUnavailable, and the others are stored. Zero means 2 s.
	LockTimeout time.Duration

	// ReceiptRetention is how long the receipt of a command or a message is
	// found. Set it to no less than the longest redelivery of the bus. Zero
	// means 24 h.
	ReceiptRetention time.Duration

	// Logger hears about failed commits, lost connections and migrations. Nil
	// means slog.Default().
	Logger *slog.Logger

	now func() time.Time // for tests
}

var schemaName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)

// withDefaults returns a copy of o in which every field is set, or says which
// one is wrong.
func (o *Options) withDefaults() (Options, error) {
	var c Options
	if o != nil {
		c = *o
	}
	if c.Schema == "" {
		c.Schema = "troupe"
	}
	if !schemaName.MatchString(c.Schema) {
		return c, fmt.Errorf("postgres: option Schema is %q, want a lower-case letter or underscore, then letters, digits and underscores, at most 63", c.Schema)
	}
	for _, n := range []struct {
		name     string
		value    *int
		fallback int
		most     int
	}{
		{"QueueEvents", &c.QueueEvents, 100_000, math.MaxInt / 4},
		{"QueueBytes", &c.QueueBytes, 64 << 20, math.MaxInt / 4},
		{"MaxGroupEvents", &c.MaxGroupEvents, 5_000, math.MaxInt / 4},
		{"MaxGroupBytes", &c.MaxGroupBytes, 4 << 20, math.MaxInt / 4},
		{"Committers", &c.Committers, 2, 64},
		{"Readers", &c.Readers, 4, 1_000},
	} {
		if *n.value == 0 {
			*n.value = n.fallback
		}
		if *n.value < 1 || *n.value > n.most {
			return c, fmt.Errorf("postgres: option %s is %d, want 1 to %d", n.name, *n.value, n.most)
		}
	}
	for _, d := range []struct {
		name           string
		value          *time.Duration
		fallback, most time.Duration
	}{
		{"ConnectTimeout", &c.ConnectTimeout, 5 * time.Second, time.Hour},
		{"StatementTimeout", &c.StatementTimeout, 30 * time.Second, time.Hour},
		{"LockTimeout", &c.LockTimeout, 2 * time.Second, time.Hour},
		{"ReceiptRetention", &c.ReceiptRetention, 24 * time.Hour, math.MaxInt64},
	} {
		if *d.value == 0 {
			*d.value = d.fallback
		}
		if *d.value < time.Millisecond || *d.value > d.most {
			return c, fmt.Errorf("postgres: option %s is %s, want %s to %s", d.name, *d.value, time.Millisecond, d.most)
		}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.now == nil {
		c.now = time.Now
	}
	return c, nil
}

// expired is the time, in microseconds since 1970, at or before which what was
// stored counts as absent.
func (o *Options) expired() int64 { return o.now().Add(-o.ReceiptRetention).UnixMicro() }
