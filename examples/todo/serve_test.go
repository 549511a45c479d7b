package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/examples/todo/todo"
	"github.com/troupe-go/troupe/internal/testenv"
	"github.com/troupe-go/troupe/microsvc/grpcapi"
)

// output is what a program printed so far.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// serving runs the program until the test ends, or stop is called.
func serving(t *testing.T, c *config) (out *output, stop func()) {
	t.Helper()
	c.http, c.grpc = fmt.Sprint("127.0.0.1:", testenv.FreePort(t)), fmt.Sprint("127.0.0.1:", testenv.FreePort(t))
	ctx, cancel := context.WithCancel(context.Background())
	out = &output{}
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, out, c) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			require.NoError(t, <-ended)
		})
	}
	t.Cleanup(stop)
	require.Eventually(t, func() bool {
		resp, err := http.Get("http://" + c.http + "/readyz")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	}, 30*time.Second, 5*time.Millisecond)
	return out, stop
}

// The lines with curl in the README do what it says.
func TestREADME(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	block := regexp.MustCompile("(?s)```sh\n(curl .*?)```").FindStringSubmatch(string(text))
	require.NotNil(t, block, "the README has no block that begins with curl")
	c := &config{dir: filepath.Join(t.TempDir(), "todos")}
	serving(t, c)
	lines := strings.Split(strings.TrimSpace(block[1]), "\n")
	require.Len(t, lines, 8)
	for i := 0; i < len(lines); i += 2 {
		require.Contains(t, lines[i], "localhost:8080")
		got, err := exec.CommandContext(t.Context(), "bash", "-c", strings.ReplaceAll("curl -s"+strings.TrimPrefix(lines[i], "curl"), "localhost:8080", c.http)).Output()
		require.NoError(t, err, lines[i])
		want := strings.ReplaceAll(regexp.QuoteMeta(strings.TrimPrefix(lines[i+1], "# ")), "…", ".+")
		require.Regexp(t, "^"+want+"$", strings.TrimSpace(string(got)), lines[i])
	}
}

// Commands over gRPC, messages over the bus, and a journal that the next process
// finds.
func TestServes(t *testing.T) {
	t.Parallel()
	c := &config{dir: t.TempDir()}
	out, stop := serving(t, c)
	client, err := grpcapi.NewClient(c.grpc, nil)
	require.NoError(t, err)
	defer client.Close()
	in := todo.Create{ID: "7", UserID: "bob", Task: "cake"}
	view, err := grpcapi.Ask(t.Context(), client, todo.CreateTodo, in, grpcapi.WithIdempotencyKey("once"))
	require.NoError(t, err)
	require.Equal(t, todo.View{ID: "7", UserID: "bob", Task: "cake"}, view)
	require.Eventually(t, func() bool {
		return strings.Contains(out.String(), "somebody has something to do") && strings.Contains(out.String(), "user=bob")
	}, 30*time.Second, 5*time.Millisecond, out.String())
	stop()

	c = &config{dir: c.dir}
	serving(t, c)
	client, err = grpcapi.NewClient(c.grpc, nil)
	require.NoError(t, err)
	defer client.Close()
	again, err := grpcapi.Ask(t.Context(), client, todo.CreateTodo, in, grpcapi.WithIdempotencyKey("once"))
	require.NoError(t, err)
	require.Equal(t, view, again)
	_, err = grpcapi.Ask(t.Context(), client, todo.CreateTodo, in)
	require.ErrorIs(t, err, aggregate.ErrRejected)
}
