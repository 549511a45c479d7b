package microsvctest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/microsvc"
)

// RunClient has a face pass that gives errors to its callers: they are the handler's.
func RunClient(t *testing.T, f Face) {
	t.Helper()
	t.Run("errors keep their type", func(t *testing.T) { errorsKeepTheirType(t, f) })
	t.Run("errors pass through a service", func(t *testing.T) { errorsPassThrough(t, f) })
	t.Run("the conversation goes on", func(t *testing.T) { conversation(t, f) })
}

// composed are errors that are several, or have a type.
var composed = []error{
	&aggregate.ReplayError{Err: aggregate.ErrUnknownEvent}, &aggregate.PanicError{}, &journal.ConflictError{}, envelope.Invalid("f", "v", "r"),
	&microsvc.DecodeError{}, &microsvc.GuardError{}, &microsvc.PanicError{}, aggregate.Reject("no"), aggregate.Unauthorized("no"),
	aggregate.NotFound(envelope.Stream{Type: "a", ID: "1"}), errors.New("of no kind"),
	fmt.Errorf("%w: %w", aggregate.ErrNotRun, context.DeadlineExceeded), errors.Join(aggregate.ErrUnknownOutcome, journal.ErrClosed),
}

// errorsKeepTheirType: errors.Is finds what the handler's error was, and no other.
func errorsKeepTheirType(t *testing.T, f Face) {
	var mu sync.Mutex
	var now error
	w := NewWorld(t, microsvc.Options{}, microsvc.Handle("return", func(*microsvc.Context, any) (any, error) {
		mu.Lock()
		defer mu.Unlock()
		return nil, now
	}))
	ask := f.Open(t, w)
	returned := func(err error) (got error) {
		mu.Lock()
		now = err
		mu.Unlock()
		got = ask(t.Context(), Call{Command: "return", Input: "1", ID: "call-1"}).Err
		require.Error(t, got)
		for _, target := range Sentinels {
			require.Equal(t, errors.Is(err, target.Err), errors.Is(got, target.Err), "%v: is it %s?", err, target.Name)
		}
		require.Equal(t, microsvc.Status(err), microsvc.Status(got), "%v", err)
		return got
	}
	for _, s := range Sentinels {
		got := returned(fmt.Errorf("%s: %w", Secret, s.Err))
		require.Equal(t, bus.IsPermanent(s.Err), bus.IsPermanent(got), "%s: a message that met it", s.Name)
		if !f.Direct && microsvc.Status(got) >= 500 {
			require.NotContains(t, got.Error(), Secret)
		}
	}
	for _, err := range composed {
		require.Equal(t, bus.IsPermanent(err), bus.IsPermanent(returned(err)), "%v", err)
	}
}

// forward is a command that asks another service, through ask.
func forward(ask Caller, call Call) microsvc.Handler {
	return microsvc.Handle("forward", func(c *microsvc.Context, _ any) (json.RawMessage, error) {
		got := ask(c, call)
		return json.RawMessage(got.Reply), got.Err
	})
}

// errorsPassThrough: a service that asks another one answers with its error, and under
// its own id.
func errorsPassThrough(t *testing.T, f Face) {
	ask := f.Open(t, NewWorld(t, microsvc.Options{}))
	outer := NewWorld(t, microsvc.Options{}, forward(ask, Call{Command: "purse.take", Input: `{"id":"none","n":1}`, ID: "inner"}))
	err := f.Open(t, outer)(t.Context(), Call{Command: "forward", Input: "1", ID: "outer"}).Err
	require.ErrorIs(t, err, aggregate.ErrNotFound)
	require.EqualError(t, err, "purse/none not found")
	if !f.Direct {
		var p *microsvc.Problem
		require.ErrorAs(t, err, &p)
		require.Equal(t, "outer", p.ID)
	}
}

// conversation: what a handler asks of another service belongs to its own call's, also
// with ids of any language.
func conversation(t *testing.T, f Face) {
	for _, id := range []string{"c1", "Gespräch 🙂"} {
		inner := NewWorld(t, microsvc.Options{})
		outer := NewWorld(t, microsvc.Options{}, forward(f.Open(t, inner), Call{Command: "purse.put", Input: `{"id":"1","n":1}`, ID: "inner"}))
		got := f.Open(t, outer)(t.Context(), Call{Command: "forward", Input: "1", ID: "outer", Session: microsvc.Session{microsvc.KeyCorrelationID: id}})
		require.NoError(t, got.Err)
		require.JSONEq(t, `{"coins":1}`, got.Reply)
		stored := inner.Records("1")
		require.Len(t, stored, 1)
		require.Equal(t, id, stored[0].Metadata.CorrelationID)
		require.Equal(t, "inner", stored[0].Metadata.CausationID)
	}
}
