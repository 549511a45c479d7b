// Package todo has everything that the generator writes for one aggregate.
package todo

//go:generate go tool sourced

import (
	"errors"
	"time"

	"github.com/troupe-go/troupe/aggregate"
)

// ErrNoTask refuses a todo without a task.
var ErrNoTask = errors.New("a todo needs a task")

// Todo is one thing to do.
//
//sourced:aggregate todo
//sourced:snapshot schema=2
type Todo struct {
	aggregate.Root

	UserID    string
	Task      string
	Priority  uint8
	Due       time.Time
	Completed bool
	Tags      Tags
	notes     map[string][]string
	HTMLText  string `json:"html"`

	cache func() `snapshot:"-"`
}

// Tags are the words that a todo is found by.
type Tags []string

// initialize gives the todo its identity, its owner and its task.
//
// A todo without a task is refused.
//
//sourced:event initialized schema=3 require t.checkTask(task)
func (t *Todo) initialize(id, userID, task string, priority uint8, due time.Time) {
	t.SetID(id)
	t.UserID, t.Task, t.Priority, t.Due = userID, task, priority, due
}

// complete marks the todo as done. A todo that is done stays as it is.
//
//sourced:event completed when !t.Completed
func (t *Todo) complete() { t.Completed = true }

//sourced:event todo.tagged when t.lacks(tag) require check(func() bool { return tag != "" }, "when require")
func (t *Todo) addTag(tag string) { t.Tags = append(t.Tags, tag) }

// Notes are kept by subject.
//
//sourced:event noted
func (t *Todo) note(subject string, lines []string) {
	if t.notes == nil {
		t.notes = make(map[string][]string)
	}
	t.notes[subject] = lines
}

// touch changes nothing.
//
//sourced:event touched
func (*Todo) touch() {}

func (t *Todo) checkTask(task string) error {
	if task == "" {
		return ErrNoTask
	}
	return nil
}

func (t *Todo) lacks(tag string) bool {
	for _, known := range t.Tags {
		if known == tag {
			return false
		}
	}
	return true
}

func check(ok func() bool, text string) error {
	if ok() {
		return nil
	}
	return errors.New(text)
}

// Payloads of "initialized" in streams written before 2026.
type (
	initializedV1 struct {
		ID   string `json:"id"`
		Task string `json:"task"`
	}
	initializedV2 struct {
		ID     string `json:"id"`
		UserID string `json:"user_id"`
		Task   string `json:"task"`
	}
)

// ownerless knows no owner: such todos belong to "legacy".
//
//sourced:upcast initialized from=1
func ownerless(e initializedV1) initializedV2 {
	return initializedV2{ID: e.ID, UserID: "legacy", Task: e.Task}
}

//sourced:upcast initialized from=2
func unprioritized(e initializedV2) TodoInitialized {
	return TodoInitialized{ID: e.ID, UserID: e.UserID, Task: e.Task, Priority: 1}
}
