package microsvc

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
)

// Request is a command as a transport took it.
type Request struct {
	Command string
	Input   []byte // JSON
	Session Session

	// Key tells repeats of this command: see [Context.CommandID]. Empty means
	// that it is not repeated.
	Key string

	// ID of the request, for logs, and the causation id of what it gives rise
	// to. Empty means a random one.
	ID string
}

// DispatchOption completes a call by [Service.Dispatch].
type DispatchOption func(*Request)

// WithIdempotencyKey says that a repeat of the call has the same key.
func WithIdempotencyKey(key string) DispatchOption { return func(r *Request) { r.Key = key } }

// WithRequestID names the call in logs.
func WithRequestID(id string) DispatchOption { return func(r *Request) { r.ID = id } }

// Dispatch has the service answer a command, as any transport does. input is
// encoded as JSON, or is JSON already if it is a [json.RawMessage] or a []byte;
// so is the reply. See [Call] for a typed one.
//
// Errors: [ErrUnknownCommand], [ErrDecode], [ErrGuard], the handler's, with
// their full text; those of [Service.Check].
func (s *Service) Dispatch(ctx context.Context, name string, input any, session Session, opts ...DispatchOption) ([]byte, error) {
	r := Request{Command: name, Session: session}
	switch in := input.(type) {
	case []byte:
		r.Input = in
	case json.RawMessage:
		r.Input = in
	default:
		data, err := envelope.JSON.Encode(input)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", &DecodeError{Offset: -1, Reason: "cannot be encoded"}, err)
		}
		r.Input = data
	}
	for _, opt := range opts {
		opt(&r)
	}
	return s.dispatch(ctx, &r)
}

// Call is [Service.Dispatch] with a typed reply.
func Call[Out any](ctx context.Context, s *Service, name string, input any, session Session, opts ...DispatchOption) (Out, error) {
	var out, none Out
	data, err := s.Dispatch(ctx, name, input, session, opts...)
	if err != nil {
		return none, err
	}
	if err := envelope.JSON.Decode(data, &out); err != nil {
		return none, fmt.Errorf("reply of %q: %w", name, err)
	}
	return out, nil
}

// Answer is Dispatch for transports: the error is what a caller in another
// process may see. The full text of one that is masked is logged under the
// request's id.
func (s *Service) Answer(ctx context.Context, r Request) ([]byte, *Problem) {
	if r.ID == "" {
		r.ID = rand.Text()
	}
	reply, err := s.dispatch(ctx, &r)
	if err != nil {
		return nil, s.Problem(ctx, err, r.Command, r.ID)
	}
	return reply, nil
}

// Problem makes what a caller in another process may see of err, which came of
// what is called name, and logs the whole of one that is masked under id. It is
// for transports.
func (s *Service) Problem(ctx context.Context, err error, name, id string) *Problem {
	p := problemOf(err, id, s.opts.RetryAfter)
	if p.Status >= http.StatusInternalServerError {
		attrs := []slog.Attr{slog.String("name", name), slog.String("id", id), slog.Int("status", p.Status), slog.Any("err", err)}
		var panicked *PanicError
		if errors.As(err, &panicked) {
			attrs = append(attrs, slog.Any("panic", panicked.Value), slog.String("stack", string(panicked.Stack)))
		}
		level := slog.LevelError
		switch {
		case errors.Is(ctx.Err(), context.Canceled): // the caller left, which is no failure of ours
			level = slog.LevelInfo
		case p.Status != http.StatusInternalServerError:
			level = slog.LevelWarn
		}
		s.opts.Logger.LogAttrs(ctx, level, "microsvc: command failed", attrs...)
	}
	return p
}

func (s *Service) dispatch(ctx context.Context, r *Request) ([]byte, error) {
	t, err := s.table()
	if err != nil {
		return nil, err
	}
	call := t.commands[r.Command]
	if call == nil {
		return nil, fmt.Errorf("%w %q", ErrUnknownCommand, r.Command)
	}
	made := new(struct { // in one piece, which costs less than two
		Context
		message envelope.Message
	})
	m := &made.message
	if err := s.message(ctx, r, m); err != nil {
		return nil, err
	}
	made.Context = Context{Context: bus.WithMessage(ctx, m), service: s, message: m, session: r.Session, key: r.Key}
	reply, err := call(&made.Context)
	if err != nil {
		return nil, err
	}
	data, err := envelope.JSON.Encode(reply)
	if err != nil {
		return nil, fmt.Errorf("reply of %q cannot be encoded: %w", r.Command, err)
	}
	return data, nil
}

// message makes m the message that a request would be on a bus, so that what its
// handler asks and publishes inherits from it in the same way.
func (s *Service) message(ctx context.Context, r *Request, m *envelope.Message) error {
	*m = envelope.Message{
		ID: r.ID, Kind: envelope.KindCommand, Name: r.Command, Time: time.Now(),
		ContentType: bus.ContentTypeJSON, Codec: envelope.CodecJSON, Data: r.Input,
	}
	if m.ID == "" {
		m.ID = rand.Text()
	}
	if cause := bus.MessageFrom(ctx); cause != nil {
		m.Metadata = cause.Follow()
	}
	for _, key := range [...]string{KeyCorrelationID, KeyCausationID} {
		if value := r.Session.Get(key); value != "" {
			m.Metadata.Set(key, value)
		}
	}
	for _, key := range s.opts.Propagate {
		if value := r.Session.Get(key); value != "" {
			m.Metadata.Set(key, value)
		}
	}
	if r.Key != "" {
		if err := envelope.ValidateName("idempotency key", r.Key, envelope.MaxMessageIDBytes); err != nil {
			return err
		}
	}
	return m.Validate()
}

// Handle implements [bus.Router]: it has a message of a bus handled. The
// session of a message is its metadata, and its id tells repeats of a command.
//
// Errors: [bus.ErrUnhandled], and as [Service.Dispatch].
func (s *Service) Handle(ctx context.Context, m *envelope.Message) error {
	t, err := s.table()
	if err != nil {
		return err
	}
	handlers := t.commands
	if m.Kind == envelope.KindEvent {
		handlers = t.events
	}
	call := handlers[m.Name]
	if call == nil {
		return bus.ErrUnhandled
	}
	if bus.MessageFrom(ctx) != m {
		ctx = bus.WithMessage(ctx, m)
	}
	_, err = call(&Context{Context: ctx, service: s, message: m, session: sessionOf(m), key: m.ID})
	var panicked *PanicError
	if errors.As(err, &panicked) {
		s.opts.Logger.LogAttrs(ctx, slog.LevelError, "microsvc: handler panicked", slog.String("name", m.Name), slog.String("message", m.ID),
			slog.Any("panic", panicked.Value), slog.String("stack", string(panicked.Stack)))
	}
	return err
}
