package todo

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
type Complete struct {
	ID string `json:"id"`
}

// AggregateID says which todo it is.
func (c Complete) AggregateID() string { return c.ID }

// View is a todo as callers and other services see it.
type View struct {
	ID        string `json:"id"`
	UserID    string `json:"user_id"`
	Task      string `json:"task"`
	Completed bool   `json:"completed"`
}

func (t *Todo) view() View { return View{t.ID(), t.UserID, t.Task, t.Completed} }

// CreateTodo and CompleteTodo run inside the todo's actor, one at a time. On an
// error nothing has happened: no event, no change, no message.
var (
	CreateTodo = aggregate.NewCommand("todo.create", func(ctx *aggregate.Context, t *Todo, c Create) (View, error) {
		if err := t.Initialize(c.ID, c.UserID, c.Task); err != nil {
			return View{}, err
		}
		ctx.Publish("todo.initialized", t.view())
		return t.view(), nil
	})
	CompleteTodo = aggregate.NewCommand("todo.complete", func(_ *aggregate.Context, t *Todo, _ Complete) (View, error) {
		err := t.Complete()
		return t.view(), err
	}, aggregate.MustExist())
)
