package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/microsvc"
)

// ClientOptions tune a [Client]. A nil *ClientOptions means all defaults.
type ClientOptions struct {
	// HTTP makes the requests. Nil means one of the client's own, without a
	// limit of time: that is the context's. Redirects are not followed.
	HTTP *http.Client

	// Header is sent with each request: credentials, session variables.
	Header http.Header

	// MaxReplyBytes bounds a reply. Zero means 16 MiB.
	MaxReplyBytes int64
}

// Client asks a service over HTTP. Its errors are the framework's own: what the
// handler returned, by a [*microsvc.Problem]; [aggregate.ErrUnavailable] if the
// service cannot be reached, and [aggregate.ErrNotRun] if ctx ended before it was;
// [aggregate.ErrUnknownOutcome] when the request may have arrived and its answer
// did not. Repeat with an idempotency key. A Client is safe for concurrent use.
type Client struct {
	base string
	opts ClientOptions
	http *http.Client
}

// NewClient makes a client of the service at base, such as http://todos:8080.
//
// Errors: [aggregate.ErrInvalid].
func NewClient(base string, opts *ClientOptions) (*Client, error) {
	c := &Client{base: strings.TrimSuffix(base, "/")}
	if opts != nil {
		c.opts = *opts
	}
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, envelope.Invalid("base", base, "want http://host or https://host")
	}
	if c.opts.MaxReplyBytes < 0 {
		return nil, envelope.Invalid("option MaxReplyBytes", strconv.FormatInt(c.opts.MaxReplyBytes, 10), "is negative")
	}
	if c.opts.MaxReplyBytes == 0 {
		c.opts.MaxReplyBytes = 16 << 20
	}
	own := http.Client{}
	if c.opts.HTTP != nil {
		own = *c.opts.HTTP
	} else {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.MaxIdleConnsPerHost = transport.MaxIdleConns
		own.Transport = transport
	}
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.http = &own
	return c, nil
}

// Close lets go of idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// CallOption is a choice made for one call.
type CallOption func(http.Header)

// WithIdempotencyKey says that a repeat of the call has the same key.
func WithIdempotencyKey(key string) CallOption {
	return func(h http.Header) { h.Set(HeaderIdempotencyKey, key) }
}

// WithHeader sets a header, such as a session variable.
func WithHeader(name, value string) CallOption {
	return func(h http.Header) { h.Set(name, value) }
}

// Ask sends an aggregate's command that the service exposes.
func Ask[A any, In aggregate.Identified, Out any](ctx context.Context, c *Client, cmd *aggregate.Command[A, In, Out], in In, opts ...CallOption) (Out, error) {
	return Call[Out](ctx, c, cmd.Name(), in, opts...)
}

// Call sends a command with in as JSON, and returns its reply. On an error that is
// the zero Out.
func Call[Out any](ctx context.Context, c *Client, name string, in any, opts ...CallOption) (Out, error) {
	var out, none Out
	data, err := c.Do(ctx, name, in, opts...)
	if err != nil {
		return none, err
	}
	if err := envelope.JSON.Decode(data, &out); err != nil {
		return none, fmt.Errorf("reply of %q: %w", name, err)
	}
	return out, nil
}

// Do sends a command with in as JSON, and returns its reply as JSON. Inside a
// handler of a bus or of a service the conversation goes on.
func (c *Client) Do(ctx context.Context, name string, in any, opts ...CallOption) ([]byte, error) {
	body, err := envelope.JSON.Encode(in)
	if err != nil {
		return nil, fmt.Errorf("%w: input of %q: %w", aggregate.ErrInvalid, name, err)
	}
	sent := new(atomic.Bool)
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent.Store(true) }})
	req, err := http.NewRequestWithContext(traced, http.MethodPost, c.base+"/"+url.PathEscape(name), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%w: command %q: %w", aggregate.ErrInvalid, name, err)
	}
	for key, values := range c.opts.Header {
		req.Header[http.CanonicalHeaderKey(key)] = values
	}
	if m := bus.MessageFrom(ctx); m != nil {
		follow := m.Follow()
		req.Header.Set(HeaderCorrelationID, follow.CorrelationID)
		req.Header.Set(HeaderCausationID, follow.CausationID)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	for _, opt := range opts {
		opt(req.Header)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, undelivered(ctx, name, sent.Load(), err)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, c.opts.MaxReplyBytes+1))
	err = errors.Join(err, resp.Body.Close())
	switch {
	case err != nil:
		return nil, undelivered(ctx, name, true, err)
	case resp.StatusCode != http.StatusOK:
		return nil, problem(resp, data)
	case int64(len(data)) > c.opts.MaxReplyBytes:
		return nil, fmt.Errorf("%w: the reply of %q is larger than %d bytes", aggregate.ErrUnknownOutcome, name, c.opts.MaxReplyBytes)
	}
	return data, nil
}

// undelivered says what is known of a request that was not answered.
func undelivered(ctx context.Context, name string, sent bool, err error) error {
	switch {
	case sent:
		return fmt.Errorf("%w: command %q: %w", aggregate.ErrUnknownOutcome, name, err)
	case ctx.Err() != nil:
		return fmt.Errorf("%w: command %q: %w", aggregate.ErrNotRun, name, err)
	}
	return fmt.Errorf("%w: command %q: %w", aggregate.ErrUnavailable, name, err)
}

// problem reads a failure. One that is not of a service of ours, but of something
// before it, tells less.
func problem(resp *http.Response, data []byte) *microsvc.Problem {
	var f failure
	err := json.Unmarshal(data, &f)
	p := &microsvc.Problem{Status: resp.StatusCode, Code: f.Code, Also: f.Also, Message: f.Error, ID: f.ID}
	if seconds, bad := strconv.ParseInt(resp.Header.Get("Retry-After"), 10, 32); bad == nil && seconds > 0 {
		p.RetryAfter = time.Duration(seconds) * time.Second
	}
	if p.ID == "" {
		p.ID = resp.Header.Get(HeaderRequestID)
	}
	if err != nil || f.Code == "" {
		p.Code = microsvc.CodeOf(resp.StatusCode)
	}
	if p.Message == "" {
		p.Message = "answered with " + resp.Status
	}
	return p
}
