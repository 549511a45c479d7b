package sqlite

import (
	"fmt"
	"log/slog"
	"math"
	"time"
)

// Options tune a [Journal]. A nil *Options means all defaults.
type Options struct {
	// QueueEvents and QueueBytes bound what waits for the committer. At the
	// bound Credit says no; at twice the bound Submit answers ErrOverloaded.
	// Zero means 100,000 events and 64 MiB.
	QueueEvents int
	QueueBytes  int

	// MaxGroupEvents and MaxGroupBytes bound what one transaction stores; a
	// batch beyond them gets one of its own. More shares a sync among more
	// batches, and lets the first of them, and other processes, wait longer.
	// Zero means 10,000 events and 4 MiB.
	MaxGroupEvents int
	MaxGroupBytes  int

	// Readers is how many reads run at once, each on a connection of its own;
	// more wait. A database in memory has one connection for everything, and
	// one that the program opened has no more than its handle allows. Zero
	// means 4.
	Readers int

	// BusyTimeout is how long a transaction waits for the lock of another
	// process, and for a connection. Zero means 5 s. SQLite counts whole
	// milliseconds.
	BusyTimeout time.Duration

	// ReceiptRetention is how long the receipt of a command or a message is
	// found, and for how long a batch that left neither event nor receipt is
	// known when it is submitted again. Set it to no less than the longest
	// redelivery of the bus. Zero means 24 h.
	ReceiptRetention time.Duration

	// Logger hears about failed commits and migrations. Nil means
	// slog.Default().
	Logger *slog.Logger

	// For tests.
	now         func() time.Time
	indexEvery  int
	indexSlices int
}

// withDefaults returns a copy of o in which every field is set, or says which
// one is wrong.
func (o *Options) withDefaults() (Options, error) {
	var c Options
	if o != nil {
		c = *o
	}
	for _, n := range []struct {
		name     string
		value    *int
		fallback int
		most     int
	}{
		{"QueueEvents", &c.QueueEvents, 100_000, math.MaxInt / 4},
		{"QueueBytes", &c.QueueBytes, 64 << 20, math.MaxInt / 4},
		{"MaxGroupEvents", &c.MaxGroupEvents, 10_000, math.MaxInt / 4},
		{"MaxGroupBytes", &c.MaxGroupBytes, 4 << 20, math.MaxInt / 4},
		{"Readers", &c.Readers, 4, 1_000},
	} {
		if *n.value == 0 {
			*n.value = n.fallback
		}
		if *n.value < 1 || *n.value > n.most {
			return c, fmt.Errorf("sqlite: option %s is %d, want 1 to %d", n.name, *n.value, n.most)
		}
	}
	for _, d := range []struct {
		name           string
		value          *time.Duration
		fallback, most time.Duration
	}{
		{"BusyTimeout", &c.BusyTimeout, 5 * time.Second, time.Hour},
		{"ReceiptRetention", &c.ReceiptRetention, 24 * time.Hour, math.MaxInt64},
	} {
		if *d.value == 0 {
			*d.value = d.fallback
		}
		if *d.value < time.Millisecond || *d.value > d.most {
			return c, fmt.Errorf("sqlite: option %s is %s, want %s to %s", d.name, *d.value, time.Millisecond, d.most)
		}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.indexEvery == 0 {
		c.indexEvery, c.indexSlices = indexEvery, indexSlices
	}
	if c.now == nil {
		c.now = time.Now
	}
	return c, nil
}
