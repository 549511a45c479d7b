package microsvc_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/membus"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/microsvc"
)

// An aggregate's command handles an event: under the event's name, on the
// aggregate that the payload names, once for each message.
func TestReact(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]func(journal.Journal) bus.RunOptions{
		"idempotent": func(journal.Journal) bus.RunOptions { return bus.Idempotent() },
		"inbox":      bus.Inbox,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host, j := theatre(t)
			b := membus.New()
			reserving := microsvc.React("guest.came", cmdReserve, nil, microsvc.RequireFields("guest"))
			require.Equal(t, []string{"guest.came"}, reserving.Names())
			svc := microsvc.New("s").WithOptions(quiet()).WithBus(b).WithHosts(host).Register(reserving)
			require.NoError(t, svc.Check())
			require.Empty(t, svc.Commands())
			for range 2 {
				require.NoError(t, b.Publish(t.Context(), "guest.came", reserve{"A1", "Ada"}, bus.WithID("m1"), bus.WithKey("A1")))
			}
			require.NoError(t, b.Publish(t.Context(), "guest.came", reserve{"A1", "Bob"}, bus.WithID("m2"), bus.WithKey("A1")))
			require.NoError(t, b.Publish(t.Context(), "guest.came", map[string]string{"seat": "A2"}, bus.WithID("m3")))
			var counters bus.Counters
			opts := options(j)
			opts.Logger = quiet().Logger
			opts.UntilIdle, opts.Observe = 50*time.Millisecond, counters.Observe
			require.NoError(t, svc.Run(t.Context(), opts))
			require.EqualValues(t, 2, counters.Count(bus.Handled)+counters.Count(bus.Duplicate))
			require.EqualValues(t, 2, counters.Count(bus.DeadLettered), "the seat is taken; the guard")
			require.Len(t, records(t, j, "A1"), 1)
			require.Empty(t, records(t, j, "A2"))
		})
	}
	none := microsvc.New("s").WithOptions(quiet()).Register(
		microsvc.React[seat, reserve, string]("guest.came", nil, nil), microsvc.React("guest.left", cmdReserve, nil))
	require.ErrorIs(t, none.Check(), microsvc.ErrNoHandler)
	require.ErrorIs(t, none.Check(), microsvc.ErrNoHost)
}
