package outbox_test

import (
	"bytes"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/outbox"
)

func TestLogPublisherWritesMessages(t *testing.T) {
	t.Parallel()
	j := newJournal(t)
	var log bytes.Buffer
	store(t, j, event("a", "k"), event("b", "k"))
	d := newDispatcher(t, j, outbox.LogPublisher(slog.New(slog.NewTextHandler(&log, nil))), outbox.Options{})
	got, err := d.DispatchOnce(t.Context(), 0)
	require.NoError(t, err)
	require.Equal(t, 2, got.Published)
	require.Contains(t, log.String(), "id=a key=k")
}
