package kafkabus_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/internal/testenv/buskit"
)

func event(t testing.TB, name, key string, n int) envelope.Message {
	t.Helper()
	m, err := bus.NewEvent(name, n, bus.WithID(fmt.Sprintf("%s-%s-%d", name, key, n)), bus.WithKey(key))
	require.NoError(t, err)
	return m
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
	require.Eventually(t, ok, buskit.Patience, 5*time.Millisecond, what)
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

// stranger is a client without the package under test.
func stranger(t testing.TB, brokers string, opts ...kgo.Opt) (*kgo.Client, *kadm.Client) {
	t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(brokers)}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client, kadm.NewClient(client)
}
