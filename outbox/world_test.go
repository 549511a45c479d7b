package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/memory"
	"github.com/troupe-go/troupe/outbox"
)

var errAway = fmt.Errorf("the broker is away: %w", bus.ErrUnavailable)

// broker is a publisher that remembers what it was given, and fails as it is
// told to.
type broker struct {
	ordered bool

	mu   sync.Mutex
	got  []envelope.Message
	fail func(m *envelope.Message) error // may be nil
	hang chan struct{}                   // if there is one, a call waits for it or its context
	busy chan struct{}                   // if there is one, it is told of each call
}

func (b *broker) Features() bus.Features {
	return bus.Features{Name: "fake", OrderedPublish: b.ordered, MaxMessageBytes: 1 << 20}
}

func (b *broker) PublishBatch(ctx context.Context, messages []envelope.Message) error {
	b.mu.Lock()
	hang, busy := b.hang, b.busy
	b.mu.Unlock()
	if busy != nil {
		busy <- struct{}{}
	}
	if hang != nil {
		select {
		case <-hang:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	failed := bus.BatchError{Errors: make([]error, len(messages))}
	keys := map[string]bool{}
	for i := range messages {
		m := &messages[i]
		key := m.OrderingKey()
		if key != "" && keys[key] && !b.ordered {
			return errors.New("two messages of one key in one call")
		}
		keys[key] = true
		if b.fail != nil {
			failed.Errors[i] = b.fail(m)
		}
		if failed.Errors[i] == nil {
			b.got = append(b.got, *m)
		}
	}
	return failed.Or()
}

func (b *broker) set(fail func(m *envelope.Message) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fail = fail
}

func (b *broker) ids() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var ids []string
	for _, m := range b.got {
		ids = append(ids, m.ID)
	}
	return ids
}

func newJournal(t testing.TB) *memory.Journal {
	j, err := memory.Open(nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, j.Close()) })
	return j
}

// quiet logs nothing: what these tests order to fail is no news.
var quiet = slog.New(slog.DiscardHandler)

func newDispatcher(t testing.TB, j outbox.Journal, p bus.Publisher, opts outbox.Options) *outbox.Dispatcher {
	t.Helper()
	opts.Logger = quiet
	d, err := outbox.New(j, p, &opts)
	require.NoError(t, err)
	return d
}

// start runs d until the test ends, or stop is called.
func start(t testing.TB, d *outbox.Dispatcher) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			require.NoError(t, <-ended)
		})
	}
	t.Cleanup(stop)
	return stop
}

func event(id, key string) envelope.Message {
	return envelope.Message{ID: id, Kind: envelope.KindEvent, Name: "happened", Key: key, Data: []byte(id), Time: time.Now()}
}

func store(t testing.TB, j journal.Journal, messages ...envelope.Message) {
	t.Helper()
	_, err := journal.Commit(t.Context(), j, &journal.Batch{ID: journal.NewBatchID(), Messages: messages})
	require.NoError(t, err)
}

func figures(t testing.TB, j journal.Journal) (pending, parked int) {
	t.Helper()
	f, err := j.Outbox().Figures(t.Context())
	require.NoError(t, err)
	return f.Pending, f.Parked
}

func parked(t testing.TB, j journal.Journal) (all []journal.ParkedMessage) {
	t.Helper()
	for m, err := range j.Outbox().Parked(t.Context(), journal.ParkedFilter{}) {
		require.NoError(t, err)
		all = append(all, m)
	}
	return all
}
