package knativebus_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
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

// TestOutboxThroughAnOutage: while the channel is down every message stays in
// the outbox, nothing is parked, and afterwards each key comes in order.
func TestOutboxThroughAnOutage(t *testing.T) {
	t.Parallel()
	k := newKnative(t)
	b := at(t, k)
	j, err := memory.Open(nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, j.Close()) })
	// The default of MaxAttempts: where an outage begins and ends, a message fails
	// beside others that are confirmed, and that counts.
	d, err := outbox.New(j, b, &outbox.Options{
		Logger: slog.New(slog.DiscardHandler), MinBackoff: 5 * time.Millisecond, MaxBackoff: 20 * time.Millisecond,
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	defer func() {
		cancel()
		require.NoError(t, <-ended)
	}()
	const n, keys = 200, 10
	stored := 0
	store := func(count int) {
		for range count {
			m := event(fmt.Sprint("m-", stored), fmt.Sprint("key-", stored%keys))
			m.Data = fmt.Append(nil, stored)
			_, err := journal.Commit(t.Context(), j, &journal.Batch{ID: journal.NewBatchID(), Messages: []envelope.Message{m}})
			require.NoError(t, err)
			stored++
		}
	}
	store(n / 2)
	k.until(n / 4)
	k.set(func() { k.down = true })
	store(n / 2)
	posts := k.posted()
	require.Eventually(t, func() bool { return k.posted() > posts+3*keys }, 30*time.Second, time.Millisecond, "it is tried again and again")
	figures, err := j.Outbox().Figures(t.Context())
	require.NoError(t, err)
	require.Zero(t, figures.Parked)
	require.GreaterOrEqual(t, figures.Pending, n/2)
	k.set(func() { k.down = false })
	require.Eventually(t, func() bool {
		figures, err := j.Outbox().Figures(t.Context())
		return err == nil && figures.Pending == 0
	}, 30*time.Second, 5*time.Millisecond)
	figures, err = j.Outbox().Figures(t.Context())
	require.NoError(t, err)
	require.Zero(t, figures.Parked)
	seen, next := map[string]bool{}, map[string]int{}
	for _, p := range k.all() {
		m := p.message(t)
		if seen[m.ID] {
			continue
		}
		seen[m.ID] = true
		var i int
		_, err := fmt.Sscan(string(m.Data), &i)
		require.NoError(t, err)
		require.Equal(t, next[m.Key]*keys+i%keys, i, "in order within %s", m.Key)
		next[m.Key]++
	}
	require.Len(t, seen, n)
}

// TestSubscriberThatIsBusy: what a subscriber answers 503 to comes again with
// the same id, and what Knative added is no part of the message.
func TestSubscriberThatIsBusy(t *testing.T) {
	t.Parallel()
	k := newKnative(t)
	var mu sync.Mutex
	var got []posted
	handled := make(chan struct{})
	subscriber := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body bytes.Buffer
		_, err := body.ReadFrom(r.Body)
		mu.Lock()
		defer mu.Unlock()
		got = append(got, posted{header: r.Header.Clone(), body: body.Bytes()})
		if err != nil || len(got) < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		close(handled)
	}))
	defer subscriber.Close()
	client := subscriber.Client()
	k.set(func() {
		k.types["order.shipped"] = subscriber.URL
		k.deliver = func(p posted, to string) {
			for range 5 {
				r, err := http.NewRequest(http.MethodPost, to, bytes.NewReader(p.body))
				if err != nil {
					return
				}
				r.Header = p.header.Clone()
				answer, err := client.Do(r)
				if err != nil {
					return
				}
				_ = answer.Body.Close()
				if answer.StatusCode < 300 {
					return
				}
			}
		}
	})
	b := at(t, k)
	sent := full()
	unwanted := event("unwanted", "")
	require.NoError(t, b.PublishBatch(within(t), []envelope.Message{sent, unwanted}), "an event that nobody wants is confirmed, too")
	select {
	case <-handled:
	case <-within(t).Done():
		require.FailNow(t, "waited too long")
	}
	mu.Lock()
	defer mu.Unlock()
	require.Len(t, got, 3)
	for _, p := range got {
		require.NotEmpty(t, p.header.Get("Ce-Knativearrivaltime"))
		require.Equal(t, sent, p.message(t))
	}
}

// TestMetadataIsInherited: what a handler sends goes on with the conversation.
func TestMetadataIsInherited(t *testing.T) {
	t.Parallel()
	k := newKnative(t)
	b := at(t, k)
	cause := full()
	require.NoError(t, b.Send(bus.WithMessage(within(t), &cause), "shipping.ship", 1, bus.To("shipping")))
	m := k.all()[0]
	got := m.message(t)
	require.Equal(t, cause.Follow(), got.Metadata)
}
