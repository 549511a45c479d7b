package killtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/kafkabus"
	"github.com/troupe-go/troupe/bus/membus"
	"github.com/troupe-go/troupe/bus/natsbus"
	"github.com/troupe-go/troupe/bus/pgbus"
	"github.com/troupe-go/troupe/bus/rabbitbus"
	"github.com/troupe-go/troupe/examples/internal/services"
	"github.com/troupe-go/troupe/internal/testenv"
	"github.com/troupe-go/troupe/internal/testenv/buskit"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/bolt"
	"github.com/troupe-go/troupe/journal/memory"
	"github.com/troupe-go/troupe/journal/postgres"
	"github.com/troupe-go/troupe/journal/sqlite"
)

var quiet = slog.New(slog.DiscardHandler)

// Lease is how long what belonged to a process that was killed is kept for it.
const Lease = time.Second

// World is a bus and the journals of the services on it.
type World struct {
	Bus       string // "membus", …
	URL       string
	Namespace string
	Journal   string // "memory", "bolt", "sqlite", "postgres"
	Where     string // a folder, or a URL

	place int // among buses

	mu     sync.Mutex
	broker *membus.Broker
	memory map[string]journal.Journal
}

// buses are all, each with the journals of its services.
var buses = []struct{ bus, variable, journal string }{
	{"membus", "", "memory"},
	{"pgbus", testenv.PostgresVariable, "postgres"},
	{"natsbus", "TROUPE_NATS_URL", "bolt"},
	{"rabbitbus", "TROUPE_RABBITMQ_URL", "sqlite"},
	{"kafkabus", "TROUPE_KAFKA_BROKERS", "bolt"},
}

// OnEachBus runs f once for each bus, in a world of its own, and all at once,
// however few tests are to be: most of the time they wait for leases of the dead.
func OnEachBus(t *testing.T, f func(t *testing.T, w *World)) {
	t.Helper()
	var all sync.WaitGroup
	defer all.Wait()
	for place, b := range buses {
		run := func(t *testing.T) {
			w := &World{Bus: b.bus, Namespace: buskit.Namespace(), Journal: b.journal, place: place, broker: membus.NewBroker(nil), memory: map[string]journal.Journal{}}
			if b.variable != "" {
				if w.URL = os.Getenv(b.variable); w.URL == "" {
					t.Skipf("set %s to run this test: eval \"$(scripts/services.sh up)\"", b.variable)
				}
			}
			if w.Where = t.TempDir(); b.journal == "postgres" {
				w.Where = testenv.PostgresURL(t)
			}
			f(t, w)
		}
		all.Go(func() { t.Run("bus="+b.bus, run) })
	}
}

// OpenBus connects a service. Leases are short, so that a death is noticed soon.
func (w *World) OpenBus(ctx context.Context, group string) (*bus.Bus, error) {
	switch w.Bus {
	case "membus":
		return w.broker.Connect(&membus.Options{Group: group, Namespace: w.Namespace}), nil
	case "pgbus":
		return pgbus.OpenAndMigrate(ctx, w.URL, pgbus.Options{Group: group, Namespace: w.Namespace, Lease: Lease, Logger: quiet})
	case "natsbus":
		unreserved := natsbus.Limits{MaxBytes: -1} // the server is shared
		return natsbus.Connect(ctx, w.URL, natsbus.Options{Group: group, Namespace: w.Namespace, Stream: unreserved, Dead: unreserved, AckWait: Lease, Logger: quiet})
	case "rabbitbus":
		return rabbitbus.Connect(ctx, w.URL, rabbitbus.Options{Group: group, Namespace: w.Namespace, Logger: quiet})
	}
	return kafkabus.Connect(ctx, w.URL, kafkabus.Options{Group: group, Namespace: w.Namespace, Partitions: 2, SessionTimeout: 2 * Lease, Logger: quiet})
}

// OpenJournal opens the journal of a service.
func (w *World) OpenJournal(ctx context.Context, service string) (journal.Journal, error) {
	switch w.Journal {
	case "memory":
		w.mu.Lock()
		defer w.mu.Unlock()
		if j := w.memory[service]; j != nil {
			return j, nil
		}
		j, err := memory.Open(nil)
		w.memory[service] = j
		return j, err
	case "bolt":
		return bolt.Open(filepath.Join(w.Where, service+".db"), &bolt.Options{Logger: quiet})
	case "sqlite":
		return sqlite.OpenAndMigrate(ctx, filepath.Join(w.Where, service+".sqlite"), &sqlite.Options{Logger: quiet})
	}
	return postgres.OpenAndMigrate(ctx, w.Where, &postgres.Options{Schema: w.schema(service), Logger: quiet})
}

// close closes a journal, except for one in memory, which outlives what stands
// for its process.
func (w *World) close(j journal.Journal) error {
	if w.Journal == "memory" {
		return nil
	}
	return j.Close()
}

func (w *World) schema(service string) string { return w.Namespace + "_" + service }

// ConnectTest connects the test itself, until its end.
func (w *World) ConnectTest(t *testing.T, group string) *bus.Bus {
	t.Helper()
	b, err := w.OpenBus(t.Context(), group)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

// declare makes what each service needs at the broker.
func (w *World) declare(t *testing.T, register services.Register, names []string) {
	t.Helper()
	for _, name := range names {
		j, err := memory.Open(nil)
		require.NoError(t, err)
		b, err := w.OpenBus(t.Context(), name)
		require.NoError(t, err)
		s, err := services.New(name, j, b, quiet, register)
		require.NoError(t, err)
		require.NoError(t, errors.Join(s.Declare(t.Context()), s.Close()))
	}
}

// Read has f look at a service's journal, which nobody else has open.
func (w *World) Read(t *testing.T, service string, f func(j journal.Journal)) {
	t.Helper()
	j, err := w.OpenJournal(t.Context(), service)
	require.NoError(t, err)
	defer func() { require.NoError(t, w.close(j)) }()
	f(j)
}

// History is the names of the events of each aggregate, by its id. Nothing may be
// left to publish.
func History(t *testing.T, j journal.Journal) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for rec, err := range j.ReadAll(t.Context(), journal.Position{}, 0) {
		require.NoError(t, err)
		all[rec.Stream.ID] = append(all[rec.Stream.ID], rec.Name)
	}
	figures, err := j.Outbox().Figures(t.Context())
	require.NoError(t, err)
	require.Zero(t, figures.Pending)
	require.Zero(t, figures.Parked)
	return all
}

// dropAtEnd deletes what the journals of services leave in PostgreSQL.
func (w *World) dropAtEnd(t *testing.T, services []string) {
	t.Helper()
	if w.Journal != "postgres" {
		return
	}
	t.Cleanup(func() {
		conn, err := pgx.Connect(context.Background(), w.Where)
		require.NoError(t, err)
		defer func() { _ = conn.Close(context.Background()) }() // it was only asked
		for _, service := range services {
			_, err := conn.Exec(context.Background(), "DROP SCHEMA IF EXISTS "+w.schema(service)+" CASCADE")
			require.NoError(t, err)
		}
	})
}

// env hands w to a child.
func (w *World) env() string {
	data, err := json.Marshal(w)
	if err != nil {
		panic(err) // it has strings only
	}
	return "TROUPE_KILLTEST_WORLD=" + string(data)
}

func worldFromEnv() (*World, error) {
	w := &World{}
	if err := json.Unmarshal([]byte(os.Getenv("TROUPE_KILLTEST_WORLD")), w); err != nil {
		return nil, fmt.Errorf("no world: %w", err)
	}
	return w, nil
}
