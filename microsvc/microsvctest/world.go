package microsvctest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/actor"
	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/memory"
	"github.com/troupe-go/troupe/lock"
	"github.com/troupe-go/troupe/microsvc"
)

// Purse holds coins.
type Purse struct {
	aggregate.Root
	Coins int
}

// Moved is how many coins an event moved.
type Moved struct {
	N int `json:"n"`
}

var (
	put  = aggregate.On("put", func(p *Purse, e Moved) { p.Coins += e.N })
	took = aggregate.On("took", func(p *Purse, e Moved) { p.Coins -= e.N })

	// Purses are what a [World] hosts.
	Purses = aggregate.Define("purse", put, took)
)

// Move is the input of the purse's commands.
type Move struct {
	ID string `json:"id"`
	N  int    `json:"n"`
}

// AggregateID implements [aggregate.Identified].
func (m Move) AggregateID() string { return m.ID }

// View is their reply.
type View struct {
	Coins int `json:"coins"`
}

// Commands of a purse.
var (
	Put = aggregate.NewCommand("purse.put", func(_ *aggregate.Context, p *Purse, m Move) (View, error) {
		err := put.Record(p, Moved{m.N})
		return View{p.Coins}, err
	})
	Take = aggregate.NewCommand("purse.take", func(_ *aggregate.Context, p *Purse, m Move) (View, error) {
		if m.N > p.Coins {
			return View{}, fmt.Errorf("there are only %d coins", p.Coins)
		}
		err := took.Record(p, Moved{m.N})
		return View{p.Coins}, err
	}, aggregate.MustExist())
)

// Secret is in errors that no remote caller may read.
const Secret = "password=hunter2"

// failures are errors that the command "fail" returns, by the name in its input.
// It panics for a name that is not here.
var failures = map[string]error{
	"plain":                errors.New(Secret),
	"conflict":             fmt.Errorf("%w: %s", aggregate.ErrConflict, Secret),
	"conflict with a text": fmt.Errorf("%s: %w", Secret, &aggregate.Error{Code: aggregate.CodeConflict, Message: "somebody was faster"}),
	"held":                 fmt.Errorf("%w: %s", lock.ErrHeld, Secret),
	"overloaded":           fmt.Errorf("%w: %s", aggregate.ErrOverloaded, Secret),
	"unavailable":          fmt.Errorf("%w: %s", aggregate.ErrUnavailable, Secret),
	"no broker":            fmt.Errorf("%w: %s", bus.ErrUnavailable, Secret),
	"stopped":              fmt.Errorf("%w: %s", aggregate.ErrStopped, Secret),
	"deadline":             fmt.Errorf("%w: %s", context.DeadlineExceeded, Secret),
	"canceled":             fmt.Errorf("%w: %s", context.Canceled, Secret),
	"not run":              fmt.Errorf("%w: %s: %w", aggregate.ErrNotRun, Secret, context.DeadlineExceeded),
	"unknown outcome":      fmt.Errorf("%w: %s: %w", aggregate.ErrUnknownOutcome, Secret, journal.ErrConflict),
	"permanent":            bus.Permanent(errors.New(Secret)),
	"retryable":            bus.Retryable(fmt.Errorf("%s: %w", Secret, aggregate.Reject("not now"))),
	"corrupt":              fmt.Errorf("%w: %s", journal.ErrCorrupt, Secret),
}

type failing struct {
	With string `json:"with"`
}

// World is a service of purses with its journal, in memory.
type World struct {
	Service *microsvc.Service
	Journal journal.Journal
	Purses  *actor.Aggregates[Purse]
	Log     *Log // of the service

	t testing.TB
}

// NewWorld makes one that lives until the test ends, with more commands than
// purse.put, purse.take, purse.bonus, whoami and fail. An input may be nested 10
// deep, unless opts say otherwise.
func NewWorld(t testing.TB, opts microsvc.Options, more ...microsvc.Handler) *World {
	t.Helper()
	j, err := memory.Open(nil)
	require.NoError(t, err)
	system, err := actor.NewSystem(j, &actor.Options{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	host, err := actor.Host(system, Purses, nil)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, system.Stop(context.Background()))
		require.NoError(t, j.Close())
	})
	w := &World{Journal: j, Purses: host, Log: &Log{}, t: t}
	opts.Logger = slog.New(slog.NewTextHandler(w.Log, nil))
	if opts.MaxDepth == 0 {
		opts.MaxDepth = 10
	}
	w.Service = microsvc.New("purses").WithOptions(opts).WithHosts(host).
		Command(microsvc.Expose(Put, host), microsvc.RequireFields("id", "n"),
			microsvc.Require("n must not be 13", func(c *microsvc.Context) bool { return !strings.Contains(string(c.RawInput()), `"n":13`) })).
		Command(microsvc.Expose(Take, host)).
		Command(microsvc.Handle("purse.bonus", func(c *microsvc.Context, in Move) (View, error) {
			return Put.Ask(c, host, Move{in.ID, 2 * in.N}, aggregate.WithCommandID(c.CommandID()))
		}), microsvc.RequireRole("clerk")).
		Register(
			microsvc.Handle("whoami", func(c *microsvc.Context, _ any) (string, error) { return c.UserID() }),
			microsvc.Handle("fail", func(_ *microsvc.Context, in failing) (any, error) {
				if err := failures[in.With]; err != nil {
					return nil, err
				}
				panic(Secret)
			})).
		Register(more...)
	require.NoError(t, w.Service.Check())
	return w
}

// Records are what is stored of a purse.
func (w *World) Records(id string) (all []envelope.Record) {
	w.t.Helper()
	for rec, err := range w.Journal.Load(context.Background(), Purses.Stream(id), 0) {
		require.NoError(w.t, err)
		all = append(all, rec)
	}
	return all
}

// Coins counts what is stored of a purse.
func (w *World) Coins(id string) (coins, records int) {
	w.t.Helper()
	for _, rec := range w.Records(id) {
		payload, err := Purses.Decode(&rec)
		require.NoError(w.t, err)
		n := payload.(Moved).N
		if rec.Name == "took" {
			n = -n
		}
		coins += n
		records++
	}
	return coins, records
}

// Log is a log that several goroutines write.
type Log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements [io.Writer].
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// lines are those that name id.
func (l *Log) lines(id string) string {
	var of []string
	for line := range strings.Lines(l.String()) {
		if strings.Contains(line, id) {
			of = append(of, line)
		}
	}
	return strings.Join(of, "")
}
