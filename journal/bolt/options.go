package bolt

import (
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"runtime"
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
	// batches, and lets the first of them wait longer. Zero means 10,000
	// events and 4 MiB.
	MaxGroupEvents int
	MaxGroupBytes  int

	// MaxHeads is how many streams' heads are kept in memory beside those
	// that changed since the last checkpoint. Others are read from the file
	// when they are needed. Zero means 1,000,000 (about 200 bytes each).
	MaxHeads int

	// CheckpointEvents is how many events a reopened file may have to replay
	// to rebuild its heads and receipts. Zero means 500,000 (about 0.3 s).
	CheckpointEvents int

	// ReceiptRetention is how long the receipt of a command or a message is
	// found at least. Set it to no less than the longest redelivery of the bus. Zero means 24 h.
	ReceiptRetention time.Duration

	// ReceiptWindow is how many of the newest receipts are looked up in
	// memory (about 40 bytes each); older ones are in the file. Zero means
	// 1,000,000.
	ReceiptWindow int

	// LockTimeout is how long Open waits for another process to close the
	// file. Zero means one second.
	LockTimeout time.Duration

	// MapBytes is how much address space is reserved for the file. A file
	// that outgrows it is mapped anew, for which the committer waits until
	// no read is under way. Zero means 16 GiB on 64-bit Linux and macOS, and
	// the size of the file elsewhere.
	MapBytes int64

	// FileMode is what a new file is created with, before umask. Zero means
	// 0600.
	FileMode fs.FileMode

	// Logger hears about recoveries and failed commits. Nil means
	// slog.Default().
	Logger *slog.Logger
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
		least    int
	}{
		{"QueueEvents", &c.QueueEvents, 100_000, 1},
		{"QueueBytes", &c.QueueBytes, 64 << 20, 1},
		{"MaxGroupEvents", &c.MaxGroupEvents, 10_000, 1},
		{"MaxGroupBytes", &c.MaxGroupBytes, 4 << 20, 1},
		{"MaxHeads", &c.MaxHeads, 1_000_000, 1},
		{"CheckpointEvents", &c.CheckpointEvents, 500_000, 2},
		{"ReceiptWindow", &c.ReceiptWindow, 1_000_000, 2},
	} {
		if *n.value == 0 {
			*n.value = n.fallback
		}
		if *n.value < n.least || *n.value > math.MaxInt/4 {
			return c, fmt.Errorf("bolt: option %s is %d, want at least %d", n.name, *n.value, n.least)
		}
	}
	for _, d := range []struct {
		name     string
		value    *time.Duration
		fallback time.Duration
	}{
		{"ReceiptRetention", &c.ReceiptRetention, 24 * time.Hour},
		{"LockTimeout", &c.LockTimeout, time.Second},
	} {
		if *d.value == 0 {
			*d.value = d.fallback
		}
		if *d.value < 0 {
			return c, fmt.Errorf("bolt: option %s is %s, want a positive duration", d.name, *d.value)
		}
	}
	if c.MapBytes < 0 || c.MapBytes > math.MaxInt {
		return c, fmt.Errorf("bolt: option MapBytes is %d, want 0 to %d", c.MapBytes, math.MaxInt)
	}
	if c.MapBytes == 0 && math.MaxInt > math.MaxInt32 && (runtime.GOOS == "linux" || runtime.GOOS == "darwin") {
		c.MapBytes = defaultMapBytes
	}
	if c.FileMode == 0 {
		c.FileMode = 0o600
	}
	if c.FileMode&^fs.ModePerm != 0 || c.FileMode&0o600 != 0o600 {
		return c, fmt.Errorf("bolt: option FileMode is %#o, want permission bits that let the owner read and write", uint32(c.FileMode))
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c, nil
}

// defaultMapBytes is an int64 constant so that 32-bit platforms compile.
const defaultMapBytes int64 = 16 << 30
