package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each file of testdata/locked holds sources, mostly with a lock, and behind
// "-- want --" the lock that is written. Where source and lock agree it is the
// same, byte by byte.
func TestLocked(t *testing.T) {
	t.Parallel()
	cases, err := filepath.Glob("testdata/locked/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, cases)
	for _, path := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			sources, want, ok := bytes.Cut(text, []byte("-- want --\n"))
			require.True(t, ok, "no want section")
			dir := t.TempDir()
			unpack(t, dir, string(sources))
			var stdout, stderr bytes.Buffer
			require.Zero(t, run([]string{dir}, &stdout, &stderr), stderr.String())
			got := contents(t, dir)[lockName]
			if *update {
				require.NoError(t, os.WriteFile(path, append(sources, "-- want --\n"+got...), 0o644))
			} else {
				require.Equal(t, string(want), got)
			}
			for _, args := range [][]string{{"-check", dir}, {"lock", dir}, {"lock", "-accept", dir}} {
				require.Zero(t, run(args, &stdout, &stderr), "%v: %s", args, &stderr)
			}
			require.Empty(t, stdout.String())
			require.Equal(t, got, contents(t, dir)[lockName])
		})
	}
}

// lockedTodo is a package with one aggregate and its lock.
func lockedTodo(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	unpack(t, dir, `-- todo.go --
package todo

import "github.com/troupe-go/troupe/aggregate"

//sourced:aggregate todo
//sourced:snapshot schema=1
type Todo struct {
	aggregate.Root
	Task string
}

//sourced:event renamed
func (t *Todo) rename(task string) { t.Task = task }

//sourced:event done
func (t *Todo) do() {}
`)
	require.Zero(t, run([]string{dir}, &bytes.Buffer{}, &bytes.Buffer{}))
	return dir
}

// edit replaces text in a file of dir.
func edit(t *testing.T, dir, name string, oldnew ...string) {
	t.Helper()
	path := filepath.Join(dir, name)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	for i := 0; i < len(oldnew); i += 2 {
		require.Contains(t, string(text), oldnew[i])
	}
	require.NoError(t, os.WriteFile(path, []byte(strings.NewReplacer(oldnew...).Replace(string(text))), 0o644))
}

// A parameter's name is the JSON name of stored bytes. Renaming it would make
// every stored event lose the field, silently.
func TestRenamedParameterIsRefused(t *testing.T) {
	t.Parallel()
	dir := lockedTodo(t)
	edit(t, dir, "todo.go", "(task string) { t.Task = task }", "(title string) { t.Task = title }")
	before := contents(t, dir)
	for _, args := range [][]string{{dir}, {"-check", dir}, {"lock", dir}} {
		var stdout, stderr bytes.Buffer
		require.Equal(t, 1, run(args, &stdout, &stderr))
		require.Equal(t, `todo.go:13:23: event "renamed" has another shape (+) than schema 1 in sourced.lock:12 (-): write schema=2 and //sourced:upcast renamed from=1 above a func(Old) New; if that was never released, run go tool sourced lock -accept
	- task string
	+ title string
`, strings.ReplaceAll(stderr.String(), dir+string(filepath.Separator), ""))
		require.Equal(t, before, contents(t, dir), "%v wrote", args)
	}

	// What the message says to write is accepted.
	edit(t, dir, "todo.go", "//sourced:event renamed", `type renamedV1 struct {
	Task string `+"`json:\"task\"`"+`
}

//sourced:upcast renamed from=1
func titled(old renamedV1) TodoRenamed { return TodoRenamed{Title: old.Task} }

//sourced:event renamed schema=2`)
	var stdout, stderr bytes.Buffer
	require.Equal(t, 1, run([]string{"lock", dir}, &stdout, &stderr))
	require.Contains(t, stdout.String(), "sourced.lock: new: schema 2 of event \"renamed\" of \"todo\"\n\t+ title string\n")
	require.Contains(t, stderr.String(), "sourced.lock is out of date: run go generate")
	stdout.Reset()
	require.Equal(t, 1, run([]string{"-check", dir}, &stdout, &stderr))
	require.Contains(t, stdout.String(), "sourced.lock is out of date")
	stderr.Reset()
	require.Zero(t, run([]string{dir}, &stdout, &stderr), stderr.String())
	require.Contains(t, contents(t, dir)[lockName], "event renamed schema=1\n\ttask string\n\nevent renamed schema=2\n\ttitle string\n")
}

func TestLockAccept(t *testing.T) {
	t.Parallel()
	dir := lockedTodo(t)
	edit(t, dir, "todo.go",
		"Task string", "Task []string",
		"rename(task string) { t.Task = task }", "rename(title string) {}",
		"event done", "event finished")
	var stdout, stderr bytes.Buffer
	require.Equal(t, 1, run([]string{"lock", dir}, &stdout, &stderr))
	require.Equal(t, 3, strings.Count(stderr.String(), orAccept), stderr.String())
	require.Empty(t, stdout.String())

	stderr.Reset()
	require.Zero(t, run([]string{"lock", "-accept", dir}, &stdout, &stderr), stderr.String())
	require.Equal(t, `sourced.lock: dropped: schema 1 of event "done" of "todo"
sourced.lock: new: schema 1 of event "finished" of "todo"
sourced.lock: replaced: schema 1 of event "renamed" of "todo"
	- task string
	+ title string
sourced.lock: replaced: schema 1 of the snapshot of "todo"
	- task string
	+ task []string
`, strings.ReplaceAll(stdout.String(), dir+string(filepath.Separator), ""))
	stdout.Reset()
	require.Zero(t, run([]string{"lock", dir}, &stdout, &stderr))
	require.Zero(t, run([]string{dir}, &stdout, &stderr))
	require.Empty(t, stdout.String())
	require.Equal(t, lockHeader+`
aggregate todo

event finished schema=1

event renamed schema=1
	title string

snapshot schema=1
	task []string
`, contents(t, dir)[lockName])

	// Back to a lower schema, past a gap, and with an upcaster that reads
	// something else than the lock has.
	lock := filepath.Join(dir, lockName)
	require.NoError(t, os.WriteFile(lock, []byte("format 1\naggregate todo\nevent finished schema=2\nevent renamed schema=1\n\ttask string\nsnapshot schema=2\naggregate gone\nevent x schema=1\n"), 0o644))
	edit(t, dir, "todo.go", "//sourced:event renamed", `//sourced:upcast renamed from=1
func one(struct{ Task int }) struct{ Title int } { panic(1) }

//sourced:upcast renamed from=2
func two(struct{ Title int }) TodoRenamed { panic(2) }

//sourced:event renamed schema=3`)
	require.Equal(t, 1, run([]string{"lock", dir}, &stdout, &stderr))
	require.Zero(t, run([]string{"lock", "-accept", dir}, &stdout, &stderr))
	require.Equal(t, lockHeader+`
aggregate todo

event finished schema=1

event renamed schema=1
	Task int

event renamed schema=2
	Title int

event renamed schema=3
	title string

snapshot schema=1
	task []string
`, contents(t, dir)[lockName])
	require.Zero(t, run([]string{dir}, &stdout, &stderr))
}

// A baseline is the truth: it changes only with an upcaster, and goes only when
// none was stored.
func TestLockedBaseline(t *testing.T) {
	t.Parallel()
	dir := lockedTodo(t)
	edit(t, dir, "todo.go", "//sourced:snapshot schema=1", "//sourced:baseline schema=1")
	var stdout, stderr bytes.Buffer
	require.Zero(t, run([]string{dir}, &stdout, &stderr), stderr.String())
	require.Contains(t, contents(t, dir)[lockName], "\nbaseline schema=1\n\ttask string\n")

	edit(t, dir, "todo.go", "Task string", "Title string", "t.Task", "t.Title")
	require.Equal(t, 1, run([]string{dir}, &stdout, &stderr))
	require.Contains(t, stderr.String(), "write //sourced:baseline schema=2 and //sourced:upcast baseline from=1")
	edit(t, dir, "todo.go", "baseline schema=1", "baseline schema=2", "//sourced:event renamed", `type baselineV1 struct {
	Task string `+"`json:\"task\"`"+`
}

//sourced:upcast baseline from=1
func titled(old baselineV1) TodoBaseline { return TodoBaseline{Title: old.Task} }

//sourced:event renamed`)
	stderr.Reset()
	require.Zero(t, run([]string{dir}, &stdout, &stderr), stderr.String())
	require.Contains(t, contents(t, dir)[lockName], "\nbaseline schema=1\n\ttask string\n\nbaseline schema=2\n\ttitle string\n")

	edit(t, dir, "todo.go", "//sourced:baseline schema=2\n", "", "//sourced:upcast baseline from=1\n", "")
	before := contents(t, dir)
	for _, args := range [][]string{{dir}, {"-check", dir}, {"lock", dir}} {
		stderr.Reset()
		require.Equal(t, 1, run(args, &stdout, &stderr))
		require.Contains(t, stderr.String(), "truncated streams, which begin with one, could no longer be read: write //sourced:baseline schema=2")
		require.Equal(t, before, contents(t, dir), "%v wrote", args)
	}
	require.Empty(t, stdout.String())
	require.Zero(t, run([]string{"lock", "-accept", dir}, &stdout, &stderr))
	require.Contains(t, stdout.String(), "sourced.lock: dropped: schema 2 of the baseline of \"todo\"")
	require.NotContains(t, contents(t, dir)[lockName], "baseline")
	require.Zero(t, run([]string{dir}, &stdout, &stderr))
}

// A mistake in the source, or a lock that cannot be read, is not accepted.
func TestLockAcceptNeedsBothSides(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"todo.go": "//sourced:event done\nfunc (t *Todo) Do() {}\n", lockName: "<<<<<<< HEAD\n"} {
		dir := lockedTodo(t)
		path := filepath.Join(dir, name)
		old, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, append(old, text...), 0o644))
		before := contents(t, dir)
		var stdout, stderr bytes.Buffer
		require.Equal(t, 1, run([]string{"lock", "-accept", dir}, &stdout, &stderr))
		require.Contains(t, stderr.String(), name+":")
		require.Equal(t, before, contents(t, dir))
	}
}

func TestLockCommandLine(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	require.Zero(t, run([]string{"lock", "-h"}, &stdout, &stderr))
	require.Contains(t, stderr.String(), "usage: sourced lock [-accept] [folder ...]")
	require.Equal(t, 2, run([]string{"lock", "-axept"}, &stdout, &stderr))
	require.Equal(t, 1, run([]string{"lock", filepath.Join(t.TempDir(), "none")}, &stdout, &stderr))
	dir := setup(t)
	require.Equal(t, 1, run([]string{"lock", dir}, &stdout, &stderr), "there is no lock yet")
	require.NoFileExists(t, filepath.Join(dir, lockName))
}

// A lock that a checkout gave other line ends says the same.
func TestLockWithOtherLineEnds(t *testing.T) {
	t.Parallel()
	dir := lockedTodo(t)
	edit(t, dir, lockName, "\n", "\r\n")
	locked, err := readLock(dir)
	require.NoError(t, err)
	require.Len(t, locked.layouts, 3)
	require.Zero(t, run([]string{dir}, &bytes.Buffer{}, &bytes.Buffer{}))
}

// Whatever the lock says, it is read or refused with file and line, and what is
// read is written so that it is read as the same.
func FuzzParseLock(f *testing.F) {
	for _, pattern := range []string{"testdata/refused/lock_*.txt", "testdata/locked/*.txt", "testdata/written/*/sourced.lock"} {
		cases, err := filepath.Glob(pattern)
		require.NoError(f, err)
		require.NotEmpty(f, cases)
		for _, path := range cases {
			text, err := os.ReadFile(path)
			require.NoError(f, err)
			text, _, _ = bytes.Cut(text, []byte("-- want --"))
			if _, body, ok := bytes.Cut(text, []byte("-- sourced.lock --\n")); ok {
				text = body
			}
			f.Add(text)
		}
	}
	f.Add([]byte("format 1\naggregate \"a b\"\nevent \"c\\td\" schema=4294967295\n\t\"e f\".g[]{}{key}<1> map[string]any omitempty\n\t* time.Time\n\t* x.Y\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		layouts, err := parseLock("sourced.lock", text)
		if err != nil {
			require.Contains(t, err.Error(), "sourced.lock:")
			return
		}
		written := formatLock(layouts)
		again, err := parseLock("sourced.lock", written)
		require.NoError(t, err, "%s", written)
		require.Equal(t, string(written), string(formatLock(again)))
		require.Len(t, again, len(layouts))
	})
}
