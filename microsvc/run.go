package microsvc

import (
	"context"
	"errors"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/outbox"
)

// WithBus has [Service.Run] listen and subscribe on b.
func (s *Service) WithBus(b *bus.Bus) *Service {
	return s.change("bus", func() { s.bus = b })
}

// WithOutbox has [Service.Run] publish what commands leave in j's outbox to the
// service's bus. opts may be nil.
func (s *Service) WithOutbox(j outbox.Journal, opts *outbox.Options) *Service {
	return s.change("outbox", func() {
		s.out = func(b *bus.Bus) (*outbox.Dispatcher, error) { return outbox.New(j, b, opts) }
	})
}

// WithDispatcher has [Service.Run] run d beside the bus.
func (s *Service) WithDispatcher(d *outbox.Dispatcher) *Service {
	return s.change("dispatcher", func() {
		s.out = func(*bus.Bus) (*outbox.Dispatcher, error) { return d, nil }
	})
}

// Declare makes sure that the broker keeps messages for the service from now on,
// so that others may begin to send before it runs: see [bus.Bus.Declare].
//
// Errors: those of [Service.Check], [ErrNoBus], and as [bus.Bus.Declare].
func (s *Service) Declare(ctx context.Context) error {
	plan, err := s.Plan()
	if err != nil {
		return err
	}
	if s.bus == nil {
		return s.noBus()
	}
	return s.bus.Declare(ctx, plan)
}

func (s *Service) noBus() error {
	return &SetupError{Service: s.name, What: "service", Name: s.name, Err: ErrNoBus}
}

// Run handles the commands and events that come over the bus and publishes the
// outbox, if it has one, until ctx ends; then it finishes what it holds, the
// dispatcher behind the handlers, and returns nil. Run it on a goroutine of its
// own. What other transports call does not need it.
//
// Errors: those of [Service.Check], [ErrNoBus], and as [bus.Bus.Run] and
// [outbox.Dispatcher.Run]: the first of the two that fails ends the other.
func (s *Service) Run(ctx context.Context, opts bus.RunOptions) error {
	plan, err := s.Plan()
	if err != nil {
		return err
	}
	if s.bus == nil {
		return s.noBus()
	}
	if s.out == nil {
		return s.bus.Run(ctx, s, opts)
	}
	d, err := s.out(s.bus)
	if err != nil {
		return err
	}
	if len(plan.Commands)+len(plan.Events) == 0 {
		return d.Run(ctx)
	}
	handling, stopHandling := context.WithCancel(ctx)
	defer stopHandling()
	// Handlers that finish leave messages: the dispatcher goes on until they have.
	publishing, stopPublishing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopPublishing()
	published := make(chan error, 1)
	go func() {
		err := d.Run(publishing)
		stopHandling()
		published <- err
	}()
	err = s.bus.Run(handling, s, opts)
	stopPublishing()
	return errors.Join(err, <-published)
}
