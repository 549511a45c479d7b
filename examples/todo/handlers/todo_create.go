package handlers

import (
	"github.com/troupe-go/troupe/examples/todo/todo"
	"github.com/troupe-go/troupe/microsvc"
)

// TodoCreate is the command "todo.create".
var TodoCreate = microsvc.Expose(todo.CreateTodo, nil, microsvc.RequireFields("id", "user_id", "task"))
