package actor_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/troupe-go/troupe/actor"
	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/internal/testenv"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/bolt"
	"github.com/troupe-go/troupe/journal/memory"
	"github.com/troupe-go/troupe/journal/postgres"
	"github.com/troupe-go/troupe/journal/sqlite"
)

func TestMain(m *testing.M) {
	testenv.RunChild(map[string]func() error{"purses": childPurses, "shared": childShared, "owner": childOwner})
	goleak.VerifyTestMain(m)
}

// count is how often a test repeats: a tenth of the full count of make soak.
func count(full int) int { return testenv.Count(full/10, full) }

// purse is the aggregate of these tests: it holds coins, and who put them in.
type purse struct {
	aggregate.Root

	Open  bool
	Coins int
	Last  map[string]int // sender → its highest sequence number
}

type purseOpened struct{}

type coinsPut struct {
	N      int    `json:"n"`
	Sender string `json:"sender,omitempty"`
	Seq    int    `json:"seq,omitempty"`
}

type coinsTaken struct {
	N int `json:"n"`
}

// purseWeighed cannot be encoded when it holds what JSON does not have.
type purseWeighed struct {
	Grams float64 `json:"grams"`
}

type purseState struct {
	Open  bool           `json:"open"`
	Coins int            `json:"coins"`
	Last  map[string]int `json:"last,omitempty"`
}

var (
	opened = aggregate.On("opened", func(p *purse, _ purseOpened) { p.Open = true }).
		When(func(p *purse, _ purseOpened) bool { return !p.Open })
	put = aggregate.On("put", func(p *purse, e coinsPut) {
		p.Open = true
		p.Coins += e.N
		if e.Sender != "" {
			if p.Last == nil {
				p.Last = make(map[string]int)
			}
			p.Last[e.Sender] = e.Seq
		}
	})
	taken = aggregate.On("taken", func(p *purse, e coinsTaken) { p.Coins -= e.N }).
		Require(func(p *purse, e coinsTaken) error {
			if p.Coins < e.N {
				return aggregate.Reject("%d coins are not enough for %d", p.Coins, e.N)
			}
			return nil
		})

	weighed = aggregate.On("weighed", func(*purse, purseWeighed) {})

	purses = aggregate.Define("purse", opened, put, taken, weighed,
		aggregate.Baseline(
			func(p *purse) purseState { return purseState{p.Open, p.Coins, p.Last} },
			func(p *purse, s purseState) { p.Open, p.Coins, p.Last = s.Open, s.Coins, s.Last }),
		aggregate.Snapshots(1,
			func(p *purse) purseState {
				last := make(map[string]int, len(p.Last))
				for k, v := range p.Last {
					last[k] = v
				}
				return purseState{p.Open, p.Coins, last}
			},
			func(p *purse, s purseState) { p.Open, p.Coins, p.Last = s.Open, s.Coins, s.Last }))
)

// order is the input of every command here: it can do anything to a purse.
type order struct {
	ID     string
	N      int
	Sender string
	Seq    int
	At     time.Time
	Do     func(p *purse) error // between the event and the reply
	Ask    func(ctx context.Context) error
}

func (o order) AggregateID() string { return o.ID }

// answer is a reply that shows what the command was decided on.
type answer struct {
	Coins   int    `json:"coins"`
	Version uint64 `json:"version"`
	Out     bool   `json:"out,omitempty"` // out of order for its sender
}

var (
	cmdOpen = aggregate.NewCommand("purse.open", func(_ *aggregate.Context, p *purse, o order) (answer, error) {
		err := opened.Record(p, purseOpened{})
		return answer{Coins: p.Coins, Version: p.Version()}, err
	})
	cmdPut = aggregate.NewCommand("purse.put", func(_ *aggregate.Context, p *purse, o order) (answer, error) {
		late := o.Sender != "" && p.Last[o.Sender] != o.Seq-1
		if err := put.Record(p, coinsPut{N: o.N, Sender: o.Sender, Seq: o.Seq}); err != nil {
			return answer{}, err
		}
		if o.Do != nil {
			if err := o.Do(p); err != nil {
				return answer{}, err
			}
		}
		return answer{Coins: p.Coins, Version: p.Version(), Out: late}, nil
	})
	cmdTake = aggregate.NewCommand("purse.take", func(_ *aggregate.Context, p *purse, o order) (answer, error) {
		if err := taken.Record(p, coinsTaken{N: o.N}); err != nil {
			return answer{}, err
		}
		return answer{Coins: p.Coins, Version: p.Version()}, nil
	}, aggregate.MustExist())
	cmdWeigh = aggregate.NewCommand("purse.weigh", func(_ *aggregate.Context, p *purse, _ order) (answer, error) {
		return answer{}, weighed.Record(p, purseWeighed{Grams: math.NaN()})
	})
	cmdWeighed = aggregate.NewCommand("purse.weighed", func(_ *aggregate.Context, p *purse, _ order) (float64, error) {
		return math.Inf(1), put.Record(p, coinsPut{N: 1})
	})
	cmdNested = aggregate.NewCommand("purse.nested", func(ctx *aggregate.Context, _ *purse, o order) (answer, error) {
		nested, cancel := context.WithCancel(ctx)
		defer cancel()
		return answer{}, o.Ask(nested)
	})
	cmdTell = aggregate.NewCommand("purse.tell", func(ctx *aggregate.Context, p *purse, o order) (answer, error) {
		if o.N > 0 {
			if err := put.Record(p, coinsPut{N: o.N}); err != nil {
				return answer{}, err
			}
		}
		ctx.Publish("purse.told", answer{Coins: p.Coins, Version: p.Version()})
		ctx.Publish("purse.told", "twice")
		ctx.Send("mint", "coins.make", o.N)
		if o.Sender != "" {
			ctx.PublishMessage(envelope.Message{ID: o.Sender, Kind: envelope.KindEvent, Name: "own", Data: []byte("x")})
		}
		if o.Do != nil {
			if err := o.Do(p); err != nil {
				return answer{}, err
			}
		}
		return answer{Coins: p.Coins, Version: p.Version()}, nil
	})
	cmdRemind = aggregate.NewCommand("purse.remind", func(ctx *aggregate.Context, p *purse, o order) (answer, error) {
		err := put.Record(p, coinsPut{N: 1})
		ctx.PublishAt(o.At, "purse.due", o.N)
		ctx.SendAt(o.At, "mint", "coins.make", o.N)
		return answer{Coins: p.Coins, Version: p.Version()}, err
	})
	cmdTellNaN = aggregate.NewCommand("purse.tellnan", func(ctx *aggregate.Context, p *purse, _ order) (answer, error) {
		err := put.Record(p, coinsPut{N: 1})
		ctx.Publish("purse.told", math.NaN())
		return answer{}, err
	})
	cmdLook = aggregate.NewCommand("purse.look", func(_ *aggregate.Context, p *purse, o order) (answer, error) {
		if o.Do != nil {
			if err := o.Do(p); err != nil {
				return answer{}, err
			}
		}
		return answer{Coins: p.Coins, Version: p.Version()}, nil
	})
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// world is one system with one type.
type world struct {
	t       testing.TB
	journal journal.Journal
	system  *actor.System
	purses  *actor.Aggregates[purse]
}

func newWorld(t testing.TB, j journal.Journal, opts *actor.Options, host *actor.HostOptions) *world {
	t.Helper()
	var o actor.Options
	if opts != nil {
		o = *opts
	}
	if o.Logger == nil {
		o.Logger = quiet
	}
	s, err := actor.NewSystem(j, &o)
	require.NoError(t, err)
	h, err := actor.Host(s, purses, host)
	require.NoError(t, err)
	w := &world{t: t, journal: j, system: s, purses: h}
	t.Cleanup(w.stop)
	return w
}

// stop ends the system and proves that it ended whole.
func (w *world) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	require.NoError(w.t, w.system.Stop(ctx))
	require.Zero(w.t, w.system.Stats().Residents)
}

func (w *world) put(id string, n int, opts ...aggregate.AskOption) answer {
	w.t.Helper()
	a, err := cmdPut.Ask(context.Background(), w.purses, order{ID: id, N: n}, opts...)
	require.NoError(w.t, err)
	return a
}

func (w *world) look(id string) answer {
	w.t.Helper()
	a, err := cmdLook.Ask(context.Background(), w.purses, order{ID: id})
	require.NoError(w.t, err)
	return a
}

// stored sums up what the journal holds of one purse, and proves that its
// versions have no gaps.
func (w *world) stored(id string) (coins int, version uint64) {
	w.t.Helper()
	p := purses.New(id)
	for rec, err := range w.journal.Load(context.Background(), purses.Stream(id), 0) {
		require.NoError(w.t, err)
		require.NoError(w.t, purses.Replay(p, &rec))
	}
	return p.Coins, p.Version()
}

// onJournals runs a test on each journal that this repository has.
func onJournals(t *testing.T, test func(t *testing.T, open func(testing.TB) journal.Journal)) {
	t.Helper()
	t.Run("memory", func(t *testing.T) { test(t, openMemory) })
	t.Run("bolt", func(t *testing.T) {
		test(t, func(t testing.TB) journal.Journal { return openBolt(t, filepath.Join(t.TempDir(), "journal.db")) })
	})
	t.Run("sqlite", func(t *testing.T) {
		test(t, func(t testing.TB) journal.Journal {
			return openSQLite(t, filepath.Join(t.TempDir(), "journal.sqlite"))
		})
	})
	t.Run("postgres", func(t *testing.T) {
		server := testenv.PostgresURL(t)
		test(t, func(t testing.TB) journal.Journal { return openPostgres(t, server, newSchema(t, server)) })
	})
}

func openMemory(t testing.TB) journal.Journal {
	t.Helper()
	j, err := memory.Open(nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, j.Close()) })
	return j
}

func openBolt(t testing.TB, path string) journal.Journal {
	t.Helper()
	j, err := bolt.Open(path, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, j.Close()) })
	return j
}

func openSQLite(t testing.TB, path string) journal.Journal {
	t.Helper()
	j, err := sqlite.OpenAndMigrate(t.Context(), path, &sqlite.Options{Logger: quiet})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, j.Close()) })
	return j
}

var schemas atomic.Int64

// newSchema names a PostgreSQL schema of the test's own, which is dropped at
// the end.
func newSchema(t testing.TB, server string) string {
	t.Helper()
	name := fmt.Sprintf("actor_%d_%d", time.Now().UnixNano(), schemas.Add(1))
	t.Cleanup(func() {
		conn, err := pgx.Connect(context.Background(), server)
		if err != nil {
			return // the server is gone, and the schema with it
		}
		_, err = conn.Exec(context.Background(), "DROP SCHEMA IF EXISTS "+name+" CASCADE")
		require.NoError(t, err)
		require.NoError(t, conn.Close(context.Background()))
	})
	return name
}

func openPostgres(t testing.TB, server, schema string) journal.Journal {
	t.Helper()
	j, err := postgres.OpenAndMigrate(t.Context(), server, &postgres.Options{Schema: schema, Logger: quiet})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, j.Close()) })
	return j
}

// faulty is a journal whose commits a test can hold, refuse or lose.
type faulty struct {
	journal.Journal

	mu     sync.Mutex
	submit func(b *journal.Batch, done func(journal.Result, error)) (handled bool)
	credit func(ready func()) bool
	read   func() error
	loads  int
}

func (f *faulty) onSubmit(fn func(b *journal.Batch, done func(journal.Result, error)) bool) {
	f.mu.Lock()
	f.submit = fn
	f.mu.Unlock()
}

func (f *faulty) onRead(fn func() error) {
	f.mu.Lock()
	f.read = fn
	f.mu.Unlock()
}

func (f *faulty) Submit(b *journal.Batch, done func(journal.Result, error)) {
	f.mu.Lock()
	fn := f.submit
	f.mu.Unlock()
	if fn != nil && fn(b, done) {
		return
	}
	f.Journal.Submit(b, done)
}

func (f *faulty) Credit(events, bytes int, ready func()) bool {
	f.mu.Lock()
	fn := f.credit
	f.mu.Unlock()
	if fn != nil {
		return fn(ready)
	}
	return f.Journal.Credit(events, bytes, ready)
}

func (f *faulty) LoadLatest(ctx context.Context, s journalStream) (journal.Latest, error) {
	f.mu.Lock()
	f.loads++
	fn := f.read
	f.mu.Unlock()
	if fn != nil {
		if err := fn(); err != nil {
			return journal.Latest{}, err
		}
	}
	return f.Journal.LoadLatest(ctx, s)
}

func (f *faulty) loaded() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.loads
}
