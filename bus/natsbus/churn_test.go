package natsbus_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/natsbus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/internal/testenv/buskit"
)

// TestSingleActiveChurn: replicas come, close and are cut off at random, while
// messages of some keys count up; every message is handled, and each key's in
// order.
func TestSingleActiveChurn(t *testing.T) {
	t.Parallel()
	const keys, each = 8, 150
	url := broker(t)
	opts := natsbus.Options{Group: "g", Namespace: buskit.Namespace(), AckWait: 500 * time.Millisecond, SingleActive: true, Stream: small, Dead: small, Logger: quiet}
	publisher := connect(t, url, opts)

	var mu sync.Mutex
	seen := map[string]int{} // key → how many came, each once
	total := 0
	handlers := bus.NewHandlers().OnEvent("counted.up", func(_ context.Context, m *envelope.Message) error {
		var n int
		if err := envelope.JSON.Decode(m.Data, &n); err != nil {
			return err
		}
		if rand.IntN(20) == 0 {
			return errors.New("again, soon") // meanwhile those behind it wait with the replica
		}
		mu.Lock()
		defer mu.Unlock()
		switch {
		case n == seen[m.Key]:
			seen[m.Key]++
			total++
		case n > seen[m.Key]:
			t.Errorf("key %s: %d came, %d did not come yet", m.Key, n, seen[m.Key])
		}
		return nil
	})
	done := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return total == keys*each || t.Failed()
	}

	ctx, cancel := context.WithTimeout(t.Context(), 4*buskit.Patience)
	defer cancel()
	var running sync.WaitGroup
	replica := func() {
		for !done() && ctx.Err() == nil {
			conn, err := nats.Connect(url)
			if err != nil {
				t.Error(err)
				return
			}
			b, err := natsbus.FromConn(ctx, conn, opts)
			if err != nil {
				t.Error(err)
				return
			}
			limit := time.Duration(200+rand.IntN(1500)) * time.Millisecond
			life, end := context.WithTimeout(ctx, limit)
			if rand.IntN(2) == 0 { // it is cut off without a word
				end()
				life, end = context.WithCancel(ctx)
				time.AfterFunc(limit, conn.Close)
			}
			run := bus.Idempotent()
			run.MinBackoff, run.MaxBackoff, run.Logger = 50*time.Millisecond, 300*time.Millisecond, quiet
			_ = b.Run(life, handlers, run) // or the connection was cut
			end()
			if err := b.Close(); err != nil {
				t.Error(err)
			}
			conn.Close()
		}
	}
	for range 3 {
		running.Go(replica)
	}
	for n := range each {
		var messages []envelope.Message
		for key := range keys {
			m, err := bus.NewEvent("counted.up", n, bus.WithID(fmt.Sprint(key, "-", n)), bus.WithKey(fmt.Sprint("key-", key)))
			require.NoError(t, err)
			messages = append(messages, m)
		}
		buskit.Publish(t, publisher, messages...)
		time.Sleep(time.Duration(rand.IntN(30)) * time.Millisecond) // as a service does, while others come and go
	}
	running.Wait()
	require.Equal(t, keys*each, total)
}
