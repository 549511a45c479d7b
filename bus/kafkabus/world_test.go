package kafkabus_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
)

// patience is how long a test waits for what must happen.
const patience = time.Minute

func namespace() string { return "k" + strings.ToLower(rand.Text()[:10]) }

func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func event(t testing.TB, name, key string, n int) envelope.Message {
	t.Helper()
	m, err := bus.NewEvent(name, n, bus.WithID(fmt.Sprintf("%s-%s-%d", name, key, n)), bus.WithKey(key))
	require.NoError(t, err)
	return m
}

func publish(t testing.TB, b *bus.Bus, messages ...envelope.Message) {
	t.Helper()
	require.NoError(t, b.PublishBatch(within(t, patience), messages))
}

// publishUntil publishes until the broker takes it.
func publishUntil(t testing.TB, b *bus.Bus, m envelope.Message) {
	t.Helper()
	until(t, "it is published", func() bool {
		err := b.PublishBatch(within(t, patience), []envelope.Message{m})
		require.False(t, bus.IsPermanent(err), "%v", err)
		return err == nil
	})
}

// run runs b in the background; end stops it and waits.
func run(t testing.TB, b *bus.Bus, handlers bus.Router, opts bus.RunOptions) (end func()) {
	t.Helper()
	opts.Logger = quiet
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx, handlers, opts) }()
	var once sync.Once
	end = func() {
		once.Do(func() {
			cancel()
			require.NoError(t, <-ended)
		})
	}
	t.Cleanup(end)
	return end
}

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, patience, 5*time.Millisecond, what)
}

// seen is what handlers saw.
type seen struct {
	mu  sync.Mutex
	ids []string
}

func (s *seen) handle(_ context.Context, m *envelope.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ids = append(s.ids, m.ID)
	return nil
}

func (s *seen) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.ids...)
}

func (s *seen) count(id string) (n int) {
	for _, other := range s.all() {
		if other == id {
			n++
		}
	}
	return n
}

// subscribe opens a source, which is closed at the end.
func subscribe(t testing.TB, b *bus.Bus, names ...string) bus.Source {
	t.Helper()
	s, err := b.Transport().Subscribe(within(t, patience), names)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close(context.Background()) }) // the broker may be away
	return s
}

// take receives n deliveries, however often the broker is away meanwhile.
func take(t testing.TB, s bus.Source, n int) []bus.Delivery {
	t.Helper()
	ctx := within(t, patience)
	var all []bus.Delivery
	for len(all) < n {
		some, err := s.Receive(ctx, n-len(all))
		if errors.Is(err, bus.ErrUnavailable) {
			continue
		}
		require.NoError(t, err)
		all = append(all, some...)
	}
	return all
}

// stranger is a client without the package under test.
func stranger(t testing.TB, brokers string, opts ...kgo.Opt) (*kgo.Client, *kadm.Client) {
	t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(brokers)}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client, kadm.NewClient(client)
}
