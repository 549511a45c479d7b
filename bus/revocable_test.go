package bus_test

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
)

// shared is a source whose deliveries may be another replica's by now.
type shared struct {
	deliveries []bus.Delivery
	mu         sync.Mutex
	log        []string
}

func (s *shared) note(what string, d *loan) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, what+" "+d.message.ID)
}

func (s *shared) Order() bus.Order            { return bus.OrderedWhileHeld }
func (s *shared) Lease() time.Duration        { return 0 }
func (s *shared) Close(context.Context) error { return nil }

func (s *shared) Receive(ctx context.Context, _ int) ([]bus.Delivery, error) {
	if got := s.deliveries; got != nil {
		s.deliveries = nil
		return got, nil
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

type loan struct {
	from    *shared
	message envelope.Message
	lost    bool
}

func (d *loan) Begin() bool {
	d.from.note(fmt.Sprint("begin ", !d.lost), d)
	return !d.lost
}

func (d *loan) End()                       { d.from.note("end", d) }
func (d *loan) Message() *envelope.Message { return &d.message }
func (d *loan) Malformed() error           { return nil }
func (d *loan) Attempt() int               { return 1 }
func (d *loan) Resent() bool               { return false }

func (d *loan) Ack(context.Context) error                  { d.from.note("ack", d); return nil }
func (d *loan) Retry(context.Context, time.Duration) error { d.from.note("retry", d); return nil }
func (d *loan) Extend(context.Context) error               { return nil }
func (d *loan) DeadLetter(context.Context, bus.Failure) error {
	d.from.note("dead letter", d)
	return nil
}

// TestRevocable: what went to another replica is not handled and not settled, and
// each attempt that began ends, whatever the handler does: it is settled before the
// end, but for a handler that ends its goroutine.
func TestRevocable(t *testing.T) {
	t.Parallel()
	s := &shared{}
	for _, id := range []string{"good", "lost", "panics", "exits", "fails"} {
		m, err := bus.NewEvent("thing.happened", 1, bus.WithID(id), bus.WithKey("k"))
		require.NoError(t, err)
		s.deliveries = append(s.deliveries, &loan{from: s, message: m, lost: id == "lost"})
	}
	failed := false
	handlers := bus.NewHandlers().OnEvent("thing.happened", func(_ context.Context, m *envelope.Message) error {
		switch m.ID {
		case "panics":
			panic("oh no")
		case "exits":
			runtime.Goexit()
		case "fails":
			if failed = !failed; failed {
				return fmt.Errorf("for now")
			}
		}
		return nil
	})
	var counters bus.Counters
	opts := bus.Idempotent()
	opts.Limit, opts.Logger, opts.Observe, opts.MinBackoff = 5, slog.New(slog.DiscardHandler), counters.Observe, time.Millisecond
	require.NoError(t, bus.RunSource(t.Context(), s, handlers, opts))
	require.Equal(t, []string{
		"begin true good", "ack good", "end good",
		"begin false lost",
		"begin true panics", "dead letter panics", "end panics",
		"begin true exits", "end exits", "dead letter exits",
		"begin true fails", "end fails", "begin true fails", "ack fails", "end fails",
	}, s.log)
	require.EqualValues(t, 1, counters.Count(bus.Unsettled))
	require.EqualValues(t, 2, counters.Count(bus.Handled))
}
