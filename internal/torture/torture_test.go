//go:build unix

package torture

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/internal/testenv"
	"github.com/troupe-go/troupe/journal"
)

// brokers are the buses, and the services that they need. ordered: messages of a
// key reach the replicas of a group in order.
var brokers = []struct {
	bus, service string
	ordered      bool
}{
	{"pgbus", "postgres", true},
	{"rabbitbus", "rabbitmq", false},
	{"natsbus", "nats", false},
	{"kafkabus", "kafka", true},
}

// TestEveryMessageHasItsEffectOnce has one process that commits events and
// messages, dispatchers, and two replicas of a consumer, all of which are killed
// or frozen at random, while the broker is killed twice. In the end each message has had
// its effect once, in the order of its key where the transport keeps it.
func TestEveryMessageHasItsEffectOnce(t *testing.T) {
	t.Parallel()
	for _, broker := range brokers {
		t.Run("journal=postgres/bus="+broker.bus, func(t *testing.T) {
			t.Parallel()
			torture(t, "postgres "+testenv.PostgresURL(t)+" "+newSchema(t), broker.bus, broker.service, broker.ordered)
		})
	}
	t.Run("journal=bolt/bus=pgbus", func(t *testing.T) {
		t.Parallel()
		torture(t, "bolt "+filepath.Join(t.TempDir(), "journal.db"), "pgbus", "postgres", true)
	})
	t.Run("journal=sqlite/bus=rabbitbus", func(t *testing.T) {
		t.Parallel()
		torture(t, "sqlite "+filepath.Join(t.TempDir(), "journal.sqlite"), "rabbitbus", "rabbitmq", false)
	})
}

const keys = 32

func torture(t *testing.T, source, busName, service string, ordered bool) {
	random := testenv.Rand(t)
	each := testenv.Count(32, 3125) // 1,000 and 100,000 messages
	server := testenv.StartService(t, service)
	url := server.URL
	if service == "postgres" {
		url = strings.Replace(url, "/troupe?", "/postgres?", 1)
	}
	at := fmt.Sprintf("%s %s torture%d", busName, url, random.Uint32())
	sink := "postgres " + testenv.PostgresURL(t) + " " + newSchema(t)
	env := []string{"BUS=" + at, fmt.Sprint("KEYS=", keys), fmt.Sprint("EACH=", each)}
	producing := append([]string{"JOURNAL=" + source}, env...)
	if strings.HasPrefix(source, "bolt") { // one process has the file
		producing = append(producing, "DISPATCH=1")
	}
	consuming := append([]string{"JOURNAL=" + sink}, env...)

	subscribe(t, at)
	type process struct {
		role  string
		env   []string
		child *testenv.Child
	}
	processes := []*process{{role: "producer", env: producing}, {role: "consumer", env: consuming}, {role: "consumer", env: consuming}}
	if !strings.HasPrefix(source, "bolt") {
		processes = append(processes, &process{role: "dispatcher", env: producing}, &process{role: "dispatcher", env: producing})
	}
	for _, p := range processes {
		p.child = testenv.StartChild(t, p.role, p.env)
	}
	kills := testenv.Count(8, 60)
	for i := range kills {
		time.Sleep(time.Duration(100+random.IntN(400)) * time.Millisecond) // the rhythm of the kills, not a wait for anything
		if i == kills/3 || i == 2*kills/3 {
			server.Kill()
			server.Start()
			continue
		}
		p := processes[random.IntN(len(processes))]
		if random.IntN(3) == 0 { // it stands still beyond its leases, and then believes in them
			p.child.Freeze()
			time.Sleep(1500 * time.Millisecond)
			p.child.Thaw()
			continue
		}
		p.child.Kill()
		p.child = testenv.StartChild(t, p.role, p.env)
	}
	awaitEffects(t, sink, source, keys*each, func() {
		for _, p := range processes {
			select {
			case line, ok := <-p.child.Reports:
				if !ok {
					require.FailNow(t, "a process ended by itself", "%s: %s", p.role, p.child.Stderr())
				}
				require.Equal(t, "done", line)
			default:
			}
		}
	})
	for _, p := range processes {
		p.child.Kill()
	}
	requireEffects(t, sink, each, ordered)
	requireEmpty(t, source)
}

// subscribe makes what the consumers' group needs at the broker: not every one
// keeps events for groups that come later.
func subscribe(t *testing.T, at string) {
	t.Helper()
	b, err := openBus(t.Context(), at, "consumer")
	require.NoError(t, err)
	src, err := b.Transport().Subscribe(t.Context(), []string{"emitted"})
	require.NoError(t, err)
	require.NoError(t, src.Close(t.Context()))
	require.NoError(t, b.Close())
}

func newSchema(t *testing.T) string {
	t.Helper()
	name := fmt.Sprintf("torture_%d", rand.Uint32())
	url := testenv.PostgresURL(t)
	t.Cleanup(func() {
		conn, err := pgx.Connect(context.Background(), url)
		if err != nil {
			t.Logf("schema %s stays: %v", name, err)
			return
		}
		defer conn.Close(context.Background())
		if _, err := conn.Exec(context.Background(), "DROP SCHEMA IF EXISTS "+name+" CASCADE"); err != nil {
			t.Logf("schema %s stays: %v", name, err)
		}
	})
	return name
}

// whereabouts tells where effects are that did not come: read by position or by
// stream, or their messages at the source.
func whereabouts(t *testing.T, sinkJournal journal.Journal, source string, each int) string {
	t.Helper()
	var missing []string
	stored := 0
	for k := range keys {
		seen := map[int]bool{}
		for rec, err := range sinkJournal.Load(t.Context(), sinks.Stream(fmt.Sprint("key-", k)), 0) {
			require.NoError(t, err)
			var n int
			_, err := fmt.Sscanf(string(rec.Data), `{"n":%d}`, &n)
			require.NoError(t, err)
			seen[n] = true
			stored++
		}
		for n := 1; n <= each && len(missing) < 10; n++ {
			if !seen[n] {
				missing = append(missing, fmt.Sprintf("key-%d:%d", k, n))
			}
		}
	}
	said := fmt.Sprintf("%d by stream, missing %v", stored, missing)
	if strings.HasPrefix(source, "bolt") { // the producer has it open
		return said
	}
	j, err := openJournal(t.Context(), source)
	require.NoError(t, err)
	defer func() { require.NoError(t, j.Close()) }()
	f, err := j.Outbox().Figures(t.Context())
	require.NoError(t, err)
	emitted := 0
	for _, err := range j.ReadAll(t.Context(), journal.Position{}, 0) {
		require.NoError(t, err)
		emitted++
	}
	return said + fmt.Sprintf("; source: %d events, outbox %+v", emitted, f)
}

// awaitEffects waits until so many events were stored in the consumers' journal;
// check looks after the processes meanwhile.
func awaitEffects(t *testing.T, name, source string, want int, check func()) {
	t.Helper()
	j, err := openJournal(t.Context(), name)
	require.NoError(t, err)
	defer func() { require.NoError(t, j.Close()) }()
	var position journal.Position
	seen, last := 0, time.Now()
	for seen < want {
		changed := j.Changed()
		before := seen
		for rec, err := range j.ReadAll(t.Context(), position, 0) {
			require.NoError(t, err)
			position = rec.Position
			seen++
		}
		if seen > before {
			last = time.Now()
		}
		if time.Since(last) > time.Minute {
			require.FailNow(t, "no more effects come", "read %d of %d by position; %s", seen, want, whereabouts(t, j, source, want/keys))
		}
		check()
		select {
		case <-changed:
		case <-time.After(200 * time.Millisecond): // it may be heard late
		}
	}
}

// requireEffects demands each number of each key once, and in order.
func requireEffects(t *testing.T, name string, each int, ordered bool) {
	t.Helper()
	j, err := openJournal(t.Context(), name)
	require.NoError(t, err)
	defer func() { require.NoError(t, j.Close()) }()
	for k := range keys {
		stream := sinks.Stream(fmt.Sprint("key-", k))
		seen := map[int]bool{}
		next := 1
		for rec, err := range j.Load(t.Context(), stream, 0) {
			require.NoError(t, err)
			var n int
			_, err := fmt.Sscanf(string(rec.Data), `{"n":%d}`, &n)
			require.NoError(t, err)
			require.False(t, seen[n], "%s had message %d twice", stream, n)
			seen[n] = true
			if ordered {
				require.Equal(t, next, n, "order of %s", stream)
				next++
			}
			require.NotEmpty(t, rec.Metadata.CausationID, "the message")
			require.NotEmpty(t, rec.Metadata.CorrelationID)
		}
		require.Len(t, seen, each, "%s", stream)
	}
}

// requireEmpty demands that nothing is left to publish, and nothing was parked.
func requireEmpty(t *testing.T, name string) {
	t.Helper()
	j, err := openJournal(t.Context(), name)
	require.NoError(t, err)
	defer func() { require.NoError(t, j.Close()) }()
	f, err := j.Outbox().Figures(t.Context())
	require.NoError(t, err)
	require.Zero(t, f.Parked)
	require.LessOrEqual(t, f.Pending, 3*50, "but for windows that were published and not settled when their dispatcher was killed")
}
