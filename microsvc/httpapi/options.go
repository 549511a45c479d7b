package httpapi

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/microsvc"
)

// Names of headers.
const (
	HeaderRequestID      = "X-Request-Id"
	HeaderCorrelationID  = "X-Correlation-Id"
	HeaderCausationID    = "X-Causation-Id"
	HeaderIdempotencyKey = "Idempotency-Key"
)

// adminSecret is a credential of a Hasura server: no pattern lets it in.
const adminSecret = "x-hasura-admin-secret"

// Options tune a [Handler] and a [Serve]. A nil *Options means all defaults.
type Options struct {
	// SessionHeaders are the headers that become session variables, under
	// their names in lower case; one that ends in * is a prefix.
	// X-Correlation-Id and X-Causation-Id become [microsvc.KeyCorrelationID] and
	// [microsvc.KeyCausationID]. Nil means x-hasura-*, x-correlation-id and
	// x-causation-id; an empty list none. x-hasura-admin-secret is only let in by
	// its whole name.
	SessionHeaders []string

	// Authenticate, if there is one, sees each request for a command before
	// its body is read. Its variables are added to the session and win over
	// headers; its error is answered as a handler's would be.
	Authenticate func(*http.Request) (microsvc.Session, error)

	// Ready, if there is one, is asked by GET /readyz: an error is 503.
	Ready func(*http.Request) error

	// Version is the service's, in the document of GET /openapi.json. Empty means
	// "0".
	Version string

	// MaxBodyBytes bounds a body; beyond it is 413. Zero means 1 MiB.
	MaxBodyBytes int64

	// MaxHeaderBytes bounds a request's headers; beyond it is 431. Zero means
	// 32 KiB.
	MaxHeaderBytes int

	// Timeout is the deadline of a command. Zero means 30 s, and -1 none.
	Timeout time.Duration

	// ReadTimeout bounds how long a body may take to come, WriteTimeout how long
	// a reply may take to be taken. Zero means 10 s.
	ReadTimeout, WriteTimeout time.Duration

	// HeaderTimeout and IdleTimeout are a server's limits on a request's
	// headers and on connections without a request. Zero means 5 s and 2 minutes.
	HeaderTimeout, IdleTimeout time.Duration

	// DrainDelay is how long [Serve] answers 503 once its context has ended,
	// before it closes: as long as a load balancer needs to notice. Zero means
	// 2 s, and -1 none.
	DrainDelay time.Duration

	// DrainTimeout is how long requests may then take to end. Zero means 10 s.
	DrainTimeout time.Duration

	// RetryAfter is what callers are told meanwhile. Zero means 1 s.
	RetryAfter time.Duration

	// TLS has [Serve] talk TLS. Nil means it does not.
	TLS *tls.Config

	// Logger gets what goes wrong on connections. Nil means slog.Default().
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
		{"MaxBodyBytes", v.MaxBodyBytes, 0}, {"MaxHeaderBytes", int64(v.MaxHeaderBytes), 0}, {"Timeout", int64(v.Timeout), -1},
		{"ReadTimeout", int64(v.ReadTimeout), 0}, {"WriteTimeout", int64(v.WriteTimeout), 0},
		{"HeaderTimeout", int64(v.HeaderTimeout), 0}, {"IdleTimeout", int64(v.IdleTimeout), 0},
		{"DrainDelay", int64(v.DrainDelay), -1}, {"DrainTimeout", int64(v.DrainTimeout), 0}, {"RetryAfter", int64(v.RetryAfter), 0},
	} {
		if f.value < f.least {
			return v, fmt.Errorf("httpapi: %w", envelope.Invalid("option "+f.name, fmt.Sprint(f.value), fmt.Sprintf("is under %d", f.least)))
		}
	}
	for _, pattern := range v.SessionHeaders {
		if err := envelope.ValidateName("option SessionHeaders", strings.TrimSuffix(pattern, "*"), envelope.MaxMetadataKeyBytes); err != nil {
			return v, fmt.Errorf("httpapi: %w", err)
		}
	}
	if v.SessionHeaders == nil {
		v.SessionHeaders = []string{"x-hasura-*", HeaderCorrelationID, HeaderCausationID}
	}
	def := func(value *time.Duration, unset time.Duration) {
		if *value == 0 {
			*value = unset
		}
	}
	def(&v.Timeout, 30*time.Second)
	def(&v.ReadTimeout, 10*time.Second)
	def(&v.WriteTimeout, 10*time.Second)
	def(&v.HeaderTimeout, 5*time.Second)
	def(&v.IdleTimeout, 2*time.Minute)
	def(&v.DrainDelay, 2*time.Second)
	def(&v.DrainTimeout, 10*time.Second)
	def(&v.RetryAfter, time.Second)
	if v.Version == "" {
		v.Version = "0"
	}
	if v.MaxBodyBytes == 0 {
		v.MaxBodyBytes = 1 << 20
	}
	if v.MaxHeaderBytes == 0 {
		v.MaxHeaderBytes = 32 << 10
	}
	if v.Logger == nil {
		v.Logger = slog.Default()
	}
	return v, nil
}
