package pgbus

import (
	"context"
	"sync"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
)

// Bounds of one statement that publishes.
const (
	maxPublish      = 1000
	maxPublishBytes = 8 << 20
)

// outgoing is what waits to be published: callers share statements, and so
// commits, in the order in which they came.
type outgoing struct {
	kick chan struct{} // has room for one: something waits

	mu    sync.Mutex
	queue []*request
}

// request is one call of PublishBatch.
type request struct {
	ctx      context.Context
	messages []envelope.Message
	errs     []error
	done     chan struct{}
}

func (t *transport) PublishBatch(ctx context.Context, messages []envelope.Message) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r := &request{ctx: ctx, messages: cloneAll(messages), errs: make([]error, len(messages)), done: make(chan struct{})}
	t.outgoing.mu.Lock()
	if t.life.Err() != nil {
		t.outgoing.mu.Unlock()
		return bus.ErrClosed
	}
	t.outgoing.queue = append(t.outgoing.queue, r)
	t.outgoing.mu.Unlock()
	fill(t.outgoing.kick)
	select {
	case <-r.done:
		return (&bus.BatchError{Errors: r.errs}).Or()
	case <-ctx.Done():
		return ctx.Err() // it may be on its way
	}
}

// cloneAll copies the slice: a caller that gives up may reuse its own.
func cloneAll(messages []envelope.Message) []envelope.Message {
	return append([]envelope.Message(nil), messages...)
}

func (t *transport) publishLoop() {
	for {
		select {
		case <-t.life.Done():
			t.outgoing.mu.Lock()
			rest := t.outgoing.queue
			t.outgoing.queue = nil
			t.outgoing.mu.Unlock()
			for _, r := range rest {
				r.fail(0, bus.ErrClosed)
			}
			return
		case <-t.outgoing.kick:
		}
		t.outgoing.mu.Lock()
		requests := t.outgoing.queue
		t.outgoing.queue = nil
		t.outgoing.mu.Unlock()
		t.publishAll(requests)
	}
}

// fail answers a request whose messages from the n-th on were not published.
func (r *request) fail(n int, err error) {
	for i := n; i < len(r.errs); i++ {
		if r.errs[i] == nil {
			r.errs[i] = err
		}
	}
	close(r.done)
}

// place is one message of a request.
type place struct {
	r *request
	i int
}

// publishAll publishes requests in their order, in statements of many messages.
func (t *transport) publishAll(requests []*request) {
	var events, commands []place
	bytes := 0
	flush := func() {
		t.store(t.sql.send, commands)
		t.store(t.sql.publish, events, t.lock)
		events, commands, bytes = events[:0], commands[:0], 0
	}
	for _, r := range requests {
		if err := r.ctx.Err(); err != nil { // it left; what it did not send must not be sent later
			r.fail(0, err)
			continue
		}
		for i := range r.messages {
			m := &r.messages[i]
			if m.Kind == envelope.KindCommand {
				commands = append(commands, place{r, i})
			} else {
				events = append(events, place{r, i})
			}
			bytes += m.SizeBytes()
			if len(events)+len(commands) >= maxPublish || bytes >= maxPublishBytes {
				flush()
			}
		}
	}
	flush()
	for _, r := range requests {
		select {
		case <-r.done:
		default:
			close(r.done)
		}
	}
}

// store inserts messages by one statement. One that the server refuses for
// good is found by storing each alone; no later one of its key in its request
// is stored.
func (t *transport) store(statement string, places []place, more ...any) {
	var c columns
	var kept []place
	for _, p := range places {
		if p.r.errs[p.i] != nil {
			continue
		}
		if err := blockedBy(p); err != nil {
			p.r.errs[p.i] = err
			continue
		}
		if err := c.add(&p.r.messages[p.i]); err != nil {
			p.r.errs[p.i] = err
			continue
		}
		kept = append(kept, p)
	}
	if len(kept) == 0 {
		return
	}
	args := append([]any{t.opts.Namespace}, c.args()...)
	_, err := t.pool.Exec(t.life, statement, append(args, more...)...)
	switch {
	case err == nil:
		t.changed()
		return
	case refused(err) && len(kept) > 1:
		for i := range kept {
			t.store(statement, kept[i:i+1], more...)
		}
		return
	case t.life.Err() != nil:
		err = bus.ErrClosed
	default:
		err = typed(t.life, "publish", err)
	}
	for _, p := range kept {
		p.r.errs[p.i] = err
	}
}

// blockedBy is why p may not be stored: an earlier message of its key in its
// request was not.
func blockedBy(p place) error {
	key := p.r.messages[p.i].OrderingKey()
	if key == "" {
		return nil
	}
	for i, err := range p.r.errs[:p.i] {
		if err != nil && p.r.messages[i].OrderingKey() == key {
			if bus.IsPermanent(err) {
				return bus.ErrUnavailable
			}
			return err
		}
	}
	return nil
}
