package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/outbox"
)

// handled remembers what handlers of a source did.
type handled struct {
	mu   sync.Mutex
	ids  []string
	fail func(id string) error
}

func (h *handled) handle(_ context.Context, m *envelope.Message) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fail != nil {
		if err := h.fail(m.ID); err != nil {
			return err
		}
	}
	h.ids = append(h.ids, m.ID)
	return nil
}

func (h *handled) so(fail func(id string) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fail = fail
}

func (h *handled) all() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.ids...)
}

// consume runs a source of j until the test ends, or stop is called.
func consume(t *testing.T, j outbox.Journal, h *handled, opts bus.RunOptions) (stop func()) {
	t.Helper()
	src, err := outbox.NewSource(j, &outbox.Options{Logger: quiet})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	opts.Logger = quiet
	go func() { ended <- bus.RunSource(ctx, src, bus.NewHandlers().OnEvent("happened", h.handle), opts) }()
	var once sync.Once
	stop = func() { once.Do(func() { cancel(); require.NoError(t, <-ended) }) }
	t.Cleanup(stop)
	return stop
}

func TestSourceHandlesMessagesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, h := newJournal(t), &handled{}
		consume(t, j, h, bus.Idempotent())
		const n = 500
		for i := range n {
			store(t, j, event(fmt.Sprint(i), fmt.Sprint("key ", i%5)))
		}
		synctest.Wait()
		next := [5]int{}
		for _, id := range h.all() {
			var i int
			_, err := fmt.Sscan(id, &i)
			require.NoError(t, err)
			require.Equal(t, next[i%5]*5+i%5, i)
			next[i%5]++
		}
		require.Len(t, h.all(), n)
		pending, _ := figures(t, j)
		require.Zero(t, pending)
	})
}

func TestSourceRetriesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, h := newJournal(t), &handled{}
		tries := 0
		h.so(func(id string) error {
			if id == "a" {
				if tries++; tries < 12 {
					return errors.New("not yet")
				}
			}
			return nil
		})
		consume(t, j, h, bus.RunOptions{HoldFor: time.Second})
		store(t, j, event("a", "k"), event("b", "k"), event("z", "l"))
		synctest.Wait()
		require.Equal(t, []string{"z"}, h.all(), "another key does not wait")
		for i := range 10 {
			store(t, j, event(fmt.Sprint("later ", i), "k"))
			time.Sleep(time.Second)
		}
		time.Sleep(10 * time.Minute)
		want := []string{"z", "a", "b"}
		for i := range 10 {
			want = append(want, fmt.Sprint("later ", i))
		}
		require.Equal(t, want, h.all())
		pending, _ := figures(t, j)
		require.Zero(t, pending)
	})
}

func TestSourceParksWhatFailsForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, h := newJournal(t), &handled{}
		h.so(func(id string) error {
			if id == "poison" {
				return bus.Permanent(errors.New("cannot be"))
			}
			return nil
		})
		consume(t, j, h, bus.Idempotent())
		store(t, j, event("poison", "k"), event("b", "k"), event("z", ""))
		time.Sleep(2 * time.Second)
		all := parked(t, j)
		require.Equal(t, "poison", all[0].ID)
		require.Contains(t, all[0].Reason, "cannot be")
		store(t, j, event("c", "k"))
		time.Sleep(2 * time.Second)
		h.so(nil)
		_, err := outbox.Requeue(t.Context(), j, journal.ParkedFilter{Key: "k"})
		require.NoError(t, err)
		time.Sleep(3 * time.Second)
		require.Empty(t, parked(t, j))
		require.Contains(t, h.all(), "poison")
		require.Len(t, h.all(), 4)
		store(t, j, event("d", "k"))
		time.Sleep(2 * time.Second)
		require.Len(t, h.all(), 5, "the key flows again")
	})
}

func TestSourcesShareTheSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, first, second := newJournal(t), &handled{}, &handled{}
		stop := consume(t, j, first, bus.Idempotent())
		for i := range 100 {
			store(t, j, event(fmt.Sprint("early ", i), fmt.Sprint(i)))
		}
		synctest.Wait()
		require.Len(t, first.all(), 100)
		consume(t, j, second, bus.Idempotent())
		time.Sleep(5 * time.Second)
		for i := range 200 {
			store(t, j, event(fmt.Sprint("late ", i), fmt.Sprint(i)))
		}
		time.Sleep(2 * time.Second)
		require.InDelta(t, 100, len(second.all()), 50)
		require.Equal(t, 300, len(first.all())+len(second.all()))
		stop()
		time.Sleep(5 * time.Second)
		for i := range 100 {
			store(t, j, event(fmt.Sprint("last ", i), fmt.Sprint(i)))
		}
		time.Sleep(2 * time.Second)
		require.Equal(t, 400, len(first.all())+len(second.all()))
		pending, parked := figures(t, j)
		require.Equal(t, []int{0, 0}, []int{pending, parked})
	})
}
