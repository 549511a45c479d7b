package microsvc

import (
	"errors"
	"fmt"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/bus"
)

// What a service answers with, beside the errors of its handlers.
var (
	// ErrUnknownCommand reports a command that the service does not have.
	ErrUnknownCommand = errors.New("unknown command")

	// ErrDecode reports an input that is not what the command takes; the place
	// is in a [DecodeError]. It is an [aggregate.ErrInvalid], too.
	ErrDecode = bus.Permanent(errors.New("input cannot be decoded"))

	// ErrGuard reports a call that a [Guard] did not let through.
	ErrGuard = bus.Permanent(errors.New("refused by a guard"))
)

// How a service can be put together wrongly. The names are in [SetupError]s.
var (
	// ErrNameTaken reports a second handler for one name.
	ErrNameTaken = errors.New("has a handler already")

	// ErrNoHandler reports a name without a function, or a zero [Handler].
	ErrNoHandler = errors.New("has no handler")

	// ErrNoHost reports an exposed command whose aggregates nobody hosts: give
	// [Expose] its host, or [Service.WithHosts].
	ErrNoHost = errors.New("has no host for its aggregate")

	// ErrNoBus reports a [Service.Run] without [Service.WithBus].
	ErrNoBus = errors.New("there is no bus to run on")

	// ErrStarted reports a change of a service that is in use.
	ErrStarted = errors.New("is too late, the service is in use")
)

// SetupError is one mistake in how a service was put together. [Service.Check]
// returns all of them.
type SetupError struct {
	Service string
	What    string // "command", "event", "service"
	Name    string
	Err     error // [ErrNameTaken], [ErrNoHandler], [ErrNoHost], [ErrNoBus], [ErrStarted], [aggregate.ErrInvalid]
}

func (e *SetupError) Error() string {
	return fmt.Sprintf("microsvc: service %q: %s %q: %v", e.Service, e.What, e.Name, e.Err)
}

// Unwrap returns what is wrong.
func (e *SetupError) Unwrap() error { return e.Err }

// Permanent says that no message will be handled better.
func (e *SetupError) Permanent() bool { return true }

// DecodeError is the [ErrDecode] of one input.
type DecodeError struct {
	Offset int64  // in bytes, where the mistake was seen; -1 if that is not known
	Field  string // that it is about; empty if it is about none
	Reason string
}

func (e *DecodeError) Error() string {
	text := "input: " + e.Reason
	if e.Field != "" {
		text = fmt.Sprintf("input: field %q: %s", e.Field, e.Reason)
	}
	if e.Offset >= 0 {
		text += fmt.Sprintf(" at offset %d", e.Offset)
	}
	return text
}

// Is reports whether target is [ErrDecode] or [aggregate.ErrInvalid].
func (e *DecodeError) Is(target error) bool {
	return target == ErrDecode || target == aggregate.ErrInvalid
}

// Permanent says that the same input cannot be decoded the next time either.
func (e *DecodeError) Permanent() bool { return true }

// GuardError is the [ErrGuard] of one call; [Refuse] makes it. Its text is for the
// caller.
type GuardError struct{ Text string }

func (e *GuardError) Error() string { return e.Text }

// Is reports whether target is [ErrGuard].
func (e *GuardError) Is(target error) bool { return target == ErrGuard }

// Permanent says that the same call would be refused again.
func (e *GuardError) Permanent() bool { return true }

// PanicError is the [aggregate.ErrPanic] of a handler, a guard or a middleware.
// Its text does not tell what was passed to panic.
type PanicError struct {
	Name  string // of the command or event
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("handler of %q panicked", e.Name) }

// Is reports whether target is [aggregate.ErrPanic].
func (e *PanicError) Is(target error) bool { return target == aggregate.ErrPanic }

// Permanent says that the same call would panic again.
func (e *PanicError) Permanent() bool { return true }
