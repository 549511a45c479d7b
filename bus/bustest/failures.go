package bustest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
)

// quick retries fast.
func quick() bus.RunOptions {
	opts := bus.Idempotent()
	opts.MinBackoff, opts.MaxBackoff = 5*time.Millisecond, 50*time.Millisecond
	return opts
}

func retryableComesAgain(w *world) {
	b := w.connect("flaky")
	w.subscribed(b, "thing.happened")
	w.listening(b, "thing.do")
	var got seen
	tries := map[string]int{}
	var mu sync.Mutex
	flaky := func(ctx context.Context, m *envelope.Message) error {
		mu.Lock()
		tries[m.ID]++
		n := tries[m.ID]
		mu.Unlock()
		if n < 3 {
			return errForNow
		}
		return got.handle(ctx, m)
	}
	var attempts sync.Map
	opts := quick()
	opts.Observe = func(s bus.Settled) {
		if s.Outcome == bus.Handled {
			attempts.Store(s.Message.ID, s.Attempt)
		}
	}
	run := w.run(b, bus.NewHandlers().OnEvent("thing.happened", flaky).OnCommand("thing.do", flaky), opts)
	event, command := w.event("thing.happened", "k", 1), w.command("thing.do", "k", 2)
	w.publish(b, event, command)
	w.until("both are handled", func() bool { return run.counters.Count(bus.Handled) >= 2 }, run)
	run.stop()
	require.Len(w, got.ids(), 2)
	for _, id := range got.ids() {
		n, _ := attempts.Load(id)
		require.Equal(w, 3, n, "the attempts of %s are counted", id)
	}
	require.EqualValues(w, 4, run.counters.Count(bus.Retried))
}

func retriesWait(w *world) {
	b := w.connect("patient")
	w.subscribed(b, "thing.happened")
	var mu sync.Mutex
	var times []time.Time
	opts := bus.Idempotent()
	opts.MinBackoff, opts.MaxBackoff = 250*time.Millisecond, 250*time.Millisecond
	run := w.run(b, bus.NewHandlers().OnEvent("thing.happened", func(context.Context, *envelope.Message) error {
		mu.Lock()
		defer mu.Unlock()
		times = append(times, time.Now())
		if len(times) < 4 {
			return errForNow
		}
		return nil
	}), opts)
	w.publish(b, w.event("thing.happened", "k", 1))
	w.until("it is handled", func() bool { return run.counters.Count(bus.Handled) == 1 }, run)
	run.stop()
	for i := range times[1:] {
		require.GreaterOrEqual(w, times[i+1].Sub(times[i]), 190*time.Millisecond, "250 ms less a fifth, before attempt %d", i+2)
	}
}

// retryingKeyDoesNotBlockOthers: one key fails for as long as it takes to
// handle hundreds of messages of others, published before and after.
func retryingKeyDoesNotBlockOthers(w *world) {
	b := w.connect("fair")
	w.subscribed(b, "thing.happened")
	var got seen
	var healed atomic.Bool
	opts := quick()
	opts.HoldFor = 200 * time.Millisecond
	opts.Prefetch = 32
	run := w.run(b, bus.NewHandlers().OnEvent("thing.happened", func(ctx context.Context, m *envelope.Message) error {
		if m.Key == "bad" && !healed.Load() {
			return errForNow
		}
		return got.handle(ctx, m)
	}), opts)
	var sent []envelope.Message
	for n := range 400 {
		sent = append(sent, w.event("thing.happened", "bad", n))
		sent = append(sent, w.event("thing.happened", fmt.Sprint("good-", n%10), n))
	}
	w.publish(b, sent...)
	w.until("all others are handled", func() bool { return len(got.ids()) == 400 }, run)
	healed.Store(true)
	w.until("the key is handled", func() bool { return len(got.ids()) == len(sent) }, run)
	run.stop()
	if w.features.OrderedEvents {
		inOrder(w, got.all())
	}
}

// silentBus: what a bus that has published nothing yet gives back, sets aside or
// sends again keeps all that belongs to it. For these a transport may publish by
// itself, on what it otherwise prepares when it is first asked to publish.
func silentBus(w *world) {
	sender := w.connect("sender")
	event, command := w.event("thing.happened", "k", 1), w.command("thing.do", "k", 2)
	for _, m := range []*envelope.Message{&event, &command} {
		m.Metadata = envelope.Metadata{CorrelationID: "c", CausationID: "d", Keys: map[string]string{"tenant": "acme"}}
		m.Source, m.SourceVersion = envelope.Stream{Type: "thing", ID: "1"}, 3
		m.Time = m.Time.UTC().Truncate(time.Microsecond)
	}
	open := func(m *envelope.Message) (*bus.Bus, bus.Source) {
		b := w.connect("silent")
		from := b.Transport().Subscribe
		if m.Kind == envelope.KindCommand {
			from = b.Transport().Listen
		}
		source, err := from(w.ctx(), []string{m.Name})
		require.NoError(w, err)
		return b, source
	}
	same := func(m *envelope.Message, got envelope.Message, when string) {
		got.Time = got.Time.UTC()
		require.Equal(w, *m, got, when)
	}
	one := func(m *envelope.Message, source bus.Source, when string) bus.Delivery {
		d := w.take(source, 1)[0]
		require.NoError(w, d.Malformed())
		same(m, *d.Message(), when)
		return d
	}
	for _, m := range []*envelope.Message{&event, &command} {
		_, source := open(m)
		w.publish(sender, *m)
		require.NoError(w, one(m, source, "at first").Retry(w.ctx(), 20*time.Millisecond))
		require.NoError(w, source.Close(w.ctx()))

		_, source = open(m)
		d := one(m, source, "given back")
		if !w.features.DeadLetters {
			require.NoError(w, d.Ack(w.ctx()))
			require.NoError(w, source.Close(w.ctx()))
			continue
		}
		require.NoError(w, d.DeadLetter(w.ctx(), bus.Failure{Reason: "r", Attempts: 2, Time: time.Now()}))
		require.NoError(w, source.Close(w.ctx()))

		b, source := open(m)
		letters := w.letters(b, bus.DeadLetterFilter{})
		require.Len(w, letters, 1)
		same(m, letters[0].Message, "set aside")
		require.NoError(w, b.DeadLetters().Resend(w.ctx(), letters[0].ID))
		require.NoError(w, one(m, source, "sent again").Ack(w.ctx()))
		require.NoError(w, source.Close(w.ctx()))
	}
}

func maxAttempts(w *world) {
	b := w.connect("limited")
	w.subscribed(b, "thing.happened")
	opts := quick()
	opts.MaxAttempts = 3
	run := w.run(b, bus.NewHandlers().OnEvent("thing.happened", func(context.Context, *envelope.Message) error { return errForNow }), opts)
	w.publish(b, w.event("thing.happened", "k", 1))
	w.until("it is set aside", func() bool { return run.counters.Count(bus.DeadLettered) == 1 }, run)
	run.stop()
	letters := w.letters(b, bus.DeadLetterFilter{})
	require.Len(w, letters, 1)
	require.Equal(w, 3, letters[0].Attempts)
	require.EqualValues(w, 2, run.counters.Count(bus.Retried))
}

var errForGood = errors.New("for good")

// failing is a handler that fails for good while broken, and notes the rest.
func (s *seen) failing(broken *atomic.Bool) bus.HandlerFunc {
	return func(ctx context.Context, m *envelope.Message) error {
		if broken.Load() {
			return bus.Permanent(fmt.Errorf("broken: %w", errForGood))
		}
		return s.handle(ctx, m)
	}
}

func permanentIsDeadLetter(w *world) {
	b := w.connect("strict")
	w.subscribed(b, "thing.happened")
	w.listening(b, "thing.do")
	var got seen
	var broken atomic.Bool
	broken.Store(true)
	handlers := bus.NewHandlers().OnEvent("thing.happened", got.failing(&broken)).OnCommand("thing.do", got.failing(&broken))
	run := w.run(b, handlers, quick())
	event, command := w.event("thing.happened", "k", 1), w.command("thing.do", "k", 2)
	event.Metadata = envelope.Metadata{CorrelationID: "c", Keys: map[string]string{"tenant": "acme"}}
	event.Source, event.SourceVersion = envelope.Stream{Type: "thing", ID: "1"}, 3
	event.Time, command.Time = event.Time.UTC().Truncate(time.Microsecond), command.Time.UTC().Truncate(time.Microsecond)
	before := time.Now().Add(-time.Second)
	w.publish(b, event, command)
	w.until("both are set aside", func() bool { return run.counters.Count(bus.DeadLettered) == 2 }, run)

	letters := w.letters(b, bus.DeadLetterFilter{})
	require.Len(w, letters, 2)
	for _, letter := range letters {
		want := event
		if letter.Message.Kind == envelope.KindCommand {
			want = command
		}
		letter.Message.Time = letter.Message.Time.UTC()
		require.Equal(w, want, letter.Message, "as it was delivered")
		require.Equal(w, b.Group(), letter.Group)
		require.Equal(w, "broken: for good", letter.Reason)
		require.Equal(w, 1, letter.Attempts)
		require.False(w, letter.Parked)
		require.WithinRange(w, letter.Time, before, time.Now().Add(time.Second))
		shown, err := b.DeadLetters().Show(w.ctx(), letter.ID)
		require.NoError(w, err)
		shown.Message.Time, shown.Time, letter.Time = shown.Message.Time.UTC(), shown.Time.UTC(), letter.Time.UTC()
		require.Equal(w, letter, shown)
		require.Len(w, w.letters(b, bus.DeadLetterFilter{Name: letter.Message.Name}), 1)
	}
	require.Empty(w, w.letters(b, bus.DeadLetterFilter{Name: "other"}))
	require.Len(w, w.letters(b, bus.DeadLetterFilter{Key: "k"}), 2)
	require.Empty(w, w.letters(b, bus.DeadLetterFilter{Parked: true}))
	require.Zero(w, got.len())

	broken.Store(false)
	for _, letter := range letters {
		require.NoError(w, b.DeadLetters().Resend(w.ctx(), letter.ID))
	}
	w.until("both are handled", func() bool { return got.len() >= 2 }, run)
	run.stop()
	require.Equal(w, idsOf([]envelope.Message{event, command}), idsOf(got.all()), "with their ids, once")
	require.Empty(w, w.letters(b, bus.DeadLetterFilter{}))
	for _, letter := range letters {
		require.ErrorIs(w, b.DeadLetters().Resend(w.ctx(), letter.ID), bus.ErrNotFound)
		_, err := b.DeadLetters().Show(w.ctx(), letter.ID)
		require.ErrorIs(w, err, bus.ErrNotFound)
	}
	require.ErrorIs(w, b.DeadLetters().Discard(w.ctx(), "no such id"), bus.ErrNotFound)
}

func deadLettersOfAGroup(w *world) {
	good, bad := w.connect("good"), w.connect("bad")
	w.subscribed(good, "thing.happened")
	w.subscribed(bad, "thing.happened")
	var goodGot, badGot seen
	var broken atomic.Bool
	broken.Store(true)
	goodRun := w.run(good, bus.NewHandlers().OnEvent("thing.happened", goodGot.handle), quick())
	badRun := w.run(bad, bus.NewHandlers().OnEvent("thing.happened", badGot.failing(&broken)), quick())
	w.publish(good, w.event("thing.happened", "k", 1))
	w.until("one handles it, the other sets it aside", func() bool {
		return goodGot.len() == 1 && badRun.counters.Count(bus.DeadLettered) == 1
	}, goodRun, badRun)
	require.Empty(w, w.letters(good, bus.DeadLetterFilter{}))
	require.Len(w, w.letters(good, bus.DeadLetterFilter{AllGroups: true}), 1)
	broken.Store(false)
	n, err := bad.DeadLetters().ResendAll(w.ctx(), bus.DeadLetterFilter{})
	require.NoError(w, err)
	require.Equal(w, 1, n)
	w.until("it is handled", func() bool { return badGot.len() == 1 }, goodRun, badRun)
	w.publish(good, w.event("thing.happened", "k", 2)) // behind whatever the other group may have got
	w.until("the next is handled", func() bool { return goodGot.len() >= 2 && badGot.len() >= 2 }, goodRun, badRun)
	goodRun.stop()
	badRun.stop()
	require.Equal(w, 2, goodGot.len(), "what one group sends again, others do not get")
}

func resendAllAndDiscard(w *world) {
	b := w.connect("strict")
	w.subscribed(b, "thing.happened")
	var got seen
	var broken atomic.Bool
	broken.Store(true)
	run := w.run(b, bus.NewHandlers().OnEvent("thing.happened", got.failing(&broken)), quick())
	var sent []envelope.Message
	for n := range 20 {
		sent = append(sent, w.event("thing.happened", fmt.Sprint("key-", n%2), n))
	}
	w.publish(b, sent...)
	w.until("all are set aside", func() bool { return run.counters.Count(bus.DeadLettered) == 20 }, run)
	letters := w.letters(b, bus.DeadLetterFilter{})
	require.Len(w, letters, 20)
	var kept []envelope.Message
	for i, letter := range letters {
		if i%4 == 0 {
			require.NoError(w, b.DeadLetters().Discard(w.ctx(), letter.ID))
			require.ErrorIs(w, b.DeadLetters().Discard(w.ctx(), letter.ID), bus.ErrNotFound)
		} else {
			kept = append(kept, letter.Message)
		}
	}
	broken.Store(false)
	n, err := b.DeadLetters().ResendAll(w.ctx(), bus.DeadLetterFilter{})
	require.NoError(w, err)
	require.Equal(w, 15, n)
	w.until("all others are handled", func() bool { return got.len() >= 15 }, run)
	run.stop()
	require.Equal(w, idsOf(kept), idsOf(got.all()))
	require.Empty(w, w.letters(b, bus.DeadLetterFilter{}))
}

// poisonParksItsKey: behind a poisoned message its key waits, in order, while
// all others finish; sending again restores the order.
func poisonParksItsKey(w *world) {
	b := w.connect("careful")
	w.subscribed(b, "counted.up")
	var got seen
	var healed atomic.Bool
	handlers := bus.NewHandlers().OnEvent("counted.up", func(ctx context.Context, m *envelope.Message) error {
		var n int
		if err := envelope.JSON.Decode(m.Data, &n); err != nil {
			return err
		}
		if m.Key == "key-0" && n == 5 && !healed.Load() {
			return bus.Permanent(errForGood)
		}
		return got.handle(ctx, m)
	})
	opts := quick()
	opts.Policy = bus.PolicyPark
	run := w.run(b, handlers, opts)
	sent := counting(20, 5, func(key string, n int) envelope.Message { return w.event("counted.up", key, n) })
	w.publish(b, sent[:50]...)
	w.until("the poisoned key is parked", func() bool { return run.counters.Count(bus.Parked) == 5 }, run)
	run.stop()
	run = w.run(b, handlers, opts) // a new run knows what is parked
	w.publish(b, sent[50:]...)
	w.until("all other keys are handled, the one is parked", func() bool {
		return len(got.ids()) == 80+5 && run.counters.Count(bus.Parked) == 10
	}, run)
	letters := w.letters(b, bus.DeadLetterFilter{Key: "key-0", Parked: true})
	require.Len(w, letters, 15)
	require.Len(w, w.letters(b, bus.DeadLetterFilter{}), 15, "nothing else is set aside")
	var order []int
	for _, letter := range letters {
		var n int
		require.NoError(w, envelope.JSON.Decode(letter.Message.Data, &n))
		order = append(order, n)
	}
	if w.features.OrderedEvents {
		require.True(w, slices.IsSorted(order), "%v", order)
	}
	require.Equal(w, "for good", letters[0].Reason)
	require.Contains(w, letters[1].Reason, "waits behind")

	healed.Store(true)
	n, err := b.DeadLetters().ResendAll(w.ctx(), bus.DeadLetterFilter{Key: "key-0"})
	require.NoError(w, err)
	require.Equal(w, 15, n)
	w.until("the key is handled", func() bool { return len(got.ids()) == len(sent) }, run)
	w.publish(b, w.event("counted.up", "key-0", 20))
	w.until("the key flows again", func() bool { return len(got.ids()) == len(sent)+1 }, run)
	run.stop()
	if w.features.OrderedEvents {
		inOrder(w, got.all())
	}
	require.Empty(w, w.letters(b, bus.DeadLetterFilter{}))
}

func retryPolicy(w *world) {
	b := w.connect("stubborn")
	w.subscribed(b, "thing.happened")
	var tries atomic.Int64
	opts := quick()
	opts.Policy = bus.PolicyRetry
	run := w.run(b, bus.NewHandlers().OnEvent("thing.happened", func(context.Context, *envelope.Message) error {
		if tries.Add(1) < 4 {
			return bus.Permanent(errForGood)
		}
		return nil
	}), opts)
	w.publish(b, w.event("thing.happened", "k", 1))
	w.until("it is handled", func() bool { return run.counters.Count(bus.Handled) == 1 }, run)
	run.stop()
	require.EqualValues(w, 3, run.counters.Count(bus.Retried))
}

func logAndAckPolicy(w *world) {
	b := w.connect("careless")
	w.subscribed(b, "thing.happened")
	opts := quick()
	opts.Policy = bus.PolicyLogAndAck
	var tries atomic.Int64
	handlers := bus.NewHandlers().OnEvent("thing.happened", func(_ context.Context, m *envelope.Message) error {
		tries.Add(1)
		if m.Key == "bad" {
			return bus.Permanent(errForGood)
		}
		return nil
	})
	run := w.run(b, handlers, opts)
	w.publish(b, w.event("thing.happened", "bad", 1), w.event("thing.happened", "good", 2))
	w.until("both are done", func() bool {
		return run.counters.Count(bus.Dropped) == 1 && run.counters.Count(bus.Handled) == 1
	}, run)
	run.stop()
	require.EqualValues(w, 2, tries.Load())
	if w.features.DeadLetters {
		require.Empty(w, w.letters(b, bus.DeadLetterFilter{}))
	}
}

func stopPolicy(w *world) {
	b := w.connect("anxious")
	w.subscribed(b, "thing.happened")
	opts := quick()
	opts.Policy = bus.PolicyStop
	run := w.run(b, bus.NewHandlers().OnEvent("thing.happened", func(context.Context, *envelope.Message) error {
		return bus.Permanent(errForGood)
	}), opts)
	w.publish(b, w.event("thing.happened", "k", 1))
	w.until("the run ends", func() bool {
		select {
		case <-run.ended:
			return true
		default:
			return false
		}
	})
	require.ErrorIs(w, run.err, bus.ErrStopped)
	require.ErrorIs(w, run.err, errForGood)
	var got seen
	again := w.run(b, bus.NewHandlers().OnEvent("thing.happened", got.handle), quick())
	w.until("it was given back", func() bool { return got.len() == 1 }, again)
	again.stop()
}

func panicIsPermanent(w *world) {
	b := w.connect("nervous")
	w.subscribed(b, "thing.happened")
	var got seen
	run := w.run(b, bus.NewHandlers().OnEvent("thing.happened", func(ctx context.Context, m *envelope.Message) error {
		if m.Key == "bad" {
			panic("oh no")
		}
		return got.handle(ctx, m)
	}), quick())
	w.publish(b, w.event("thing.happened", "bad", 1), w.event("thing.happened", "good", 2))
	w.until("both are done", func() bool { return got.len() == 1 && run.counters.Count(bus.DeadLettered) == 1 }, run)
	run.stop()
	require.Contains(w, w.letters(b, bus.DeadLetterFilter{})[0].Reason, "oh no")
}
