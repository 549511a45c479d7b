package bus

import (
	"errors"
	"fmt"

	"github.com/troupe-go/troupe/envelope"
)

// What a bus answers with. Each text says what the caller does then.
var (
	// ErrInvalid reports a message that no transport may carry; it is
	// [envelope.ErrInvalid]. It was not sent and never will be.
	ErrInvalid = envelope.ErrInvalid

	// ErrRefused reports that the broker refuses this message and will refuse
	// it again: too large, a name that it cannot have, no permission for that
	// name. It is permanent: change the message or the broker.
	ErrRefused = errors.New("bus: message refused")

	// ErrUnavailable reports that the broker did not confirm: it is away, slow
	// or shutting down. The message may have arrived. Publish it again;
	// receivers tell repeats by its id.
	ErrUnavailable = errors.New("bus: unavailable")

	// ErrUnroutable reports a command that no service listens to. It was not
	// kept. Send it again once the service exists.
	ErrUnroutable = errors.New("bus: nobody listens to this command")

	// ErrUnauthorized reports that the broker refuses the credentials, or a
	// permission that this program needs to start.
	ErrUnauthorized = errors.New("bus: unauthorized")

	// ErrUnsupported reports something that this transport does not do, see
	// [Features].
	ErrUnsupported = errors.New("bus: not supported by this transport")

	// ErrMalformed reports a message on the wire that cannot be understood: a
	// foreign one, or a broken one. It goes to the dead letters.
	ErrMalformed = errors.New("bus: malformed message")

	// ErrNotFound reports a dead letter that is not there (any more).
	ErrNotFound = errors.New("bus: no such dead letter")

	// ErrClosed reports a call on a bus that was closed.
	ErrClosed = errors.New("bus: closed")

	// ErrStopped reports that a handler's permanent failure ended the run, as
	// [PolicyStop] demands. The message was given back.
	ErrStopped = errors.New("bus: stopped by a failed message")

	// ErrNotDrained reports that handlers still ran when the time to drain was
	// over. Their messages come again, perhaps while they still run.
	ErrNotDrained = errors.New("bus: handlers still run after the time to drain")

	// ErrPanic reports that a handler panicked; the stack is in the log. It is
	// permanent.
	ErrPanic = errors.New("bus: handler panicked")

	// ErrInboxCommitted reports that a handler went on after the commit that
	// carried its message's receipt: what it does now would be lost if it
	// failed, as the message would not come again. Do it before, or in the
	// same commit. It is permanent.
	ErrInboxCommitted = errors.New("bus: the inbox handler has committed already")

	// ErrInboxJournal reports that an inbox handler commits to another journal
	// than that of its inbox: the message's receipt cannot be part of it. Ask
	// aggregates of that journal instead. It is permanent.
	ErrInboxJournal = errors.New("bus: the inbox handler commits to another journal")
)

// Permanent marks err as one that the same message will meet again: the runner
// does not redeliver it but does what the [FailurePolicy] says. A nil err stays
// nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &markedError{err: err, permanent: true}
}

// Retryable marks err as one that may pass, whatever it is otherwise: the
// message will be delivered again. A nil err stays nil.
func Retryable(err error) error {
	if err == nil {
		return nil
	}
	return &markedError{err: err}
}

// IsPermanent reports whether the same message will fail again. The outermost
// error that knows decides: one marked by [Permanent] or [Retryable], or any
// with a method Permanent() bool, such as those of package aggregate. Of the rest, [ErrInvalid], [ErrRefused],
// [ErrMalformed], [ErrUnsupported], [ErrPanic], [ErrInboxCommitted] and
// [ErrInboxJournal] are permanent, and nothing else is: what nobody thought of
// is tried again.
func IsPermanent(err error) bool {
	if err == nil {
		return false
	}
	var marked interface{ Permanent() bool }
	if errors.As(err, &marked) {
		return marked.Permanent()
	}
	for _, permanent := range []error{ErrInvalid, ErrRefused, ErrMalformed, ErrUnsupported, ErrPanic, ErrInboxCommitted, ErrInboxJournal} {
		if errors.Is(err, permanent) {
			return true
		}
	}
	return false
}

type markedError struct {
	err       error
	permanent bool
}

func (e *markedError) Error() string   { return e.err.Error() }
func (e *markedError) Unwrap() error   { return e.err }
func (e *markedError) Permanent() bool { return e.permanent }

// BatchError says which messages of one [Publisher.PublishBatch] were not
// confirmed.
type BatchError struct {
	// Errors has one entry per message of the call, in its order; nil where
	// the message was confirmed.
	Errors []error
}

func (e *BatchError) Error() string {
	failed, first := 0, error(nil)
	for _, err := range e.Errors {
		if err != nil {
			failed++
			if first == nil {
				first = err
			}
		}
	}
	return fmt.Sprintf("%d of %d messages were not published, the first: %v", failed, len(e.Errors), first)
}

// Unwrap returns the errors of the messages that were not confirmed.
func (e *BatchError) Unwrap() []error {
	errs := make([]error, 0, len(e.Errors))
	for _, err := range e.Errors {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// Or returns e, or nil if every message was confirmed.
func (e *BatchError) Or() error {
	for _, err := range e.Errors {
		if err != nil {
			return e
		}
	}
	return nil
}

// PublishErrors spreads what a [Publisher.PublishBatch] of n messages returned
// over them: one entry each, nil where it was confirmed.
func PublishErrors(err error, n int) []error {
	errs := make([]error, n)
	if err == nil {
		return errs
	}
	var batch *BatchError
	if errors.As(err, &batch) && len(batch.Errors) == n {
		copy(errs, batch.Errors)
		return errs
	}
	for i := range errs {
		errs[i] = err
	}
	return errs
}
