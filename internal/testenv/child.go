package testenv

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// roleVariable names the role in a child's environment.
const roleVariable = "TROUPE_TEST_CHILD"

// RunChild ends a child process in its role: if this process was started by
// [StartChild], the function of that role runs and the process exits, with
// status 1 and the error on standard error if there is one. Otherwise RunChild
// returns. Call it first thing in TestMain.
func RunChild(roles map[string]func() error) {
	role := os.Getenv(roleVariable)
	if role == "" {
		return
	}
	run, ok := roles[role]
	if !ok {
		fmt.Fprintf(os.Stderr, "no role %q\n", role)
		os.Exit(2)
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Report is the child's way to tell its parent something: a line of its own,
// whole even if the child is killed right after. Lines are at most 4 KiB, which
// a pipe takes in one piece. It is safe for concurrent use.
func Report(format string, args ...any) {
	reports.once.Do(func() { reports.pipe = os.NewFile(3, "reports") })
	_, err := reports.pipe.WriteString(fmt.Sprintf(format, args...) + "\n")
	if err != nil {
		os.Exit(3) // the parent is gone
	}
}

var reports struct {
	once sync.Once
	pipe *os.File
}

// Child is a process that runs this test binary in another role.
type Child struct {
	// Reports gets each reported line, and is closed when the child has
	// ended. It holds any number of lines: the child never waits.
	Reports <-chan string

	cmd    *exec.Cmd
	stderr strings.Builder
	ended  chan struct{}
	err    error
}

// StartChild starts this test binary in a role, with more environment
// ("KEY=value"). wrap, if there is one, is a command that runs it: strace with
// its options. The child is killed at the end of the test if it still runs.
func StartChild(t testing.TB, role string, env []string, wrap ...string) *Child {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	argv := append(append([]string{}, wrap...), self)
	c := &Child{cmd: exec.Command(argv[0], argv[1:]...), ended: make(chan struct{})}
	c.cmd.Env = append(append(os.Environ(), roleVariable+"="+role), env...)
	c.cmd.Stderr = &c.stderr
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c.cmd.ExtraFiles = []*os.File{write} // becomes descriptor 3
	err = c.cmd.Start()
	_ = write.Close()
	if err != nil {
		_ = read.Close()
		t.Fatal(err)
	}
	lines := make(chan string)
	c.Reports = buffered(lines)
	go func() {
		defer close(c.ended)
		defer close(lines)
		defer func() { _ = read.Close() }() // it was only read
		for scanner := bufio.NewScanner(read); scanner.Scan(); {
			lines <- scanner.Text()
		}
		c.err = c.cmd.Wait()
	}()
	t.Cleanup(func() {
		c.Kill()
		for range c.Reports { // lets the reader end
		}
	})
	return c
}

// buffered passes lines on without ever making the sender wait.
func buffered(in <-chan string) <-chan string {
	out := make(chan string)
	go func() {
		defer close(out)
		var waiting []string
		for in != nil || len(waiting) > 0 {
			if len(waiting) == 0 {
				line, ok := <-in
				if !ok {
					return
				}
				waiting = append(waiting, line)
				continue
			}
			select {
			case line, ok := <-in:
				if !ok {
					in = nil
					continue
				}
				waiting = append(waiting, line)
			case out <- waiting[0]:
				waiting = waiting[1:]
			}
		}
	}()
	return out
}

// Kill sends SIGKILL and waits until the child is gone. It may be called
// several times.
func (c *Child) Kill() {
	_ = c.cmd.Process.Kill() // it may have ended already
	<-c.ended
}

// Wait waits until the child ended by itself, and returns how, with what it
// wrote to standard error.
func (c *Child) Wait() error {
	<-c.ended
	if c.err != nil {
		return fmt.Errorf("child: %w: %s", c.err, c.stderr.String())
	}
	return nil
}

// Stderr is what the child wrote to standard error, once it has ended.
func (c *Child) Stderr() string {
	<-c.ended
	return c.stderr.String()
}
