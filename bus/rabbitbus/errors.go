package rabbitbus

import (
	"context"
	"errors"
	"fmt"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/troupe-go/troupe/bus"
)

// ErrArguments reports a queue or exchange that exists with other arguments
// than this bus declares. The facts are in an [ArgumentsError].
var ErrArguments = errors.New("rabbitbus: declared otherwise")

// ErrVhost reports a virtual host that the broker does not have. It is a
// [bus.ErrInvalid], too.
var ErrVhost = errors.New("rabbitbus: no such virtual host")

// ArgumentsError is the [ErrArguments] of one queue or exchange. It is a
// [bus.ErrInvalid], too: going on needs a change of the broker or of the
// options.
type ArgumentsError struct {
	What   string // "queue" or "exchange"
	Name   string
	Reason string // the broker's words
}

func (e *ArgumentsError) Error() string {
	return fmt.Sprintf("rabbitbus: %s %q exists with other arguments (%s): set Compat and SingleActive as the service that declared it, "+
		"or delete it once it is empty", e.What, e.Name, e.Reason)
}

// Is reports whether target is [ErrArguments] or [bus.ErrInvalid].
func (e *ArgumentsError) Is(target error) bool {
	return target == ErrArguments || target == bus.ErrInvalid
}

// reply is the broker's own answer in err, or nil.
func reply(err error) *amqp.Error {
	var sent *amqp.Error
	if errors.As(err, &sent) && sent.Server {
		return sent
	}
	return nil
}

// typedDial is the contract's error of a connection that could not be made.
func typedDial(err error) error {
	sent := reply(err)
	switch {
	case errors.Is(err, bus.ErrClosed):
		return err
	case sent == nil:
	case sent.Code == amqp.AccessRefused:
		return fmt.Errorf("rabbitbus: connect: %w: %w", bus.ErrUnauthorized, err)
	case sent.Code == amqp.NotAllowed && strings.Contains(sent.Reason, "not found"): // "vhost x not found"
		return fmt.Errorf("rabbitbus: connect: %w: %w: %w", ErrVhost, bus.ErrInvalid, err)
	case sent.Code == amqp.NotAllowed && strings.Contains(sent.Reason, "refused"): // "access to vhost 'x' refused for user 'y'"
		return fmt.Errorf("rabbitbus: connect: %w: %w", bus.ErrUnauthorized, err)
	}
	if errors.Is(err, amqp.ErrSASL) {
		return fmt.Errorf("rabbitbus: connect: %w: %w", bus.ErrUnauthorized, err)
	}
	return fmt.Errorf("rabbitbus: connect: %w: %w", bus.ErrUnavailable, err)
}

// typed is the contract's error of what was asked on a channel.
func typed(doing string, err error) error {
	sent := reply(err)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, bus.ErrClosed), errors.Is(err, ErrArguments), errors.Is(err, bus.ErrUnauthorized),
		errors.Is(err, bus.ErrUnavailable), errors.Is(err, bus.ErrInvalid),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case sent != nil && sent.Code == amqp.AccessRefused:
		return fmt.Errorf("rabbitbus: %s: %w: %w", doing, bus.ErrUnauthorized, err)
	}
	return fmt.Errorf("rabbitbus: %s: %w: %w", doing, bus.ErrUnavailable, err)
}

// declared is the error of a declaration.
func declared(what, name string, err error) error {
	if sent := reply(err); sent != nil && sent.Code == amqp.PreconditionFailed {
		return &ArgumentsError{What: what, Name: name, Reason: sent.Reason}
	}
	return typed("declare "+what+" "+name, err)
}

// errNoAnswer is the error of what the broker did not answer in time.
var errNoAnswer = fmt.Errorf("rabbitbus: %w: no answer in time", bus.ErrUnavailable)
