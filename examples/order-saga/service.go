package main

import (
	"context"
	"errors"
	"log/slog"

	"github.com/troupe-go/troupe/actor"
	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/examples/order-saga/orders"
	"github.com/troupe-go/troupe/examples/order-saga/payments"
	"github.com/troupe-go/troupe/examples/order-saga/saga"
	"github.com/troupe-go/troupe/examples/order-saga/shop"
	"github.com/troupe-go/troupe/examples/order-saga/stock"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/microsvc"
	"github.com/troupe-go/troupe/outbox"
)

// services are those of a style. Each has a journal of its own and knows of the
// others what package shop says.
func services(style shop.Style) []string {
	all := []string{shop.Orders, shop.Payments, shop.Stock}
	if style == shop.Orchestration {
		all = append(all, shop.Saga)
	}
	return all
}

// register gives svc the handlers of the service that it is named after.
func register(system *actor.System, svc *microsvc.Service, style shop.Style) error {
	switch svc.Name() {
	case shop.Orders:
		return orders.Register(system, svc, style)
	case shop.Payments:
		return payments.Register(system, svc, style)
	case shop.Stock:
		return stock.Register(system, svc, style)
	}
	return saga.Register(system, svc)
}

// node is one service with what it runs on: a journal, actors, and its end of the
// bus.
type node struct {
	svc     *microsvc.Service
	system  *actor.System
	journal journal.Journal
	bus     *bus.Bus
	inbox   bus.RunOptions
	outbox  *outbox.Options
}

// newNode puts a service together. It starts nothing.
func newNode(name string, style shop.Style, j journal.Journal, b *bus.Bus, logger *slog.Logger) (*node, error) {
	system, err := actor.NewSystem(j, &actor.Options{Logger: logger})
	if err != nil {
		return nil, err
	}
	n := &node{system: system, journal: j, bus: b, inbox: bus.Inbox(j), outbox: &outbox.Options{Logger: logger}}
	n.inbox.Logger = logger
	n.svc = microsvc.New(name).WithOptions(microsvc.Options{Logger: logger}).WithBus(b).WithOutbox(j, n.outbox)
	if err := errors.Join(register(system, n.svc, style), n.svc.Check()); err != nil {
		return nil, errors.Join(err, system.Stop(context.Background()))
	}
	return n, nil
}

// subscribe makes sure that the broker keeps events for the service from now on.
// Not every broker has those for it that were published before.
func (n *node) subscribe(ctx context.Context) error {
	plan, err := n.svc.Plan()
	if err != nil || n.bus.Features().Retained || len(plan.Events) == 0 {
		return err
	}
	source, err := n.bus.Transport().Subscribe(ctx, plan.Events)
	if err != nil {
		return err
	}
	return source.Close(ctx)
}

// run handles commands and events, each with one effect, and publishes what they
// leave, until ctx ends.
func (n *node) run(ctx context.Context) error { return n.svc.Run(ctx, n.inbox) }

// close gives back what the service runs on, behind the end of run.
func (n *node) close() error {
	return errors.Join(n.system.Stop(context.Background()), n.bus.Close(), n.journal.Close())
}
