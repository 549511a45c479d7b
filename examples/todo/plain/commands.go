package plain

import "github.com/troupe-go/troupe/aggregate"

// Create begins a todo.
type Create struct {
	ID     string `json:"id"`
	UserID string `json:"user_id"`
	Task   string `json:"task"`
}

// AggregateID says which todo it is.
func (c Create) AggregateID() string { return c.ID }

// Complete ends the todo of that id.
type Complete string

// AggregateID says which todo it is.
func (c Complete) AggregateID() string { return string(c) }

// CreateTodo and CompleteTodo run inside the todo's actor. On an error nothing
// has happened.
var (
	CreateTodo = aggregate.NewCommand("todo.create", func(_ *aggregate.Context, t *Todo, c Create) (State, error) {
		err := initialized.Record(t, Initialized(c))
		return t.state(), err
	})
	CompleteTodo = aggregate.NewCommand("todo.complete", func(_ *aggregate.Context, t *Todo, _ Complete) (State, error) {
		err := completed.Record(t, Completed{})
		return t.state(), err
	}, aggregate.MustExist())
)
