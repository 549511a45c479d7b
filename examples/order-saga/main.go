// Command order-saga gets orders done by several services, each with a journal of
// its own, and undoes them when a step fails. README.md has the picture.
//
//	go run ./examples/order-saga                                    all services in this process, in memory
//	go run ./examples/order-saga -style choreography                the same without a saga
//	go run ./examples/order-saga -bus nats://localhost:4222 -journal bolt:data/
//	go run ./examples/order-saga -bus … -journal … -service stock   one service, until it is interrupted
//	go run ./examples/order-saga -bus … -service customer           places orders
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/troupe-go/troupe/actor"
	"github.com/troupe-go/troupe/examples/internal/services"
	"github.com/troupe-go/troupe/examples/order-saga/orders"
	"github.com/troupe-go/troupe/examples/order-saga/payments"
	"github.com/troupe-go/troupe/examples/order-saga/saga"
	"github.com/troupe-go/troupe/examples/order-saga/shop"
	"github.com/troupe-go/troupe/examples/order-saga/stock"
	"github.com/troupe-go/troupe/microsvc"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "order-saga:", err)
		os.Exit(1)
	}
}

// run is main without the process.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	plan := shop.Plan{Style: shop.Orchestration, Timeout: time.Minute}
	program := services.Program{
		Names:    []string{shop.Orders, shop.Payments, shop.Stock, shop.Saga},
		Customer: services.Customer{Name: "customer", Run: customer},
	}
	program.Logger = slog.New(slog.NewTextHandler(stderr, nil))
	flags := flag.NewFlagSet("order-saga", flag.ContinueOnError)
	flags.SetOutput(stderr)
	program.Flags(flags)
	flags.StringVar((*string)(&plan.Style), "style", string(plan.Style), "orchestration or choreography; the same for all services")
	flags.DurationVar(&plan.Timeout, "timeout", plan.Timeout, "how long a step may take; in a choreography: a whole order")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if plan.Style != shop.Orchestration && plan.Style != shop.Choreography {
		return fmt.Errorf("-style %q: want orchestration or choreography", plan.Style)
	}
	program.Names, program.Register = names(plan.Style), register(plan)
	return program.Run(ctx, stdout)
}

// names are the services of a style. Each has a journal of its own and knows of
// the others what package shop says.
func names(style shop.Style) []string {
	if style == shop.Orchestration {
		return []string{shop.Orders, shop.Payments, shop.Stock, shop.Saga}
	}
	return []string{shop.Orders, shop.Payments, shop.Stock}
}

// register gives services what they are made of.
func register(plan shop.Plan) services.Register {
	return func(system *actor.System, svc *microsvc.Service) error {
		switch svc.Name() {
		case shop.Orders:
			return orders.Register(system, svc, plan)
		case shop.Payments:
			return payments.Register(system, svc, plan)
		case shop.Stock:
			return stock.Register(system, svc, plan)
		}
		return saga.Register(system, svc, plan)
	}
}
