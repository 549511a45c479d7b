package actor_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/actor"
	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/bolt"
	"github.com/troupe-go/troupe/snapshot"
)

// A journal that is away: commands fail fast and safe to resend, and service is
// back without a restart.
func TestJournalAway(t *testing.T) {
	t.Parallel()
	j := &faulty{Journal: openMemory(t)}
	w := newWorld(t, j, &actor.Options{ProbeAfter: 5 * time.Millisecond}, nil)
	w.put("p", 1)
	var tries atomic.Int64
	away := fmt.Errorf("%w: disk full", journal.ErrUnavailable)
	j.onSubmit(func(_ *journal.Batch, done func(journal.Result, error)) bool {
		tries.Add(1)
		go done(journal.Result{}, away)
		return true
	})
	j.onRead(func() error { tries.Add(1); return away })
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			for range 20 {
				_, err := cmdPut.Ask(context.Background(), w.purses, order{ID: fmt.Sprint("p", i%10), N: 1})
				if !errors.Is(err, aggregate.ErrUnavailable) {
					t.Errorf("got %v", err)
				}
			}
		})
	}
	wg.Wait()
	require.Less(t, tries.Load(), int64(500), "2,000 commands, most of them must not reach the journal")
	j.onSubmit(nil)
	j.onRead(nil)
	require.Eventually(t, func() bool {
		_, err := cmdPut.Ask(context.Background(), w.purses, order{ID: "p", N: 1})
		return err == nil
	}, 2*time.Second, time.Millisecond)
	require.Equal(t, 2, w.look("p").Coins, "nothing that was refused is stored")
	require.Equal(t, 0, w.look("p0").Coins)
}

// A lost answer: the identical batch is submitted again, whether the first one
// was stored or not.
func TestUnknownOutcomeIsSettled(t *testing.T) {
	t.Parallel()
	for _, stored := range []bool{true, false} {
		t.Run(fmt.Sprint("stored=", stored), func(t *testing.T) {
			onJournals(t, func(t *testing.T, open func(testing.TB) journal.Journal) {
				j := &faulty{Journal: open(t)}
				w := newWorld(t, j, &actor.Options{ProbeAfter: time.Millisecond}, nil)
				w.put("p", 1)
				var lost atomic.Int64
				j.onSubmit(func(b *journal.Batch, done func(journal.Result, error)) bool {
					switch n := lost.Add(1); {
					case n > 3:
						return false
					case n == 3: // nothing new is known: the first one may be stored all the same
						go done(journal.Result{}, journal.ErrUnavailable)
					case n == 1 && stored:
						j.Journal.Submit(b, func(journal.Result, error) { done(journal.Result{}, journal.ErrUnknownOutcome) })
					default:
						go done(journal.Result{}, journal.ErrUnknownOutcome)
					}
					return true
				})
				require.Equal(t, 3, w.put("p", 2).Coins)
				require.Equal(t, 3, w.look("p").Coins)
				coins, version := w.stored("p")
				require.Equal(t, 3, coins)
				require.EqualValues(t, 2, version)
			})
		})
	}
}

// A batch that the journal refuses for a reason of its own: only the culprit
// gets the error.
func TestRefusedBatchIsHalved(t *testing.T) {
	t.Parallel()
	j := &faulty{Journal: openMemory(t)}
	w := newWorld(t, j, nil, nil)
	w.put("p", 1)
	bad := errors.New("no such thing")
	hold := make(chan func(), 1)
	j.onSubmit(func(b *journal.Batch, done func(journal.Result, error)) bool {
		hold <- func() { j.Journal.Submit(b, done) }
		return true
	})
	var wg sync.WaitGroup
	ask := func(n int) {
		wg.Go(func() {
			_, err := cmdPut.Ask(context.Background(), w.purses, order{ID: "p", N: n})
			if n == 13 || n == 14 {
				if !errors.Is(err, bad) {
					t.Errorf("the culprit %d got %v", n, err)
				}
			} else if err != nil {
				t.Errorf("%d got %v", n, err)
			}
		})
	}
	ask(1)
	submit := <-hold
	for n := 2; n <= 40; n++ {
		ask(n)
	}
	w.waitQueued(39)
	j.onSubmit(func(b *journal.Batch, done func(journal.Result, error)) bool {
		for _, a := range b.Appends {
			for _, rec := range a.Records {
				if string(rec.Data) == `{"n":13}` || string(rec.Data) == `{"n":14}` {
					go done(journal.Result{}, bad)
					return true
				}
			}
		}
		return false
	})
	submit()
	wg.Wait()
	require.Equal(t, 1+40*41/2-13-14, w.look("p").Coins)
}

// Credit: without room in the journal's queue commands stay where they are, and
// their deadlines apply.
func TestCommandsWaitForCredit(t *testing.T) {
	t.Parallel()
	j := &faulty{Journal: openMemory(t)}
	var mu sync.Mutex
	full := true
	var ready []func()
	j.credit = func(r func()) bool {
		mu.Lock()
		defer mu.Unlock()
		if full && r != nil {
			ready = append(ready, r)
		}
		return !full
	}
	w := newWorld(t, j, nil, nil)
	answered := make(chan error, 1)
	go func() {
		_, err := cmdPut.Ask(context.Background(), w.purses, order{ID: "p", N: 1})
		answered <- err
	}()
	require.Eventually(t, func() bool { mu.Lock(); defer mu.Unlock(); return len(ready) == 1 }, 10*time.Second, time.Millisecond)
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	_, err := cmdPut.Ask(ctx, w.purses, order{ID: "p", N: 1})
	require.ErrorIs(t, err, aggregate.ErrNotRun)
	require.Empty(t, answered)
	mu.Lock()
	full = false
	ready[0]()
	mu.Unlock()
	require.NoError(t, <-answered)
	require.Equal(t, 1, w.look("p").Coins)
}

// A queue that is full nearly all the time: everything goes through, and in
// order.
func TestSmallQueueUnderLoad(t *testing.T) {
	t.Parallel()
	j, err := bolt.Open(filepath.Join(t.TempDir(), "journal.db"), &bolt.Options{QueueEvents: 8, QueueBytes: 4 << 10, Logger: quiet})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, j.Close()) })
	w := newWorld(t, j, nil, nil)
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			for n := range 10 {
				a, err := cmdPut.Ask(context.Background(), w.purses, order{ID: fmt.Sprint(i % 100), N: 1, Sender: fmt.Sprint(i), Seq: n + 1})
				if err != nil || a.Out {
					t.Errorf("%+v, %v", a, err)
				}
			}
		})
	}
	wg.Wait()
	for i := range 100 {
		require.Equal(t, 20, w.look(fmt.Sprint(i)).Coins)
	}
}

// An aggregate whose history cannot be read answers with the typed error, backs
// off, and is served again once it can.
func TestUnreadableHistory(t *testing.T) {
	t.Parallel()
	j := &faulty{Journal: openMemory(t)}
	ctx := context.Background()
	broken := []envelope.Record{
		{Stream: purses.Stream("event"), Version: 1, Name: "melted", Schema: 1, Codec: "json", Data: []byte(`{}`)},
		{Stream: purses.Stream("schema"), Version: 1, Name: "put", Schema: 9, Codec: "json", Data: []byte(`{}`)},
		{Stream: purses.Stream("codec"), Version: 1, Name: "put", Schema: 1, Codec: "xml", Data: []byte(`{}`)},
		{Stream: purses.Stream("payload"), Version: 1, Name: "put", Schema: 1, Codec: "json", Data: []byte(`{"n":`)},
	}
	for i := range broken {
		_, err := journal.Commit(ctx, j, &journal.Batch{ID: journal.NewBatchID(),
			Appends: []journal.Append{{Stream: broken[i].Stream, Records: broken[i : i+1]}}})
		require.NoError(t, err)
	}
	w := newWorld(t, j, nil, nil)
	for _, rec := range broken {
		_, err := cmdPut.Ask(ctx, w.purses, order{ID: rec.Stream.ID, N: 1})
		var re *aggregate.ReplayError
		require.ErrorAs(t, err, &re)
		require.Equal(t, rec.Stream, re.Stream)
		require.EqualValues(t, 1, re.Version)
		require.Equal(t, rec.Name, re.Event)
	}
	loads := j.loaded()
	for range 100 { // fails fast: no load for each of them
		_, err := cmdPut.Ask(ctx, w.purses, order{ID: "event", N: 1})
		require.ErrorIs(t, err, aggregate.ErrUnknownEvent)
	}
	require.LessOrEqual(t, j.loaded()-loads, 8)
	require.Equal(t, 1, w.put("healthy", 1).Coins)
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	w := newWorld(t, openMemory(t), nil, nil)
	ctx := context.Background()
	long := string(make([]byte, 300))
	for _, id := range []string{"", " ", long, "a\x00b", "a\xffb", "a\nb"} {
		_, err := cmdPut.Ask(ctx, w.purses, order{ID: id, N: 1})
		var invalid *envelope.InvalidError
		require.ErrorAs(t, err, &invalid, "%q", id)
		require.Equal(t, "stream id", invalid.Field)
		require.Equal(t, aggregate.CodeInvalid, aggregate.CodeOf(err))
	}
	_, err := cmdPut.Ask(ctx, w.purses, order{ID: "p", N: 1}, aggregate.WithCommandID(long))
	require.ErrorIs(t, err, aggregate.ErrInvalid)
	_, err = cmdPut.Ask(ctx, w.purses, order{ID: "p", N: 1},
		aggregate.WithMetadata(envelope.Metadata{Keys: map[string]string{"X-Sourced-id": "1"}}))
	require.ErrorIs(t, err, aggregate.ErrInvalid)
	_, err = cmdTake.Ask(ctx, w.purses, order{ID: "p", N: 1})
	require.ErrorIs(t, err, aggregate.ErrNotFound)
	_, version := w.stored("p")
	require.Zero(t, version)

	for _, opts := range []*actor.Options{{MaxActivations: -1}, {MaxResidents: -1}, {ActivationTimeout: -1}} {
		_, err := actor.NewSystem(w.journal, opts)
		require.ErrorIs(t, err, envelope.ErrInvalid)
	}
	_, err = actor.Host(w.system, purses, nil)
	require.ErrorIs(t, err, envelope.ErrInvalid, "hosted twice")
}

// Metadata of a command is inherited by each of its events.
func TestMetadataIsInherited(t *testing.T) {
	t.Parallel()
	onJournals(t, func(t *testing.T, open func(testing.TB) journal.Journal) {
		w := newWorld(t, open(t), nil, nil)
		w.put("p", 1, aggregate.WithMetadata(envelope.Metadata{Keys: map[string]string{"tenant": "acme"}}),
			aggregate.WithCorrelation("corr", "cause"), aggregate.WithCommandID("c1"))
		w.put("p", 1)
		var got []envelope.Metadata
		for rec, err := range w.journal.Load(context.Background(), purses.Stream("p"), 0) {
			require.NoError(t, err)
			require.WithinDuration(t, time.Now(), rec.Time, time.Minute)
			got = append(got, rec.Metadata.Clone())
		}
		require.Len(t, got, 2)
		require.Equal(t, envelope.Metadata{CorrelationID: "corr", CausationID: "cause", CommandID: "c1",
			Keys: map[string]string{"tenant": "acme"}}, got[0])
		require.True(t, got[1].IsZero())
	})
}

// Promise 10: a snapshot is a cache.
func TestSnapshotsAreACache(t *testing.T) {
	t.Parallel()
	onJournals(t, func(t *testing.T, open func(testing.TB) journal.Journal) {
		j := open(t)
		ctx := context.Background()
		host := &actor.HostOptions{Snapshots: snapshot.Policy{Every: 10, AtPassivation: 1}}
		w := newWorld(t, j, nil, host)
		for range 25 {
			w.put("p", 1)
		}
		latest, err := j.LoadLatest(ctx, purses.Stream("p"))
		require.NoError(t, err)
		require.NotNil(t, latest.Snapshot)
		require.EqualValues(t, 20, latest.Snapshot.Version)
		w.stop()
		latest, err = j.LoadLatest(ctx, purses.Stream("p"))
		require.NoError(t, err)
		require.EqualValues(t, 25, latest.Snapshot.Version, "passivation takes one")

		good := *latest.Snapshot
		for name, spoil := range map[string]func(s *snapshot.Snapshot){
			"Schema":      func(s *snapshot.Snapshot) { s.Schema = 7 },
			"Fingerprint": func(s *snapshot.Snapshot) { s.Fingerprint++ },
			"Codec":       func(s *snapshot.Snapshot) { s.Codec = "xml" },
			"Bytes":       func(s *snapshot.Snapshot) { s.Data = []byte("{") },
		} {
			bad := good
			spoil(&bad)
			_, err := journal.Commit(ctx, j, &journal.Batch{ID: journal.NewBatchID(), DropSnapshots: []envelope.Stream{bad.Stream}})
			require.NoError(t, err)
			_, err = journal.Commit(ctx, j, &journal.Batch{ID: journal.NewBatchID(), Snapshots: []snapshot.Snapshot{bad}})
			require.NoError(t, err)
			w := newWorld(t, j, nil, &actor.HostOptions{Snapshots: snapshot.Policy{Every: -1, AtPassivation: -1}})
			require.Equal(t, answer{Coins: 25, Version: 25}, w.look("p"), name)
			require.EqualValues(t, 1, w.system.Stats().SnapshotsIgnored, name)
			w.stop()
		}
		// The next one replaces it.
		w = newWorld(t, j, nil, host)
		w.put("p", 1)
		w.stop()
		latest, err = j.LoadLatest(ctx, purses.Stream("p"))
		require.NoError(t, err)
		require.EqualValues(t, 26, latest.Snapshot.Version)
		require.Equal(t, good.Fingerprint, latest.Snapshot.Fingerprint)
	})
}

// Promise 4 between processes: a Shared host answers nothing on a state that
// another process has left behind.
func TestSharedHostsSeeEachOther(t *testing.T) {
	t.Parallel()
	onJournals(t, func(t *testing.T, open func(testing.TB) journal.Journal) {
		j := open(t)
		a := newWorld(t, j, nil, &actor.HostOptions{Shared: true})
		b := newWorld(t, j, nil, &actor.HostOptions{Shared: true})
		total := 0
		for i := range 200 {
			w, other := a, b
			if i%2 == 1 {
				w, other = b, a
			}
			total++
			require.Equal(t, total, w.put("p", 1).Coins)
			require.Equal(t, total, other.look("p").Coins)
			_, err := cmdTake.Ask(context.Background(), other.purses, order{ID: "p", N: total + 1})
			require.ErrorContains(t, err, fmt.Sprint(total, " coins are not enough"))
		}
		var wg sync.WaitGroup
		var ok atomic.Int64
		for i := range 200 {
			wg.Go(func() {
				w := a
				if i%2 == 1 {
					w = b
				}
				_, err := cmdPut.Ask(context.Background(), w.purses, order{ID: "p", N: 1})
				switch {
				case err == nil:
					ok.Add(1)
				case !errors.Is(err, aggregate.ErrConflict): // too many tries is allowed
					t.Error(err)
				}
			})
		}
		wg.Wait()
		coins, _ := a.stored("p")
		require.Equal(t, total+int(ok.Load()), coins)
	})
}

// Promise 15: a graceful stop finishes what was accepted.
func TestStopFinishesWhatWasAccepted(t *testing.T) {
	t.Parallel()
	j := &slow{Journal: openMemory(t), every: 20 * time.Millisecond}
	w := newWorld(t, j, nil, nil)
	var wg sync.WaitGroup
	var ok, refused atomic.Int64
	for i := range 100 {
		wg.Go(func() {
			for {
				_, err := cmdPut.Ask(context.Background(), w.purses, order{ID: fmt.Sprint(i % 7), N: 1})
				if errors.Is(err, aggregate.ErrStopped) {
					refused.Add(1)
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				ok.Add(1)
			}
		})
	}
	require.Eventually(t, func() bool { return ok.Load() > 500 }, 10*time.Second, time.Millisecond)
	w.stop()
	wg.Wait()
	require.EqualValues(t, 100, refused.Load())
	total := 0
	for i := range 7 {
		coins, _ := w.stored(fmt.Sprint(i))
		total += coins
	}
	require.EqualValues(t, ok.Load(), total)
	_, err := cmdLook.Ask(context.Background(), w.purses, order{ID: "1"})
	require.ErrorIs(t, err, aggregate.ErrStopped)
	w.stop() // again is allowed
}

// Promise 15: what cannot be finished in time is reported, and its callers are
// told the truth.
func TestStopReportsWhatItCouldNotFinish(t *testing.T) {
	t.Parallel()
	j := &faulty{Journal: openMemory(t)}
	s, err := actor.NewSystem(j, &actor.Options{Logger: quiet})
	require.NoError(t, err)
	h, err := actor.Host(s, purses, nil)
	require.NoError(t, err)
	hold := make(chan func(), 1)
	j.onSubmit(func(b *journal.Batch, done func(journal.Result, error)) bool {
		hold <- func() { j.Journal.Submit(b, done) }
		return true
	})
	errs := make(chan error, 2)
	ask := func() {
		_, err := cmdPut.Ask(context.Background(), h, order{ID: "p", N: 1})
		errs <- err
	}
	go ask()
	submit := <-hold
	go ask()
	require.Eventually(t, func() bool { return h.Waiting() == 1 }, 10*time.Second, time.Millisecond)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	var stop *actor.StopError
	require.ErrorAs(t, s.Stop(ctx), &stop)
	require.Equal(t, 1, stop.Aggregates)
	require.Equal(t, 1, stop.Commands)
	require.ErrorIs(t, stop, context.DeadlineExceeded)
	got := []error{<-errs, <-errs}
	if errors.Is(got[0], aggregate.ErrUnknownOutcome) {
		got[0], got[1] = got[1], got[0]
	}
	require.ErrorIs(t, got[0], aggregate.ErrStopped)
	require.ErrorIs(t, got[1], aggregate.ErrUnknownOutcome)
	submit()
	require.NoError(t, s.Stop(context.Background()))
}

// A fault of the framework or of a hook takes the actor down: its supervisor
// stops it, the others live, and the id is activated anew.
func TestSupervision(t *testing.T) {
	t.Parallel()
	hooks := &hookFunc{}
	w := newWorld(t, openMemory(t), &actor.Options{Hooks: hooks}, nil)
	w.put("p", 1)
	w.put("q", 1)
	hooks.set(func(turn actor.Turn) {
		if turn.Stream.ID == "p" {
			panic("hook")
		}
	})
	_, err := cmdPut.Ask(context.Background(), w.purses, order{ID: "p", N: 1})
	require.NoError(t, err, "the batch was stored and answered before the hook was called")
	require.Equal(t, 2, w.put("q", 1).Coins)
	hooks.set(nil)
	require.Eventually(t, func() bool {
		a, err := cmdLook.Ask(context.Background(), w.purses, order{ID: "p"})
		return err == nil && a.Coins == 2
	}, 10*time.Second, time.Millisecond)
	require.EqualValues(t, 1, w.system.Stats().Crashes)
}

type hookFunc struct {
	mu   sync.Mutex
	turn func(actor.Turn)
	asks atomic.Int64
	ends atomic.Int64
}

func (h *hookFunc) set(fn func(actor.Turn)) { h.mu.Lock(); h.turn = fn; h.mu.Unlock() }
func (h *hookFunc) Ask(ctx context.Context, _ envelope.Stream, _ string) (context.Context, func(error)) {
	h.asks.Add(1)
	return ctx, func(error) { h.ends.Add(1) }
}
func (h *hookFunc) Activation(actor.Activation)       {}
func (h *hookFunc) Passivation(envelope.Stream, bool) {}
func (h *hookFunc) Turn(t actor.Turn) {
	h.mu.Lock()
	fn := h.turn
	h.mu.Unlock()
	if fn != nil {
		fn(t)
	}
}

// An idle aggregate is passivated after its time, and not before.
func TestPassivationByIdleTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, openMemory(t), nil, &actor.HostOptions{PassivateAfter: time.Hour})
		w.put("p", 1)
		w.put("q", 1)
		time.Sleep(40 * time.Minute)
		w.put("q", 1)
		require.Equal(t, 2, w.system.Stats().Residents)
		time.Sleep(40 * time.Minute)
		synctest.Wait()
		require.Equal(t, 1, w.system.Stats().Residents, "q was used in between")
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Zero(t, w.system.Stats().Residents)
		require.EqualValues(t, 2, w.system.Stats().Passivations)
		require.Equal(t, 2, w.look("q").Coins)
		w.stop()
	})
}

// Handlers that block against the rules delay their own aggregates only.
func TestStuckHandlersDoNotStopOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, openMemory(t), nil, nil)
	stuck := make(chan struct{})
	var wg sync.WaitGroup
	const n = 200
	var began sync.WaitGroup
	began.Add(n)
	for i := range n {
		wg.Go(func() {
			_, err := cmdPut.Ask(context.Background(), w.purses, order{ID: fmt.Sprint("stuck", i), N: 1,
				Do: func(*purse) error { began.Done(); <-stuck; return nil }})
			if err != nil {
				t.Error(err)
			}
		})
	}
	began.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err := cmdPut.Ask(ctx, w.purses, order{ID: "free", N: 1})
	require.NoError(t, err)
	short, cancelShort := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancelShort()
	_, err = cmdPut.Ask(short, w.purses, order{ID: "stuck0", N: 1})
	require.ErrorIs(t, err, aggregate.ErrNotRun)
	close(stuck)
	wg.Wait()
}

// The checking mode names the field that a handler wrote without an event.
func TestCheckStateNamesTheField(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	w := newWorld(t, openMemory(t), &actor.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))},
		&actor.HostOptions{CheckState: true})
	for i := range 10 {
		require.Equal(t, i+1, w.put("p", 1).Coins)
		_, err := cmdPut.Ask(context.Background(), w.purses, order{ID: "p", N: 1, Do: func(*purse) error { return errors.New("no") }})
		require.ErrorIs(t, err, aggregate.ErrRejected)
	}
	require.Zero(t, w.system.Stats().StateDiffs)
	_, err := cmdLook.Ask(context.Background(), w.purses, order{ID: "p", Do: func(p *purse) error { p.Coins = 99; return nil }})
	require.NoError(t, err)
	require.Equal(t, 10, w.look("p").Coins, "the state was made anew")
	require.EqualValues(t, 1, w.system.Stats().StateDiffs)
	w.stop()
	require.Contains(t, log.String(), `field="Coins: 99 and 10"`)
	require.Contains(t, log.String(), "command=purse.look")
}
