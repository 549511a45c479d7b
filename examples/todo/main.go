// Command todo runs the model of the README: it creates a todo, completes it,
// and shows the history that is stored.
//
//	go run ./examples/todo            # in memory
//	go run ./examples/todo -file todos.db
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/troupe-go/troupe/actor"
	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/examples/todo/todo"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/bolt"
	"github.com/troupe-go/troupe/journal/memory"
)

func main() {
	file := flag.String("file", "", "journal `file`; without one nothing outlives the program")
	id := flag.String("id", "1", "the todo's `id`")
	task := flag.String("task", "write a model", "what there is to do")
	flag.Parse()
	if err := run(context.Background(), os.Stdout, *file, *id, *task); err != nil {
		fmt.Fprintln(os.Stderr, "todo:", err)
		os.Exit(1)
	}
}

// run creates and completes one todo.
func run(ctx context.Context, out io.Writer, file, id, task string) (err error) {
	j, err := open(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	system, err := actor.NewSystem(j, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, system.Stop(ctx)) }()
	todos, err := actor.Host(system, todo.Spec, nil)
	if err != nil {
		return err
	}

	_, err = todo.CreateTodo.Ask(ctx, todos, todo.Create{ID: id, UserID: "ada", Task: task})
	switch {
	case errors.Is(err, aggregate.ErrRejected):
		fmt.Fprintf(out, "todo %s is not created: %v\n", id, err)
	case err != nil:
		return err
	}
	done, err := todo.CompleteTodo.Ask(ctx, todos, todo.Complete(id))
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "todo %s: %+v\n", id, done)

	for rec, err := range j.Load(ctx, todo.Spec.Stream(id), 0) {
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%d %s %s\n", rec.Version, rec.Name, rec.Data)
	}
	return nil
}

func open(file string) (journal.Journal, error) {
	if file == "" {
		return memory.Open(nil)
	}
	return bolt.Open(file, nil)
}
