package aggregate

import (
	"context"
	"fmt"
	"time"

	"github.com/troupe-go/troupe/envelope"
)

// Identified is a command's input: it knows whom it is for.
type Identified interface{ AggregateID() string }

// Command is a typed command of aggregate A: input In, reply Out. Make one
// with [NewCommand], as a package variable, and send it with [Command.Ask].
// It is immutable and safe for concurrent use.
type Command[A any, In Identified, Out any] struct {
	name      string
	mustExist bool
	handle    func(*Context, *A, In) (Out, error)
}

// CommandOption changes a command made by [NewCommand].
type CommandOption func(*commandOptions)

type commandOptions struct{ mustExist bool }

// MustExist makes a command answer [ErrNotFound] for an aggregate without
// events, before its handler runs.
func MustExist() CommandOption { return func(o *commandOptions) { o.mustExist = true } }

// NewCommand makes a command. handle decides: it looks at the state, records
// events through the aggregate's own methods, and returns the reply. When it
// returns an error or panics, nothing of it has happened: no event, no state.
// An error without a [Code] of its own is a refusal, [ErrRejected].
//
// handle runs inside the aggregate's actor, one command at a time. It may run
// more than once for one Ask, on newer state, when another process wrote
// first: it must do nothing but decide. No I/O, no waiting: a slow handler
// delays its own aggregate, and Ask inside a handler is refused. It must change
// the state by recording events only.
//
// A blank name is a mistake in the program and panics.
func NewCommand[A any, In Identified, Out any](name string, handle func(*Context, *A, In) (Out, error), opts ...CommandOption) *Command[A, In, Out] {
	if err := envelope.ValidateName("command name", name, envelope.MaxNameBytes); err != nil {
		panic("aggregate: " + err.Error())
	}
	if handle == nil {
		panic(fmt.Sprintf("aggregate: command %q has no handler", name))
	}
	var o commandOptions
	for _, opt := range opts {
		opt(&o)
	}
	return &Command[A, In, Out]{name: name, mustExist: o.mustExist, handle: handle}
}

// Name returns the command's name.
func (c *Command[A, In, Out]) Name() string { return c.name }

// Ask sends the command to the aggregate that in names and waits for the
// reply. to is a host of actors, or a [Repository].
//
// ctx bounds the waiting. A command whose caller gives up before it began
// never runs ([ErrNotRun], wrapping the context's error); one that began is
// [ErrUnknownOutcome], never a failure. With [WithCommandID] it is safe to ask
// again: the effect happens once, and the reply is the same.
//
// Inside a handler of a [bus.Bus] the command inherits the message's metadata,
// unless an option gives it some; and if the handler runs by [bus.Inbox], an id
// that is the same each time the message is handled.
//
// Errors: what the handler returned ([ErrRejected] unless it has another
// code), [ErrNotFound], [ErrInvalid], [ErrNotRun], [ErrUnknownOutcome],
// [ErrOverloaded], [ErrUnavailable], [ErrConflict], [ErrStopped], [ErrPanic],
// [ErrReplay] when the aggregate's history cannot be read. On an error the
// reply is the zero Out. Ask is safe for concurrent use.
func (c *Command[A, In, Out]) Ask(ctx context.Context, to Asker[A], in In, opts ...AskOption) (Out, error) {
	if ctx.Value(handlerKey{}) != nil {
		var none Out
		return none, envelope.Invalid("command", c.name, "is asked for inside a handler, which would wait for itself or for others: decide on the state, and let the caller ask")
	}
	inv := &invocation[A, In, Out]{cmd: c, in: in}
	inv.header.Command = c.name
	inv.header.MustExist = c.mustExist
	inv.header.AggregateID = in.AggregateID()
	for _, opt := range opts {
		opt(&inv.header)
	}
	if err := inv.header.inherit(ctx); err != nil {
		var none Out
		return none, err
	}
	if err := to.Ask(ctx, inv); err != nil {
		// The command may still be running: its reply is not ours to read.
		var none Out
		return none, err
	}
	return inv.out, nil
}

// AskOption is a choice made for one Ask.
type AskOption func(*Header)

// WithCommandID gives the command an id: within the journal's receipt
// retention it has one effect and one reply, however often it is sent. The id
// must be unique among the commands of its aggregate.
func WithCommandID(id string) AskOption { return func(h *Header) { h.CommandID = id } }

// WithMetadata sets what each event of the command inherits.
func WithMetadata(m envelope.Metadata) AskOption {
	return func(h *Header) { h.Metadata = m.Clone() }
}

// WithCorrelation sets the conversation that the command belongs to and the
// message that caused it. Either may be empty.
func WithCorrelation(correlationID, causationID string) AskOption {
	return func(h *Header) { h.Metadata.CorrelationID, h.Metadata.CausationID = correlationID, causationID }
}

// Header is what is known of a command without knowing its types.
type Header struct {
	Command     string // name
	AggregateID string
	CommandID   string // empty for none
	MustExist   bool   // the runtime answers [ErrNotFound] for an aggregate without events
	Metadata    envelope.Metadata
}

// Validate checks ids and metadata, and gives the metadata the command's id.
//
// Errors: [ErrInvalid].
func (h *Header) Validate(typ string) error {
	if err := (envelope.Stream{Type: typ, ID: h.AggregateID}).Validate(); err != nil {
		return err
	}
	if err := h.Metadata.Validate(); err != nil {
		return err
	}
	if h.CommandID != "" {
		if err := envelope.ValidateName("command id", h.CommandID, envelope.MaxCommandIDBytes); err != nil {
			return err
		}
		h.Metadata.CommandID = h.CommandID
	}
	return nil
}

// Asker takes a command to its aggregate: a host of actors, a [Repository], a
// client of another node.
type Asker[A any] interface {
	// Ask runs inv on the aggregate that its header names and returns when
	// its effect is durable, or with one of the errors of [Command.Ask]. If
	// ctx ends, Ask may return while inv is still referenced.
	Ask(ctx context.Context, inv Invocation[A]) error
}

// Invocation is one command on its way, without its types. A runtime may run
// it more than once; the last run counts.
type Invocation[A any] interface {
	// Header describes the command. It does not change after Ask.
	Header() *Header
	// Run decides on a: it runs the handler and keeps the reply. ctx is the
	// asker's, now the time of the decision.
	Run(ctx context.Context, a *A, now time.Time) error
	// EncodeReply encodes the reply of the last run.
	EncodeReply(codec envelope.Codec) ([]byte, error)
	// DecodeReply replaces the reply by an encoded one.
	DecodeReply(codec envelope.Codec, data []byte) error
}

// invocation is the Invocation of one typed command.
type invocation[A any, In Identified, Out any] struct {
	cmd    *Command[A, In, Out]
	header Header
	ctx    Context
	in     In
	out    Out
}

func (v *invocation[A, In, Out]) Header() *Header { return &v.header }

func (v *invocation[A, In, Out]) Run(ctx context.Context, a *A, now time.Time) error {
	r := rootOf(a)
	rec := r.recorder()
	rec.forget()
	v.ctx = Context{Context: ctx, header: &v.header, now: now, rec: rec}
	out, err := v.cmd.handle(&v.ctx, a, v.in)
	if err != nil {
		return refusal(err)
	}
	if rec.failed != nil {
		return rec.failed
	}
	if r.id != v.header.AggregateID {
		return envelope.Invalid("aggregate id", r.id, fmt.Sprintf("command %q was sent to %q and may not change the id", v.header.Command, v.header.AggregateID))
	}
	v.out = out
	return nil
}

func (v *invocation[A, In, Out]) EncodeReply(codec envelope.Codec) ([]byte, error) {
	data, err := codec.Encode(v.out)
	if err != nil {
		return nil, &Error{Code: CodeInvalid, Message: fmt.Sprintf("reply of command %q cannot be encoded: %v", v.header.Command, err), Err: err}
	}
	if len(data) > envelope.MaxReplyBytes {
		return nil, envelope.Invalid("reply", v.header.Command, fmt.Sprintf("has %d bytes, at most %d are allowed", len(data), envelope.MaxReplyBytes))
	}
	return data, nil
}

func (v *invocation[A, In, Out]) DecodeReply(codec envelope.Codec, data []byte) error {
	var out Out
	if err := codec.Decode(data, &out); err != nil {
		return fmt.Errorf("stored reply of command %q, id %q: %w", v.header.Command, v.header.CommandID, err)
	}
	v.out = out
	return nil
}

// Context is what a handler knows beside the state and its input. It is also
// the asker's [context.Context].
type Context struct {
	context.Context
	header *Header
	now    time.Time
	rec    *Recorder
}

// handlerKey finds the Context of a handler in a context derived from it.
type handlerKey struct{}

// Value returns the asker's value for key.
func (c *Context) Value(key any) any {
	if key == (handlerKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// Now returns the time of the decision: one instant for all that a command
// records.
func (c *Context) Now() time.Time { return c.now }

// CommandID returns the command's id, and "" if it has none.
func (c *Context) CommandID() string { return c.header.CommandID }

// Metadata returns what each event of this command inherits. It is shared:
// clone it before changing it.
func (c *Context) Metadata() envelope.Metadata { return c.header.Metadata }
