package lock

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Lease is the holding of one key. It is safe for concurrent use.
type Lease struct {
	locker *Locker
	key    string
	token  string

	ended chan struct{} // closed when the lease was given back or lost
	stop  context.CancelFunc
	done  sync.WaitGroup

	mu    sync.Mutex
	until time.Time // the lease lasts at least until then, by this process's monotonic clock
	lost  bool
	back  bool
}

// newLease keeps a lease alive that was asked for at a moment.
func newLease(ctx context.Context, l *Locker, key, token string, asked time.Time) *Lease {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	s := &Lease{locker: l, key: key, token: token, ended: make(chan struct{}), stop: stop, until: asked.Add(l.opts.TTL)}
	s.done.Go(func() { s.renew(ctx) })
	return s
}

// Key is what is held.
func (s *Lease) Key() string { return s.key }

// Token tells this holding from all others.
func (s *Lease) Token() string { return s.token }

// Ended is closed when the lease was given back or lost.
func (s *Lease) Ended() <-chan struct{} { return s.ended }

// Holds reports whether the key is still held, for certain: no renewal failed
// for as long as the lease lasts, counted from before the last good one.
func (s *Lease) Holds() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.lost && !s.back && time.Now().Before(s.until)
}

// renew renews the lease every third of its time, and gives up when it has
// lasted too long without.
func (s *Lease) renew(ctx context.Context) {
	ttl := s.locker.opts.TTL
	next := time.NewTimer(ttl / 3)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		s.mu.Lock()
		until := s.until
		s.mu.Unlock()
		asked := time.Now()
		if !asked.Before(until) {
			s.lose()
			return
		}
		call, cancel := context.WithDeadline(ctx, until)
		ok, err := s.locker.store.Renew(call, s.key, s.token, ttl)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil: // the store may be back before the lease ends
			next.Reset(min(ttl/10, max(time.Until(until), 0)))
			continue
		case !ok:
			s.lose()
			return
		}
		s.mu.Lock()
		s.until = asked.Add(ttl)
		s.mu.Unlock()
		next.Reset(ttl / 3)
	}
}

func (s *Lease) lose() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.back && !s.lost {
		s.lost = true
		close(s.ended)
	}
}

// Unlock gives the key back. A second call does nothing.
//
// Errors: [ErrLost] when it was not held any more; the store's and the
// context's, when the lease ends by itself after its time.
func (s *Lease) Unlock(ctx context.Context) error {
	s.stop()
	s.done.Wait()
	s.mu.Lock()
	again, lost := s.back, s.lost
	if !again && !lost {
		close(s.ended)
	}
	s.back = true
	s.mu.Unlock()
	if again {
		return nil
	}
	ok, err := s.locker.store.Unlock(ctx, s.key, s.token)
	switch {
	case err != nil:
		return fmt.Errorf("unlock %q: %w", s.key, err)
	case !ok || lost:
		return fmt.Errorf("unlock %q: %w", s.key, ErrLost)
	}
	return nil
}
