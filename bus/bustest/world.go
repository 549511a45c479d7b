package bustest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
)

// world is one case: a namespace of its own on the broker.
type world struct {
	*testing.T
	c         Config
	namespace string
	features  bus.Features
}

func namespace() string { return "t" + strings.ToLower(rand.Text()[:10]) }

func (w *world) connect(group string) *bus.Bus {
	w.Helper()
	return w.c.Connect(w, w.namespace, group)
}

// running is a run in the background.
type running struct {
	w        *world
	cancel   context.CancelFunc
	ended    chan struct{}
	err      error
	counters bus.Counters
}

// run starts b with handlers; it is stopped at the end of the case at last.
func (w *world) run(b *bus.Bus, handlers bus.Router, opts bus.RunOptions) *running {
	w.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{w: w, cancel: cancel, ended: make(chan struct{})}
	opts.Logger = slog.New(slog.DiscardHandler)
	observe := opts.Observe
	opts.Observe = func(s bus.Settled) {
		r.counters.Observe(s)
		if observe != nil {
			observe(s)
		}
	}
	go func() {
		defer close(r.ended)
		r.err = b.Run(ctx, handlers, opts)
	}()
	w.Cleanup(func() {
		cancel()
		<-r.ended
	})
	return r
}

// stop ends the run in good order.
func (r *running) stop() {
	r.w.Helper()
	r.cancel()
	<-r.ended
	require.NoError(r.w, r.err)
}

// alive fails the case if the run has ended.
func (r *running) alive() {
	r.w.Helper()
	select {
	case <-r.ended:
		require.NoError(r.w, r.err, "the run ended")
	default:
	}
}

// until waits for what must become true, however late.
func (w *world) until(what string, ok func() bool, runs ...*running) {
	w.Helper()
	deadline := time.Now().Add(w.c.Patience)
	for !ok() {
		for _, r := range runs {
			r.alive()
		}
		if time.Now().After(deadline) {
			require.Fail(w, "waited too long", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// seen is what handlers saw, in order.
type seen struct {
	mu       sync.Mutex
	messages []envelope.Message
}

func (s *seen) add(m *envelope.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = append(s.messages, *m)
}

func (s *seen) all() []envelope.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.messages)
}

func (s *seen) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.messages)
}

// ids are those seen, each once, sorted.
func (s *seen) ids() []string {
	var ids []string
	for _, m := range s.all() {
		ids = append(ids, m.ID)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// handle is a handler that notes what it sees.
func (s *seen) handle(_ context.Context, m *envelope.Message) error {
	s.add(m)
	return nil
}

func (w *world) ctx() context.Context {
	ctx, cancel := context.WithTimeout(w.Context(), w.c.Patience)
	w.Cleanup(cancel)
	return ctx
}

// event and command make the n-th message of a case.
func (w *world) event(name, key string, n int) envelope.Message {
	w.Helper()
	m, err := bus.NewEvent(name, n, bus.WithID(fmt.Sprintf("%s-%s-%s-%d", w.namespace, name, key, n)), bus.WithKey(key))
	require.NoError(w, err)
	return m
}

func (w *world) command(name, key string, n int) envelope.Message {
	w.Helper()
	m := w.event(name, key, n)
	m.Kind = envelope.KindCommand
	return m
}

func (w *world) publish(b *bus.Bus, messages ...envelope.Message) {
	w.Helper()
	require.NoError(w, b.PublishBatch(w.ctx(), messages))
}

// subscribed makes sure that the broker knows of the group before anything is
// published: on some, events of before are not kept for it.
func (w *world) subscribed(b *bus.Bus, events ...string) {
	w.Helper()
	require.NoError(w, b.Declare(w.ctx(), bus.Plan{Events: events}))
}

func (w *world) listening(b *bus.Bus, commands ...string) {
	w.Helper()
	require.NoError(w, b.Declare(w.ctx(), bus.Plan{Commands: commands}))
}

func idsOf(messages []envelope.Message) []string {
	var ids []string
	for _, m := range messages {
		ids = append(ids, m.ID)
	}
	slices.Sort(ids)
	return ids
}

// letters lists dead letters.
func (w *world) letters(b *bus.Bus, filter bus.DeadLetterFilter) []bus.DeadLetter {
	w.Helper()
	var letters []bus.DeadLetter
	for l, err := range b.DeadLetters().List(w.ctx(), filter) {
		require.NoError(w, err)
		letters = append(letters, l)
	}
	return letters
}

// inOrder checks that the first deliveries of each key's messages, whose
// payloads count up, came in order.
func inOrder(w *world, messages []envelope.Message) {
	w.Helper()
	last := map[string]int{}
	known := map[string]bool{}
	for _, m := range messages {
		if known[m.ID] {
			continue
		}
		known[m.ID] = true
		var n int
		require.NoError(w, envelope.JSON.Decode(m.Data, &n))
		before, any := last[m.Key]
		require.True(w, !any || n > before, "key %q: %d came behind %d", m.Key, n, before)
		last[m.Key] = n
	}
}

var errForNow = errors.New("for now")
