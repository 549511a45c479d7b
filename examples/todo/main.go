// Command todo is the five steps of the README as one program. By itself it makes
// a todo, completes it, and shows the history that is stored; with a port or a bus
// it serves commands until it is interrupted.
//
//	go run ./examples/todo                          # in memory
//	go run ./examples/todo -dir todos -http :8080   # in a file, over HTTP
//	go run ./examples/todo -journal postgres://… -bus nats://… -grpc :50051
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
	"path/filepath"
	"syscall"

	"github.com/troupe-go/troupe/actor"
	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/examples/internal/backends"
	"github.com/troupe-go/troupe/examples/todo/handlers"
	"github.com/troupe-go/troupe/examples/todo/todo"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/microsvc"
	"github.com/troupe-go/troupe/microsvc/grpcapi"
	"github.com/troupe-go/troupe/microsvc/httpapi"
)

// config is what the flags say.
type config struct {
	backends backends.Backends
	dir      string
	http     string
	grpc     string
}

func main() {
	var c config
	c.backends.Flags(flag.CommandLine)
	flag.StringVar(&c.dir, "dir", "", "`folder` of the journal's file, if there is no -journal; without both nothing outlives the program")
	flag.StringVar(&c.http, "http", "", "`address` to serve HTTP on, such as :8080")
	flag.StringVar(&c.grpc, "grpc", "", "`address` to serve gRPC on, such as :50051")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, &c); err != nil {
		fmt.Fprintln(os.Stderr, "todo:", err)
		os.Exit(1)
	}
}

// run has todos hosted, and shows or serves them.
func run(ctx context.Context, out io.Writer, c *config) (err error) {
	if c.dir != "" && !c.backends.Durable() {
		c.backends.Journal = "bolt:" + filepath.Clean(c.dir) + "/"
	}
	j, err := c.backends.OpenJournal(ctx, "todos")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	system, err := actor.NewSystem(j, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, system.Stop(context.WithoutCancel(ctx))) }()
	todos, err := actor.Host(system, todo.Spec, nil)
	if err != nil {
		return err
	}
	if c.http == "" && c.grpc == "" && !c.backends.Shared() {
		return show(ctx, out, j, todos)
	}
	return serve(ctx, out, c, j, todos)
}

// show makes and completes one todo, and prints what is stored of it.
func show(ctx context.Context, out io.Writer, j journal.Journal, todos *actor.Aggregates[todo.Todo]) error {
	const id = "1"
	_, err := todo.CreateTodo.Ask(ctx, todos, todo.Create{ID: id, UserID: "ada", Task: "tea"})
	switch {
	case errors.Is(err, aggregate.ErrRejected):
		fmt.Fprintf(out, "todo %s is not created: %v\n", id, err)
	case err != nil:
		return err
	}
	done, err := todo.CompleteTodo.Ask(ctx, todos, todo.Complete{ID: id})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%+v\n", done)
	for rec, err := range j.Load(ctx, todo.Spec.Stream(id), 0) {
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%d %s %s\n", rec.Version, rec.Name, rec.Data)
	}
	return nil
}

// serve answers commands over everything that the flags name, until ctx ends or
// one of them fails.
func serve(ctx context.Context, out io.Writer, c *config, j journal.Journal, todos *actor.Aggregates[todo.Todo]) error {
	b, err := c.backends.OpenBus(ctx, "todos")
	if err != nil {
		return err
	}
	defer func() { _ = b.Close() }() // what it had was settled by Run, or is delivered again
	svc := microsvc.New("todos").
		WithHosts(todos).
		Register(handlers.TodoCreate, handlers.TodoComplete, handlers.TodoInitialized(slog.New(slog.NewTextHandler(out, nil)))).
		WithBus(b).
		WithOutbox(j, nil)
	if err := svc.Check(); err != nil {
		return err
	}
	parts := []func(context.Context) error{
		func(ctx context.Context) error { return svc.Run(ctx, bus.Inbox(j)) },
	}
	if c.http != "" {
		parts = append(parts, func(ctx context.Context) error { return httpapi.Serve(ctx, c.http, svc, nil) })
	}
	if c.grpc != "" {
		parts = append(parts, func(ctx context.Context) error { return grpcapi.Serve(ctx, c.grpc, svc, nil) })
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, len(parts))
	for _, part := range parts {
		go func() {
			ended <- part(ctx)
			stop() // one that fails ends the others
		}()
	}
	for range parts {
		err = errors.Join(err, <-ended)
	}
	return err
}
