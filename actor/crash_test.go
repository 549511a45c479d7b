package actor_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/actor"
	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/internal/testenv"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/bolt"
	"github.com/troupe-go/troupe/journal/postgres"
	"github.com/troupe-go/troupe/journal/sqlite"
	"github.com/troupe-go/troupe/snapshot"
)

const crashWorkers = 32

// childPurses is the process that gets killed: workers that put coins into
// eight purses, each command with an id. Worker w goes on behind the number
// that it was last told, so the first command of each may be a repeat.
func childPurses() error {
	j, err := openNamed(context.Background(), os.Getenv("JOURNAL"))
	if err != nil {
		return err
	}
	s, err := actor.NewSystem(j, &actor.Options{Logger: quiet})
	if err != nil {
		return err
	}
	h, err := actor.Host(s, purses, &actor.HostOptions{PassivateAfter: 2 * time.Millisecond, Snapshots: snapshot.Policy{Every: 20, AtPassivation: 1}})
	if err != nil {
		return err
	}
	failed := make(chan error, crashWorkers)
	for w, last := range strings.Split(os.Getenv("LAST"), ",") {
		n, err := strconv.Atoi(last)
		if err != nil {
			return err
		}
		go func() {
			for n++; ; n++ {
				a, err := cmdPut.Ask(context.Background(), h,
					order{ID: fmt.Sprint("p", w%8), N: 1, Sender: fmt.Sprint(w), Seq: n},
					aggregate.WithCommandID(fmt.Sprintf("%d-%d", w, n)))
				if err != nil || a.Out {
					failed <- fmt.Errorf("worker %d, command %d: %+v: %w", w, n, a, err)
					return
				}
				testenv.Report("%d %d", w, n)
			}
		}()
	}
	return <-failed
}

// openNamed opens the journal that a child process is told of: "bolt PATH",
// "sqlite PATH" or "postgres URL SCHEMA".
func openNamed(ctx context.Context, name string) (journal.Journal, error) {
	kind, where, _ := strings.Cut(name, " ")
	switch kind {
	case "bolt":
		return bolt.Open(where, &bolt.Options{CheckpointEvents: 3000, ReceiptWindow: 2000, Logger: quiet})
	case "sqlite":
		return sqlite.OpenAndMigrate(ctx, where, &sqlite.Options{Logger: quiet})
	case "postgres":
		url, schema, _ := strings.Cut(where, " ")
		return postgres.OpenAndMigrate(ctx, url, &postgres.Options{Schema: schema, Logger: quiet})
	}
	return nil, fmt.Errorf("no journal %q", name)
}

// Promises 3 and 7 together: whatever was acknowledged is there once, although
// the process is killed again and again and the commands in doubt are repeated.
func TestKilledProcessLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	t.Run("bolt", func(t *testing.T) {
		t.Parallel()
		killProcesses(t, "bolt "+filepath.Join(t.TempDir(), "journal.db"), testenv.Count(20, 200))
	})
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		killProcesses(t, "sqlite "+filepath.Join(t.TempDir(), "journal.sqlite"), testenv.Count(5, 50))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		server := testenv.PostgresURL(t)
		killProcesses(t, "postgres "+server+" "+newSchema(t, server), testenv.Count(5, 50))
	})
}

func killProcesses(t *testing.T, name string, times int) {
	t.Helper()
	random := testenv.Rand(t)
	last := make([]int, crashWorkers)
	for range times {
		text := make([]string, crashWorkers)
		for w, n := range last {
			text[w] = strconv.Itoa(n)
		}
		child := testenv.StartChild(t, "purses", []string{"JOURNAL=" + name, "LAST=" + strings.Join(text, ",")})
		moment := time.NewTimer(time.Hour)
		for line := range child.Reports {
			var w, n int
			_, err := fmt.Sscan(line, &w, &n)
			require.NoError(t, err)
			require.Equal(t, last[w]+1, n)
			last[w] = n
			if moment.Stop() {
				moment = time.AfterFunc(time.Duration(random.IntN(40_000))*time.Microsecond, child.Kill)
			}
		}
		require.ErrorContains(t, child.Wait(), "killed")
	}
	j, err := openNamed(t.Context(), name)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, j.Close()) })
	w := newWorld(t, j, nil, nil)
	var wg sync.WaitGroup
	for worker, n := range last { // the command in doubt, once more
		wg.Go(func() {
			a, err := cmdPut.Ask(context.Background(), w.purses,
				order{ID: fmt.Sprint("p", worker%8), N: 1, Sender: fmt.Sprint(worker), Seq: n + 1},
				aggregate.WithCommandID(fmt.Sprintf("%d-%d", worker, n+1)))
			if err != nil || a.Out {
				t.Errorf("%+v %v", a, err)
			}
		})
	}
	wg.Wait()
	total := 0
	for p := range 8 {
		want := 0
		for worker := p; worker < crashWorkers; worker += 8 {
			want += last[worker] + 1
		}
		coins, version := w.stored(fmt.Sprint("p", p))
		require.Equal(t, want, coins)
		require.EqualValues(t, want, version)
		require.Equal(t, want, w.look(fmt.Sprint("p", p)).Coins)
		total += want
	}
	t.Logf("%d acknowledged commands", total)
}
