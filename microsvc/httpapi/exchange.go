package httpapi

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/microsvc"
)

// exchange is one request and its answer.
type exchange struct {
	api *API
	w   http.ResponseWriter
	r   *http.Request
	rc  *http.ResponseController
	id  string
}

// maxRequestIDBytes bounds a request id that a caller gives.
const maxRequestIDBytes = 128

// requestID returns the caller's, if it can stand in a log, or a random one.
func requestID(r *http.Request) string {
	id := r.Header.Get(HeaderRequestID)
	fits := id != "" && len(id) <= maxRequestIDBytes
	for i := 0; i < len(id) && fits; i++ {
		c := id[i]
		fits = 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-_.:/+=@", c) >= 0
	}
	if fits {
		return id
	}
	return rand.Text()
}

// caller reads the session and the idempotency key from the headers. It has
// answered if ok is false.
func (x *exchange) caller(ctx context.Context) (session microsvc.Session, key string, ok bool) {
	size := 0
	session = microsvc.Session{}
	for name, values := range x.r.Header {
		for _, value := range values {
			size += len(name) + len(value) + len(": \r\n")
		}
		variable, allowed := x.api.variable(name)
		if !allowed && name != HeaderIdempotencyKey {
			continue
		}
		// Two values are a proxy's and a caller's: which one would be believed?
		if len(values) > 1 {
			x.refuse(http.StatusBadRequest, aggregate.CodeInvalid, fmt.Sprintf("header %s is given %d times", name, len(values)))
			return nil, "", false
		}
		if allowed {
			session[variable] = values[0]
		}
	}
	if size > x.api.opts.MaxHeaderBytes {
		x.refuse(http.StatusRequestHeaderFieldsTooLarge, aggregate.CodeInvalid, fmt.Sprintf("headers are larger than %d bytes", x.api.opts.MaxHeaderBytes))
		return nil, "", false
	}
	if x.api.opts.Authenticate != nil {
		known, err := x.api.opts.Authenticate(x.r)
		if err != nil {
			x.problem(x.api.service.Problem(ctx, err, x.r.URL.Path, x.id))
			return nil, "", false
		}
		for name, value := range known {
			session[strings.ToLower(name)] = value
		}
	}
	return session, x.r.Header.Get(HeaderIdempotencyKey), true
}

// sessionHeader is one of Options.SessionHeaders.
type sessionHeader struct {
	name   string // in lower case, or what it begins with
	prefix bool
}

func sessionHeaders(patterns []string) (all []sessionHeader) {
	for _, pattern := range patterns {
		name, prefix := strings.CutSuffix(strings.ToLower(pattern), "*")
		all = append(all, sessionHeader{name, prefix})
	}
	return all
}

func (p sessionHeader) matches(header string) bool {
	if !p.prefix {
		return strings.EqualFold(header, p.name)
	}
	return len(header) >= len(p.name) && strings.EqualFold(header[:len(p.name)], p.name) && !strings.EqualFold(header, adminSecret)
}

// variable returns the session variable that a header becomes.
func (a *API) variable(header string) (string, bool) {
	for _, p := range a.headers {
		if !p.matches(header) {
			continue
		}
		switch name := strings.ToLower(header); name {
		case "x-correlation-id":
			return microsvc.KeyCorrelationID, true
		case "x-causation-id":
			return microsvc.KeyCausationID, true
		default:
			return name, true
		}
	}
	return "", false
}

// body reads the input. It has answered if ok is false.
func (x *exchange) body() (data []byte, ok bool) {
	limit := x.api.opts.MaxBodyBytes
	if encoding := x.r.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") || !isJSON(x.r.Header.Get("Content-Type")) {
		x.w.Header().Set("Accept-Post", "application/json")
		x.refuse(http.StatusUnsupportedMediaType, aggregate.CodeInvalid, "the input must be application/json, in UTF-8 and not compressed")
		return nil, false
	}
	data, err := readAll(http.MaxBytesReader(x.w, x.r.Body, limit), x.r.ContentLength)
	if err == nil {
		return data, true
	}
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		x.refuse(http.StatusRequestEntityTooLarge, aggregate.CodeInvalid, fmt.Sprintf("the input is larger than %d bytes", limit))
	case errors.Is(err, os.ErrDeadlineExceeded):
		x.w.Header().Set("Connection", "close")
		x.refuse(http.StatusRequestTimeout, aggregate.CodeNotRun, "the input took too long to come")
	default: // the caller went away in the middle, most likely
		x.w.Header().Set("Connection", "close")
		x.refuse(http.StatusBadRequest, aggregate.CodeNotRun, "the input did not come to its end")
	}
	return nil, false
}

// readAll is io.ReadAll for what is small most of the time and says so.
func readAll(r io.Reader, size int64) ([]byte, error) {
	data := make([]byte, 0, max(min(size, 512), 0)+1) // room to see the end
	for {
		n, err := r.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		switch {
		case errors.Is(err, io.EOF):
			return data, nil
		case err != nil:
			return data, err
		case len(data) == cap(data):
			data = slices.Grow(data, 512)
		}
	}
}

func isJSON(contentType string) bool {
	if contentType == "application/json" {
		return true
	}
	typ, params, err := mime.ParseMediaType(contentType)
	if charset := params["charset"]; err != nil || charset != "" && !strings.EqualFold(charset, "utf-8") {
		return false
	}
	return typ == "application/json" || strings.HasPrefix(typ, "application/") && strings.HasSuffix(typ, "+json")
}

func (x *exchange) stopping() {
	x.refuseFor(http.StatusServiceUnavailable, aggregate.CodeStopped, "the service is stopping: ask again later", x.api.opts.RetryAfter)
}

func (x *exchange) refuse(status int, code aggregate.Code, text string) {
	x.refuseFor(status, code, text, 0)
}

func (x *exchange) refuseFor(status int, code aggregate.Code, text string, retryAfter time.Duration) {
	x.problem(&microsvc.Problem{Status: status, Code: code, Message: text, ID: x.id, RetryAfter: retryAfter})
}

// failure is the body of a failure, and what a [Client] reads.
type failure struct {
	Error string           `json:"error"`
	Code  aggregate.Code   `json:"code,omitempty"`
	Also  []aggregate.Code `json:"also,omitempty"`
	ID    string           `json:"id,omitempty"`
}

// details is a failure after RFC 9457.
type details struct {
	Type   string           `json:"type"`
	Title  string           `json:"title"`
	Status int              `json:"status"`
	Detail string           `json:"detail"`
	Code   aggregate.Code   `json:"code"`
	Also   []aggregate.Code `json:"also,omitempty"`
	ID     string           `json:"id"`
}

const problemJSON = "application/problem+json"

func (x *exchange) problem(p *microsvc.Problem) {
	if p.RetryAfter > 0 {
		seconds := (p.RetryAfter + time.Second - 1) / time.Second
		x.w.Header().Set("Retry-After", strconv.FormatInt(int64(seconds), 10))
	}
	if p.Status == http.StatusUnauthorized && x.w.Header().Get("WWW-Authenticate") == "" {
		x.w.Header().Set("WWW-Authenticate", "Bearer")
	}
	if accepts(x.r.Header.Values("Accept"), problemJSON) {
		body, _ := json.Marshal(details{"about:blank", http.StatusText(p.Status), p.Status, p.Message, p.Code, p.Also, p.ID}) // of strings there is no error
		x.write(p.Status, []string{problemJSON}, body)
		return
	}
	body, _ := json.Marshal(failure{p.Message, p.Code, p.Also, p.ID})
	x.write(p.Status, contentTypeJSON, body)
}

// accepts reports whether a caller names typ among what it takes.
func accepts(accept []string, typ string) bool {
	for _, part := range strings.Split(strings.Join(accept, ","), ",") {
		got, params, err := mime.ParseMediaType(strings.TrimSpace(part))
		if q, bad := strconv.ParseFloat(params["q"], 64); err == nil && got == typ && (params["q"] == "" || bad == nil && q > 0) {
			return true
		}
	}
	return false
}

// write answers. The deadline is set for this answer alone: other handlers of the
// same server have theirs.
func (x *exchange) write(status int, contentType []string, body []byte) {
	_ = x.rc.SetWriteDeadline(time.Now().Add(x.api.opts.WriteTimeout))
	h := x.w.Header()
	h["Content-Type"] = contentType
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	x.w.WriteHeader(status)
	if x.r.Method != http.MethodHead {
		_, _ = x.w.Write(body) // a caller that is gone cannot be told
	}
	_ = x.rc.Flush()
	_ = x.rc.SetWriteDeadline(time.Time{})
}
