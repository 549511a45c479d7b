package handlers

import (
	"github.com/troupe-go/troupe/examples/todo/todo"
	"github.com/troupe-go/troupe/microsvc"
)

// TodoComplete is the command "todo.complete".
var TodoComplete = microsvc.Expose(todo.CompleteTodo, nil, microsvc.RequireFields("id"))
