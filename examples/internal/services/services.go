// Package services runs the services of an example, each on a journal and a bus of
// its own. It is what main of a service does, once for all examples.
package services

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/troupe-go/troupe/actor"
	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/examples/internal/backends"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/microsvc"
	"github.com/troupe-go/troupe/outbox"
)

// Register gives the service that svc.Name() names its aggregates, hosted in
// system, and its handlers.
type Register func(system *actor.System, svc *microsvc.Service) error

// Service is one service with what it runs on.
type Service struct {
	// Inbox and Outbox are how messages are handled and published. Change them
	// before Run.
	Inbox  bus.RunOptions
	Outbox *outbox.Options

	svc     *microsvc.Service
	system  *actor.System
	journal journal.Journal
	bus     *bus.Bus
}

// New puts a service together. It starts nothing. What it runs on is the
// service's from now on, unless there is an error.
func New(name string, j journal.Journal, b *bus.Bus, logger *slog.Logger, register Register) (*Service, error) {
	system, err := actor.NewSystem(j, &actor.Options{Logger: logger})
	if err != nil {
		return nil, err
	}
	s := &Service{system: system, journal: j, bus: b, Inbox: bus.Inbox(j), Outbox: &outbox.Options{Logger: logger}}
	s.Inbox.Logger = logger
	s.svc = microsvc.New(name).WithOptions(microsvc.Options{Logger: logger}).WithBus(b).WithOutbox(j, s.Outbox)
	if err := errors.Join(register(system, s.svc), s.svc.Check()); err != nil {
		return nil, errors.Join(err, system.Stop(context.Background()))
	}
	return s, nil
}

// Declare makes sure that the broker keeps messages for the service from now on.
func (s *Service) Declare(ctx context.Context) error { return s.svc.Declare(ctx) }

// Run handles commands and events, each with one effect, and publishes what they
// leave, until ctx ends.
func (s *Service) Run(ctx context.Context) error { return s.svc.Run(ctx, s.Inbox) }

// Close gives back what the service runs on, behind the end of Run.
func (s *Service) Close() error {
	return errors.Join(s.system.Stop(context.Background()), s.bus.Close(), s.journal.Close())
}

// Run runs services until ctx ends or one of them fails, and ready beside them,
// once none of them can miss an event.
func Run(ctx context.Context, on *backends.Backends, names []string, register Register, ready func()) (err error) {
	var all []*Service
	defer func() {
		for _, s := range all {
			err = errors.Join(err, s.Close())
		}
	}()
	for _, name := range names {
		s, err := open(ctx, on, name, register)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, s)
		if err := s.Declare(ctx); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	running, ctx := errgroup.WithContext(ctx)
	for _, s := range all {
		running.Go(func() error { return s.Run(ctx) })
	}
	running.Go(func() error { ready(); return nil })
	return running.Wait()
}

func open(ctx context.Context, on *backends.Backends, name string, register Register) (*Service, error) {
	j, err := on.OpenJournal(ctx, name)
	if err != nil {
		return nil, err
	}
	b, err := on.OpenBus(ctx, name)
	if err != nil {
		return nil, errors.Join(err, j.Close())
	}
	s, err := New(name, j, b, on.Logger, register)
	if err != nil {
		return nil, errors.Join(err, b.Close(), j.Close())
	}
	return s, nil
}

// Send sends a command from outside of any service, until one is there that takes
// it. Its id, of name and key, tells repeats.
func Send(ctx context.Context, b *bus.Bus, name string, payload any, key string) error {
	for {
		err := b.Send(ctx, name, payload, bus.WithKey(key), bus.WithID(name+":"+key))
		if err == nil || bus.IsPermanent(err) || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
}
