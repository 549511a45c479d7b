package actor

import (
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/lock"
	"github.com/troupe-go/troupe/snapshot"
)

// Options tune a [System]. A nil *Options means all defaults.
type Options struct {
	// Logger gets what an operator should know: panics with their stacks,
	// failed activations, a journal that went away and came back. Nil means
	// [slog.Default].
	Logger *slog.Logger

	// Hooks watch the system, for metrics and traces. Nil means none.
	Hooks Hooks

	// MaxActivations bounds how many aggregates are loaded from the journal
	// at once. Zero means max(32, 4 × GOMAXPROCS).
	MaxActivations int

	// MaxActivationQueue bounds how many aggregates wait to be loaded; beyond
	// it a command that needs another one is [aggregate.ErrOverloaded]. Zero
	// means 100,000.
	MaxActivationQueue int

	// MaxResidents bounds how many aggregates are in memory. At the bound the
	// least recently used are passivated, and activations wait for them. Zero
	// means 1,000,000.
	MaxResidents int

	// ActivationTimeout bounds one load from the journal. Zero means 30 s.
	ActivationTimeout time.Duration

	// ProbeAfter is how long commands fail fast with
	// [aggregate.ErrUnavailable] after the journal was found unavailable,
	// before one is let through to try again. It doubles up to ten times as
	// long while the probes fail. Zero means 100 ms.
	ProbeAfter time.Duration
}

// HostOptions tune the aggregates of one type. A nil *HostOptions means all
// defaults.
type HostOptions struct {
	// PassivateAfter is how long an aggregate stays in memory without a
	// command. Zero means 2 minutes; negative means until the system stops or
	// MaxResidents needs the room.
	PassivateAfter time.Duration

	// MailboxSize bounds the commands that wait for one aggregate; beyond it
	// a command is [aggregate.ErrOverloaded]. Zero means 4,096.
	MailboxSize int

	// Snapshots says when a snapshot is stored. The zero policy means every
	// 100 events, and at passivation when 10 or more lie behind the last.
	Snapshots snapshot.Policy

	// Shared makes other processes' commits to the same journal visible at
	// once: an answer that changes nothing (a query, a refusal) is only given
	// after the journal confirmed that the state is the newest. Leave it
	// false when this process is the only writer, as with an embedded file.
	Shared bool

	// Exclusive makes this process the only one that serves the aggregates, by
	// a lease: until it has it, and when it has lost it, commands are
	// [aggregate.ErrUnavailable]. While it lasts, answers need no confirmation
	// by the journal as with Shared. Nil means no lease. The lease is given
	// back by [System.Stop]; when the process dies, another one gets it after
	// the lease's time to live.
	//
	// However the lease is lost, no stream forks and no acknowledged command
	// is lost: that is the journal's. A process that was stopped beyond its
	// lease in the middle of an answer may give one that is older than what
	// the next owner acknowledged meanwhile.
	Exclusive *lock.Locker

	// MaxHold bounds how long a turn is lent, to [Aggregates.Acquire] or to a
	// [System.Transact] that holds several: commands wait meanwhile. Zero
	// means 30 s.
	MaxHold time.Duration

	// Emitter gets what the aggregates enqueue, after the commit; see
	// [aggregate.Emitter]. It is the caller's to close, behind [System.Stop].
	// Nil drops what is enqueued.
	Emitter *aggregate.Emitter

	// CheckState compares the state after each command with a replay of what
	// is recorded and logs the first field that differs: a handler wrote it
	// without an event. It costs a replay per command; for tests and staging.
	CheckState bool
}

const (
	defaultPassivateAfter = 2 * time.Minute
	defaultMailboxSize    = 4096
	defaultMaxHold        = 30 * time.Second
)

// Limits of one turn. Whichever is reached first ends it: the rest of the
// queue forms the next turn, while this one's batch is in flight.
const (
	maxTurnCommands = 256
	maxTurnBytes    = 1 << 20
	maxTurnRecords  = 4096
	maxTurnTime     = 2 * time.Millisecond

	// What one command may record. Together with the limits above, a turn's
	// batch never exceeds what a journal takes.
	maxCommandRecords = 4096
	maxCommandBytes   = 16 << 20

	// maxTries bounds how often a command is decided anew after conflicts.
	maxTries = 8
)

func (o *Options) withDefaults() (Options, error) {
	var v Options
	if o != nil {
		v = *o
	}
	for _, f := range [...]struct {
		name  string
		value int
	}{
		{"MaxActivations", v.MaxActivations}, {"MaxActivationQueue", v.MaxActivationQueue},
		{"MaxResidents", v.MaxResidents}, {"ActivationTimeout", int(v.ActivationTimeout)},
		{"ProbeAfter", int(v.ProbeAfter)},
	} {
		if f.value < 0 {
			return v, envelope.Invalid("actor.Options."+f.name, fmt.Sprint(f.value), "is negative")
		}
	}
	if v.Logger == nil {
		v.Logger = slog.Default()
	}
	if v.MaxActivations == 0 {
		v.MaxActivations = max(32, 4*runtime.GOMAXPROCS(0))
	}
	if v.MaxActivationQueue == 0 {
		v.MaxActivationQueue = 100_000
	}
	if v.MaxResidents == 0 {
		v.MaxResidents = 1_000_000
	}
	if v.ActivationTimeout == 0 {
		v.ActivationTimeout = 30 * time.Second
	}
	if v.ProbeAfter == 0 {
		v.ProbeAfter = 100 * time.Millisecond
	}
	return v, nil
}

func (o *HostOptions) withDefaults() (HostOptions, error) {
	var v HostOptions
	if o != nil {
		v = *o
	}
	if v.MailboxSize < 0 {
		return v, envelope.Invalid("actor.HostOptions.MailboxSize", fmt.Sprint(v.MailboxSize), "is negative")
	}
	if v.MailboxSize == 0 {
		v.MailboxSize = defaultMailboxSize
	}
	if v.Shared && v.Exclusive != nil {
		return v, envelope.Invalid("actor.HostOptions.Shared", "true", "with Exclusive there is nobody to share with")
	}
	if v.MaxHold < 0 {
		return v, envelope.Invalid("actor.HostOptions.MaxHold", v.MaxHold.String(), "is negative")
	}
	if v.MaxHold == 0 {
		v.MaxHold = defaultMaxHold
	}
	if v.PassivateAfter == 0 {
		v.PassivateAfter = defaultPassivateAfter
	}
	return v, nil
}
