//go:build unix

package testenv

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Service is a server of one test's own, run by scripts/services.sh, so that the
// test may kill it.
type Service struct {
	Name string
	URL  string // what the variable of this service would hold

	t   testing.TB
	dir string
	env []string
}

// serviceVariables are those of scripts/services.sh.
var serviceVariables = map[string]string{
	"postgres": PostgresVariable, "rabbitmq": "TROUPE_RABBITMQ_URL", "nats": "TROUPE_NATS_URL", "kafka": "TROUPE_KAFKA_BROKERS",
}

// StartService makes a new server, which is deleted at the end of the test.
// Unless the variable of the service is set, the test is skipped: that says that
// its software is there. env are variables for the script, as "NAME=value".
func StartService(t testing.TB, name string, env ...string) *Service {
	t.Helper()
	if variable := serviceVariables[name]; os.Getenv(variable) == "" {
		t.Skipf("set %s to run this test: eval \"$(scripts/services.sh up)\"", variable)
	}
	// Not t.TempDir: the server's user has to reach it.
	dir, err := os.MkdirTemp("/tmp", "troupe-"+name+"-") //nolint:usetesting // as said
	if err != nil {
		t.Fatal(err)
	}
	s := &Service{Name: name, t: t, dir: dir, env: env}
	t.Cleanup(func() {
		s.run("wipe")
		_ = os.RemoveAll(dir) // a leftover harms nobody
	})
	s.Start()
	return s
}

// Start starts the server if it is down, and returns when it is ready.
func (s *Service) Start() {
	s.t.Helper()
	out := s.run("up")
	_, quoted, found := strings.Cut(out, serviceVariables[s.Name]+"='")
	if !found {
		s.t.Fatalf("services.sh up %s printed %q", s.Name, out)
	}
	s.URL, _, _ = strings.Cut(quoted, "'")
}

// Kill is kill -9.
func (s *Service) Kill() { s.t.Helper(); s.run("kill") }

// Freeze stops the server with SIGSTOP; Thaw lets it go on.
func (s *Service) Freeze() { s.t.Helper(); s.run("pause") }

// Thaw ends Freeze.
func (s *Service) Thaw() { s.t.Helper(); s.run("resume") }

func (s *Service) run(verb string) string {
	s.t.Helper()
	root, err := moduleRoot()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(root, "scripts", "services.sh"), verb, s.Name)
	cmd.Env = append(append(os.Environ(), "SERVICES_DIR="+s.dir, serviceVariables[s.Name]+"="), s.env...)
	var out, failed bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &failed
	if err := cmd.Run(); err != nil {
		s.t.Fatalf("services.sh %s %s: %v: %s", verb, s.Name, err, failed.String())
	}
	return out.String()
}

// moduleRoot is the folder of go.mod, above the one that a test runs in.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("no go.mod above %s", dir)
		}
	}
}
