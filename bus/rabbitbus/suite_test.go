package rabbitbus_test

import (
	"crypto/rand"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/bustest"
	"github.com/troupe-go/troupe/bus/rabbitbus"
	"github.com/troupe-go/troupe/internal/testenv/buskit"
	"github.com/troupe-go/troupe/microsvc/microsvctest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// rabbitURL is that of the server that the tests share.
func rabbitURL(t testing.TB) string {
	t.Helper()
	url := os.Getenv("TROUPE_RABBITMQ_URL")
	if url == "" {
		t.Skip("set TROUPE_RABBITMQ_URL to run this test")
	}
	return url
}

func connect(t testing.TB, url string, opts rabbitbus.Options) *bus.Bus {
	t.Helper()
	opts.Logger = quiet
	removeAfter(t, url, opts.Namespace, opts.Group)
	b, err := rabbitbus.Connect(t.Context(), url, opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

// modes are the ways to declare work queues.
var modes = map[string]rabbitbus.Options{
	"quorum":        {},
	"compat":        {Compat: true},
	"single active": {SingleActive: true},
}

// TestSuite is not parallel to the fault tests: it measures time, while they
// start servers.
func TestSuite(t *testing.T) {
	url := rabbitURL(t)
	for name, opts := range modes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bustest.Run(t, bustest.Config{
				Connect: func(t testing.TB, namespace, group string) *bus.Bus {
					opts := opts
					opts.Namespace, opts.Group = namespace, group
					return connect(t, url, opts)
				},
			})
		})
	}
}

// TestRetryWaits: a message that is given back with a delay does not come
// before, comes with its name and its attempts, and others do not wait for it.
func TestRetryWaits(t *testing.T) {
	t.Parallel()
	for name, opts := range modes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts.Group, opts.Namespace = "g", "r"+strings.ToLower(rand.Text()[:10])
			b := connect(t, rabbitURL(t), opts)
			source := buskit.Subscribe(t, b, "a.happened", "b.happened")
			for n := range 3 {
				buskit.PublishUntil(t, b, buskit.Event(t, "a.happened", n))
			}
			begin := time.Now()
			delays := map[string]time.Duration{"a.happened-0": 900 * time.Millisecond, "a.happened-1": 300 * time.Millisecond, "a.happened-2": 10 * time.Millisecond}
			for _, d := range buskit.Take(t, source, 3) {
				require.NoError(t, d.Retry(t.Context(), delays[d.Message().ID]))
			}
			buskit.PublishUntil(t, b, buskit.Event(t, "b.happened", 0))
			var order []string
			for range 4 {
				d := buskit.Take(t, source, 1)[0]
				order = append(order, d.Message().ID)
				if delay, ok := delays[d.Message().ID]; ok {
					require.GreaterOrEqual(t, time.Since(begin), delay, d.Message().ID)
					require.Equal(t, 2, d.Attempt())
					require.Equal(t, "a.happened", d.Message().Name)
				}
				require.NoError(t, d.Ack(t.Context()))
			}
			require.Equal(t, []string{"a.happened-1", "a.happened-0"}, order[2:])
		})
	}
}

// TestService: a service on this bus passes the table of all faces.
func TestService(t *testing.T) {
	t.Parallel()
	url := rabbitURL(t)
	microsvctest.RunBus(t, func(t testing.TB, namespace, group string) *bus.Bus {
		return connect(t, url, rabbitbus.Options{Namespace: namespace, Group: group})
	})
}
