package ceingress

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/microsvc"
)

// Ingress is a service as an [http.Handler] that takes CloudEvents. It is safe
// for concurrent use.
type Ingress struct {
	service  *microsvc.Service
	events   map[string]bool // that have a handler
	run      bus.RunOptions
	opts     Options
	slots    chan struct{} // requests under way
	draining atomic.Bool
}

var _ http.Handler = (*Ingress)(nil)

// Handler makes an http.Handler of svc, to be mounted anywhere: under a prefix
// with [http.StripPrefix].
//
// run is [bus.Inbox] or [bus.Idempotent], as for [microsvc.Service.Run]. Of its
// fields these count: Policy (not [bus.PolicyPark] and [bus.PolicyStop]),
// MaxAttempts (a request is always the first attempt), Concurrency within a
// batch, HandlerTimeout, DrainTimeout (for handlers whose sender went away),
// Observe, Logger, and Consumer, the receiver in receipts: empty means the
// service's name. If the same messages also come over a bus, give both one name.
//
// Errors: those of [microsvc.Service.Check], and [aggregate.ErrInvalid] for an
// option.
func Handler(svc *microsvc.Service, run bus.RunOptions, opts *Options) (*Ingress, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	plan, err := svc.Plan()
	if err != nil {
		return nil, err
	}
	if run, err = runOptions(run, svc.Name(), &o); err != nil {
		return nil, err
	}
	in := &Ingress{service: svc, events: map[string]bool{}, run: run, opts: o, slots: make(chan struct{}, o.MaxRequests)}
	for _, name := range plan.Events {
		in.events[name] = true
	}
	return in, nil
}

// Drain has every later request answered with 503 and Retry-After. Those that run
// finish. It cannot be taken back.
func (in *Ingress) Drain() { in.draining.Store(true) }

// ServeHTTP implements [http.Handler].
func (in *Ingress) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	typ, found := typeOf(r.URL)
	switch {
	case !found:
		in.refuse(w, problem(http.StatusNotFound, aggregate.CodeNotFound, "there is nothing here: POST to / or /cloudevent/{type}"))
		return
	case r.Method != http.MethodPost:
		h.Set("Allow", http.MethodPost)
		in.refuse(w, problem(http.StatusMethodNotAllowed, aggregate.CodeInvalid, "method is not allowed here"))
		return
	case in.draining.Load():
		h.Set("Connection", "close")
		in.refuse(w, problem(http.StatusServiceUnavailable, aggregate.CodeStopped, "the service is stopping: send again later"))
		return
	}
	select {
	case in.slots <- struct{}{}:
		defer func() { <-in.slots }()
	default:
		in.refuse(w, problem(http.StatusServiceUnavailable, aggregate.CodeOverloaded, "overloaded: send again later"))
		return
	}
	mode, messages, p := in.take(w, r, typ)
	if p != nil {
		in.refuse(w, p)
		return
	}
	in.answer(w, mode, messages, in.handle(r.Context(), messages))
}

// take reads the messages of r: all of them, or none.
func (in *Ingress) take(w http.ResponseWriter, r *http.Request, typ string) (mode, []*envelope.Message, *microsvc.Problem) {
	mode, p := in.head(r.Header)
	if p != nil {
		return 0, nil, p
	}
	body, p := in.body(w, r)
	if p != nil {
		return 0, nil, p
	}
	messages, p := in.messages(r.Header, mode, body, typ)
	return mode, messages, p
}

// typeOf is the type that a path speaks of; empty means any.
func typeOf(u *url.URL) (typ string, found bool) {
	path := u.EscapedPath()
	if path == "" || path == "/" {
		return "", true
	}
	segment, ok := strings.CutPrefix(path, "/cloudevent/")
	typ, err := url.PathUnescape(segment)
	return typ, ok && err == nil && segment != "" && !strings.Contains(segment, "/")
}

// mode is the content mode of CloudEvents over HTTP, section 3 of the binding.
type mode int

const (
	binary mode = iota
	structured
	batched
)

// head checks the headers of a request, and tells its mode.
func (in *Ingress) head(h http.Header) (mode, *microsvc.Problem) {
	size := 0
	for name, values := range h {
		for _, value := range values {
			size += len(name) + len(value) + len(": \r\n")
		}
		// Two values are a proxy's and a sender's: which one would be believed?
		if len(values) > 1 && (strings.HasPrefix(name, "Ce-") || name == "Content-Type") {
			return 0, problem(http.StatusBadRequest, aggregate.CodeInvalid, fmt.Sprintf("header %s is given %d times", name, len(values)))
		}
	}
	if size > in.opts.MaxHeaderBytes {
		return 0, problem(http.StatusRequestHeaderFieldsTooLarge, aggregate.CodeInvalid, fmt.Sprintf("headers are larger than %d bytes", in.opts.MaxHeaderBytes))
	}
	if encoding := h.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return 0, problem(http.StatusUnsupportedMediaType, aggregate.CodeInvalid, "the body must not be compressed")
	}
	contentType := h.Get("Content-Type")
	if !strings.HasPrefix(strings.ToLower(strings.TrimSpace(contentType)), "application/cloudevents") {
		return binary, nil
	}
	media, params, err := mime.ParseMediaType(contentType)
	if charset := params["charset"]; err == nil && (charset == "" || strings.EqualFold(charset, "utf-8")) {
		switch media {
		case "application/cloudevents+json":
			return structured, nil
		case "application/cloudevents-batch+json":
			return batched, nil
		}
	}
	return 0, problem(http.StatusUnsupportedMediaType, aggregate.CodeInvalid, "of formats for CloudEvents only JSON in UTF-8 is understood")
}

// body reads a request's body.
func (in *Ingress) body(w http.ResponseWriter, r *http.Request) ([]byte, *microsvc.Problem) {
	// The deadline is this request's own: a server's ReadTimeout would also end
	// the context of a handler that runs long, once its body has come.
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(in.opts.ReadTimeout)) // unsupported by a recorder
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, in.opts.MaxBodyBytes))
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil:
		_ = rc.SetReadDeadline(time.Time{})
		return data, nil
	case errors.As(err, &tooLarge):
		return nil, problem(http.StatusRequestEntityTooLarge, aggregate.CodeInvalid, fmt.Sprintf("the body is larger than %d bytes", in.opts.MaxBodyBytes))
	}
	w.Header().Set("Connection", "close")
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, problem(http.StatusRequestTimeout, aggregate.CodeNotRun, "the body took too long to come")
	}
	return nil, problem(http.StatusBadRequest, aggregate.CodeNotRun, "the body did not come to its end") // the sender went away, most likely
}

// messages makes messages of what a request carries.
func (in *Ingress) messages(h http.Header, mode mode, body []byte, typ string) ([]*envelope.Message, *microsvc.Problem) {
	events, err := decode(h, mode, body, in.opts.MaxBatch)
	if err != nil {
		return nil, refusal(err, "")
	}
	messages := make([]*envelope.Message, len(events))
	for i, e := range events {
		where := ""
		if mode == batched {
			where = fmt.Sprintf("event %d of the batch: ", i)
		}
		m, err := in.message(e)
		if err != nil {
			return nil, refusal(err, where)
		}
		if typ != "" && m.Name != typ {
			return nil, problem(http.StatusBadRequest, aggregate.CodeInvalid,
				fmt.Sprintf("%stype %q came to the path of another", where, envelope.CutText(m.Name, 64)))
		}
		messages[i] = m
	}
	return messages, nil
}

// refusal is the answer to what is no CloudEvent, or too large a one.
func refusal(err error, where string) *microsvc.Problem {
	status, code := http.StatusBadRequest, microsvc.CodeDecode
	if errors.Is(err, errTooLarge) {
		status, code = http.StatusRequestEntityTooLarge, aggregate.CodeInvalid
	}
	return problem(status, code, where+err.Error())
}

func problem(status int, code aggregate.Code, text string) *microsvc.Problem {
	return &microsvc.Problem{Status: status, Code: code, Message: text, ID: rand.Text()}
}
