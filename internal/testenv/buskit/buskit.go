package buskit

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
)

// Patience is how long a test waits for what must happen: a broker may have to
// start meanwhile.
const Patience = time.Minute

// Namespace is a new one: a lower-case word.
func Namespace() string { return "t" + strings.ToLower(rand.Text()[:10]) }

// Within is the test's context for at most limit.
func Within(t testing.TB, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

// Ctx is the test's context for at most [Patience].
func Ctx(t testing.TB) context.Context {
	t.Helper()
	return Within(t, Patience)
}

// Event is the n-th event of a name: its id is "{name}-{n}", its key "key-{n}".
func Event(t testing.TB, name string, n int) envelope.Message {
	t.Helper()
	m, err := bus.NewEvent(name, n, bus.WithID(fmt.Sprintf("%s-%d", name, n)), bus.WithKey(fmt.Sprint("key-", n)))
	require.NoError(t, err)
	return m
}

// Command is Event for a command.
func Command(t testing.TB, name string, n int) envelope.Message {
	t.Helper()
	m := Event(t, name, n)
	m.Kind = envelope.KindCommand
	return m
}

// Subscribe opens a source, which is closed at the end.
func Subscribe(t testing.TB, b *bus.Bus, names ...string) bus.Source {
	t.Helper()
	return open(t, b.Transport().Subscribe, names)
}

// Listen is Subscribe for commands.
func Listen(t testing.TB, b *bus.Bus, names ...string) bus.Source {
	t.Helper()
	return open(t, b.Transport().Listen, names)
}

func open(t testing.TB, from func(context.Context, []string) (bus.Source, error), names []string) bus.Source {
	t.Helper()
	s, err := from(Ctx(t), names)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close(context.Background()) }) // the broker may be away
	return s
}

// Take receives n deliveries, however often the broker is away meanwhile.
func Take(t testing.TB, s bus.Source, n int) []bus.Delivery {
	t.Helper()
	ctx := Ctx(t)
	var all []bus.Delivery
	for len(all) < n {
		some, err := s.Receive(ctx, n-len(all))
		if errors.Is(err, bus.ErrUnavailable) {
			time.Sleep(20 * time.Millisecond) // as a run does
			continue
		}
		require.NoError(t, err)
		all = append(all, some...)
	}
	return all
}

// Nothing makes sure that no message comes for a while.
func Nothing(t testing.TB, s bus.Source) {
	t.Helper()
	got, err := s.Receive(Within(t, 300*time.Millisecond), 10)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Empty(t, got)
}

// Publish publishes messages, all of which must be confirmed.
func Publish(t testing.TB, b *bus.Bus, messages ...envelope.Message) {
	t.Helper()
	require.NoError(t, b.PublishBatch(Ctx(t), messages))
}

// PublishUntil publishes until the broker takes all messages.
func PublishUntil(t testing.TB, b *bus.Bus, messages ...envelope.Message) {
	t.Helper()
	require.Eventually(t, func() bool {
		err := b.PublishBatch(Within(t, 5*time.Second), messages)
		require.False(t, bus.IsPermanent(err), "%v", err)
		return err == nil
	}, Patience, 20*time.Millisecond)
}

// Letters are the dead letters of all groups.
func Letters(t testing.TB, b *bus.Bus) []bus.DeadLetter {
	t.Helper()
	var all []bus.DeadLetter
	for l, err := range b.DeadLetters().List(Ctx(t), bus.DeadLetterFilter{AllGroups: true}) {
		require.NoError(t, err)
		all = append(all, l)
	}
	return all
}

// Same compares messages, their times whatever the location.
func Same(t testing.TB, want, got envelope.Message) {
	t.Helper()
	want.Time, got.Time = want.Time.UTC(), got.Time.UTC()
	require.Equal(t, want, got)
}
