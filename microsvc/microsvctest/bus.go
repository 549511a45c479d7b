package microsvctest

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/internal/testenv/buskit"
	"github.com/troupe-go/troupe/microsvc"
)

// RunBus has the table come over a bus: what an answer is elsewhere, is the
// settlement of a message here, and the reason of its dead letter. connect is as in
// a bustest.Config.
func RunBus(t *testing.T, connect func(t testing.TB, namespace, group string) *bus.Bus) {
	t.Helper()
	for name, strict := range map[string]bool{"usual": false, "strict": true} {
		t.Run(name, func(t *testing.T) {
			w, fit := tableWorld(t, strict)
			namespace := buskit.Namespace()
			r := &busRun{t: t, w: w, bus: connect(t, namespace, "purses"), of: map[string][]settled{}, changed: make(chan struct{}, 1)}
			end := r.start()
			r.send(&fit[0])
			r.await(&fit[0]) // it listens and subscribes, so that no event is lost
			for i := range fit[1:] {
				r.send(&fit[1+i])
			}
			for i := range fit {
				r.await(&fit[i])
			}
			end()
			letters := map[string]bus.DeadLetter{}
			for _, letter := range buskit.Letters(t, r.bus) {
				letters[letter.Message.ID] = letter
			}
			for _, c := range fit {
				t.Run(c.Name, func(t *testing.T) {
					r.check(t, &c, letters)
					c.ID, c.Commanded = message(&c).ID, true // by the inbox
					effect(t, w, &c)
				})
			}
		})
	}
}

// attempts is how often a message is tried.
const attempts = 2

// busRun is the service on a bus.
type busRun struct {
	t   testing.TB
	w   *World
	bus *bus.Bus

	mu      sync.Mutex
	of      map[string][]settled // by message id, in order
	changed chan struct{}
}

// settled is what a run told of one message.
type settled struct {
	outcome bus.Outcome
	err     error
}

func (s settled) final() bool { return s.outcome != bus.Retried && s.outcome != bus.Unsettled }

// start runs the service until end.
func (r *busRun) start() (end func()) {
	opts := bus.Inbox(r.w.Journal)
	opts.MaxAttempts, opts.MinBackoff, opts.MaxBackoff = attempts, time.Millisecond, time.Millisecond
	opts.Logger = slog.New(slog.DiscardHandler)
	opts.Observe = func(s bus.Settled) {
		r.mu.Lock()
		r.of[s.Message.ID] = append(r.of[s.Message.ID], settled{s.Outcome, s.Err})
		r.mu.Unlock()
		select {
		case r.changed <- struct{}{}:
		default:
		}
	}
	ctx, cancel := context.WithCancel(r.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.bus.Run(ctx, r.w.Service, opts) }()
	end = sync.OnceFunc(func() {
		cancel()
		require.NoError(r.t, <-ended)
	})
	r.t.Cleanup(end)
	return end
}

// message is a case's call as a message.
func message(c *Case) envelope.Message {
	call := c.call()
	m := envelope.Message{
		ID: call.ID, Kind: envelope.KindCommand, Name: call.Command, Key: c.purse, Codec: envelope.CodecJSON, ContentType: bus.ContentTypeJSON,
		Data: []byte(call.Input), Time: time.Now(),
	}
	if c.Event {
		m.Kind = envelope.KindEvent
	}
	if call.Key != "" {
		m.ID = call.Key
	}
	for key, value := range call.Session {
		m.Metadata.Set(key, value)
	}
	return m
}

// send publishes a case's message, and for repeats one behind them in their key.
func (r *busRun) send(c *Case) {
	m := message(c)
	all := slices.Repeat([]envelope.Message{m}, max(c.Repeat, 1))
	if c.Repeat > 0 {
		all = append(all, last(m))
	}
	ctx := buskit.Ctx(r.t)
	for _, m := range all {
		err := r.bus.PublishBatch(ctx, []envelope.Message{m})
		for c.Bus != bus.Unhandled && (errors.Is(err, bus.ErrUnroutable) || errors.Is(err, bus.ErrUnavailable)) && ctx.Err() == nil {
			err = r.bus.PublishBatch(ctx, []envelope.Message{m}) // the service does not listen yet
		}
		switch {
		case m.Validate() != nil:
			require.ErrorIs(r.t, err, bus.ErrInvalid, "no bus takes it")
		case c.Bus == bus.Unhandled:
			require.True(r.t, err == nil || errors.Is(err, bus.ErrUnroutable), "%v", err)
			require.ErrorIs(r.t, r.w.Service.Handle(ctx, &m), bus.ErrUnhandled, "if it came")
		default:
			require.NoError(r.t, err)
		}
	}
}

// last is what comes behind the repeats of m: no input of its handler.
func last(m envelope.Message) envelope.Message {
	m.ID, m.Data = "last-"+m.ID, []byte("{}")
	return m
}

// expected reports whether a case's message comes to the service.
func expected(c *Case) bool {
	m := message(c)
	return c.Bus != bus.Unhandled && m.Validate() == nil
}

// await waits until a case's messages are settled for good.
func (r *busRun) await(c *Case) {
	if !expected(c) {
		return
	}
	m := message(c)
	ids := []string{m.ID}
	if c.Repeat > 0 {
		ids = append(ids, last(m).ID)
	}
	patience := time.NewTimer(buskit.Patience)
	defer patience.Stop()
	for _, id := range ids {
		for !slices.ContainsFunc(r.settled(id), settled.final) {
			select {
			case <-r.changed:
			case <-patience.C:
				require.Fail(r.t, "not settled", "%s: %v", c.Name, r.settled(id))
			}
		}
	}
}

func (r *busRun) settled(id string) []settled {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.of[id])
}

func (r *busRun) check(t *testing.T, c *Case, letters map[string]bus.DeadLetter) {
	m := message(c)
	got := r.settled(m.ID)
	letter, isDead := letters[m.ID]
	if !expected(c) {
		require.Empty(t, got)
		require.False(t, isDead)
		return
	}
	first := got[0]
	require.Equal(t, c.Bus, first.outcome, "%v", first.err)
	require.Equal(t, c.Status, microsvc.Status(first.err))
	if c.Status == 200 {
		require.NoError(t, first.err)
		for _, repeat := range got[1:] { // a broker may keep it back as well
			require.Equal(t, bus.Duplicate, repeat.outcome)
		}
		require.False(t, isDead)
		return
	}
	c.typed(t, first.err)
	tries := 1
	if c.Bus == again {
		tries = attempts
	}
	require.GreaterOrEqual(t, len(got), tries)
	require.Equal(t, bus.DeadLettered, got[tries-1].outcome, "what failed for good, or %d times, is set aside", attempts)
	require.True(t, isDead)
	require.Equal(t, tries, letter.Attempts)
	require.Equal(t, bus.CutReason(got[tries-1].err.Error()), letter.Reason)
	require.Equal(t, m.Data, letter.Message.Data)
	if c.Command == "fail" && c.Code != "panic" {
		require.Contains(t, letter.Reason, Secret, "nothing is masked")
	}
	if c.Text != "" && c.Status < 500 && c.Status != 409 && c.Status != 429 {
		require.Contains(t, letter.Reason, c.Text)
	}
}
