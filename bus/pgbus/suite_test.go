package pgbus_test

import (
	"context"
	"crypto/rand"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/bustest"
	"github.com/troupe-go/troupe/bus/pgbus"
	"github.com/troupe-go/troupe/internal/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// newSchema makes the tables in a schema of their own.
func newSchema(t testing.TB, url string) string {
	t.Helper()
	schema := "bus_" + rand.Text()
	require.NoError(t, pgbus.Migrate(t.Context(), url, pgbus.Options{Schema: schema, Logger: quiet}))
	t.Cleanup(func() {
		conn, err := pgx.Connect(context.Background(), url)
		if err != nil {
			return // a server of the test's own
		}
		defer func() { _ = conn.Close(context.Background()) }()
		_, _ = conn.Exec(context.Background(), "DROP SCHEMA "+pgx.Identifier{schema}.Sanitize()+" CASCADE")
	})
	return schema
}

func connect(t testing.TB, url string, opts pgbus.Options) *bus.Bus {
	t.Helper()
	opts.Logger = quiet
	b, err := pgbus.Connect(t.Context(), url, opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

func TestSuite(t *testing.T) {
	t.Parallel()
	url := testenv.PostgresURL(t)
	schema := newSchema(t, url)
	bustest.Run(t, config(url, schema))
}

// TestSuiteOnAKilledServer: the whole suite with a server that it may kill.
func TestSuiteOnAKilledServer(t *testing.T) {
	t.Parallel()
	server := testenv.StartPostgres(t, "max_connections=300")
	c := config(server.URL(), newSchema(t, server.URL()))
	c.Restart = func(testing.TB) { server.Kill(); server.Start() }
	bustest.Run(t, c)
}

func config(url, schema string) bustest.Config {
	return bustest.Config{
		Connect: func(t testing.TB, namespace, group string) *bus.Bus {
			return connect(t, url, pgbus.Options{
				Group: group, Namespace: namespace, Schema: schema, Lease: time.Second, Poll: 200 * time.Millisecond, MaxConns: 4,
			})
		},
	}
}
