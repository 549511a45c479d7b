package backends

import (
	"context"
	"flag"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/internal/testenv"
	"github.com/troupe-go/troupe/internal/testenv/buskit"
)

var quiet = slog.New(slog.DiscardHandler)

// parsed are the backends of a command line.
func parsed(t *testing.T, args ...string) *Backends {
	t.Helper()
	b := &Backends{Logger: quiet}
	flags := flag.NewFlagSet("test", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	b.Flags(flags)
	require.NoError(t, flags.Parse(args))
	return b
}

type light struct {
	aggregate.Root
	On bool
}

var (
	switched = aggregate.On("switched", func(l *light, on bool) { l.On = on })
	lights   = aggregate.Define("light", switched)
	cmdLight = aggregate.NewCommand("light.switch", func(_ *aggregate.Context, l *light, _ lightID) (bool, error) {
		err := switched.Record(l, !l.On)
		return l.On, err
	})
)

type lightID string

func (id lightID) AggregateID() string { return string(id) }

func TestJournals(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, tt := range []struct {
		name, value string
		file        string // that is there afterwards
		durable     bool
	}{
		{"Default", "", "", false},
		{"Memory", "memory", "", false},
		{"Bolt", "bolt:" + dir + "/one", dir + "/one", true},
		{"BareFile", dir + "/bare.db", dir + "/bare.db", true},
		{"BoltFolder", "bolt:" + dir + "/new/sub/", dir + "/new/sub/svc.db", true},
		{"SQLite", "sqlite:" + dir + "/two", dir + "/two", true},
		{"SQLiteFolder", "sqlite:" + dir + "/", dir + "/svc.sqlite", true},
		{"Postgres", os.Getenv(testenv.PostgresVariable), "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := parsed(t)
			require.Equal(t, "memory", b.Journal)
			b.Journal = tt.value
			if tt.name == "Postgres" {
				testenv.PostgresURL(t)
				b.Namespace = buskit.Namespace() + "-x"
				t.Cleanup(func() { dropSchema(t, tt.value, b.schema("svc")) })
			}
			require.Equal(t, tt.durable, b.Durable())
			for _, want := range []bool{true, !tt.durable} { // the second one finds what the first one left
				j, err := b.OpenJournal(t.Context(), "svc")
				require.NoError(t, err)
				repository, err := aggregate.NewRepository(j, lights, nil)
				require.NoError(t, err)
				on, err := cmdLight.Ask(t.Context(), repository, "1")
				require.NoError(t, err)
				require.Equal(t, want, on)
				require.NoError(t, j.Close())
			}
			if tt.file != "" {
				require.FileExists(t, filepath.Clean(tt.file))
			}
		})
	}
}

func dropSchema(t *testing.T, url, schema string) {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), url)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	_, err = conn.Exec(context.Background(), "DROP SCHEMA "+schema+" CASCADE")
	require.NoError(t, err)
}

func TestBuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, variable, prefix string }{
		{"membus", "", "memory"},
		{"postgres", testenv.PostgresVariable, ""},
		{"nats", "TROUPE_NATS_URL", ""},
		{"rabbitmq", "TROUPE_RABBITMQ_URL", ""},
		{"kafka", "TROUPE_KAFKA_BROKERS", "kafka://"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			url := tt.prefix
			if tt.variable != "" {
				if os.Getenv(tt.variable) == "" {
					t.Skipf("set %s to run this test: eval \"$(scripts/services.sh up)\"", tt.variable)
				}
				url += os.Getenv(tt.variable)
			}
			b := parsed(t, "-bus", url, "-namespace", buskit.Namespace())
			require.Equal(t, tt.name != "membus", b.Shared())
			if tt.name == "nats" {
				t.Cleanup(func() { deleteStreams(t, url, b.Namespace) })
			}
			from, err := b.OpenBus(t.Context(), "from")
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, from.Close()) })
			to, err := b.OpenBus(t.Context(), "to")
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, to.Close()) })
			source := buskit.Listen(t, to, "greet")
			buskit.Publish(t, from, buskit.Command(t, "greet", 1))
			require.Equal(t, "greet-1", buskit.Take(t, source, 1)[0].Message().ID)
			require.Equal(t, b.Namespace+".to", to.Group())
		})
	}
}

// deleteStreams gives back what the streams of a namespace reserve on a server that
// others use.
func deleteStreams(t *testing.T, url, namespace string) {
	t.Helper()
	conn, err := nats.Connect(url)
	require.NoError(t, err)
	defer conn.Close()
	js, err := jetstream.New(conn)
	require.NoError(t, err)
	deleted := 0
	names := js.StreamNames(context.Background())
	for name := range names.Name() {
		if strings.Contains(strings.ToLower(name), namespace) {
			require.NoError(t, js.DeleteStream(context.Background(), name))
			deleted++
		}
	}
	require.NoError(t, names.Err())
	require.NotZero(t, deleted)
}

// What is wrong with a flag is said with the flag's name and its value, and
// without a password.
func TestErrors(t *testing.T) {
	t.Parallel()
	for _, value := range []string{"paper", "bolt", "bolt:", "sqlite:", "mysql://host/db", "bolt:/dev/null/x"} {
		_, err := (&Backends{Journal: value}).OpenJournal(t.Context(), "svc")
		require.ErrorContains(t, err, "-journal")
		require.ErrorContains(t, err, value)
	}
	for _, value := range []string{"pigeon", "nats", "kafka://", "http://host:80"} {
		_, err := (&Backends{Bus: value}).OpenBus(t.Context(), "svc")
		require.ErrorContains(t, err, "-bus")
		require.ErrorContains(t, err, value)
	}
	port := testenv.FreePort(t)
	for _, scheme := range []string{"postgres", "amqp", "nats"} {
		value := scheme + "://ada:sesame@127.0.0.1:" + strconv.Itoa(port) + "/"
		_, err := (&Backends{Bus: value, Logger: quiet}).OpenBus(t.Context(), "svc")
		require.ErrorIs(t, err, bus.ErrUnavailable)
		require.ErrorContains(t, err, "-bus "+scheme+"://ada:xxxxx@127.0.0.1:")
		require.NotContains(t, err.Error(), "sesame")
	}
	_, err := (&Backends{Journal: "postgres://ada:sesame@127.0.0.1:" + strconv.Itoa(port) + "/", Logger: quiet}).OpenJournal(t.Context(), "svc")
	require.ErrorContains(t, err, "-journal postgres://ada:xxxxx@127.0.0.1:")
	require.NotContains(t, err.Error(), "sesame")
	_, err = (&Backends{Namespace: " "}).OpenBus(t.Context(), "svc")
	require.ErrorIs(t, err, envelope.ErrInvalid)
	require.ErrorContains(t, err, "-namespace")
}
