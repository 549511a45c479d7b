package pgbus

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// channel is what changes of all buses of a database are notified on; the
// payload is the namespace.
const channel = "troupe_bus"

// minNotifyGap is the least time between two notifications of one process:
// each costs every listener a wake-up.
const minNotifyGap = 20 * time.Millisecond

// listeners are the sources that wait for a change.
type listeners struct {
	notify chan struct{} // has room for one: something of ours changed

	mu      sync.Mutex
	waiting map[chan struct{}]struct{}
}

// add returns a channel with room for one that is filled at each change.
func (l *listeners) add() chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting == nil {
		l.waiting = map[chan struct{}]struct{}{}
	}
	c := make(chan struct{}, 1)
	l.waiting[c] = struct{}{}
	return c
}

func (l *listeners) remove(c chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.waiting, c)
}

func (l *listeners) wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.waiting {
		fill(c)
	}
}

func fill(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// changed wakes the sources of this process now, and those of others soon.
func (t *transport) changed() {
	t.listeners.wake()
	fill(t.listeners.notify)
}

// notifyLoop tells other processes, outside of every transaction: a
// notification inside would make commits wait for each other.
func (t *transport) notifyLoop() {
	for {
		select {
		case <-t.life.Done():
			return
		case <-t.listeners.notify:
		}
		_, _ = t.pool.Exec(t.life, "SELECT pg_notify($1, $2)", channel, t.opts.Namespace) // who does not hear it polls
		select {
		case <-t.life.Done():
			return
		case <-time.After(minNotifyGap):
		}
	}
}

// listenLoop hears of changes by others, on a connection of its own that is
// made anew when it is lost.
func (t *transport) listenLoop() {
	wait := 50 * time.Millisecond
	for t.life.Err() == nil {
		began := time.Now()
		err := t.listen(t.life)
		if t.life.Err() != nil {
			return
		}
		if time.Since(began) > 10*time.Second {
			wait = 50 * time.Millisecond
		}
		t.opts.Logger.Debug("pgbus: not listening, polling meanwhile", "err", err)
		select {
		case <-t.life.Done():
			return
		case <-time.After(wait):
		}
		wait = min(2*wait, 5*time.Second)
	}
}

func (t *transport) listen(ctx context.Context) error {
	conn, err := pgx.ConnectConfig(ctx, t.pool.Config().ConnConfig)
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(closing)
	}()
	if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
		return err
	}
	t.listeners.wake() // what came before is not heard
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		if n.Payload == t.opts.Namespace {
			t.listeners.wake()
		}
	}
}
