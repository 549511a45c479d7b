package grpcapi

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/microsvc"
)

// Names of metadata.
const (
	KeyRequestID      = "x-request-id"
	KeyCorrelationID  = "x-correlation-id"
	KeyCausationID    = "x-causation-id"
	KeyIdempotencyKey = "idempotency-key"
	KeyRetryAfter     = "retry-after" // in a trailer: seconds
)

// adminSecret is a credential of a Hasura server: no pattern lets it in.
const adminSecret = "x-hasura-admin-secret"

// Options tune a [Register] and a [Serve]. A nil *Options means all defaults.
type Options struct {
	// SessionMetadata names the metadata, and the session_variables of a request,
	// that become session variables; one that ends in * is a prefix.
	// x-correlation-id and x-causation-id become [microsvc.KeyCorrelationID] and
	// [microsvc.KeyCausationID]. Nil means x-hasura-*, x-correlation-id and
	// x-causation-id; an empty list none. x-hasura-admin-secret is only let in by
	// its whole name.
	SessionMetadata []string

	// NoPayloadSession ignores the session_variables of requests. Else they
	// count where neither metadata nor Authenticate says who calls.
	NoPayloadSession bool

	// Authenticate, if there is one, sees each call of a command: its metadata
	// and peer are in ctx. Its variables are added to the session and win over
	// metadata; its error is answered as a handler's would be.
	Authenticate func(ctx context.Context) (microsvc.Session, error)

	// Ready, if there is one, is asked by each health check: an error is
	// NOT_SERVING, and ok = false. Watchers of grpc.health.v1 only hear of the end.
	Ready func(ctx context.Context) error

	// StatusCodes answers failures by the gRPC status that [Code] gives. Else
	// calls end with OK and the response has a status, which is what the Rust
	// framework's clients look at.
	StatusCodes bool

	// MaxMessageBytes bounds a request. Zero means 4 MiB. For [Serve]. An input is
	// bounded by [envelope.MaxDataBytes], as on a bus.
	MaxMessageBytes int

	// MaxMetadataBytes bounds a call's metadata. Zero means 32 KiB. For [Serve].
	MaxMetadataBytes int

	// MaxStreams bounds the calls at once on one connection. Zero means 1,000.
	// For [Serve].
	MaxStreams int

	// Timeout is the deadline of a command, if the caller has no earlier one. Of
	// [Serve] it includes the time that the request takes to come. Zero means
	// 30 s, and -1 none.
	Timeout time.Duration

	// HandshakeTimeout and IdleTimeout are a server's limits on new connections
	// and on those without a call. Zero means 5 s and 2 minutes. For [Serve].
	HandshakeTimeout, IdleTimeout time.Duration

	// DrainDelay is how long [Serve] answers that it is stopping once its context
	// has ended, before it closes: as long as a load balancer needs to notice.
	// Zero means 2 s, and -1 none.
	DrainDelay time.Duration

	// DrainTimeout is how long calls may then take to end. Zero means 10 s.
	DrainTimeout time.Duration

	// RetryAfter is what callers are told meanwhile. Zero means 1 s.
	RetryAfter time.Duration

	// TLS has [Serve] talk TLS. Nil means it does not.
	TLS *tls.Config

	// NoReflection leaves out the reflection service.
	NoReflection bool

	// Server is added to what [Serve] makes its server with: interceptors,
	// statistics. A tap handle needs a Timeout of -1.
	Server []grpc.ServerOption

	// Logger gets why the service is not ready. Nil means slog.Default().
	Logger *slog.Logger
}

func (o *Options) withDefaults() (Options, error) {
	var v Options
	if o != nil {
		v = *o
	}
	for _, f := range []struct {
		name         string
		value, least int64
	}{
		{"MaxMessageBytes", int64(v.MaxMessageBytes), 0}, {"MaxMetadataBytes", int64(v.MaxMetadataBytes), 0}, {"MaxStreams", int64(v.MaxStreams), 0},
		{"Timeout", int64(v.Timeout), -1}, {"HandshakeTimeout", int64(v.HandshakeTimeout), 0}, {"IdleTimeout", int64(v.IdleTimeout), 0},
		{"DrainDelay", int64(v.DrainDelay), -1}, {"DrainTimeout", int64(v.DrainTimeout), 0}, {"RetryAfter", int64(v.RetryAfter), 0},
	} {
		if f.value < f.least {
			return v, fmt.Errorf("grpcapi: %w", envelope.Invalid("option "+f.name, fmt.Sprint(f.value), fmt.Sprintf("is under %d", f.least)))
		}
	}
	for _, pattern := range v.SessionMetadata {
		if err := envelope.ValidateName("option SessionMetadata", strings.TrimSuffix(pattern, "*"), envelope.MaxMetadataKeyBytes); err != nil {
			return v, fmt.Errorf("grpcapi: %w", err)
		}
	}
	if v.SessionMetadata == nil {
		v.SessionMetadata = []string{"x-hasura-*", KeyCorrelationID, KeyCausationID}
	}
	def(&v.MaxMessageBytes, 4<<20)
	def(&v.MaxMetadataBytes, 32<<10)
	def(&v.MaxStreams, 1000)
	def(&v.Timeout, 30*time.Second)
	def(&v.HandshakeTimeout, 5*time.Second)
	def(&v.IdleTimeout, 2*time.Minute)
	def(&v.DrainDelay, 2*time.Second)
	def(&v.DrainTimeout, 10*time.Second)
	def(&v.RetryAfter, time.Second)
	if v.Logger == nil {
		v.Logger = slog.Default()
	}
	return v, nil
}

func def[T comparable](value *T, unset T) {
	var zero T
	if *value == zero {
		*value = unset
	}
}
