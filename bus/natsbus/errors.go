package natsbus

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
)

// ErrJetStream reports a server, or an account of it, without JetStream. It is a
// [bus.ErrInvalid], too.
var ErrJetStream = errors.New("natsbus: JetStream is not enabled")

// ErrSettings reports a stream or consumer that exists with settings that this
// bus cannot work with. The facts are in a [SettingsError].
var ErrSettings = errors.New("natsbus: unusable settings")

// SettingsError is the [ErrSettings] of one stream or consumer. It is a
// [bus.ErrInvalid], too: going on needs a change of the broker or of the
// options.
type SettingsError struct {
	What   string // "stream" or "consumer"
	Name   string
	Reason string
}

func (e *SettingsError) Error() string {
	return fmt.Sprintf("natsbus: %s %q cannot be used: %s", e.What, e.Name, e.Reason)
}

// Is reports whether target is [ErrSettings] or [bus.ErrInvalid].
func (e *SettingsError) Is(target error) bool {
	return target == ErrSettings || target == bus.ErrInvalid
}

// Codes of JetStream's errors (server/errors.json) that its client has no names
// for.
const (
	codeSubjectOverlap   jetstream.ErrorCode = 10065
	codeHeaderTooLarge   jetstream.ErrorCode = 10097
	codeMaxPendingExcess jetstream.ErrorCode = 10121
)

// errNoAnswer is the error of what the broker did not answer in time.
var errNoAnswer = fmt.Errorf("natsbus: %w: no answer in time", bus.ErrUnavailable)

// reply is JetStream's own answer in err, or nil.
func reply(err error) *jetstream.APIError {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return api
	}
	var typed jetstream.JetStreamError
	if errors.As(err, &typed) {
		return typed.APIError()
	}
	return nil
}

func unauthorized(err error) bool {
	for _, auth := range []error{nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired, nats.ErrPermissionViolation} {
		if errors.Is(err, auth) {
			return true
		}
	}
	return false
}

// typedDial is the contract's error of a connection that could not be made.
func typedDial(err error) error {
	switch {
	case unauthorized(err):
		return fmt.Errorf("natsbus: connect: %w: %w", bus.ErrUnauthorized, err)
	case errors.Is(err, nats.ErrSecureConnRequired), errors.Is(err, nats.ErrSecureConnWanted), errors.Is(err, fs.ErrNotExist): // a file of credentials
		return fmt.Errorf("natsbus: connect: %w: %w", bus.ErrInvalid, err)
	}
	return fmt.Errorf("natsbus: connect: %w: %w", bus.ErrUnavailable, err)
}

// typed is the contract's error of what was asked.
func typed(doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, bus.ErrClosed), errors.Is(err, bus.ErrUnauthorized), errors.Is(err, bus.ErrUnavailable),
		errors.Is(err, bus.ErrInvalid), errors.Is(err, bus.ErrRefused), errors.Is(err, bus.ErrNotFound), errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, nats.ErrConnectionClosed):
		return fmt.Errorf("natsbus: %s: %w: %w", doing, bus.ErrClosed, err)
	case errors.Is(err, nats.ErrPermissionViolation):
		return fmt.Errorf("natsbus: %s: %w: %w", doing, bus.ErrUnauthorized, err)
	}
	return fmt.Errorf("natsbus: %s: %w: %w", doing, bus.ErrUnavailable, err)
}

// typedPublish is the contract's error of one message.
func typedPublish(id string, err error) error {
	api := reply(err)
	switch {
	case errors.Is(err, nats.ErrMaxPayload), errors.Is(err, nats.ErrBadSubject), errors.Is(err, nats.ErrBadHeaderMsg),
		errors.Is(err, nats.ErrHeadersNotSupported), errors.Is(err, nats.ErrPermissionViolation),
		api != nil && (api.ErrorCode == jetstream.JSErrCodeStreamMessageExceedsMaximum || api.ErrorCode == codeHeaderTooLarge):
		return fmt.Errorf("natsbus: publish: %w: message %q: %w", bus.ErrRefused, id, err)
	}
	return typed("publish", err)
}

// checkURL refuses what is no address, without a word of it, as it may have a
// password.
func checkURL(servers string) error {
	for server := range strings.SplitSeq(servers, ",") {
		server = strings.TrimSpace(server)
		if !strings.Contains(server, "://") {
			server = "nats://" + server
		}
		u, err := url.Parse(server)
		if err != nil {
			return envelope.Invalid("url", "…", "is malformed")
		}
		if !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) {
			return envelope.Invalid("url", u.Redacted(), "want one that begins with nats, tls, ws or wss")
		}
		if u.Host == "" {
			return envelope.Invalid("url", u.Redacted(), "has no host")
		}
	}
	return nil
}
