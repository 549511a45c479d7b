// Package byhand is the todo with events written by hand: a payload applies
// itself, and the methods that record are plain Go.
package byhand

import "github.com/troupe-go/troupe/aggregate"

// Todo is one thing to do.
type Todo struct {
	aggregate.Root
	UserID, Task string
	Completed    bool
}

// Event is a payload of Todo.
//
//sumtype:decl
type Event interface {
	aggregate.Applier[Todo]
	isEvent()
}

// Initialized begins a todo.
type Initialized struct {
	ID     string `json:"id"`
	UserID string `json:"user_id"`
	Task   string `json:"task"`
}

func (Initialized) isEvent() {}

// Apply gives the todo its identity, owner and task.
func (e Initialized) Apply(t *Todo) {
	t.SetID(e.ID)
	t.UserID, t.Task = e.UserID, e.Task
}

// Completed ends a todo.
type Completed struct{}

func (Completed) isEvent() {}

// Apply marks the todo as done.
func (Completed) Apply(t *Todo) { t.Completed = true }

// State is what a snapshot keeps.
type State struct {
	UserID    string `json:"user_id"`
	Task      string `json:"task"`
	Completed bool   `json:"completed"`
}

// Spec describes Todo.
var Spec = aggregate.Define("todo",
	aggregate.Applies[Todo, Initialized]("initialized"),
	aggregate.Applies[Todo, Completed]("completed"),
	aggregate.Snapshots(1, (*Todo).state, (*Todo).restore),
)

func (t *Todo) state() State { return State{t.UserID, t.Task, t.Completed} }

func (t *Todo) restore(s State) { t.UserID, t.Task, t.Completed = s.UserID, s.Task, s.Completed }

// Initialize gives the todo its identity, owner and task.
func (t *Todo) Initialize(id, userID, task string) error {
	if t.Version() > 0 || task == "" {
		return aggregate.Reject("a todo is initialized once, with a task")
	}
	return Spec.Record(t, Initialized{ID: id, UserID: userID, Task: task})
}

// Complete marks the todo as done. A todo that is done stays as it is.
func (t *Todo) Complete() error {
	if t.Completed {
		return nil
	}
	return Spec.Record(t, Completed{})
}
