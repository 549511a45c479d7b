package actor_test

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/actor"
	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/membus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// consume runs handlers by an inbox on j until nothing is left to do.
func consume(t testing.TB, b *bus.Bus, j journal.Journal, counters *bus.Counters, handle bus.HandlerFunc) {
	t.Helper()
	opts := bus.Inbox(j)
	opts.MinBackoff, opts.MaxBackoff = time.Millisecond, 5*time.Millisecond
	opts.UntilIdle = 50 * time.Millisecond
	opts.Observe = counters.Observe
	opts.Logger = slog.New(slog.DiscardHandler)
	require.NoError(t, b.Run(t.Context(), bus.NewHandlers().OnEvent("paid", handle), opts))
}

// Promise 13 with an inbox: messages that come several times, to handlers that
// fail half-way, have one effect each.
func TestInboxHasOneEffect(t *testing.T) {
	t.Parallel()
	onJournals(t, func(t *testing.T, open func(testing.TB) journal.Journal) {
		handlers := map[string]func(w *world, r *aggregate.Repository[purse]) bus.HandlerFunc{
			"asks": func(w *world, _ *aggregate.Repository[purse]) bus.HandlerFunc {
				return func(ctx context.Context, m *envelope.Message) error {
					for range 2 { // the same command twice is two commands
						if _, err := cmdPut.Ask(ctx, w.purses, order{ID: m.Key, N: 1}); err != nil {
							return err
						}
						if rand.IntN(3) == 0 {
							return errors.New("half-way")
						}
					}
					return nil
				}
			},
			"transact": func(w *world, _ *aggregate.Repository[purse]) bus.HandlerFunc {
				return func(ctx context.Context, m *envelope.Message) error {
					err := w.system.Transact(ctx, func(tx *actor.Tx) error {
						p, err := w.purses.In(tx, m.Key)
						if err != nil {
							return err
						}
						return putInto(p, 2)
					})
					if err == nil && rand.IntN(3) == 0 {
						return errors.New("behind the commit")
					}
					return err
				}
			},
			"repository": func(_ *world, r *aggregate.Repository[purse]) bus.HandlerFunc {
				return func(ctx context.Context, m *envelope.Message) error {
					p, err := r.Load(ctx, m.Key)
					if err != nil {
						return err
					}
					if err := putInto(p, 2); err != nil {
						return err
					}
					if rand.IntN(3) == 0 {
						return errors.New("before the commit")
					}
					return r.Commit(ctx, p)
				}
			},
		}
		for name, handler := range handlers {
			t.Run(name, func(t *testing.T) {
				j := open(t)
				w := newWorld(t, j, nil, nil)
				r, err := aggregate.NewRepository(j, purses, nil)
				require.NoError(t, err)
				const messages, keys = 60, 5
				for key := range keys {
					w.put(strconv.Itoa(key), 1)
				}
				b := membus.New()
				for range 2 { // published twice, with the same ids
					for n := range messages {
						require.NoError(t, b.Publish(t.Context(), "paid", n, bus.WithID(strconv.Itoa(n)), bus.WithKey(strconv.Itoa(n%keys)),
							bus.WithMetadata(envelope.Metadata{CorrelationID: "conversation"})))
					}
				}
				var counters bus.Counters
				consume(t, b, j, &counters, handler(w, r))
				for key := range keys {
					coins, _ := w.stored(strconv.Itoa(key))
					require.Equal(t, 1+2*messages/keys, coins, "one effect of each message")
				}
				require.EqualValues(t, 2*messages, counters.Count(bus.Handled)+counters.Count(bus.Duplicate))
				require.GreaterOrEqual(t, counters.Count(bus.Duplicate), int64(messages))
				require.Zero(t, counters.Count(bus.DeadLettered))
				for rec, err := range j.Load(t.Context(), purses.Stream("0"), 1) {
					require.NoError(t, err)
					require.Equal(t, "conversation", rec.Metadata.CorrelationID)
					require.NotEmpty(t, rec.Metadata.CausationID, "the message")
				}
			})
		}
	})
}

// What an inbox handler does behind the commit that carries its receipt could
// be lost, so it is refused; and so is a commit to another journal.
func TestInboxRefusesWhatCouldBeLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, openMemory(t), nil, nil)
	other, err := aggregate.NewRepository(openMemory(t), purses, nil)
	require.NoError(t, err)
	r, err := aggregate.NewRepository(w.journal, purses, nil)
	require.NoError(t, err)
	w.put("a", 1)
	commit := func(ctx context.Context, r *aggregate.Repository[purse]) error {
		p := purses.New("a")
		if loaded, err := r.Load(ctx, "a"); err == nil {
			p = loaded
		}
		if err := putInto(p, 1); err != nil {
			return err
		}
		return r.Commit(ctx, p)
	}
	transact := func(ctx context.Context) error {
		return w.system.Transact(ctx, func(tx *actor.Tx) error {
			p, err := w.purses.In(tx, "a")
			if err != nil {
				return err
			}
			return putInto(p, 1)
		})
	}
	ask := func(ctx context.Context) error {
		_, err := cmdPut.Ask(ctx, w.purses, order{ID: "a", N: 1})
		return err
	}
	var got sync.Map
	b := membus.New()
	for id, handle := range map[string]func(ctx context.Context) error{
		"ask behind commit":        func(ctx context.Context) error { return errors.Join(commit(ctx, r), ask(ctx)) },
		"ask behind transact":      func(ctx context.Context) error { return errors.Join(transact(ctx), ask(ctx)) },
		"commit behind transact":   func(ctx context.Context) error { return errors.Join(transact(ctx), commit(ctx, r)) },
		"transact behind transact": func(ctx context.Context) error { return errors.Join(transact(ctx), transact(ctx)) },
		"another journal":          func(ctx context.Context) error { return commit(ctx, other) },
	} {
		before, _ := w.stored("a")
		require.NoError(t, b.Publish(t.Context(), "paid", 1, bus.WithID(id)))
		var counters bus.Counters
		consume(t, b, w.journal, &counters, func(ctx context.Context, m *envelope.Message) error {
			err := handle(ctx)
			got.Store(m.ID, err)
			return err
		})
		failed, _ := got.Load(id)
		coins, _ := w.stored("a")
		if id == "another journal" {
			require.ErrorIs(t, failed.(error), bus.ErrInboxJournal)
			require.EqualValues(t, 1, counters.Count(bus.DeadLettered), id)
			require.Equal(t, before, coins)
			continue
		}
		require.ErrorIs(t, failed.(error), bus.ErrInboxCommitted, id)
		require.EqualValues(t, 1, counters.Count(bus.Duplicate), "%s: the commit was the effect", id)
		require.Equal(t, before+1, coins, id)
	}
}

// A replica that is as fast, and an answer that was lost: the receipt decides.
func TestInboxWithLostAnswers(t *testing.T) {
	t.Parallel()
	j := &faulty{Journal: openMemory(t)}
	w := newWorld(t, j, nil, nil)
	var lost atomic.Int64
	j.onSubmit(func(b *journal.Batch, done func(journal.Result, error)) bool {
		if len(b.Receipts) == 0 || b.Resubmit || rand.IntN(4) > 0 {
			return false
		}
		lost.Add(1)
		j.Journal.Submit(b, func(journal.Result, error) { done(journal.Result{}, journal.ErrUnknownOutcome) })
		return true
	})
	b := membus.New()
	const messages = 200
	for n := range messages {
		require.NoError(t, b.Publish(t.Context(), "paid", n, bus.WithID(strconv.Itoa(n)), bus.WithKey(strconv.Itoa(n%7))))
	}
	var counters bus.Counters
	consume(t, b, j, &counters, func(ctx context.Context, m *envelope.Message) error {
		_, err := cmdPut.Ask(ctx, w.purses, order{ID: m.Key, N: 1})
		return err
	})
	total := 0
	for key := range 7 {
		coins, _ := w.stored(strconv.Itoa(key))
		total += coins
	}
	require.Equal(t, messages, total)
	require.Positive(t, lost.Load())
}

func putInto(p *purse, n int) error { return put.Record(p, coinsPut{N: n}) }
