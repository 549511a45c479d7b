//go:build unix

package actor_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/actor"
	"github.com/troupe-go/troupe/internal/testenv"
)

// via is the server's URL through a proxy.
func via(t testing.TB, server string, p *testenv.Proxy) string {
	t.Helper()
	u, err := url.Parse(server)
	require.NoError(t, err)
	u.Host = p.Addr()
	return u.String()
}

func hostOf(t testing.TB, server string) string {
	t.Helper()
	u, err := url.Parse(server)
	require.NoError(t, err)
	return u.Host
}

// TestLostAnswersToCommits: connections are cut behind the commit and before
// its answer, at random and under load.
func TestLostAnswersToCommits(t *testing.T) {
	t.Parallel()
	server := testenv.PostgresURL(t)
	proxy := testenv.StartProxy(t, hostOf(t, server))
	w := newWorld(t, openPostgres(t, via(t, server, proxy), newSchema(t, server)), &actor.Options{ProbeAfter: 5 * time.Millisecond}, nil)
	x := newWitness(t, w, 64, 16)
	x.awaitService()
	seed := testenv.Rand(t)
	var mu sync.Mutex
	ready := []byte{'Z', 0, 0, 0, 5} // the server is ready for the next query: the last one's transaction is over
	proxy.OnReply(func(reply []byte) testenv.Cut {
		mu.Lock()
		defer mu.Unlock()
		if len(reply) < 6 || !bytes.Equal(reply[len(reply)-6:len(reply)-1], ready) || seed.IntN(30) > 0 {
			return testenv.Pass
		}
		return testenv.Cut(1 + seed.IntN(2))
	})
	lost := uint64(count(500))
	require.Eventually(t, func() bool { return w.system.Stats().UnknownOutcomes >= lost }, 10*time.Minute, 10*time.Millisecond)
	proxy.OnReply(nil)
	x.awaitService()
	acknowledged, refused, unknown := x.check()
	t.Logf("%d acknowledged, %d refused, %d unknown; %d lost answers", acknowledged, refused, unknown, w.system.Stats().UnknownOutcomes)
}

// TestServerIsKilled: PostgreSQL is killed under load, and comes back.
func TestServerIsKilled(t *testing.T) {
	t.Parallel()
	server := testenv.StartPostgres(t)
	w := newWorld(t, openPostgres(t, server.URL(), "actor"), &actor.Options{ProbeAfter: 5 * time.Millisecond}, nil)
	x := newWitness(t, w, 64, 16)
	x.awaitService()
	random := testenv.Rand(t)
	var longest time.Duration
	for range testenv.Count(5, 50) {
		time.Sleep(time.Duration(random.IntN(200)) * time.Millisecond) // the moment is the test's input
		server.Kill()
		server.Start()
		longest = max(longest, x.awaitService())
	}
	require.Less(t, longest, 2*time.Second, "service resumes after the server is back")
	acknowledged, refused, unknown := x.check()
	t.Logf("%d acknowledged, %d refused, %d unknown; service after at most %v", acknowledged, refused, unknown, longest)
}

// TestServerFreezes: nothing answers and no connection breaks; callers are told
// at their deadlines, and all goes on when it thaws.
func TestServerFreezes(t *testing.T) {
	t.Parallel()
	server := testenv.StartPostgres(t)
	w := newWorld(t, openPostgres(t, server.URL(), "actor"), &actor.Options{ProbeAfter: 5 * time.Millisecond}, nil)
	x := newWitness(t, w, 16, 4)
	x.awaitService()
	server.Freeze()
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	_, err := cmdPut.Ask(ctx, w.purses, order{ID: "frozen", N: 1})
	cancel()
	require.Error(t, err)
	require.Less(t, time.Since(began), 5*time.Second)
	server.Thaw()
	x.awaitService()
	x.check()
}

// TestTransfersSurviveKills: the total is the same whatever happens to the
// server in the middle of transfers.
func TestTransfersSurviveKills(t *testing.T) {
	t.Parallel()
	server := testenv.StartPostgres(t)
	j := openPostgres(t, server.URL(), "actor")
	w := newWorld(t, j, &actor.Options{ProbeAfter: 5 * time.Millisecond}, nil)
	const number, callers, start = 100, 64, 1_000
	for i := range number {
		w.put(fmt.Sprint(i), start)
	}
	transfers := int64(testenv.Count(2_000, 100_000))
	var moved, hot atomic.Int64
	stop := make(chan struct{})
	var load, group sync.WaitGroup
	load.Go(func() { // beside a hot one
		for {
			select {
			case <-stop:
				return
			default:
			}
			// It puts in nothing, so the total stays as it is.
			if _, err := cmdPut.Ask(context.Background(), w.purses, order{ID: "0"}); err == nil {
				hot.Add(1)
			}
		}
	})
	for c := range callers {
		group.Go(func() {
			rnd := rand.New(rand.NewPCG(7, uint64(c)))
			for moved.Load() < transfers {
				from, to := rnd.IntN(number), rnd.IntN(number)
				if rnd.IntN(8) == 0 {
					from = 0
				}
				if from == to {
					continue
				}
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
				if err := w.move(ctx, fmt.Sprint(from), fmt.Sprint(to), 1); err == nil {
					moved.Add(1)
				}
				cancel()
			}
		})
	}
	kills := testenv.Count(2, 20)
	for n := range kills {
		before := moved.Load()
		require.Eventually(t, func() bool { return moved.Load() > before && moved.Load() >= int64(n)*transfers/int64(kills) }, 10*time.Minute, time.Millisecond)
		server.Kill()
		server.Start()
	}
	group.Wait()
	close(stop)
	load.Wait()
	total := 0
	for i := range number {
		id := fmt.Sprint(i)
		coins, version := w.stored(id)
		require.Equal(t, answer{Coins: coins, Version: version}, w.look(id))
		total += coins
	}
	require.Equal(t, number*start, total)
	t.Logf("%d moved, %d commands for the hot one", moved.Load(), hot.Load())
}
