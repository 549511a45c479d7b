// Command seats sells the seats of a theatre, each once, by several services.
// README.md has the picture.
//
//	go run ./examples/seats                                      all services in this process, in memory
//	go run ./examples/seats -bus nats://localhost:4222 -journal bolt:data/
//	go run ./examples/seats -bus … -journal … -service seating   one service, until it is interrupted
//	go run ./examples/seats -bus … -service guests               guests, who all want the same seats
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
	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/examples/internal/services"
	"github.com/troupe-go/troupe/examples/seats/boxoffice"
	"github.com/troupe-go/troupe/examples/seats/checkout"
	"github.com/troupe-go/troupe/examples/seats/seating"
	"github.com/troupe-go/troupe/examples/seats/theatre"
	"github.com/troupe-go/troupe/microsvc"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "seats:", err)
		os.Exit(1)
	}
}

// run is main without the process.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	count := 8
	payWithin := 2 * time.Second
	program := services.Program{
		Names: theatre.Services,
		Customer: services.Customer{Name: "guests", Run: func(ctx context.Context, b *bus.Bus, out io.Writer) error {
			return guests(ctx, b, count, out)
		}},
	}
	program.Logger = slog.New(slog.NewTextHandler(stderr, nil))
	flags := flag.NewFlagSet("seats", flag.ContinueOnError)
	flags.SetOutput(stderr)
	program.Flags(flags)
	flags.IntVar(&count, "guests", count, "how many guests come")
	flags.DurationVar(&payWithin, "pay-within", payWithin, "how long seats are kept for a guest who has not paid")
	if err := flags.Parse(args); err != nil {
		return err
	}
	program.Register = register(payWithin)
	return program.Run(ctx, stdout)
}

// register gives services what they are made of.
func register(payWithin time.Duration) services.Register {
	return func(system *actor.System, svc *microsvc.Service) error {
		switch svc.Name() {
		case theatre.BoxOffice:
			return boxoffice.Register(system, svc, payWithin)
		case theatre.Seating:
			return seating.Register(system, svc)
		}
		return checkout.Register(system, svc)
	}
}
