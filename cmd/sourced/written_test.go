package main

import (
	"bytes"
	"go/format"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// golden are the packages whose generated files are checked in beside them:
// one for each feature, and the examples, which must be current.
var golden = []string{
	"testdata/written/todo",
	"testdata/written/several",
	"testdata/written/imports",
	"testdata/written/former",
	"testdata/written/options",
	"testdata/written/shapes",
	"testdata/written/plain",
	"testdata/written/baseline",
	"testdata/mistyped",
	"testdata/catalogue/order",
	"testdata/catalogue/shipping",
	"../../examples/bank/account",
	"../../bench/internal/account",
}

func TestCheckedInFilesAreCurrent(t *testing.T) {
	t.Parallel()
	for _, dir := range golden {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			t.Parallel()
			out, err := generate(dir, true)
			require.NoError(t, err)
			for name, want := range out.files {
				path := filepath.Join(dir, name)
				if *update {
					require.NoError(t, os.WriteFile(path, want, 0o644))
				}
				got, err := os.ReadFile(path)
				require.NoError(t, err)
				require.Equal(t, string(want), string(got), "run go generate in %s", dir)
				if filepath.Ext(name) != ".go" {
					continue
				}
				formatted, err := format.Source(got)
				require.NoError(t, err)
				require.Equal(t, string(formatted), string(got), "gofmt would change %s", path)
			}
			var stdout, stderr bytes.Buffer
			require.Zero(t, run([]string{"-check", dir}, &stdout, &stderr), "%s%s", &stdout, &stderr)
		})
	}
}

// The generated packages compile, vet, and their own tests pass.
func TestGeneratedCodeRuns(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "vet", "./testdata/written/...", "./testdata/catalogue/...").CombinedOutput()
	require.NoError(t, err, "%s", out)
	out, err = exec.Command("go", "test", "./testdata/written/...").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "testdata/written/todo")
}

// The compiler reports a wrong type in a clause at the clause.
func TestTypeErrorsPointAtTheDirective(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "build", "./testdata/mistyped").CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "todo.go:16:40: cannot convert t.Done (variable of type int) to type bool")
	require.Contains(t, string(out), "todo.go:16:57: t.missing undefined")
}

// setup makes a package with one aggregate.
func setup(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	unpack(t, dir, `-- todo.go --
package todo

import "github.com/troupe-go/troupe/aggregate"

//sourced:aggregate todo
type Todo struct{ aggregate.Root }

//sourced:event touched
func (t *Todo) touch() {}
`)
	return dir
}

func TestUnchangedFileIsNotWritten(t *testing.T) {
	t.Parallel()
	dir := setup(t)
	var stdout, stderr bytes.Buffer
	require.Zero(t, run([]string{dir}, &stdout, &stderr), stderr.String())
	path := filepath.Join(dir, "todo_sourced.go")
	long := time.Now().Add(-time.Hour).Truncate(time.Second)
	require.NoError(t, os.Chtimes(path, long, long))

	require.Zero(t, run([]string{dir}, &stdout, &stderr), stderr.String())
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.True(t, info.ModTime().Equal(long), "the file was written again")
}

func TestCheck(t *testing.T) {
	t.Parallel()
	dir := setup(t)
	path := filepath.Join(dir, "todo_sourced.go")
	check := func(want int, text string) {
		t.Helper()
		var stdout, stderr bytes.Buffer
		require.Equal(t, want, run([]string{"-check", dir}, &stdout, &stderr))
		require.Contains(t, stdout.String(), text)
	}
	check(1, "todo_sourced.go is out of date")
	require.NoFileExists(t, path)

	require.Zero(t, run([]string{dir}, &bytes.Buffer{}, &bytes.Buffer{}))
	check(0, "")

	text, err := os.ReadFile(path)
	require.NoError(t, err)
	edited := append(text, "\n// edited\n"...)
	require.NoError(t, os.WriteFile(path, edited, 0o644))
	check(1, "todo_sourced.go is out of date")
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(edited), string(after))
}

// A generated file whose aggregate was renamed would not compile any more.
func TestFileOfAGoneAggregateIsRemoved(t *testing.T) {
	t.Parallel()
	dir := setup(t)
	gone := filepath.Join(dir, "gone_sourced.go")
	require.NoError(t, os.WriteFile(gone, []byte(header+"\n\npackage todo\n"), 0o644))
	var stdout, stderr bytes.Buffer
	require.Equal(t, 1, run([]string{"-check", dir}, &stdout, &stderr))
	require.Contains(t, stdout.String(), "gone_sourced.go is out of date: its aggregate is gone")
	require.FileExists(t, gone)
	require.Zero(t, run([]string{dir}, &stdout, &stderr))
	require.NoFileExists(t, gone)
}

// The test of an aggregate comes and goes with it, and with -no-tests.
func TestNoTests(t *testing.T) {
	t.Parallel()
	dir := setup(t)
	path := filepath.Join(dir, "todo_sourced_test.go")
	var stdout, stderr bytes.Buffer
	require.Zero(t, run([]string{"-no-tests", dir}, &stdout, &stderr), stderr.String())
	require.NoFileExists(t, path)
	require.Equal(t, 1, run([]string{"-check", dir}, &stdout, &stderr))
	require.Contains(t, stdout.String(), "todo_sourced_test.go is out of date\n")
	require.Zero(t, run([]string{dir}, &stdout, &stderr))
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, string(text), `aggregatetest.Payloads(t, Spec, "testdata/payloads")`)
	require.Zero(t, run([]string{"-check", dir}, &stdout, &stderr))

	require.Equal(t, 1, run([]string{"-check", "-no-tests", dir}, &stdout, &stderr))
	require.Contains(t, stdout.String(), "todo_sourced_test.go is out of date: -no-tests leaves it out")
	require.Zero(t, run([]string{"-no-tests", dir}, &stdout, &stderr))
	require.NoFileExists(t, path)
	require.Zero(t, run([]string{"-check", "-no-tests", dir}, &stdout, &stderr))
}

func TestHandWrittenFileIsNotOverwritten(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"todo_sourced.go", "todo_sourced_test.go"} {
		dir := setup(t)
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte("package todo\n"), 0o644))
		var stdout, stderr bytes.Buffer
		require.Equal(t, 1, run([]string{dir}, &stdout, &stderr))
		require.Contains(t, stderr.String(), name+" was not written by sourced: rename it")
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, "package todo\n", string(text))
	}
}

func TestCommandLine(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	require.Zero(t, run([]string{"-h"}, &stdout, &stderr))
	require.Contains(t, stderr.String(), "usage: sourced [-check] [-no-tests] [folder ...]\n       sourced lock [-accept] [folder ...]")
	require.Equal(t, 2, run([]string{"-chek"}, &stdout, &stderr))
	require.Equal(t, 1, run([]string{filepath.Join(t.TempDir(), "none")}, &stdout, &stderr))
	stderr.Reset()
	require.Equal(t, 1, run([]string{t.TempDir()}, &stdout, &stderr))
	require.Contains(t, stderr.String(), "no Go files")
}

// What a build would not take, tests included, is not read.
func TestFilesOutsideTheBuildAreIgnored(t *testing.T) {
	t.Parallel()
	dir := setup(t)
	unpack(t, dir, `-- tool.go --
//go:build ignore

package main

-- todo_test.go --
package todo_test

//sourced:event nonsense
`)
	var stdout, stderr bytes.Buffer
	require.Zero(t, run([]string{dir}, &stdout, &stderr), stderr.String())
}

func TestNames(t *testing.T) {
	t.Parallel()
	for name, want := range map[string][3]string{
		"id":        {"ID", "id", "id"},
		"userID":    {"UserID", "userID", "user_id"},
		"userId":    {"UserID", "userId", "user_id"},
		"task":      {"Task", "task", "task"},
		"HTTPCall":  {"HTTPCall", "httpCall", "http_call"},
		"TodoAdded": {"TodoAdded", "todoAdded", "todo_added"},
		"x2y":       {"X2y", "x2y", "x2y"},
		"line2Text": {"Line2Text", "line2Text", "line2_text"},
		"user_name": {"User_name", "user_name", "user_name"},
		"größe":     {"Größe", "größe", "größe"},
		"ID":        {"ID", "id", "id"},
	} {
		require.Equal(t, want, [3]string{exported(name), unexported(name), snake(name)}, name)
	}
}
