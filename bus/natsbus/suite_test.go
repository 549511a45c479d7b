package natsbus_test

import (
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/bustest"
	"github.com/troupe-go/troupe/bus/natsbus"
	"github.com/troupe-go/troupe/internal/testenv"
	"github.com/troupe-go/troupe/microsvc/microsvctest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// small limits what the tests' streams reserve.
var small = natsbus.Limits{MaxBytes: 16 << 20}

// broker is the server that is set, or one of the test's own.
func broker(t testing.TB) (url string) {
	t.Helper()
	if url := os.Getenv("TROUPE_NATS_URL"); url != "" {
		return url
	}
	return startServer(t).url()
}

// killable is a server of the test's own, and how to end it without warning and
// start it again: a process that is killed where the software is there, one that is
// shut down in this process elsewhere.
func killable(t testing.TB) (url string, restart func(testing.TB)) {
	t.Helper()
	if os.Getenv("TROUPE_NATS_URL") != "" {
		s := testenv.StartService(t, "nats")
		return s.URL, func(testing.TB) { s.Kill(); s.Start() }
	}
	own := startServer(t)
	return own.url(), func(testing.TB) { own.restart() }
}

func connect(t testing.TB, url string, opts natsbus.Options) *bus.Bus {
	t.Helper()
	opts.Logger = quiet
	if opts.Stream.MaxBytes == 0 {
		opts.Stream = small
	}
	if opts.Dead.MaxBytes == 0 {
		opts.Dead = small
	}
	b, err := natsbus.Connect(t.Context(), url, opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

// modes are the ways to consume. A lease is shorter than a run's default, so that
// the suite sees it renewed.
var modes = map[string]natsbus.Options{
	"shared":        {AckWait: 2 * time.Second},
	"single active": {AckWait: 2 * time.Second, SingleActive: true},
}

// TestSuite is not parallel to the fault tests: it measures time, while they
// start servers.
func TestSuite(t *testing.T) {
	url, restart := killable(t)
	for name, opts := range modes {
		t.Run(name, func(t *testing.T) {
			bustest.Run(t, bustest.Config{
				Connect: func(t testing.TB, namespace, group string) *bus.Bus {
					opts := opts
					opts.Namespace, opts.Group = namespace, group
					return connect(t, url, opts)
				},
				Restart: restart,
			})
		})
	}
}

// TestService: a service on this bus passes the table of all faces.
func TestService(t *testing.T) {
	t.Parallel()
	url := broker(t)
	microsvctest.RunBus(t, func(t testing.TB, namespace, group string) *bus.Bus {
		return connect(t, url, natsbus.Options{Namespace: namespace, Group: group})
	})
}
