package kafkabus_test

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/bustest"
	"github.com/troupe-go/troupe/bus/kafkabus"
	"github.com/troupe-go/troupe/internal/testenv"
	"github.com/troupe-go/troupe/microsvc/microsvctest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// brokers is the broker that the tests share.
func brokers(t testing.TB) string {
	t.Helper()
	brokers := os.Getenv("TROUPE_KAFKA_BROKERS")
	if brokers == "" {
		t.Skip("set TROUPE_KAFKA_BROKERS to run this test")
	}
	return brokers
}

func connect(t testing.TB, brokers string, opts kafkabus.Options) *bus.Bus {
	t.Helper()
	opts.Logger = quiet
	if opts.Partitions == 0 {
		opts.Partitions = 3
	}
	if opts.SessionTimeout == 0 {
		opts.SessionTimeout = 3 * time.Second
	}
	removeAfter(t, brokers, opts.Namespace)
	b, err := kafkabus.Connect(t.Context(), brokers, opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

// removeAfter deletes the topics and groups of a namespace at the end.
func removeAfter(t testing.TB, brokers, namespace string) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		client, err := kgo.NewClient(kgo.SeedBrokers(brokers))
		if err != nil {
			return
		}
		defer client.Close()
		admin := kadm.NewClient(client)
		topics, _ := admin.ListTopics(ctx) // a broker that is gone has none
		var ours []string
		for _, topic := range topics.Names() {
			if strings.HasPrefix(topic, namespace+".") {
				ours = append(ours, topic)
			}
		}
		_, _ = admin.DeleteTopics(ctx, ours...) // as said
	})
}

// TestSuite is not parallel to the fault tests: it measures time, while they start
// servers.
func TestSuite(t *testing.T) {
	server := testenv.StartService(t, "kafka")
	c := config(server.URL, kafkabus.Options{})
	c.Restart = func(testing.TB) { server.Kill(); server.Start() }
	bustest.Run(t, c)
}

// TestSuiteInCompat: the same with the assignor of a Rust service.
func TestSuiteInCompat(t *testing.T) {
	bustest.Run(t, config(brokers(t), kafkabus.Options{Compat: true}))
}

// TestService: a service on this bus passes the table of all faces.
func TestService(t *testing.T) {
	t.Parallel()
	microsvctest.RunBus(t, config(brokers(t), kafkabus.Options{}).Connect)
}

func config(brokers string, opts kafkabus.Options) bustest.Config {
	return bustest.Config{
		Connect: func(t testing.TB, namespace, group string) *bus.Bus {
			opts := opts
			opts.Namespace, opts.Group = namespace, group
			return connect(t, brokers, opts)
		},
	}
}
