package actor

import (
	"context"
	"log/slog"
	"time"

	"github.com/troupe-go/troupe/envelope"
)

// Hooks watch a system, for metrics and traces. The methods are called from
// many goroutines at once, inside the actors: they must be quick and must not
// ask aggregates. One that panics takes its actor down, which is then
// activated anew.
type Hooks interface {
	// Ask begins a command. The context that it returns goes to the handler;
	// the function is called with the command's outcome, nil for success.
	Ask(ctx context.Context, s envelope.Stream, command string) (context.Context, func(error))
	// Turn reports one turn, after its batch was answered.
	Turn(Turn)
	// Activation reports that an aggregate came into memory, or could not.
	Activation(Activation)
	// Passivation reports that an aggregate left memory.
	Passivation(s envelope.Stream, snapshot bool)
}

// Turn is what [Hooks] learn of one turn.
type Turn struct {
	Stream   envelope.Stream
	Commands int           // decided in it
	Events   int           // in its batch
	Decided  time.Duration // running handlers
	Commit   time.Duration // waiting for the journal; zero when nothing was to be stored
	Err      error         // of the commit
}

// Activation is what [Hooks] learn of one activation.
type Activation struct {
	Stream          envelope.Stream
	Took            time.Duration
	Replayed        int    // records applied
	SnapshotVersion uint64 // 0 when none was used
	SnapshotIgnored error  // why a stored snapshot was not used
	Err             error
}

// errorsOnly passes on records of level Error and above.
type errorsOnly struct{ slog.Handler }

func (h errorsOnly) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelError && h.Handler.Enabled(ctx, l)
}

func (h errorsOnly) WithAttrs(attrs []slog.Attr) slog.Handler {
	return errorsOnly{h.Handler.WithAttrs(attrs)}
}

func (h errorsOnly) WithGroup(name string) slog.Handler {
	return errorsOnly{h.Handler.WithGroup(name)}
}
