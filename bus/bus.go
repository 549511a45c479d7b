package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/troupe-go/troupe/envelope"
)

// Bus is one service's end of a message bus, the same over every transport. It
// is safe for concurrent use.
type Bus struct {
	transport Transport
	features  Features
}

var _ Publisher = (*Bus)(nil)

// New makes a bus of a transport. It is for packages of transports; users call
// theirs, such as membus.New.
func New(transport Transport) *Bus {
	return &Bus{transport: transport, features: transport.Features()}
}

// Send sends one command, with payload as JSON, to the service that listens to
// its name. Inside a handler it inherits the handled message's metadata.
//
// Errors: [ErrInvalid], [ErrRefused], [ErrUnroutable] where the transport can
// tell, [ErrUnavailable], [ErrClosed], the context's. It returns once the
// broker has confirmed.
func (b *Bus) Send(ctx context.Context, name string, payload any, opts ...MessageOption) error {
	return b.publish(ctx, envelope.KindCommand, name, payload, opts)
}

// Publish publishes one event, with payload as JSON, to every group that
// subscribes to its name: none is no error.
//
// Errors: as [Bus.Send].
func (b *Bus) Publish(ctx context.Context, name string, payload any, opts ...MessageOption) error {
	return b.publish(ctx, envelope.KindEvent, name, payload, opts)
}

func (b *Bus) publish(ctx context.Context, kind envelope.Kind, name string, payload any, opts []MessageOption) error {
	if cause := MessageFrom(ctx); cause != nil {
		opts = append([]MessageOption{WithMetadata(cause.Follow())}, opts...)
	}
	m, err := newMessage(kind, name, payload, opts)
	if err != nil {
		return err
	}
	return PublishErrors(b.PublishBatch(ctx, []envelope.Message{m}), 1)[0]
}

// PublishBatch sends commands and publishes events, each message by its Kind,
// in as few round trips as the transport can. Messages of one ordering key keep
// the order of the call; when one is not confirmed, none behind it in its key
// is sent.
//
// Errors: a [BatchError] if some were not confirmed, with errors as
// [Bus.Send]; else one that speaks of all of them.
func (b *Bus) PublishBatch(ctx context.Context, messages []envelope.Message) error {
	return PublishInOrder(ctx, b.transport, messages)
}

// Listen handles the commands that handlers names until ctx ends, competing
// with the other replicas of the group, and then finishes what it holds. It
// returns nil after a clean end; run it on a goroutine of its own.
//
// Errors: [ErrUnsupported], [ErrUnauthorized], [ErrUnavailable] if the broker
// is away at the start (later it waits for its return), [ErrInvalid] for
// handlers or options, [ErrStopped], [ErrClosed], [ErrNotDrained].
func (b *Bus) Listen(ctx context.Context, handlers Router, opts RunOptions) error {
	return b.run(ctx, handlers, opts, envelope.KindCommand)
}

// Subscribe handles the events that handlers names: one copy for each group,
// shared by its replicas. Otherwise it is [Bus.Listen].
func (b *Bus) Subscribe(ctx context.Context, handlers Router, opts RunOptions) error {
	return b.run(ctx, handlers, opts, envelope.KindEvent)
}

// Run listens and subscribes at once, to what handlers names of each.
//
// Errors: as [Bus.Listen]; the first of the two that fails ends the other.
func (b *Bus) Run(ctx context.Context, handlers Router, opts RunOptions) error {
	return b.run(ctx, handlers, opts, envelope.KindCommand, envelope.KindEvent)
}

// Declare makes sure that the broker keeps, from now on, what plan names for this
// service's group. Running does so as well; some brokers keep no events for a group
// that they do not know yet, and take no command that nobody has ever listened to.
// Declare it before others begin to send.
//
// Errors: as [Bus.Listen] at the start.
func (b *Bus) Declare(ctx context.Context, plan Plan) error {
	if err := b.consumes(); err != nil {
		return err
	}
	for _, kind := range [...]envelope.Kind{envelope.KindCommand, envelope.KindEvent} {
		source, err := b.open(ctx, plan, kind)
		if err != nil {
			return err
		}
		if source == nil {
			continue
		}
		if err := source.Close(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (b *Bus) consumes() error {
	if !b.features.Consumes {
		return fmt.Errorf("%w: %s does not consume", ErrUnsupported, b.features.Name)
	}
	return nil
}

// open opens the source of what plan has of a kind, nil if that is nothing.
func (b *Bus) open(ctx context.Context, plan Plan, kind envelope.Kind) (Source, error) {
	open, names := b.transport.Listen, plan.Commands
	if kind == envelope.KindEvent {
		open, names = b.transport.Subscribe, plan.Events
	}
	if len(names) == 0 {
		return nil, nil //nolint:nilnil // there is nothing to open
	}
	return open(ctx, slices.Sorted(slices.Values(names)))
}

func (b *Bus) run(ctx context.Context, handlers Router, opts RunOptions, kinds ...envelope.Kind) error {
	plan, err := handlers.Plan()
	if err != nil {
		return err
	}
	if err := errors.Join(opts.validate(b.features), b.consumes()); err != nil {
		return err
	}
	if opts.Consumer == "" {
		opts.Consumer = b.transport.Group()
	}
	opts.deadLetters = b.transport.DeadLetters()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var sources []Source
	var failed []error
	for _, kind := range kinds {
		source, err := b.open(ctx, plan, kind)
		if err != nil && ctx.Err() != nil {
			break // asked to end before it began
		}
		if err != nil {
			failed = append(failed, err)
			break
		}
		if source != nil {
			sources = append(sources, source)
		}
	}
	if len(failed) == 0 && len(plan.Commands)+len(plan.Events) == 0 {
		return fmt.Errorf("%w: no handlers to run", ErrInvalid)
	}
	ended := make(chan error, len(sources))
	for _, source := range sources {
		if len(failed) > 0 {
			ended <- source.Close(ctx)
			continue
		}
		go func() { ended <- RunSource(ctx, source, handlers, opts) }()
	}
	for range sources {
		if err := <-ended; err != nil {
			failed = append(failed, err)
			cancel()
		}
	}
	return errors.Join(failed...)
}

// DeadLetters looks after what this bus's consumers set aside, or is nil for a
// transport without.
func (b *Bus) DeadLetters() DeadLetters { return b.transport.DeadLetters() }

// Group names this service's group, with its namespace: see [Transport].Group.
func (b *Bus) Group() string { return b.transport.Group() }

// Transport returns what the bus was made of, for suites and tools.
func (b *Bus) Transport() Transport { return b.transport }

// Features says what the transport does.
func (b *Bus) Features() Features { return b.features }

// Close disconnects. End the runs first, by their contexts. A second call
// returns nil.
func (b *Bus) Close() error { return b.transport.Close() }
