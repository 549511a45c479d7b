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
	"slices"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/troupe-go/troupe/examples/internal/backends"
	"github.com/troupe-go/troupe/examples/order-saga/shop"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "order-saga:", err)
		os.Exit(1)
	}
}

// config is the command line.
type config struct {
	backends.Backends
	service string
	style   shop.Style
	logger  *slog.Logger
}

// run is main without the process.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	cfg := config{logger: slog.New(slog.NewTextHandler(stderr, nil))}
	cfg.Logger = cfg.logger
	flags := flag.NewFlagSet("order-saga", flag.ContinueOnError)
	flags.SetOutput(stderr)
	cfg.Flags(flags)
	flags.StringVar(&cfg.service, "service", "", `what to run: orders, payments, stock, saga or customer; all of them if empty`)
	flags.StringVar((*string)(&cfg.style), "style", string(shop.Orchestration), "orchestration or choreography; the same for all services")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if cfg.style != shop.Orchestration && cfg.style != shop.Choreography {
		return fmt.Errorf("-style %q: want orchestration or choreography", cfg.style)
	}
	all := services(cfg.style)
	switch {
	case cfg.service == "":
		return cfg.runAll(ctx, all, stdout)
	case !cfg.Shared():
		return fmt.Errorf("-service %q needs a -bus that other processes reach, not %q", cfg.service, cfg.Bus)
	case cfg.service == "customer":
		return cfg.runCustomer(ctx, stdout)
	case slices.Contains(all, cfg.service):
		return cfg.runServices(ctx, []string{cfg.service}, func() {})
	}
	return fmt.Errorf("-service %q: want one of %v, or customer", cfg.service, all)
}

// runAll runs all services until the customer has what he wanted.
func (cfg *config) runAll(ctx context.Context, names []string, out io.Writer) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var bought error
	err := cfg.runServices(ctx, names, func() {
		bought = cfg.runCustomer(ctx, out)
		stop()
	})
	return errors.Join(err, bought)
}

func (cfg *config) runCustomer(ctx context.Context, out io.Writer) error {
	b, err := cfg.OpenBus(ctx, "customer")
	if err != nil {
		return err
	}
	return errors.Join(customer(ctx, b, out), b.Close())
}

// runServices runs services until ctx ends or one of them fails, and ready beside
// them, once none can miss an event.
func (cfg *config) runServices(ctx context.Context, names []string, ready func()) (err error) {
	var nodes []*node
	defer func() {
		for _, n := range nodes {
			err = errors.Join(err, n.close())
		}
	}()
	for _, name := range names {
		n, err := cfg.open(ctx, name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		nodes = append(nodes, n)
		if err := n.subscribe(ctx); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	running, ctx := errgroup.WithContext(ctx)
	for _, n := range nodes {
		running.Go(func() error { return n.run(ctx) })
	}
	running.Go(func() error { ready(); return nil })
	return running.Wait()
}

// open opens what a service runs on.
func (cfg *config) open(ctx context.Context, name string) (*node, error) {
	j, err := cfg.OpenJournal(ctx, name)
	if err != nil {
		return nil, err
	}
	b, err := cfg.OpenBus(ctx, name)
	if err != nil {
		return nil, errors.Join(err, j.Close())
	}
	n, err := newNode(name, cfg.style, j, b, cfg.logger)
	if err != nil {
		return nil, errors.Join(err, b.Close(), j.Close())
	}
	return n, nil
}
