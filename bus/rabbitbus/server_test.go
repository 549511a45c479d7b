//go:build unix

package rabbitbus_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/internal/testenv"
)

// server is a RabbitMQ of one test's own, so that it can be killed, frozen and
// reconfigured.
type server struct {
	t    testing.TB
	dir  string
	port int
	as   *syscall.Credential
	env  []string
	epmd *exec.Cmd
	cmd  *exec.Cmd
	done chan struct{}
}

// serverSlots bounds how many servers run at once: starting one takes all of a
// core for some seconds.
var serverSlots = make(chan struct{}, 2)

const serverBin = "/usr/lib/rabbitmq/bin"

// startServer makes a new server, with guest, who may do anything, and more
// definitions, which is deleted at the end of the test. Where RabbitMQ is not
// installed the test is skipped.
func startServer(t testing.TB) *server {
	t.Helper()
	if _, err := os.Stat(serverBin + "/rabbitmq-server"); err != nil {
		t.Skip("RabbitMQ is not installed in " + serverBin)
	}
	epmd, err := exec.LookPath("epmd")
	if err != nil {
		t.Skip("Erlang's epmd is not installed")
	}
	serverSlots <- struct{}{}
	t.Cleanup(func() { <-serverSlots })
	dir, err := os.MkdirTemp("/tmp", "troupe-rabbitmq-") //nolint:usetesting // the server's user has to reach it
	require.NoError(t, err)
	s := &server{t: t, dir: dir, port: testenv.FreePort(t)}
	dist, mapper := testenv.FreePort(t), testenv.FreePort(t)
	if os.Getuid() == 0 {
		u, err := user.Lookup("rabbitmq")
		if err != nil {
			t.Skipf("RabbitMQ does not run as root, and there is no user rabbitmq: %v", err)
		}
		uid, err := strconv.Atoi(u.Uid)
		require.NoError(t, err)
		gid, err := strconv.Atoi(u.Gid)
		require.NoError(t, err)
		s.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		require.NoError(t, os.Chown(dir, uid, gid))
	}
	t.Cleanup(func() {
		s.kill()
		if s.epmd != nil {
			_ = s.epmd.Process.Kill()
			_ = s.epmd.Wait()
		}
		_ = os.RemoveAll(dir)
	})
	s.write("rabbitmq.conf", fmt.Sprintf("listeners.tcp.default = 127.0.0.1:%d\nlog.console = true\nlog.file = false\n"+
		"disk_free_limit.absolute = 50MB\nvm_memory_high_watermark.absolute = 1GB\n", s.port))
	s.write("plugins", "[].")
	s.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LANG=C.UTF-8", "RUNNING_UNDER_SYSTEMD=true", "ERL_EPMD_ADDRESS=127.0.0.1",
		fmt.Sprint("ERL_EPMD_PORT=", mapper), "RABBITMQ_CONF_ENV_FILE=/dev/null", "RABBITMQ_CONFIG_FILE=" + dir + "/rabbitmq.conf",
		"RABBITMQ_ENABLED_PLUGINS_FILE=" + dir + "/plugins", fmt.Sprintf("RABBITMQ_NODENAME=t%d@localhost", s.port),
		fmt.Sprint("RABBITMQ_DIST_PORT=", dist), "RABBITMQ_MNESIA_BASE=" + dir + "/data", "RABBITMQ_LOG_BASE=" + dir,
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1}",
	}
	s.epmd = s.command(epmd, "-address", "127.0.0.1", "-port", strconv.Itoa(mapper))
	require.NoError(t, s.epmd.Start())
	s.start()
	return s
}

func (s *server) write(name, text string) {
	s.t.Helper()
	require.NoError(s.t, os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o644))
}

func (s *server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = s.dir, s.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.as, Setpgid: true}
	return cmd
}

// start starts the server, and returns when it takes connections.
func (s *server) start() {
	s.t.Helper()
	s.cmd = s.command(serverBin + "/rabbitmq-server")
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	require.NoError(s.t, err)
	defer func() { _ = log.Close() }()
	s.cmd.Stdout, s.cmd.Stderr = log, log
	require.NoError(s.t, s.cmd.Start())
	s.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) {
		defer close(done)
		_ = cmd.Wait() // it is killed sooner or later
	}(s.cmd, s.done)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if conn, err := amqp.Dial(s.url()); err == nil {
			_ = conn.Close()
			return
		}
		select {
		case <-s.done:
			require.Fail(s.t, "the server ended", s.log())
		default:
		}
		if time.Now().After(deadline) {
			require.Fail(s.t, "the server does not get ready", s.log())
		}
	}
}

// kill is kill -9.
func (s *server) kill() {
	if s.cmd == nil {
		return
	}
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) // it may have ended
	<-s.done
	s.cmd = nil
}

func (s *server) restart() {
	s.t.Helper()
	s.kill()
	s.start()
}

// freeze stops the server as a machine that hangs; thaw lets it go on.
func (s *server) freeze() { require.NoError(s.t, s.cmd.Process.Signal(syscall.SIGSTOP)) }
func (s *server) thaw()   { require.NoError(s.t, s.cmd.Process.Signal(syscall.SIGCONT)) }

// ctl runs rabbitmqctl.
func (s *server) ctl(args ...string) string {
	s.t.Helper()
	out, err := s.command(serverBin+"/rabbitmqctl", args...).CombinedOutput()
	require.NoError(s.t, err, "rabbitmqctl %s: %s", strings.Join(args, " "), out)
	return string(out)
}

// policy has queues of a name pattern bounded.
func (s *server) policy(pattern string, definition map[string]any) {
	s.t.Helper()
	text, err := json.Marshal(definition)
	require.NoError(s.t, err)
	s.ctl("set_policy", "test", pattern, string(text), "--apply-to", "queues")
}

func (s *server) addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }
func (s *server) url() string  { return s.urlOf("guest:guest", s.addr(), "") }

func (s *server) urlOf(credentials, addr, vhost string) string {
	return "amqp://" + credentials + "@" + addr + "/" + vhost
}

func (s *server) log() string {
	text, _ := os.ReadFile(filepath.Join(s.dir, "log")) // without it there is nothing to show
	lines := strings.SplitAfter(string(text), "\n")
	return strings.Join(lines[max(0, len(lines)-30):], "")
}
