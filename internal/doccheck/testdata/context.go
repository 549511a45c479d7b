// Package p has what the code in the docs uses without declaring it.
package p

import (
	"context"
	"log/slog"
	"time"

	"github.com/troupe-go/troupe/actor"
	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/examples/bank/account"
	"github.com/troupe-go/troupe/examples/todo/todo"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/microsvc"
)

var (
	err      error
	ctx      *aggregate.Context
	j        journal.Journal
	b        *bus.Bus
	system   *actor.System
	todos    *actor.Aggregates[todo.Todo]
	accounts *actor.Aggregates[account.Account]
	svc      *microsvc.Service
	log      *slog.Logger
	due      time.Time
	view     todo.View

	url, natsURL, brokers string
)

// An order that is shipped.
type (
	Order struct {
		aggregate.Root
		shipped time.Time
	}
	Ship struct {
		ID string
		At time.Time
	}
	View    struct{ ID string }
	Shipped struct {
		ID string
		At time.Time
	}
	Invoice struct{ Order string }
	Expire  struct{ ID string }
	Due     struct{ ID string }
	Remind  struct{ ID string }
)

func (o *Order) Ship(at time.Time) error { return nil }
func (o *Order) view() View              { return View{o.ID()} }
func (s Ship) AggregateID() string       { return s.ID }

var o *Order

func ship(ctx context.Context, s Ship, m *envelope.Message) error             { return nil }
func createInvoice(ctx context.Context, i Invoice, m *envelope.Message) error { return nil }
func noteShipment(ctx context.Context, s Shipped, m *envelope.Message) error  { return nil }
func notePlaced(ctx context.Context, v View, m *envelope.Message) error       { return nil }

// What handlers of a service get.
type (
	Import   struct{ File string }
	Report   struct{ Lines int }
	Reserved struct{ Seat string }
)

func importFile(ctx context.Context, user, file string) (Report, error) { return Report{}, nil }
func noteSeat(ctx context.Context, seat string) error                   { return nil }

// What listens to todos, and where records go that are let go.
type store struct{}

func (store) Append(ctx context.Context, page []envelope.Record) error { return nil }

var bucket store

func archive(ctx context.Context, page []envelope.Record) error { return nil }
func countDone(ctx context.Context, todo string) error          { return nil }

// The todo of the guide for who comes from the Rust framework.
type (
	Todo     struct{ aggregate.Root }
	Complete struct{ ID string }
)

func (t *Todo) Complete() error        { return nil }
func (c Complete) AggregateID() string { return c.ID }
