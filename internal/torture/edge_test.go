//go:build unix

package torture

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/internal/testenv"
	"github.com/troupe-go/troupe/microsvc"
	"github.com/troupe-go/troupe/microsvc/httpapi"
)

// TestExactlyOnceFromTheEdge has clients send commands with idempotency keys, each
// one to three times and again until they are answered, to a service that is
// killed at random, on connections that are cut before and after replies. Each
// command has one effect, all its replies are the same, and what a client was told
// of an attempt that failed is true.
func TestExactlyOnceFromTheEdge(t *testing.T) {
	t.Parallel()
	for _, v := range []struct{ face, journal string }{{"http", "bolt"}, {"grpc", "bolt"}, {"http", "sqlite"}, {"grpc", "sqlite"}} {
		t.Run("face="+v.face+"/journal="+v.journal, func(t *testing.T) {
			t.Parallel()
			e := newEdge(t, v.face, v.journal+" "+filepath.Join(t.TempDir(), "journal.db"))
			e.run(testenv.Count(300, 10_000), testenv.Count(4, 20), true)
			require.Zero(t, e.doubled(), "effects that a command had besides its first")
			e.requireReplies()
			e.requireTruth()
		})
	}
}

// Without keys the same faults double effects, or the test above shows nothing.
func TestWithoutKeysEffectsAreDoubled(t *testing.T) {
	t.Parallel()
	for _, face := range []string{"http", "grpc"} {
		t.Run("face="+face, func(t *testing.T) {
			t.Parallel()
			e := newEdge(t, face, "bolt "+filepath.Join(t.TempDir(), "journal.db"))
			e.run(200, 1, false)
			require.Positive(t, e.doubled())
			e.requireTruth()
		})
	}
}

// asking sends one command by a client, and returns its reply as JSON.
type asking func(ctx context.Context, name string, in any, key string) ([]byte, error)

// edge is a service, those who ask it, and what they were told.
type edge struct {
	t       *testing.T
	journal string
	env     []string
	proxy   *testenv.Proxy
	proxied []asking
	direct  asking // sees a port on which nobody listens
	stored  map[string][]entered

	mu      sync.Mutex
	random  *rand.Rand
	begun   map[string]bool   // attempts that the service began
	refused map[string]error  // attempts that had no effect, by what the client said
	replies map[string]string // by command
}

func newEdge(t *testing.T, face, journal string) *edge {
	addr := fmt.Sprint("127.0.0.1:", testenv.FreePort(t))
	e := &edge{
		t: t, journal: journal, env: []string{"JOURNAL=" + journal, "FACE=" + face, "ADDR=" + addr},
		proxy: testenv.StartProxy(t, addr), random: testenv.Rand(t),
		begun: map[string]bool{}, refused: map[string]error{}, replies: map[string]string{},
	}
	e.proxy.OnReply(func([]byte) testenv.Cut {
		return [...]testenv.Cut{testenv.CutBefore, testenv.CutAfter, 11: testenv.Pass}[e.intN(12)]
	})
	client := httpClient
	if face == "grpc" {
		client = grpcClient
	}
	e.direct = client(t, addr)
	for range 8 {
		e.proxied = append(e.proxied, client(t, e.proxy.Addr()))
	}
	return e
}

func httpClient(t *testing.T, addr string) asking {
	c, err := httpapi.NewClient("http://"+addr, nil)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return func(ctx context.Context, name string, in any, key string) ([]byte, error) {
		if key == "" {
			return c.Do(ctx, name, in)
		}
		return c.Do(ctx, name, in, httpapi.WithIdempotencyKey(key))
	}
}

func grpcClient(t *testing.T, addr string) asking { return grpcClientOf(t, addr) }

func (e *edge) intN(n int) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.random.IntN(n)
}

// run has n commands sent until each is answered, while the service is killed.
func (e *edge) run(n, kills int, keyed bool) {
	var at []int // how many commands were answered when it is killed; now and then it still starts
	for range kills {
		at = append(at, 1+e.intN(n-1))
	}
	slices.Sort(at)
	var watching, working sync.WaitGroup
	start := func() (kill func()) {
		child, dying := testenv.StartChild(e.t, "service", e.env), make(chan struct{})
		watching.Go(func() { e.watch(child, dying) })
		return func() { close(dying); child.Kill() }
	}
	kill := start()
	commands, answered := make(chan int, n), make(chan struct{}, n)
	for i := range n {
		commands <- i
	}
	close(commands)
	for worker := range 24 {
		working.Go(func() {
			for i := range commands {
				e.command(worker, i, keyed)
				answered <- struct{}{}
			}
		})
	}
	for done := 1; done <= n; done++ {
		<-answered
		for ; len(at) > 0 && at[0] <= done; at = at[1:] {
			kill()
			kill = start()
		}
	}
	working.Wait()
	kill()
	watching.Wait()
	e.load()
}

// watch notes what a service reports, and that it does not end by itself.
func (e *edge) watch(child *testenv.Child, dying <-chan struct{}) {
	for line := range child.Reports {
		e.mu.Lock()
		e.begun[strings.TrimPrefix(line, begun)] = true
		e.mu.Unlock()
	}
	select {
	case <-dying:
	default:
		e.t.Errorf("the service ended by itself: %s", child.Stderr())
	}
}

// command sends one command in one to three copies, at once or one after the
// other.
func (e *edge) command(worker, i int, keyed bool) {
	copies, atOnce := 1+e.intN(3), e.intN(2) == 0
	if !keyed {
		copies = 1
	}
	var all sync.WaitGroup
	for n := range copies {
		if atOnce {
			all.Go(func() { e.insist(worker+n, i, n, keyed) })
		} else {
			e.insist(worker+n, i, n, keyed)
		}
	}
	all.Wait()
}

const shelf = 16 // ledgers

// insist sends a copy of a command until it is answered.
func (e *edge) insist(worker, i, n int, keyed bool) {
	ref, key := fmt.Sprint(i), ""
	if keyed {
		key = "key-" + ref
	}
	for try := 0; !e.t.Failed(); try++ {
		in := enter{fmt.Sprint(i % shelf), ref, fmt.Sprint(i, ".", n, ".", try)}
		ask := e.proxied[worker%len(e.proxied)]
		if e.intN(4) == 0 {
			ask = e.direct
		}
		reply, err := e.ask(ask, i, in, key)
		switch {
		case err == nil:
			e.note(ref, string(reply), keyed)
			return
		case errors.Is(err, aggregate.ErrUnknownOutcome): // whatever else it is
		case errors.Is(err, aggregate.ErrUnavailable), errors.Is(err, aggregate.ErrNotRun):
			e.mu.Lock()
			e.refused[in.Attempt] = err
			e.mu.Unlock()
		default:
			e.t.Errorf("attempt %s: %v", in.Attempt, err)
		}
		if try == 1000 {
			e.t.Errorf("attempt %s: the service does not come back: %v", in.Attempt, err)
		}
		time.Sleep(time.Duration(1+e.intN(20)) * time.Millisecond) // as clients do before they ask again
	}
}

// ask makes one attempt, now and then by a caller that has no patience.
func (e *edge) ask(ask asking, i int, in enter, key string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if i%5 == 0 { // an effect in two steps is never told as not run after the first
		return ask(ctx, "ledger.both", enterBoth{in, fmt.Sprint("other-", i%shelf)}, key)
	}
	if e.intN(16) == 0 {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(e.intN(4000))*time.Microsecond)
		defer cancel()
	}
	return ask(ctx, cmdEnter.Name(), in, key)
}

func (e *edge) note(ref, reply string, keyed bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if first, answered := e.replies[ref]; answered && keyed && reply != first {
		e.t.Errorf("command %s was answered %s and %s", ref, first, reply)
	}
	e.replies[ref] = reply
}

// load reads what is stored, by command and in no order.
func (e *edge) load() {
	require.False(e.t, e.t.Failed())
	j, err := openJournal(e.t.Context(), e.journal)
	require.NoError(e.t, err)
	defer func() { require.NoError(e.t, j.Close()) }()
	e.stored = map[string][]entered{}
	for i := range shelf {
		for _, id := range []string{fmt.Sprint(i), fmt.Sprint("other-", i)} {
			for rec, err := range j.Load(e.t.Context(), ledgers.Stream(id), 0) {
				require.NoError(e.t, err)
				var payload entered
				require.NoError(e.t, json.Unmarshal(rec.Data, &payload))
				require.EqualValues(e.t, rec.Version, payload.N)
				e.stored[payload.Ref] = append(e.stored[payload.Ref], payload)
			}
		}
	}
}

// doubled counts effects that commands had besides those that they should.
func (e *edge) doubled() int {
	more := 0
	for ref, stored := range e.stored {
		more += len(stored) - len(e.replied(ref))
	}
	return more
}

// replied is what a command was answered, and so what it should have stored.
func (e *edge) replied(ref string) (all []entered) {
	reply := e.replies[ref]
	if !strings.HasPrefix(reply, "[") {
		reply = "[" + reply + "]"
	}
	require.NoError(e.t, json.Unmarshal([]byte(reply), &all), "command %s", ref)
	return all
}

// requireReplies demands that what was answered is what is stored, and all of it.
func (e *edge) requireReplies() {
	require.Len(e.t, e.stored, len(e.replies))
	for ref := range e.replies {
		require.ElementsMatch(e.t, e.replied(ref), e.stored[ref], "command %s", ref)
	}
}

// requireTruth demands that an attempt that was said not to have run had no effect,
// and was not even begun if it was the client who knew.
func (e *edge) requireTruth() {
	kinds := map[string]int{}
	for attempt, err := range e.refused {
		var p *microsvc.Problem
		if !errors.As(err, &p) {
			require.False(e.t, e.begun[attempt], "attempt %s was begun: %v", attempt, err)
		}
		kinds[string(aggregate.CodeOf(err))]++
	}
	for ref, stored := range e.stored {
		for _, s := range stored {
			require.NotContains(e.t, e.refused, s.Attempt, "command %s had its effect in an attempt that was not to have one", ref)
			require.True(e.t, e.begun[s.Attempt], "attempt %s", s.Attempt)
		}
	}
	e.t.Logf("%d commands, %d attempts begun; not run: %v", len(e.stored), len(e.begun), kinds)
	require.NotEmpty(e.t, e.refused)
}
