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
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// small limits what the tests' streams reserve.
var small = natsbus.Limits{MaxBytes: 16 << 20}

// broker is the server that is set, or one of the test's own.
func broker(t testing.TB) (url string, own *natsServer) {
	t.Helper()
	if url := os.Getenv("TROUPE_NATS_URL"); url != "" {
		return url, nil
	}
	own = startServer(t)
	return own.url(), own
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
	url, own := broker(t)
	for name, opts := range modes {
		t.Run(name, func(t *testing.T) {
			config := bustest.Config{
				Connect: func(t testing.TB, namespace, group string) *bus.Bus {
					opts := opts
					opts.Namespace, opts.Group = namespace, group
					return connect(t, url, opts)
				},
			}
			if own != nil {
				config.Restart = func(testing.TB) { own.restart() }
			}
			bustest.Run(t, config)
		})
	}
}
