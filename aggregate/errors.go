package aggregate

import (
	"context"
	"errors"
	"fmt"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// What a command answers with besides its reply. Each is the same value on
// every side of a boundary: a client in another process gets an error that
// [errors.Is] one of these, by its [Code].
var (
	// ErrRejected reports that the aggregate's rules refuse the command in
	// its present state. Nothing happened. Asking again may succeed once the
	// state has changed.
	ErrRejected error = permanentError("rejected")

	// ErrNotFound reports that the command needs an aggregate that exists,
	// and there is none of that id.
	ErrNotFound = errors.New("not found")

	// ErrUnauthorized reports that the caller may not do that.
	ErrUnauthorized error = permanentError("unauthorized")

	// ErrInvalid reports a command that can never succeed as it is: blank id,
	// oversized payload. It is [envelope.ErrInvalid].
	ErrInvalid = envelope.ErrInvalid

	// ErrConflict reports that other writers kept coming first; it is
	// [journal.ErrConflict]. Nothing happened. Ask again.
	ErrConflict = journal.ErrConflict

	// ErrOverloaded reports that a queue is full; it is
	// [journal.ErrOverloaded]. The command was not taken. Ask again later, or
	// shed load.
	ErrOverloaded = journal.ErrOverloaded

	// ErrUnavailable reports that the journal cannot serve now; it is
	// [journal.ErrUnavailable]. The command had no effect. Ask again later.
	ErrUnavailable = journal.ErrUnavailable

	// ErrUnknownOutcome reports that the command began, and its caller could
	// not wait for the outcome; it is [journal.ErrUnknownOutcome]. Ask again
	// with the same command id to learn it; without an id, read the state.
	ErrUnknownOutcome = journal.ErrUnknownOutcome

	// ErrNotRun reports that the caller gave up before the command began. It
	// will never run.
	ErrNotRun = errors.New("command was not run")

	// ErrStopped reports that the system is stopping or stopped. The command
	// was not run.
	ErrStopped = errors.New("system is stopped")

	// ErrPanic reports that the command's handler panicked. Nothing happened;
	// the details are in a [PanicError] and in the log.
	ErrPanic error = permanentError("command handler panicked")

	// ErrReplay reports a stored record that the program cannot apply: an
	// event name or schema that it does not know, or a broken payload. The
	// facts are in a [ReplayError].
	ErrReplay = errors.New("replay")

	// ErrUnknownEvent is the [ErrReplay] of an event name that the aggregate
	// does not define.
	ErrUnknownEvent = errors.New("unknown event")

	// ErrUnknownSchema is the [ErrReplay] of a schema that is not the current
	// one and that no upcaster reads.
	ErrUnknownSchema = errors.New("unknown schema")
)

// What a host that lends turns answers who holds an aggregate: see package actor.
var (
	// ErrLockOrder reports that a caller who holds an aggregate wants another
	// one that comes before it in the order of type and id: two such callers
	// could wait for each other.
	ErrLockOrder = errors.New("aggregates are acquired in the order of type and id")

	// ErrNotHeld reports that a caller holds an aggregate no more. Nothing was
	// stored; acquire again.
	ErrNotHeld = errors.New("the aggregate is not held any more")
)

// permanentError is a sentinel that the same message meets again each time it
// is delivered: see [Error.Permanent].
type permanentError string

func (e permanentError) Error() string { return string(e) }
func (permanentError) Permanent() bool { return true }

// Code is the name of a kind of error, in the form in which it crosses
// boundaries.
type Code string

// The codes, one for each sentinel above. CodeInternal is everything else: its
// text is for the log, never for a remote caller.
const (
	CodeRejected       Code = "rejected"
	CodeNotFound       Code = "not_found"
	CodeUnauthorized   Code = "unauthorized"
	CodeInvalid        Code = "invalid"
	CodeConflict       Code = "conflict"
	CodeOverloaded     Code = "overloaded"
	CodeUnavailable    Code = "unavailable"
	CodeUnknownOutcome Code = "unknown_outcome"
	CodeNotRun         Code = "not_run"
	CodeStopped        Code = "stopped"
	CodePanic          Code = "panic"
	CodeInternal       Code = "internal"
)

// codes pairs each code with its sentinel; the first match in this order is an
// error's code.
var codes = []struct {
	code     Code
	sentinel error
}{
	{CodeUnknownOutcome, ErrUnknownOutcome}, // first: it may wrap the reason why nobody knows
	{CodeNotRun, ErrNotRun},
	{CodeNotFound, ErrNotFound},
	{CodeUnauthorized, ErrUnauthorized},
	{CodeRejected, ErrRejected},
	{CodeInvalid, ErrInvalid},
	{CodeConflict, ErrConflict},
	{CodeOverloaded, ErrOverloaded},
	{CodeUnavailable, ErrUnavailable},
	{CodeStopped, ErrStopped},
	{CodePanic, ErrPanic},
}

// CodeOf returns the code of err, and "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	for _, c := range codes {
		if errors.Is(err, c.sentinel) {
			return c.code
		}
	}
	return CodeInternal
}

// Sentinel returns the error value that code stands for, and nil for
// [CodeInternal] and codes that this program does not know.
func (c Code) Sentinel() error {
	for _, known := range codes {
		if known.code == c {
			return known.sentinel
		}
	}
	return nil
}

// Retryable reports whether the same command may succeed later without
// anybody changing it, and that it had no effect so far.
func (c Code) Retryable() bool {
	switch c {
	case CodeConflict, CodeOverloaded, CodeUnavailable, CodeNotRun, CodeStopped:
		return true
	}
	return false
}

// Error is an error with a code and a text that a caller may see. [errors.Is]
// finds the code's sentinel and the cause.
type Error struct {
	Code    Code
	Message string
	Err     error // the cause, in this process only; may be nil
}

func (e *Error) Error() string { return e.Message }

// Is reports whether target is the sentinel of the error's code.
func (e *Error) Is(target error) bool {
	s := e.Code.Sentinel()
	return s != nil && s == target
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Permanent reports whether a message whose handler returned e would only fail
// again, so that a bus sets it aside: for what was rejected, unauthorized,
// invalid, or panicked. What was not found may yet come.
func (e *Error) Permanent() bool {
	switch e.Code {
	case CodeRejected, CodeUnauthorized, CodeInvalid, CodePanic:
		return true
	}
	return false
}

// Reject makes the refusal of a command, with a text for its caller.
func Reject(format string, args ...any) error {
	return &Error{Code: CodeRejected, Message: fmt.Sprintf(format, args...)}
}

// NotFound makes the [ErrNotFound] of one aggregate.
func NotFound(s envelope.Stream) error {
	return &Error{Code: CodeNotFound, Message: fmt.Sprintf("%s not found", s)}
}

// Unauthorized makes an [ErrUnauthorized] with a text for the caller.
func Unauthorized(format string, args ...any) error {
	return &Error{Code: CodeUnauthorized, Message: fmt.Sprintf(format, args...)}
}

// refusal gives an error that a handler returned its code: one without a code
// of its own is a refusal. The text stays, and errors.Is still finds the
// handler's error.
func refusal(err error) error {
	if err == nil || CodeOf(err) != CodeInternal {
		return err
	}
	if errors.Is(err, ErrReplay) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &Error{Code: CodeRejected, Message: err.Error(), Err: err}
}

// PanicError is the [ErrPanic] of one command. Its text names the command and
// not the panic's value, which may hold what a remote caller must not see.
type PanicError struct {
	Stream  envelope.Stream
	Command string
	Value   any    // what was passed to panic
	Stack   []byte // of the panicking goroutine
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("handler of command %q panicked on %s", e.Command, e.Stream)
}

// Is reports whether target is [ErrPanic].
func (e *PanicError) Is(target error) bool { return target == ErrPanic }

// Permanent says that the same message would panic again.
func (e *PanicError) Permanent() bool { return true }

// ReplayError is the [ErrReplay] of one record.
type ReplayError struct {
	Stream  envelope.Stream
	Version uint64
	Event   string
	Schema  uint32
	Err     error // [ErrUnknownEvent], [ErrUnknownSchema], [envelope.ErrUnknownCodec], or the decoder's
}

func (e *ReplayError) Error() string {
	return fmt.Sprintf("replay %s version %d, event %q schema %d: %v", e.Stream, e.Version, e.Event, e.Schema, e.Err)
}

// Is reports whether target is [ErrReplay].
func (e *ReplayError) Is(target error) bool { return target == ErrReplay }

// Unwrap returns the cause.
func (e *ReplayError) Unwrap() error { return e.Err }
