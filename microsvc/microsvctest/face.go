package microsvctest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/microsvc"
)

// Call is one call of a service.
type Call struct {
	Command string
	Event   bool   // Command is an event's name
	Input   string // meant to be JSON
	Session microsvc.Session
	Key     string // of idempotency; empty for none
	ID      string // of the request
}

// Answer is what came back.
type Answer struct {
	Err error // as the caller of a client or of a direct call gets it

	// Status and Problem are what the others are told; Problem is nil for a success.
	Status  int
	Problem *microsvc.Problem

	Reply string // JSON, of a success
	Raw   string // all that came over the wire, in any form
}

// Caller makes a call. It is for several goroutines.
type Caller func(ctx context.Context, c Call) Answer

// Face is one way to call a service.
type Face struct {
	// Open serves w's service until the test ends.
	Open func(t testing.TB, w *World) Caller

	// Wants changes what a case says to what it means for this face. Nil means
	// that it means the same.
	Wants func(c *Case)

	// Events is a face that takes events as well as commands.
	Events bool

	// Direct is a face without a boundary: errors come whole, and nothing is in
	// the log.
	Direct bool
}

// Run has a face pass the table.
func Run(t *testing.T, f Face) {
	t.Helper()
	for _, strict := range []bool{false, true} {
		w, fit := tableWorld(t, strict)
		ask := f.Open(t, w)
		for _, c := range fit {
			if c.Event && !f.Events {
				continue
			}
			if f.Wants != nil {
				f.Wants(&c)
			}
			t.Run(c.Name, func(t *testing.T) { f.check(t, w, ask, &c) })
		}
	}
	t.Run("keys at once", func(t *testing.T) { keysAtOnce(t, f) })
}

func (f Face) check(t *testing.T, w *World, ask Caller, c *Case) {
	call := c.call()
	for range max(c.Repeat, 1) {
		f.answered(t, w, c, ask(t.Context(), call))
	}
	effect(t, w, c)
	if c.Other != nil {
		call.Session = c.Other
		other := *c
		other.Reply = c.OtherReply
		f.answered(t, w, &other, ask(t.Context(), call))
	}
}

// answered compares an answer with what the case wants.
func (f Face) answered(t *testing.T, w *World, c *Case, got Answer) {
	t.Helper()
	logged := w.Log.lines(c.call().ID)
	require.NotContains(t, got.Raw, Secret)
	if c.Refused {
		require.Error(t, got.Err)
		require.Empty(t, logged)
		return
	}
	p := got.Problem
	if got.Err != nil {
		require.Empty(t, got.Status)
		got.Status = microsvc.Status(got.Err)
		if !f.Direct {
			require.ErrorAs(t, got.Err, &p)
		}
	}
	if got.Err == nil && got.Status == 0 {
		got.Status = 200
	}
	require.Equal(t, c.Status, got.Status, "%v %s", got.Err, got.Raw)
	if c.Status == 200 {
		require.NoError(t, got.Err)
		require.Equal(t, c.Reply, got.Reply)
		require.Empty(t, logged)
		return
	}
	require.Empty(t, got.Reply)
	if got.Err != nil {
		c.typed(t, got.Err)
	}
	if f.Direct {
		if c.Status < 500 && c.Status != 409 && c.Status != 429 && c.Text != "" {
			require.ErrorContains(t, got.Err, c.Text)
		}
		require.Empty(t, logged)
		return
	}
	require.NotContains(t, p.Message, Secret)
	require.Equal(t, c.Code, p.Code)
	if c.Text != "" {
		require.Equal(t, c.Text, p.Message)
	}
	require.Contains(t, p.ID, c.ID)
	require.Equal(t, c.again(), p.RetryAfter > 0, "when to ask again: %s", p.RetryAfter)
	require.Equal(t, c.Logged, logged != "", "the log has what the caller is not told: %s", logged)
	if c.Logged && c.Command == "fail" {
		require.Contains(t, logged, Secret)
	}
}

// effect compares what is stored, and that it belongs to its call.
func effect(t *testing.T, w *World, c *Case) {
	t.Helper()
	coins, _ := w.Coins(c.purse)
	stored := w.Records(c.purse)
	require.Equal(t, c.Coins, coins)
	if c.Coins == start {
		require.Len(t, stored, 1, "as before")
		return
	}
	require.Len(t, stored, 2, "one effect")
	md := stored[1].Metadata
	require.Contains(t, md.CausationID, c.ID)
	require.Equal(t, c.Commanded, md.CommandID != "")
	if conversation := c.Session.Get(microsvc.KeyCorrelationID); conversation != "" {
		require.Equal(t, conversation, md.CorrelationID)
	}
}

// keysAtOnce: a key that is repeated has one effect and the same reply, also when the
// repeats come at once, and through both kinds of handler; another caller's key is
// another.
func keysAtOnce(t *testing.T, f Face) {
	w := NewWorld(t, microsvc.Options{})
	ask := f.Open(t, w)
	if probe := (Case{Status: 200, Reply: "."}); f.Wants != nil {
		if f.Wants(&probe); probe.Reply == "" {
			return // a face that tells no replies
		}
	}
	const keys, repeats = 25, 4
	for command, coins := range map[string]int{"purse.put": 2, "purse.bonus": 4} {
		call := func(key int, caller microsvc.Session) Answer {
			return ask(context.Background(), Call{
				Command: command, Input: fmt.Sprintf(`{"id":"%s-%d","n":2}`, command, key), Session: caller, Key: "k", ID: "call-" + strconv.Itoa(key),
			})
		}
		want := fmt.Sprintf(`{"coins":%d}`, coins)
		var all sync.WaitGroup
		failed := make(chan error, keys*repeats)
		for repeat := range repeats {
			all.Go(func() {
				for key := range keys {
					if got := call(key, ada); got.Err != nil || got.Reply != want {
						failed <- errors.Join(fmt.Errorf("repeat %d of key %d: %d %s", repeat, key, got.Status, got.Reply), got.Err)
					}
				}
			})
		}
		all.Wait()
		close(failed)
		require.NoError(t, <-failed)
		for key := range keys {
			stored, records := w.Coins(fmt.Sprintf("%s-%d", command, key))
			require.Equal(t, coins, stored)
			require.Equal(t, 1, records)
		}
		require.Equal(t, fmt.Sprintf(`{"coins":%d}`, 2*coins), call(0, eve).Reply, "eve does not get ada's reply")
	}
}
