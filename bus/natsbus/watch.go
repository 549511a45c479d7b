package natsbus

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/troupe-go/troupe/bus"
)

// notices tell those who wait for an answer that there will be none: a
// server does not answer what it does not permit, but says so beside.
type notices struct {
	mu      sync.Mutex
	waiting map[*watch]struct{}
}

// watch is one who waits.
type watch struct {
	about func(subject string) bool
	tell  func(error) // must not block
	lost  func()      // the same, when the connection is; may be nil
}

func (n *notices) add(w *watch) (remove func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.waiting == nil {
		n.waiting = map[*watch]struct{}{}
	}
	n.waiting[w] = struct{}{}
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.waiting, w)
	}
}

// quoted finds the subject in the server's words: Permissions Violation for
// Publish to "app.evt.x".
var quoted = regexp.MustCompile(`(?i)permissions violation for (?:publish|subscription) to "([^"]+)"`)

// violated passes on an error that the server told beside, if it is one of
// permissions.
func (n *notices) violated(err error) {
	found := quoted.FindStringSubmatch(err.Error())
	if !errors.Is(err, nats.ErrPermissionViolation) || found == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for w := range n.waiting {
		if w.about(found[1]) {
			w.tell(err)
		}
	}
}

// lost tells everybody that the connection is: an answer that was on its way is
// lost, too, and the driver would wait for it.
func (n *notices) lost() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for w := range n.waiting {
		if w.lost != nil {
			w.lost()
		}
	}
}

// listen has t hear what the connection tells beside, and those who listened
// before, too.
func (t *transport) listen() {
	before := t.conn.ErrorHandler()
	t.conn.SetErrorHandler(func(c *nats.Conn, sub *nats.Subscription, err error) {
		t.notices.violated(err)
		if before != nil {
			before(c, sub, err)
		}
	})
}

// ask does what needs the broker's answer to requests of JetStream, in bounded
// time.
func (t *transport) ask(ctx context.Context, doing string, f func(context.Context) error) error {
	if t.life.Over() {
		return bus.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	limited, cancel := context.WithTimeoutCause(ctx, t.opts.ConfirmTimeout, errNoAnswer)
	defer cancel()
	asking, refuse := context.WithCancelCause(limited)
	defer refuse(nil)
	stop := context.AfterFunc(t.life.Context(), func() { refuse(bus.ErrClosed) })
	defer stop()
	defer t.notices.add(&watch{
		about: func(subject string) bool {
			return strings.HasPrefix(subject, "$JS.") || strings.HasPrefix(subject, t.inboxPrefix)
		},
		tell: func(err error) { refuse(fmt.Errorf("natsbus: %s: %w: %w", doing, bus.ErrUnauthorized, err)) },
		lost: func() { refuse(t.away(doing)) },
	})()
	if !t.conn.IsConnected() { // from here on the loss of it is told
		return t.away(doing)
	}
	err := f(asking)
	if err == nil {
		return nil
	}
	if asking.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout)) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return context.Cause(asking)
	}
	return typed(doing, err)
}

// away is the error of a connection that is lost, or closed for good.
func (t *transport) away(doing string) error {
	if t.conn.IsClosed() || t.life.Over() {
		return bus.ErrClosed
	}
	if last := t.conn.LastError(); last != nil {
		return fmt.Errorf("natsbus: %s: %w: not connected: %w", doing, bus.ErrUnavailable, last)
	}
	return fmt.Errorf("natsbus: %s: %w: not connected", doing, bus.ErrUnavailable)
}
