package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/actor"
	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/examples/internal/backends"
	"github.com/troupe-go/troupe/examples/todo/byhand"
	"github.com/troupe-go/troupe/examples/todo/plain"
	"github.com/troupe-go/troupe/examples/todo/todo"
	"github.com/troupe-go/troupe/journal"
)

// asker hosts the type once per system and sends its commands.
func asker[A any, C, D aggregate.Identified, R any](spec *aggregate.Spec[A], create *aggregate.Command[A, C, R], complete *aggregate.Command[A, D, R],
	input func(id, user, task string) C, end func(id string) D,
) func(*testing.T, *actor.System) (func(id, user, task string) error, func(id string) error) {
	return func(t *testing.T, s *actor.System) (func(id, user, task string) error, func(id string) error) {
		h, err := actor.Host(s, spec, nil)
		require.NoError(t, err)
		return func(id, user, task string) error {
				_, err := create.Ask(context.Background(), h, input(id, user, task))
				return err
			}, func(id string) error {
				_, err := complete.Ask(context.Background(), h, end(id))
				return err
			}
	}
}

// ways are those to write the model.
var ways = []struct {
	name string
	on   func(*testing.T, *actor.System) (create func(id, user, task string) error, complete func(id string) error)
}{
	{"generated", asker(todo.Spec, todo.CreateTodo, todo.CompleteTodo,
		func(id, user, task string) todo.Create { return todo.Create{ID: id, UserID: user, Task: task} },
		func(id string) todo.Complete { return todo.Complete{ID: id} })},
	{"plain", asker(plain.Spec, plain.CreateTodo, plain.CompleteTodo,
		func(id, user, task string) plain.Create { return plain.Create{ID: id, UserID: user, Task: task} },
		func(id string) plain.Complete { return plain.Complete(id) })},
	{"by hand", asker(byhand.Spec, byhand.CreateTodo, byhand.CompleteTodo,
		func(id, user, task string) byhand.Create { return byhand.Create{ID: id, UserID: user, Task: task} },
		func(id string) byhand.Complete { return byhand.Complete(id) })},
}

// stored reads what the journal has, without times.
func stored(t *testing.T, j journal.Journal) (all []envelope.Record) {
	t.Helper()
	for rec, err := range j.ReadAll(t.Context(), journal.Position{}, 0) {
		require.NoError(t, err)
		require.False(t, rec.Time.IsZero())
		rec.Time = time.Time{}
		all = append(all, rec)
	}
	return all
}

// The three ways give equal streams and equal answers, and each goes on where
// another left off.
func TestThreeWaysGiveEqualStreams(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"memory", "bolt"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			var first []envelope.Record
			for i, w := range ways {
				kept := backends.Backends{Journal: kind}
				if kind == "bolt" {
					kept.Journal += ":" + t.TempDir() + "/"
				}
				j, err := kept.OpenJournal(t.Context(), "todos")
				require.NoError(t, err)
				t.Cleanup(func() { require.NoError(t, j.Close()) })
				onSystem := func(i int, use func(create func(id, user, task string) error, complete func(id string) error)) {
					s, err := actor.NewSystem(j, nil)
					require.NoError(t, err)
					use(ways[i].on(t, s))
					require.NoError(t, s.Stop(context.Background()))
				}
				onSystem(i, func(create func(id, user, task string) error, complete func(id string) error) {
					require.NoError(t, create("1", "ada", "tea"))
					require.ErrorIs(t, create("1", "ada", "tea"), aggregate.ErrRejected)
					require.ErrorIs(t, create("2", "ada", ""), aggregate.ErrRejected)
					require.ErrorIs(t, complete("3"), aggregate.ErrNotFound)
					require.NoError(t, complete("1"))
					require.NoError(t, complete("1"), "there is nothing to do")
					require.NoError(t, create("4", "bob", "<cake>"))
				})
				onSystem((i+1)%len(ways), func(_ func(id, user, task string) error, complete func(id string) error) {
					require.NoError(t, complete("4"))
				})
				got := stored(t, j)
				require.Len(t, got, 4, w.name)
				if first == nil {
					first = got
				}
				require.Equal(t, first, got, w.name)
			}
		})
	}
}

// The model and its commands take few lines, blank ones and comments aside.
func TestModelIsShort(t *testing.T) {
	t.Parallel()
	lines := 0
	for _, name := range []string{"todo/todo.go", "todo/commands.go"} {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSpace(line); line != "" && (!strings.HasPrefix(line, "//") || strings.HasPrefix(line, "//sourced:")) {
				lines++
			}
		}
	}
	require.LessOrEqual(t, lines, 56)
}

func TestShows(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	dir := t.TempDir()
	require.NoError(t, run(t.Context(), &out, &config{dir: dir}))
	const history = "{ID:1 UserID:ada Task:tea Completed:true}\n" +
		"1 initialized {\"id\":\"1\",\"user_id\":\"ada\",\"task\":\"tea\"}\n" +
		"2 completed {}\n"
	require.Equal(t, history, out.String())
	out.Reset()
	require.NoError(t, run(t.Context(), &out, &config{dir: dir}))
	require.Equal(t, "todo 1 is not created: a todo is initialized once, with a task\n"+history, out.String())
	require.ErrorContains(t, run(t.Context(), &out, &config{backends: backends.Backends{Journal: "paper"}}), "paper")
	require.ErrorContains(t, run(t.Context(), &out, &config{http: "nowhere"}), "nowhere")
}
