// Package todo is a model with generated code: the methods that record events,
// their payloads, replay, the snapshot and the Spec are in todo_sourced.go.
// Packages plain and byhand beside it are the same model without a generator.
package todo

//go:generate go tool sourced

import "github.com/troupe-go/troupe/aggregate"

// Todo is one thing to do.
//
//sourced:aggregate todo
//sourced:snapshot schema=1
type Todo struct {
	aggregate.Root
	UserID, Task string
	Completed    bool
}

// initialize gives the todo its identity, owner and task.
//
//sourced:event initialized require t.checkTask(task)
func (t *Todo) initialize(id, userID, task string) {
	t.SetID(id)
	t.UserID, t.Task = userID, task
}

// complete marks the todo as done. A todo that is done stays as it is.
//
//sourced:event completed when !t.Completed
func (t *Todo) complete() { t.Completed = true }

func (t *Todo) checkTask(task string) error {
	if t.Version() > 0 || task == "" {
		return aggregate.Reject("a todo is initialized once, with a task")
	}
	return nil
}
