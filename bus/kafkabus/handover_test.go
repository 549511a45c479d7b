package kafkabus_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/kafkabus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/internal/testenv/buskit"
)

// busy is what replicas of a group are at, and fails if two are at one message.
type busy struct {
	t   testing.TB
	mu  sync.Mutex
	now map[string]string // ordering key → replica
	got map[string]int    // id → how often
}

func (b *busy) handler(replica string, takes time.Duration) bus.HandlerFunc {
	return func(ctx context.Context, m *envelope.Message) error {
		b.mu.Lock()
		if other, ok := b.now[m.Key]; ok {
			b.t.Errorf("%s begins %s while %s is at its key", replica, m.ID, other)
		}
		b.now[m.Key] = replica
		b.mu.Unlock()
		select {
		case <-time.After(takes):
		case <-ctx.Done():
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.now, m.Key)
		b.got[m.ID]++
		return ctx.Err()
	}
}

func (b *busy) handled() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.got)
}

// TestHandOver: replicas come and go while handlers work. No two are at one key at
// the same time, and nothing is handled twice: partitions are given away when
// their handlers are done, with what is settled.
func TestHandOver(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string]kafkabus.Options{"cooperative": {}, "compat": {Compat: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts.Group, opts.Namespace, opts.Partitions = "g", buskit.Namespace(), 4
			b := connect(t, brokers(t), opts)
			world := &busy{t: t, now: map[string]string{}, got: map[string]int{}}
			handlers := func(replica string) *bus.Handlers {
				return bus.NewHandlers().OnEvent("work.began", world.handler(replica, 40*time.Millisecond))
			}
			var all []envelope.Message
			for n := range 20 {
				for key := range 24 {
					all = append(all, event(t, "work.began", fmt.Sprint("key-", key), n))
				}
			}
			buskit.Publish(t, b, all...)
			var ends []func()
			for n := range 3 {
				ends = append(ends, run(t, connect(t, brokers(t), opts), handlers(fmt.Sprint("replica-", n)), bus.Idempotent()))
				until(t, "some are handled", func() bool { return world.handled() >= (n+1)*60 })
			}
			ends[0]()
			until(t, "all are handled", func() bool { return world.handled() == len(all) })
			ends[1]()
			ends[2]()
			for id, n := range world.got {
				require.Equal(t, 1, n, id)
			}
		})
	}
}

// TestHandOverEnds: a handler that takes longer than Options.HandOver does not keep
// its partition from a replica that begins.
func TestHandOverEnds(t *testing.T) {
	t.Parallel()
	opts := kafkabus.Options{Group: "g", Namespace: buskit.Namespace(), Partitions: 1, HandOver: 200 * time.Millisecond, Compat: true}
	first, second := connect(t, brokers(t), opts), connect(t, brokers(t), opts)
	begun, goOn := make(chan struct{}, 10), make(chan struct{})
	end := run(t, first, bus.NewHandlers().OnEvent("work.began", func(context.Context, *envelope.Message) error {
		begun <- struct{}{}
		<-goOn
		return nil
	}), bus.Idempotent())
	buskit.Publish(t, first, event(t, "work.began", "a", 1))
	<-begun
	var got seen
	quickly := bus.NewHandlers().OnEvent("work.began", got.handle)
	endSecond := run(t, second, quickly, bus.Idempotent())
	// Which of both gets the only partition is the group's to say; if it is the
	// first again it gets its message again, too, behind the one that hangs.
	until(t, "the partition was given away", func() bool {
		s, ok := lastOwner(t, opts)
		return ok && s != ""
	})
	close(goOn)
	end()
	until(t, "the other one handles it", func() bool { return got.count("work.began-a-1") == 1 })
	endSecond()
}

// lastOwner is the member that has the only partition of the test's topic.
func lastOwner(t testing.TB, opts kafkabus.Options) (string, bool) {
	t.Helper()
	_, admin := stranger(t, brokers(t))
	groups, err := admin.DescribeGroups(buskit.Ctx(t), opts.Namespace+".g.evt")
	require.NoError(t, err)
	group := groups[opts.Namespace+".g.evt"]
	if group.State != "Stable" || len(group.Members) != 2 {
		return "", false
	}
	for _, m := range group.Members {
		if c, ok := m.Assigned.AsConsumer(); ok && len(c.Topics) > 0 {
			return m.MemberID, true
		}
	}
	return "", false
}
