// Package plain is the todo without generated code, by the API that generated
// code uses: On says how an event changes the state, When and Require when it is
// recorded, Snapshots how the state is kept.
package plain

import "github.com/troupe-go/troupe/aggregate"

// Todo is one thing to do.
type Todo struct {
	aggregate.Root
	UserID, Task string
	Completed    bool
}

// Initialized begins a todo.
type Initialized struct {
	ID     string `json:"id"`
	UserID string `json:"user_id"`
	Task   string `json:"task"`
}

// Completed ends a todo.
type Completed struct{}

// State is what a snapshot keeps.
type State struct {
	UserID    string `json:"user_id"`
	Task      string `json:"task"`
	Completed bool   `json:"completed"`
}

var (
	initialized = aggregate.On("initialized", func(t *Todo, e Initialized) {
		t.SetID(e.ID)
		t.UserID, t.Task = e.UserID, e.Task
	}).Require(func(t *Todo, e Initialized) error {
		if t.Version() > 0 || e.Task == "" {
			return aggregate.Reject("a todo is initialized once, with a task")
		}
		return nil
	})

	completed = aggregate.On("completed", func(t *Todo, _ Completed) { t.Completed = true }).
			When(func(t *Todo, _ Completed) bool { return !t.Completed })

	// Spec describes Todo.
	Spec = aggregate.Define("todo", initialized, completed, aggregate.Snapshots(1, (*Todo).state, (*Todo).restore))
)

func (t *Todo) state() State { return State{t.UserID, t.Task, t.Completed} }

func (t *Todo) restore(s State) { t.UserID, t.Task, t.Completed = s.UserID, s.Task, s.Completed }
