package base_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/internal/base"
	"github.com/troupe-go/troupe/envelope"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// source notes whether the life went on when it was closed.
type source struct {
	bus.Source
	life   *base.Life[*source]
	closed int
	over   bool
}

func (s *source) Close(ctx context.Context) error {
	s.closed++
	s.over = s.life.Over()
	s.life.Forget(s)
	return ctx.Err()
}

// TestLife: what runs and what reads ends with it, in order, once; nothing
// begins behind that.
func TestLife(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	l := base.NewLife[*source](ctx)
	cancel()
	require.False(t, l.Over(), "whoever connected may go")
	var events []string
	require.True(t, l.Start(func() {
		<-l.Done()
		events = append(events, "ended")
		l.Tasks().Go(func() { events = append(events, "and its own") })
	}))
	s, forgotten := &source{life: l}, &source{life: l}
	require.True(t, l.Adopt(s))
	require.True(t, l.Adopt(forgotten))
	l.Forget(forgotten)
	require.Equal(t, []*source{s}, l.Sources())
	unavailable := fmt.Errorf("%w: for now", bus.ErrUnavailable)
	require.Equal(t, unavailable, l.OrClosed(unavailable))

	require.True(t, l.Close())
	require.False(t, l.Close())
	l.Wait()
	require.Equal(t, []string{"ended", "and its own"}, events)
	require.Equal(t, 1, s.closed)
	require.False(t, s.over, "a source has its transport while it ends")
	require.Zero(t, forgotten.closed)
	require.True(t, l.Over())
	require.ErrorIs(t, l.OrClosed(unavailable), bus.ErrClosed)
	require.NoError(t, l.OrClosed(nil))
	require.False(t, l.Start(func() { t.Error("it runs") }))
	require.False(t, l.Adopt(&source{life: l}))
	require.Empty(t, l.Sources())
}

// TestPublishBatch: each error is that of its message.
func TestPublishBatch(t *testing.T) {
	t.Parallel()
	l := base.NewLife[*source](t.Context())
	messages := make([]envelope.Message, 6)
	for n := range messages {
		messages[n].ID = fmt.Sprint(n)
	}
	prepare := func(m *envelope.Message) (string, error) {
		if m.ID == "1" || m.ID == "4" {
			return "", fmt.Errorf("%w: %s", bus.ErrRefused, m.ID)
		}
		return m.ID, nil
	}
	var sent []string
	publish := func(_ context.Context, prepared []string) []error {
		sent = append(sent, prepared...)
		errs := make([]error, len(prepared))
		errs[2] = fmt.Errorf("%w: %s", bus.ErrUnavailable, prepared[2])
		return errs
	}
	err := base.PublishBatch(t.Context(), l, messages, prepare, publish)
	require.Equal(t, []string{"0", "2", "3", "5"}, sent)
	for n, err := range bus.PublishErrors(err, len(messages)) {
		switch n {
		case 1, 4:
			require.ErrorIs(t, err, bus.ErrRefused)
		case 3:
			require.ErrorIs(t, err, bus.ErrUnavailable)
		default:
			require.NoError(t, err, "message %d", n)
			continue
		}
		require.ErrorContains(t, err, fmt.Sprint(n))
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, base.PublishBatch(ctx, l, messages, prepare, publish), context.Canceled)
	l.Close()
	require.ErrorIs(t, base.PublishBatch(t.Context(), l, messages, prepare, publish), bus.ErrClosed)
	require.Len(t, sent, 4, "nothing more is sent")
}

func TestReceived(t *testing.T) {
	t.Parallel()
	sound := envelope.Message{Kind: envelope.KindEvent, Name: "thing.happened", SourceVersion: 3}
	require.NoError(t, base.Received(&sound, nil), "without an id")
	require.Empty(t, sound.ID)
	require.Zero(t, sound.SourceVersion, "a version of nothing")

	found := errors.New("found before")
	require.Equal(t, found, base.Received(&sound, found))
	broken := sound
	broken.Name = "a\nb"
	require.ErrorIs(t, base.Received(&broken, nil), bus.ErrMalformed)
}
