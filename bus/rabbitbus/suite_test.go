package rabbitbus_test

import (
	"log/slog"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/bustest"
	"github.com/troupe-go/troupe/bus/rabbitbus"
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

func TestSuite(t *testing.T) {
	t.Parallel()
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
