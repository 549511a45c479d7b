package kafkabus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
)

// ErrSettings reports a topic or a group that exists with settings that this bus
// cannot work with. It is a [bus.ErrInvalid], too: going on needs a change of the
// broker or of the options.
var ErrSettings = fmt.Errorf("kafkabus: unusable settings: %w", bus.ErrInvalid)

// errNoAnswer is the error of what the broker did not answer in time.
var errNoAnswer = fmt.Errorf("kafkabus: %w: no answer in time", bus.ErrUnavailable)

// errRevoked is the error of settling what another replica has by now.
var errRevoked = fmt.Errorf("kafkabus: %w: the partition went to another replica", bus.ErrUnavailable)

func oneOf(err error, targets ...error) bool {
	for _, target := range targets {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

func unauthorized(err error) bool {
	return oneOf(err, kerr.SaslAuthenticationFailed, kerr.UnsupportedSaslMechanism, kerr.IllegalSaslState, kerr.TopicAuthorizationFailed,
		kerr.GroupAuthorizationFailed, kerr.ClusterAuthorizationFailed)
}

// typed is the contract's error of what was asked of the broker.
func typed(doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case oneOf(err, bus.ErrClosed, bus.ErrUnauthorized, bus.ErrUnavailable, bus.ErrInvalid, bus.ErrRefused, bus.ErrNotFound):
		return err
	case errors.Is(err, kgo.ErrClientClosed):
		return bus.ErrClosed
	case unauthorized(err):
		return fmt.Errorf("kafkabus: %s: %w: %w", doing, bus.ErrUnauthorized, err)
	case oneOf(err, kerr.InvalidSessionTimeout, kerr.InvalidReplicationFactor, kerr.InvalidPartitions, kerr.InvalidConfig, kerr.PolicyViolation,
		kerr.UnsupportedVersion, kerr.InvalidGroupID):
		return fmt.Errorf("%w: %s: %w", ErrSettings, doing, err)
	case errors.Is(err, kerr.InconsistentGroupProtocol):
		return fmt.Errorf("%w: %s: %w: members of the group know other assignors; with Options.Compat ours has that of a Rust service", ErrSettings, doing, err)
	}
	return fmt.Errorf("kafkabus: %s: %w: %w", doing, bus.ErrUnavailable, err)
}

// typedPublish is the contract's error of one message.
func typedPublish(id string, err error) error {
	if oneOf(err, kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidRecord, kerr.InvalidTopicException, kerr.TopicAuthorizationFailed,
		kerr.PolicyViolation, kerr.InvalidTimestamp) {
		return fmt.Errorf("kafkabus: publish: %w: message %q: %w", bus.ErrRefused, id, err)
	}
	return typed("publish", err)
}

// checkBrokers reads addresses with commas between.
func checkBrokers(brokers string) ([]string, error) {
	var seeds []string
	for seed := range strings.SplitSeq(brokers, ",") {
		seed = strings.TrimSpace(seed)
		host, _, err := net.SplitHostPort(seed)
		if err != nil || host == "" {
			return nil, envelope.Invalid("brokers", brokers, `want "host:port", or several with commas between`)
		}
		seeds = append(seeds, seed)
	}
	return seeds, nil
}

// ask does what needs the broker's answer, in bounded time.
func (t *transport) ask(ctx context.Context, doing string, f func(context.Context) error) error {
	if t.life.Over() {
		return bus.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	limited, cancel := context.WithTimeoutCause(ctx, t.opts.ConfirmTimeout, errNoAnswer)
	defer cancel()
	asking, closed := context.WithCancelCause(limited)
	defer closed(nil)
	stop := context.AfterFunc(t.life.Context(), func() { closed(bus.ErrClosed) })
	defer stop()
	err := f(asking)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case asking.Err() != nil:
		return context.Cause(asking)
	}
	return typed(doing, err)
}
