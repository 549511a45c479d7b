package handlers

import (
	"log/slog"

	"github.com/troupe-go/troupe/examples/todo/todo"
	"github.com/troupe-go/troupe/microsvc"
)

// TodoInitialized hears of new todos, whichever process of the service made them.
func TodoInitialized(log *slog.Logger) microsvc.Handler {
	return microsvc.On("todo.initialized", func(c *microsvc.Context, v todo.View) error {
		log.InfoContext(c, "somebody has something to do", "user", v.UserID, "todo", v.ID, "task", v.Task)
		return nil
	})
}
