package killtest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/internal/testenv/buskit"
)

// Witness notes which events there were.
type Witness struct {
	t   *testing.T
	Bus *bus.Bus

	mu      sync.Mutex
	seen    map[string]map[string]bool // field "id" of the payload, or the key → name
	changed chan struct{}
}

// Watch begins to note events.
func (w *World) Watch(t *testing.T, names ...string) *Witness {
	t.Helper()
	v := &Witness{t: t, Bus: w.ConnectTest(t, "witness"), seen: map[string]map[string]bool{}, changed: make(chan struct{})}
	source, err := v.Bus.Transport().Subscribe(t.Context(), slices.Sorted(slices.Values(names)))
	require.NoError(t, err)
	handlers := bus.NewHandlers()
	for _, name := range names {
		handlers.OnEvent(name, bus.Typed(nil, v.note))
	}
	opts := bus.Idempotent()
	opts.Logger = quiet
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- bus.RunSource(ctx, source, handlers, opts) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	return v
}

type identified struct {
	ID string `json:"id"`
}

func (v *Witness) note(_ context.Context, in identified, m *envelope.Message) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if in.ID == "" {
		in.ID = m.OrderingKey()
	}
	if v.seen[in.ID] == nil {
		v.seen[in.ID] = map[string]bool{}
	}
	v.seen[in.ID][m.Name] = true
	close(v.changed)
	v.changed = make(chan struct{})
	return nil
}

// Await waits until each of these events happened to id, while the crew works on.
func (v *Witness) Await(crew *Crew, id string, names ...string) {
	v.t.Helper()
	v.await(crew, fmt.Sprint(names, " of ", id), func() bool {
		return !slices.ContainsFunc(names, func(name string) bool { return !v.seen[id][name] })
	})
}

// AwaitOne waits until one of these events happened to one of ids, and returns
// which.
func (v *Witness) AwaitOne(crew *Crew, ids []string, names ...string) (id, name string) {
	v.t.Helper()
	v.await(crew, fmt.Sprint("one of ", names, " of ", ids), func() bool {
		for _, id = range ids {
			for _, name = range names {
				if v.seen[id][name] {
					return true
				}
			}
		}
		return false
	})
	return id, name
}

// Saw reports whether an event happened to id, as far as is known.
func (v *Witness) Saw(id, name string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.seen[id][name]
}

// await waits until ok, which it calls under the lock.
func (v *Witness) await(crew *Crew, what string, ok func() bool) {
	v.t.Helper()
	deadline, killed := time.After(buskit.Patience), crew.killed.Load()
	for {
		v.mu.Lock()
		done, changed := ok(), v.changed
		v.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case err := <-crew.Failed():
			require.NoError(v.t, err)
		case <-deadline:
			if now := crew.killed.Load(); now > killed { // it was held up again
				deadline, killed = time.After(buskit.Patience), now
				continue
			}
			v.mu.Lock()
			defer v.mu.Unlock()
			require.FailNow(v.t, "it does not end", "waited for %s, saw %v", what, v.seen)
		}
	}
}

// Send sends a command until the broker takes it.
func (v *Witness) Send(name string, payload any, key string) {
	v.t.Helper()
	m, err := bus.NewCommand(name, payload, bus.WithKey(key), bus.WithID(name+":"+key))
	require.NoError(v.t, err)
	buskit.PublishUntil(v.t, v.Bus, m)
}

// RequireNoDeadLetters demands that no group set a message aside.
func (v *Witness) RequireNoDeadLetters() {
	v.t.Helper()
	for _, l := range buskit.Letters(v.t, v.Bus) {
		assert.Fail(v.t, "a dead letter", "%s of %s: %s", l.Message.ID, l.Group, l.Reason)
	}
}
