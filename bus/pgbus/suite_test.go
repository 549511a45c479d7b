package pgbus_test

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/bustest"
	"github.com/troupe-go/troupe/bus/pgbus"
	"github.com/troupe-go/troupe/internal/testenv"
	"github.com/troupe-go/troupe/internal/testenv/buskit"
	"github.com/troupe-go/troupe/microsvc/microsvctest"
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

// TestLeastRights: what docs/formats/pgbus.md says that a role needs is enough
// for everything.
func TestLeastRights(t *testing.T) {
	t.Parallel()
	server := testenv.StartPostgres(t)
	schema := newSchema(t, server.URL())
	conn, err := pgx.Connect(t.Context(), server.URL())
	require.NoError(t, err)
	name := pgx.Identifier{schema}.Sanitize()
	_, err = conn.Exec(t.Context(), "CREATE ROLE app LOGIN; GRANT USAGE ON SCHEMA "+name+" TO app; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA "+name+" TO app")
	require.NoError(t, err)
	require.NoError(t, conn.Close(t.Context()))
	address, err := url.Parse(server.URL())
	require.NoError(t, err)
	address.User = url.User("app")
	b := connect(t, address.String(), pgbus.Options{Group: "g", Schema: schema})
	for _, source := range []bus.Source{buskit.Listen(t, b, "thing.do"), buskit.Subscribe(t, b, "thing.happened")} {
		buskit.Publish(t, b, buskit.Event(t, "thing.happened", 1), buskit.Command(t, "thing.do", 1))
		require.NoError(t, buskit.Take(t, source, 1)[0].Retry(t.Context(), time.Millisecond))
		require.NoError(t, buskit.Take(t, source, 1)[0].DeadLetter(t.Context(), bus.Failure{Reason: "r", Attempts: 2, Time: time.Now()}))
		n, err := b.DeadLetters().ResendAll(buskit.Ctx(t), bus.DeadLetterFilter{})
		require.NoError(t, err)
		require.Equal(t, 1, n)
		again := buskit.Take(t, source, 1)[0]
		require.True(t, again.Resent())
		require.NoError(t, again.Ack(t.Context()))
		require.NoError(t, source.Close(buskit.Ctx(t)))
	}
	require.Empty(t, buskit.Letters(t, b))

	_, err = pgbus.OpenAndMigrate(buskit.Ctx(t), address.String(), pgbus.Options{Group: "g", Schema: "other", Logger: quiet})
	require.ErrorIs(t, err, bus.ErrUnauthorized, "it may not make a schema")
}

// TestService: a service on this bus passes the table of all faces.
func TestService(t *testing.T) {
	t.Parallel()
	url := testenv.PostgresURL(t)
	microsvctest.RunBus(t, config(url, newSchema(t, url)).Connect)
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
