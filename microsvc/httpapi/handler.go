package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/microsvc"
)

// API is a service as an [http.Handler]. It is safe for concurrent use.
type API struct {
	service  *microsvc.Service
	opts     Options
	headers  []sessionHeader
	openapi  func() []byte
	draining atomic.Bool
}

var _ http.Handler = (*API)(nil)

// Handler makes an http.Handler of svc, to be mounted anywhere: under a prefix
// with [http.StripPrefix]. Of opts, those that speak of a server or a connection
// are for [Serve].
//
// Errors: those of [microsvc.Service.Check], and [aggregate.ErrInvalid] for an
// option.
func Handler(svc *microsvc.Service, opts *Options) (*API, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := svc.Check(); err != nil {
		return nil, err
	}
	return &API{service: svc, opts: o, headers: sessionHeaders(o.SessionHeaders), openapi: sync.OnceValue(func() []byte { return describe(svc, o.Version) })}, nil
}

// Drain has every later command, and /readyz, answered with 503 and Retry-After.
// Those that run finish. It cannot be taken back.
func (a *API) Drain() { a.draining.Store(true) }

// Values of headers that each answer has: net/http only reads them.
var (
	noSniff         = []string{"nosniff"}
	noStore         = []string{"no-store"}
	contentTypeJSON = []string{"application/json"}
)

// probes are what GET answers.
var probes = []string{"health", "livez", "readyz", "openapi.json"}

// ServeHTTP implements [http.Handler].
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// Set here and not on the server alone, which may be anybody's. net/http takes
	// it back once the body has come, so that it does not end a long command.
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(a.opts.ReadTimeout)) // unsupported by a recorder
	x := &exchange{api: a, w: w, r: r, rc: rc, id: requestID(r)}
	h := w.Header()
	h[HeaderRequestID] = []string{x.id}
	h["X-Content-Type-Options"] = noSniff
	h["Cache-Control"] = noStore
	if a.draining.Load() {
		h.Set("Connection", "close")
	}
	name := strings.TrimPrefix(r.URL.Path, "/")
	command, probe := a.service.HasCommand(name), slices.Contains(probes, name)
	switch {
	case command && r.Method == http.MethodPost:
		x.command(r.Context(), name)
	case probe && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		x.probe(r.Context(), name)
	case command || probe:
		var allow []string
		if command {
			allow = append(allow, http.MethodPost)
		}
		if probe {
			allow = append(allow, http.MethodGet, http.MethodHead)
		}
		h.Set("Allow", strings.Join(allow, ", "))
		x.refuse(http.StatusMethodNotAllowed, aggregate.CodeInvalid, "method is not allowed here")
	case a.draining.Load():
		x.stopping()
	default:
		x.refuse(http.StatusNotFound, microsvc.CodeUnknownCommand, fmt.Sprintf("unknown command %q", envelope.CutText(name, 64)))
	}
}

// command has the service answer.
func (x *exchange) command(ctx context.Context, name string) {
	a := x.api
	if a.draining.Load() {
		x.stopping()
		return
	}
	session, key, ok := x.caller(ctx)
	if !ok {
		return
	}
	input, ok := x.body()
	if !ok {
		return
	}
	if a.opts.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, a.opts.Timeout)
		defer cancel()
	}
	reply, problem := a.service.Answer(ctx, microsvc.Request{Command: name, Input: input, Session: session, Key: key, ID: x.id})
	if problem != nil {
		x.problem(problem)
		return
	}
	x.write(http.StatusOK, contentTypeJSON, reply)
}

// health is the body of GET /health.
type health struct {
	OK       bool     `json:"ok"`
	Commands []string `json:"commands"`
}

// probe answers those who watch. A service that is stopping lives, and is not
// ready.
func (x *exchange) probe(ctx context.Context, name string) {
	a := x.api
	draining := a.draining.Load()
	switch {
	case name == "openapi.json":
		x.write(http.StatusOK, contentTypeJSON, a.openapi())
	case name == "livez":
		x.write(http.StatusOK, contentTypeJSON, []byte(`{"ok":true}`))
	case name == "health" && !draining:
		body, _ := json.Marshal(health{true, append([]string{}, a.service.Commands()...)}) // of strings there is no error
		x.write(http.StatusOK, contentTypeJSON, body)
	case draining:
		x.stopping()
	case a.opts.Ready == nil:
		x.write(http.StatusOK, contentTypeJSON, []byte(`{"ok":true}`))
	default:
		if err := a.opts.Ready(x.r); err != nil {
			a.opts.Logger.WarnContext(ctx, "httpapi: not ready", "id", x.id, "err", err)
			x.refuseFor(http.StatusServiceUnavailable, aggregate.CodeUnavailable, "not ready", a.opts.RetryAfter)
			return
		}
		x.write(http.StatusOK, contentTypeJSON, []byte(`{"ok":true}`))
	}
}
