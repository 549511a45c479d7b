package grpcapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/microsvc"
	"github.com/troupe-go/troupe/microsvc/grpcapi/commandpb"
)

// ClientOptions tune a [Client]. A nil *ClientOptions means all defaults.
type ClientOptions struct {
	// TLS has the client talk TLS. Nil means it does not.
	TLS *tls.Config

	// Metadata is sent with each call: credentials, session variables.
	Metadata metadata.MD

	// MaxReplyBytes bounds a reply. Zero means 16 MiB.
	MaxReplyBytes int

	// Dial is added to what the connection is made with.
	Dial []grpc.DialOption
}

// Client asks a service over gRPC, a Go one or one of the Rust framework. Its
// errors are the framework's own: what the handler returned, by a
// [*microsvc.Problem]; [aggregate.ErrUnavailable] if the service cannot be
// reached, and [aggregate.ErrNotRun] if ctx ended before it was;
// [aggregate.ErrUnknownOutcome] when the request may have arrived and its answer
// did not. Repeat with an idempotency key. ctx's deadline travels with a call. A
// Client is safe for concurrent use.
type Client struct {
	conn    *grpc.ClientConn
	service commandpb.CommandServiceClient
	md      metadata.MD
}

// NewClient makes a client of the service at target, such as todos:50051 or
// dns:///todos:50051. It connects when it is first used.
//
// Errors: [aggregate.ErrInvalid].
func NewClient(target string, opts *ClientOptions) (*Client, error) {
	var o ClientOptions
	if opts != nil {
		o = *opts
	}
	if o.MaxReplyBytes < 0 {
		return nil, fmt.Errorf("grpcapi: %w", envelope.Invalid("option MaxReplyBytes", strconv.Itoa(o.MaxReplyBytes), "is negative"))
	}
	def(&o.MaxReplyBytes, 16<<20)
	c := &Client{md: metadata.MD{}}
	for name, values := range o.Metadata {
		c.md.Append(name, values...)
	}
	if err := checkMetadata(c.md); err != nil {
		return nil, fmt.Errorf("grpcapi: %w", err)
	}
	if target == "" {
		return nil, fmt.Errorf("grpcapi: %w", envelope.Invalid("target", target, "is empty"))
	}
	creds := insecure.NewCredentials()
	if o.TLS != nil {
		creds = credentials.NewTLS(o.TLS)
	}
	conn, err := grpc.NewClient(target, append([]grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		// A call that may have arrived is repeated by its caller, with a key. gRPC
		// still repeats those that the server did not look at.
		grpc.WithDisableRetry(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(o.MaxReplyBytes)),
	}, o.Dial...)...)
	if err != nil {
		return nil, fmt.Errorf("grpcapi: %w: target %q: %w", aggregate.ErrInvalid, target, err)
	}
	c.conn, c.service = conn, commandpb.NewCommandServiceClient(conn)
	return c, nil
}

// Close ends the connection, and calls that still wait.
func (c *Client) Close() error { return c.conn.Close() }

// CallOption is a choice made for one call.
type CallOption func(*call)

type call struct {
	md      metadata.MD
	session map[string]string
}

// WithIdempotencyKey says that a repeat of the call has the same key, which is
// printable ASCII.
func WithIdempotencyKey(key string) CallOption { return WithMetadata(KeyIdempotencyKey, key) }

// WithMetadata sets metadata, such as a session variable or credentials. It is
// printable ASCII.
func WithMetadata(name, value string) CallOption {
	return func(c *call) { c.md.Set(name, value) }
}

// WithSession sends session variables in the request itself, which may be any
// text. What a proxy says in metadata wins over them.
func WithSession(s microsvc.Session) CallOption {
	return func(c *call) { maps.Copy(c.session, s) }
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
	out := call{md: c.md.Copy(), session: map[string]string{}}
	if md, ok := metadata.FromOutgoingContext(ctx); ok {
		maps.Copy(out.md, md)
	}
	req, err := out.request(ctx, name, in, opts)
	if err != nil {
		return nil, err
	}
	var header, trailer metadata.MD
	var to peer.Peer
	resp, err := c.service.Dispatch(metadata.NewOutgoingContext(ctx, out.md), req, grpc.Header(&header), grpc.Trailer(&trailer), grpc.Peer(&to))
	var p *microsvc.Problem
	switch {
	case err != nil:
		if p, err = failed(ctx, name, err, to.Addr != nil, len(header[KeyRequestID]) > 0); p == nil {
			return nil, err
		}
	case resp.GetStatus() == http.StatusOK:
		return []byte(resp.GetBody()), nil
	default:
		p = problemOfResponse(resp)
	}
	if after := trailer[KeyRetryAfter]; len(after) > 0 {
		if seconds, err := strconv.ParseInt(after[0], 10, 32); err == nil && seconds > 0 {
			p.RetryAfter = time.Duration(seconds) * time.Second
		}
	}
	if ids := header[KeyRequestID]; p.ID == "" && len(ids) > 0 {
		p.ID = ids[0]
	}
	return nil, p
}

// request makes the message, and the metadata beside it.
func (c *call) request(ctx context.Context, name string, in any, opts []CallOption) (*commandpb.GrpcRequest, error) {
	input, err := envelope.JSON.Encode(in)
	if err != nil {
		return nil, fmt.Errorf("%w: input of %q: %w", aggregate.ErrInvalid, name, err)
	}
	if m := bus.MessageFrom(ctx); m != nil {
		follow := m.Follow()
		c.carry(KeyCorrelationID, microsvc.KeyCorrelationID, follow.CorrelationID)
		c.carry(KeyCausationID, microsvc.KeyCausationID, follow.CausationID)
	}
	for _, opt := range opts {
		opt(c)
	}
	req := &commandpb.GrpcRequest{Command: name, Input: string(input), SessionVariables: c.session}
	for _, text := range []string{req.Command, req.Input} {
		if !utf8.ValidString(text) {
			return nil, fmt.Errorf("command %q: %w", name, envelope.Invalid("command or input", text, "is not valid UTF-8"))
		}
	}
	for key, value := range c.session {
		if !utf8.ValidString(key) || !utf8.ValidString(value) {
			return nil, fmt.Errorf("command %q: %w", name, envelope.Invalid("session variable "+strconv.Quote(key), value, "is not valid UTF-8"))
		}
	}
	if err := checkMetadata(c.md); err != nil {
		return nil, fmt.Errorf("command %q: %w", name, err)
	}
	return req, nil
}

// carry sends an id as metadata if that can hold it, and in the request if not.
func (c *call) carry(name, variable, id string) {
	switch {
	case id == "":
	case printable(id) && strings.TrimSpace(id) == id:
		c.md.Set(name, id)
	default:
		c.session[variable] = id
	}
}

// failed says what is known of a call that ended without a response: a problem,
// or another error.
func failed(ctx context.Context, name string, err error, sent, handled bool) (*microsvc.Problem, error) {
	s := status.Convert(err)
	if p := problemOfStatus(s); p != nil {
		return p, nil
	}
	// Once the handler has run, it is the reply that did not come through.
	if p, ok := foreignStatus(s); ok && !handled {
		return p, nil
	}
	reason := err
	switch over := ctx.Err(); {
	case over != nil:
		reason = errors.Join(over, err)
	case s.Code() == codes.DeadlineExceeded:
		reason = errors.Join(context.DeadlineExceeded, err)
	}
	switch {
	case sent:
		return nil, fmt.Errorf("%w: command %q: %w", aggregate.ErrUnknownOutcome, name, reason)
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%w: command %q: %w", aggregate.ErrNotRun, name, reason)
	case s.Code() == codes.Internal: // it cannot be sent: its metadata is larger than the server takes
		return nil, fmt.Errorf("%w: command %q: %w", aggregate.ErrInvalid, name, reason)
	}
	return nil, fmt.Errorf("%w: command %q: %w", aggregate.ErrUnavailable, name, reason)
}

// Health is what a service tells of itself.
type Health struct {
	OK       bool     // it takes commands now
	Commands []string // their names
}

// Health asks whether the service takes commands, and which.
//
// Errors: [aggregate.ErrUnavailable].
func (c *Client) Health(ctx context.Context) (Health, error) {
	resp, err := c.service.Health(metadata.NewOutgoingContext(ctx, c.md), &commandpb.HealthRequest{})
	if err != nil {
		return Health{}, fmt.Errorf("%w: health: %w", aggregate.ErrUnavailable, errors.Join(ctx.Err(), err))
	}
	return Health{OK: resp.GetOk(), Commands: resp.GetCommands()}, nil
}
