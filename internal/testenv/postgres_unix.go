//go:build unix

package testenv

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Postgres is a PostgreSQL server of one test's own, so that it can be killed,
// frozen and reconfigured.
type Postgres struct {
	Dir  string // its data is in Dir/data
	Port int

	t       testing.TB
	bin     string
	as      *syscall.Credential // the server refuses to run as root
	options []string
	cmd     *exec.Cmd
	ended   chan struct{}
}

// StartPostgres makes a new server, with more settings ("wal_level=logical"),
// which is deleted at the end of the test. Where PostgreSQL is not installed
// the test is skipped.
func StartPostgres(t testing.TB, settings ...string) *Postgres {
	t.Helper()
	return StartPostgresIn(t, "/tmp", settings...)
}

// StartPostgresIn is StartPostgres with the data in a folder of its own below
// parent, which every user can reach.
func StartPostgresIn(t testing.TB, parent string, settings ...string) *Postgres {
	t.Helper()
	bins, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // the pattern is well-formed
	slices.Sort(bins)
	if len(bins) == 0 {
		t.Skip("PostgreSQL is not installed in /usr/lib/postgresql")
	}
	p := &Postgres{t: t, bin: bins[len(bins)-1], Port: FreePort(t)}
	for _, s := range settings {
		p.options = append(p.options, "-c", s)
	}
	if os.Getuid() == 0 {
		p.as = credential(t, "postgres")
	}
	// Not t.TempDir: the server's user has to reach it.
	dir, err := os.MkdirTemp(parent, "troupe-postgres-") //nolint:usetesting // as said
	if err != nil {
		t.Fatal(err)
	}
	p.Dir = dir
	t.Cleanup(func() {
		p.Kill()
		_ = os.RemoveAll(dir) // a leftover harms nobody
	})
	if p.as != nil {
		if err := os.Chown(dir, int(p.as.Uid), int(p.as.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	initdb := p.command("initdb", "-D", filepath.Join(dir, "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
	if out, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v: %s", err, out)
	}
	p.Start()
	return p
}

// URL is how clients reach the server.
func (p *Postgres) URL() string { return p.URLVia(p.Addr()) }

// URLVia is URL through a proxy at addr.
func (p *Postgres) URLVia(addr string) string {
	return "postgres://postgres@" + addr + "/postgres?sslmode=disable"
}

// Addr is the server's host and port.
func (p *Postgres) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(p.Port)) }

// Run runs one of PostgreSQL's programs (psql, pg_dump) against the server and
// returns what it printed.
func (p *Postgres) Run(program string, args ...string) string {
	p.t.Helper()
	out, err := p.command(program, append([]string{"-h", "127.0.0.1", "-p", strconv.Itoa(p.Port), "-U", "postgres"}, args...)...).CombinedOutput()
	if err != nil {
		p.t.Fatalf("%s: %v: %s", program, err, out)
	}
	return string(out)
}

// Start starts the server, and returns when it takes connections.
func (p *Postgres) Start() {
	p.t.Helper()
	args := append([]string{"-D", filepath.Join(p.Dir, "data"), "-p", strconv.Itoa(p.Port), "-c", "listen_addresses=127.0.0.1",
		"-c", "unix_socket_directories=" + p.Dir, "-c", "max_prepared_transactions=8"}, p.options...)
	p.cmd = p.command("postgres", args...)
	log, err := os.OpenFile(filepath.Join(p.Dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		p.t.Fatal(err)
	}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	err = p.cmd.Start()
	_ = log.Close()
	if err != nil {
		p.t.Fatal(err)
	}
	p.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		defer close(ended)
		_ = cmd.Wait() // it is killed sooner or later
	}(p.cmd, p.ended)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if p.command("pg_isready", "-q", "-h", "127.0.0.1", "-p", strconv.Itoa(p.Port), "-U", "postgres").Run() == nil {
			return
		}
		select {
		case <-p.ended:
			p.t.Fatalf("the server ended: %s", p.Log())
		default:
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("the server does not get ready: %s", p.Log())
		}
	}
}

// Stop ends the server in good order, clients or not.
func (p *Postgres) Stop() { p.end(syscall.SIGINT) }

// Kill is kill -9. All of the server's processes are gone when it returns.
func (p *Postgres) Kill() { p.end(syscall.SIGKILL) }

func (p *Postgres) end(sig syscall.Signal) {
	if p.cmd == nil {
		return
	}
	children := p.children()
	_ = p.cmd.Process.Signal(syscall.SIGCONT) // it may have ended already
	_ = p.cmd.Process.Signal(sig)
	<-p.ended
	for _, pid := range children { // after a kill they notice a moment later
		for alive(pid, p.Dir) {
			if sig == syscall.SIGKILL {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	p.cmd = nil
}

// Freeze stops all processes of the server with SIGSTOP; Thaw lets them go on.
func (p *Postgres) Freeze() { p.signal(syscall.SIGSTOP) }

// Thaw ends Freeze.
func (p *Postgres) Thaw() { p.signal(syscall.SIGCONT) }

func (p *Postgres) signal(sig syscall.Signal) {
	for _, pid := range append([]int{p.cmd.Process.Pid}, p.children()...) {
		_ = syscall.Kill(pid, sig) // a session may have ended meanwhile
	}
}

// children are the server's processes but the first: their working directory
// is the data's.
func (p *Postgres) children() (pids []int) {
	entries, _ := os.ReadDir("/proc") // without it, none is found
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err == nil && pid != p.cmd.Process.Pid && alive(pid, p.Dir) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func alive(pid int, dir string) bool {
	cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	return err == nil && cwd == filepath.Join(dir, "data")
}

// Running reports whether the server's first process lives.
func (p *Postgres) Running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// Log is what the server logged last.
func (p *Postgres) Log() string {
	text, err := os.ReadFile(filepath.Join(p.Dir, "log"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err.Error()
	}
	lines := strings.SplitAfter(string(text), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "")
}

func (p *Postgres) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(p.bin, program), args...)
	cmd.Dir = p.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.as}
	return cmd
}

func credential(t testing.TB, name string) *syscall.Credential {
	t.Helper()
	u, err := user.Lookup(name)
	if err != nil {
		t.Skipf("PostgreSQL does not run as root, and there is no user %s: %v", name, err)
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}
