package aggregate_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/memory"
)

// A purse holds coins: the model of this package's tests, written by hand.
type purse struct {
	aggregate.Root
	Owner string
	Coins map[string]int
	Sum   int
}

type (
	opened struct {
		ID    string `json:"id"`
		Owner string `json:"owner"`
		Limit int    `json:"limit"`
	}
	openedV1 struct {
		Name string `json:"name"`
	}
	openedV2 struct {
		Owner string `json:"owner"`
	}
	taken  struct{ Cents int }
	ticked struct{}
	odd    struct{ F any }
	pState struct {
		Owner string
		Coins map[string]int
		Sum   int
	}
)

var errFunds = errors.New("not enough coins")

// events are the purse's; each model has its own.
type events struct {
	opened *aggregate.Event[purse, opened]
	taken  *aggregate.Event[purse, taken]
	ticked *aggregate.Event[purse, ticked]
	odd    *aggregate.Event[purse, odd]
}

func newEvents() events {
	e := events{
		opened: aggregate.On("opened", func(p *purse, e opened) { p.Owner, p.Sum = e.Owner, e.Limit }).Schema(3),
		taken: aggregate.On("taken", func(p *purse, e taken) { p.Sum -= e.Cents }).
			When(func(_ *purse, e taken) bool { return e.Cents != 0 }).
			Require(func(p *purse, e taken) error {
				if e.Cents > p.Sum {
					return errFunds
				}
				return nil
			}),
		ticked: aggregate.On("ticked", func(p *purse, _ ticked) { p.Sum++ }),
		odd: aggregate.On("odd", func(p *purse, e odd) {
			if e.F == "panic" {
				panic("odd")
			}
			p.Sum = -1
		}),
	}
	aggregate.Upcast(e.opened, 1, func(old openedV1) openedV2 { return openedV2{Owner: old.Name + "+1"} })
	aggregate.Upcast(e.opened, 2, func(old openedV2) opened { return opened{Owner: old.Owner + "+2", Limit: 100} })
	return e
}

func (e events) parts(more ...aggregate.Part[purse]) []aggregate.Part[purse] {
	return append([]aggregate.Part[purse]{e.opened, e.taken, e.ticked, e.odd}, more...)
}

func takeState(p *purse) pState { return pState{p.Owner, maps.Clone(p.Coins), p.Sum} }
func restoreState(p *purse, s pState) {
	if s.Owner == "panic" {
		panic("restore")
	}
	p.Owner, p.Coins, p.Sum = s.Owner, s.Coins, s.Sum
}

// The model of most tests. Snapshots are defined.
var (
	on   = newEvents()
	spec = aggregate.Define("purse", on.parts(aggregate.Snapshots(1, takeState, restoreState))...)
)

// input is the input of every test command.
type input struct {
	ID    string
	Cents int
}

func (in input) AggregateID() string { return in.ID }

type sum struct{ Sum int }

var (
	open = aggregate.NewCommand("open", func(_ *aggregate.Context, p *purse, in input) (sum, error) {
		err := on.opened.Record(p, opened{ID: in.ID, Owner: "Ann", Limit: in.Cents})
		return sum{p.Sum}, err
	})
	take = aggregate.NewCommand("take", func(_ *aggregate.Context, p *purse, in input) (sum, error) {
		err := on.taken.Record(p, taken{in.Cents})
		return sum{p.Sum}, err
	}, aggregate.MustExist())
	tick = aggregate.NewCommand("tick", func(_ *aggregate.Context, p *purse, _ input) (sum, error) {
		err := on.ticked.Record(p, ticked{})
		return sum{p.Sum}, err
	})
)

// world is a journal that can be watched and disturbed, and a repository on it.
type world struct {
	*testing.T
	ctx context.Context
	j   *watched
	r   *aggregate.Repository[purse]
}

func setup(t *testing.T, opts *aggregate.RepositoryOptions) *world {
	t.Helper()
	j, err := memory.Open(nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, j.Close()) })
	w := &world{T: t, ctx: t.Context(), j: &watched{Journal: j}}
	w.r, err = aggregate.NewRepository(w.j, spec, opts)
	require.NoError(t, err)
	return w
}

// ask sends a command that must succeed.
func (w *world) ask(cmd *aggregate.Command[purse, input, sum], in input, opts ...aggregate.AskOption) int {
	w.Helper()
	out, err := cmd.Ask(w.ctx, w.r, in, opts...)
	require.NoError(w, err)
	return out.Sum
}

// version is what the journal says.
func (w *world) version(id string) uint64 {
	w.Helper()
	latest, err := w.j.Journal.LoadLatest(w.ctx, spec.Stream(id))
	require.NoError(w, err)
	return latest.Version
}

// records are what the journal holds.
func (w *world) records(id string) []envelope.Record {
	w.Helper()
	var all []envelope.Record
	for rec, err := range w.j.Journal.Load(w.ctx, spec.Stream(id), 0) {
		require.NoError(w, err)
		all = append(all, rec)
	}
	return all
}

// watched counts what is read and can change what is answered.
type watched struct {
	journal.Journal
	reads  atomic.Int64 // records that were read
	submit atomic.Pointer[func(next journal.Journal, b *journal.Batch, done func(journal.Result, error))]
	loaded atomic.Pointer[func()] // called before LoadLatest answers
}

func (j *watched) Submit(b *journal.Batch, done func(journal.Result, error)) {
	if f := j.submit.Load(); f != nil {
		(*f)(j.Journal, b, done)
		return
	}
	j.Journal.Submit(b, done)
}

func (j *watched) onSubmit(f func(next journal.Journal, b *journal.Batch, done func(journal.Result, error))) {
	j.submit.Store(&f)
}

func (j *watched) onLoaded(f func()) { j.loaded.Store(&f) }

func (j *watched) LoadLatest(ctx context.Context, s envelope.Stream) (journal.Latest, error) {
	latest, err := j.Journal.LoadLatest(ctx, s)
	if f := j.loaded.Load(); f != nil {
		(*f)()
	}
	if latest.Records != nil {
		latest.Records = j.count(latest.Records)
	}
	if err == nil && ctx.Err() != nil {
		return journal.Latest{}, context.Cause(ctx)
	}
	return latest, err
}

func (j *watched) Load(ctx context.Context, s envelope.Stream, after uint64) iter.Seq2[envelope.Record, error] {
	return j.count(j.Journal.Load(ctx, s, after))
}

func (j *watched) count(records iter.Seq2[envelope.Record, error]) iter.Seq2[envelope.Record, error] {
	return func(yield func(envelope.Record, error) bool) {
		for rec, err := range records {
			j.reads.Add(1)
			if !yield(rec, err) {
				return
			}
		}
	}
}

// stored is a record as an older program wrote it.
func stored(version uint64, name string, schema uint32, data string) envelope.Record {
	return envelope.Record{Stream: spec.Stream("1"), Version: version, Name: name, Schema: schema, Codec: "json", Data: []byte(data)}
}

// history yields records as a journal does.
func history(records ...envelope.Record) iter.Seq2[envelope.Record, error] {
	return func(yield func(envelope.Record, error) bool) {
		for _, rec := range records {
			if !yield(rec, nil) {
				return
			}
		}
	}
}

// panicText runs f, which must panic, and returns what it said.
func panicText(t *testing.T, f func()) (text string) {
	t.Helper()
	defer func() {
		t.Helper()
		v := recover()
		require.NotNil(t, v, "no panic")
		text = fmt.Sprint(v)
	}()
	f()
	return ""
}
