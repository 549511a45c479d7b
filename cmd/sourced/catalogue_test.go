package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// catalogues are the folders of each golden catalogue, by name. The fixture has
// two packages, and of everything one.
var catalogues = map[string][]string{
	"shop": {"testdata/catalogue/order", "testdata/catalogue/shipping"},
	"bank": {"../../examples/bank/account"},
}

var catalogueFiles = map[string]string{"text": ".txt", "mermaid": ".mmd", "asyncapi": ".json"}

// printed runs sourced catalogue, which must succeed.
func printed(t *testing.T, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	require.Zero(t, run(append([]string{"catalogue"}, args...), &stdout, &stderr), stderr.String())
	require.Empty(t, stderr.String())
	return stdout.String()
}

func TestCatalogueGolden(t *testing.T) {
	t.Parallel()
	for name, dirs := range catalogues {
		for format, ext := range catalogueFiles {
			t.Run(name+"/"+format, func(t *testing.T) {
				t.Parallel()
				got := printed(t, append([]string{"-format", format, "-title", `The "` + name + `"`}, dirs...)...)
				path := filepath.Join("testdata", "catalogue", name+ext)
				if *update {
					require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
				}
				want, err := os.ReadFile(path)
				require.NoError(t, err)
				require.Equal(t, string(want), got)
				for _, line := range strings.Split(got, "\n") {
					require.Equal(t, strings.TrimRight(line, " \t"), line, "blanks at the end of a line")
				}
			})
		}
	}
}

// The order of the folders, and how they are named, change nothing.
func TestCatalogueIsDeterministic(t *testing.T) {
	t.Parallel()
	for format := range catalogueFiles {
		want := printed(t, "-format", format, "testdata/catalogue/order", "testdata/catalogue/shipping")
		for range 5 {
			require.Equal(t, want, printed(t, "-format", format, "testdata/catalogue/shipping", "testdata/catalogue/..."))
		}
	}
}

// shop writes two packages of a module into a folder.
func shop(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	write := func(name, text string) {
		path := filepath.Join(root, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	const todo = `package todo

import "github.com/troupe-go/troupe/aggregate"

//sourced:aggregate todo enqueue
type Todo struct{ aggregate.Root }

//sourced:event done
func (t *Todo) finish(by string) { t.Undeclared = by }
`
	write("go.mod", "// of the shop\nmodule \"example.com/shop\" // quoted\n")
	write("todo/todo.go", todo)
	write("todo/only_test.go", "package todo_test\n")
	write("empty/README", "")
	write("tests/x_test.go", "package tests\n")
	write("plain/plain.go", "package plain\n")
	write("wire/wire.go", `package main

import (
	"context"

	. "fmt"
	"example.com/shop/todo"
	"github.com/troupe-go/troupe/aggregate"
)

func main() {
	aggregate.Listen(nil, func(_ context.Context, e todo.TodoDone, _ aggregate.Emission) { Println(e) })
}
`)
	for _, dir := range []string{"testdata/a", "vendor/b", ".hidden/c", "_old/d", "other"} {
		write(dir+"/todo.go", todo)
	}
	write("other/go.mod", "module example.com/other\n")
	return root
}

// A pattern takes each package with something to show, of one module, and the
// code need not compile.
func TestCataloguePatterns(t *testing.T) {
	t.Parallel()
	root := shop(t)
	want := `package todo  example.com/shop/todo

  aggregate todo  Todo  enqueues its events

    methods
      Finish(by string)  -> done

    events
      done  schema 1  TodoDone
        by  string
        heard by main.main

package main  example.com/shop/wire

  listeners
    main  todo.done
`
	require.Equal(t, want, printed(t, root+"/..."))
	require.Equal(t, want, printed(t, root+"/todo", root+"/...", root+"/wire"))
	require.Contains(t, printed(t, root+"/testdata/..."), "package todo  example.com/shop/testdata/a\n", "the top of a pattern is never skipped")
	require.Contains(t, printed(t, root+"/other"), "package todo  example.com/other\n")
	require.Contains(t, printed(t, root+"/other", root+"/todo", root+"/wire"), "heard by main.main")

	two := printed(t, "-format", "mermaid", root+"/other", root+"/todo")
	require.Contains(t, two, `["example.com/other"]`, "packages of one name are told apart")
	require.Contains(t, two, `["example.com/shop/todo"]`)
}

func TestCatalogueRunsInTheCurrentFolder(t *testing.T) {
	t.Chdir(filepath.Join(shop(t), "todo"))
	require.Contains(t, printed(t), "package todo  example.com/shop/todo\n")
	require.Equal(t, printed(t), printed(t, "..."))
	require.Equal(t, printed(t), printed(t, "./..."))
}

func TestCatalogueTitle(t *testing.T) {
	t.Parallel()
	root := shop(t)
	require.True(t, strings.HasPrefix(printed(t, "-title", "Täg", root+"/todo"), "Täg\n===\n\npackage todo"))
	require.True(t, strings.HasPrefix(printed(t, "-format", "mermaid", "-title", "a: \"b\"", root+"/todo"), "---\ntitle: \"a: \\\"b\\\"\"\n---\nflowchart LR\n"))
	require.Contains(t, printed(t, "-format", "asyncapi", "-title", "<Shop>", root+"/todo"), `"title": "<Shop>"`)
	require.Contains(t, printed(t, "-format", "asyncapi", root+"/todo"), `"title": "todo"`)
	require.Contains(t, printed(t, "-format", "asyncapi", root+"/..."), `"title": "example.com/shop"`)
	require.Contains(t, printed(t, "-format", "asyncapi", root+"/todo", root+"/other"), `"title": "example.com"`)
}

func TestCatalogueCommandLine(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	call := func(want int, text string, args ...string) {
		t.Helper()
		stdout.Reset()
		stderr.Reset()
		require.Equal(t, want, run(append([]string{"catalogue"}, args...), &stdout, &stderr))
		require.Contains(t, stderr.String(), text)
		require.Empty(t, stdout.String())
	}
	call(0, "usage: sourced catalogue [-format text|mermaid|asyncapi] [-title TITLE] [folder ...]", "-h")
	call(2, "flag provided but not defined", "-fromat", "text")
	call(2, `there is no format "yaml": write text, mermaid or asyncapi`, "-format", "yaml")
	call(1, "no package with an aggregate: name the folders that have one", filepath.Join(shop(t), "plain"))
	call(1, "no Go files", t.TempDir())
	call(1, "no such file", filepath.Join(t.TempDir(), "none"))
	call(1, "no such file", filepath.Join(t.TempDir(), "none", "..."))
	root := shop(t)
	require.NoError(t, os.WriteFile(filepath.Join(root, "go.mod"), []byte("go 1.26\n"), 0o644))
	call(1, "no module line: write module and its path", root+"/todo")
}

// A mistake in a directive is reported as in generate. The lock is not asked: a
// catalogue shows the source.
func TestCatalogueRefusesAsGenerateDoes(t *testing.T) {
	t.Parallel()
	cases, err := filepath.Glob("testdata/refused/*.txt")
	require.NoError(t, err)
	for _, path := range cases {
		name := strings.TrimSuffix(filepath.Base(path), ".txt")
		if strings.HasPrefix(name, "lock_") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			sources, want, _ := strings.Cut(string(text), "-- want --\n")
			dir := t.TempDir()
			unpack(t, dir, sources)
			var stdout, stderr bytes.Buffer
			require.Equal(t, 1, run([]string{"catalogue", dir}, &stdout, &stderr))
			require.Empty(t, stdout.String())
			got := strings.ReplaceAll(stderr.String(), dir+string(filepath.Separator), "")
			if name == "aggregate_none" { // no mistake in a package of a catalogue
				want = "sourced: " + dir + ": no package with an aggregate: name the folders that have one, or ./... for all below\n"
			}
			require.Equal(t, want, got)
		})
	}
}

// What the syntax does not tell is left out, and said.
func TestCatalogueNotes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	unpack(t, dir, `-- todo.go --
package todo

import (
	"context"
	"os"

	"github.com/troupe-go/troupe/aggregate"
	"example.com/handlers"
)

//sourced:aggregate todo
type Todo struct{ aggregate.Root }

//sourced:event done
func (t *Todo) finish() {}

var (
	hidden = aggregate.NewCommand(os.Args[0], func(*aggregate.Context, *Todo, in) (int, error) { return 0, nil })
	ring   = aggregate.NewCommand(name, func(*aggregate.Context, *Todo, in) (int, error) { return 0, nil })
	one    = aggregate.NewCommand("far", handlers.Far)
	number = aggregate.NewCommand[Todo, in, int]("typed", handlers.Far)
	both   = aggregate.NewCommand("two", x.both)
)

const name, other = other, name

type in struct{}
type a struct{}
type b struct{}

func (a) both(*aggregate.Context, *Todo, in) (int, error) { return 0, nil }
func (b) both(*aggregate.Context, *Todo, in) (int, error) { return 0, nil }

func init() {
	aggregate.Listen(nil, handlers.Hear)
	m.Listen(os.Args[0], func(context.Context, aggregate.Emission) {})
}
`)
	var stdout, stderr bytes.Buffer
	require.Zero(t, run([]string{"catalogue", dir}, &stdout, &stderr))
	require.Equal(t, `todo.go:18:32: a command is left out, its name is not known before the program runs: write a string or a constant
todo.go:19:32: a command is left out, its name is not known before the program runs: write a string or a constant
todo.go:20:39: the types of command "far" are left out, its handler is no function of this package: write a func, or aggregate.NewCommand[Aggregate, Input, Output]
todo.go:22:39: the types of command "two" are left out, its handler is no function of this package: write a func, or aggregate.NewCommand[Aggregate, Input, Output]
todo.go:35:24: a listener is left out, its payload is not known: write a func, or aggregate.Listen[Payload]
todo.go:36:11: a listener is left out, the name that it listens to is not known before the program runs: write a string or a constant
`, strings.ReplaceAll(stderr.String(), dir+string(filepath.Separator), ""))
	require.Contains(t, stdout.String(), "    commands\n      typed  number  in -> int\n")
	require.Contains(t, stdout.String(), "  commands of other aggregates\n      far  one   ? -> ?\n      two  both  ? -> ?\n")
}

// Types that do not compile, as those that are defined by themselves, end.
func TestCatalogueOfTypesThatDoNotCompile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	unpack(t, dir, `-- todo.go --
package todo

import "github.com/troupe-go/troupe/aggregate"

//sourced:aggregate todo
type Todo struct{ aggregate.Root }

//sourced:event done
func (t *Todo) finish(a A, c C, s S, g G[G[int]], h H[int], l [n]int, u Undeclared, i I[int], j J[int, int], p P[int], q Q[int]) {}

var c = aggregate.NewCommand("c", func(_ *aggregate.Context, _ *Todo, v nowhere.V) (undeclared, error) {})

const n = n

type A = B
type B = A
type C D
type D C
type S struct{ S; T }
type T struct{ S }
type G[X any] struct{ X X; More *G[X] }
type H[X, Y any] struct{ X X; Y Y; More []H[Y, X] }
type I[X any] struct{ More *I[I[X]] }
type J[X, Y any] struct{ *J[H[X, Y], H[X, Y]] }
type P[X any] P[P[X]]
type Q[X any] = Q[Q[X]]
type TodoDone2 = TodoDone
`)
	for format := range catalogueFiles {
		require.NotEmpty(t, printed(t, "-format", format, dir))
	}
}
