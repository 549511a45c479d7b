package lock

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"time"

	"github.com/troupe-go/troupe/envelope"
)

// MaxKeyBytes bounds a key.
const MaxKeyBytes = 255

// What locking answers with.
var (
	// ErrHeld reports that somebody else holds the key. Try again later.
	ErrHeld = errors.New("lock: held by another")

	// ErrLost reports that the lease ended before it was given back: it could
	// not be renewed in time. Somebody else may hold the key now.
	ErrLost = errors.New("lock: lease lost")
)

// Store keeps leases: who holds a key, and until when by the store's own
// clock. Every method is atomic and safe for concurrent use.
type Store interface {
	// TryLock gives key to token for ttl, unless another token holds it. A
	// token that holds the key already gets it for ttl from now. If it is
	// held, left is how long its lease still lasts.
	TryLock(ctx context.Context, key, token string, ttl time.Duration) (ok bool, left time.Duration, err error)

	// Renew lets the lease of token last for ttl from now, and reports false
	// if token does not hold the key: a lease that has ended is not renewed.
	Renew(ctx context.Context, key, token string, ttl time.Duration) (bool, error)

	// Unlock ends the lease of token, and reports false if token does not
	// hold the key.
	Unlock(ctx context.Context, key, token string) (bool, error)

	// Sweep deletes leases that have ended, and returns how many. Ended leases
	// stand in nobody's way: it only frees their room.
	Sweep(ctx context.Context) (int, error)
}

// Options tune a [Locker]. A nil *Options means all defaults.
type Options struct {
	// TTL is how long a lease lasts without renewal: how long a key stays
	// held when its holder dies. It is renewed every third of it. Zero means
	// 30 s.
	TTL time.Duration

	// RetryAfter is how long Lock waits between two tries, give or take a
	// quarter; less if the lease in its way ends sooner. Zero means 50 ms.
	RetryAfter time.Duration

	// MaxWait bounds how long Lock waits. Zero means as long as its context.
	MaxWait time.Duration
}

// Locker takes leases in a [Store] and renews them. It is safe for concurrent
// use.
type Locker struct {
	store Store
	opts  Options
}

// New makes a Locker of leases in store.
//
// Errors: [envelope.ErrInvalid] for a negative option, and for a TTL under a
// millisecond.
func New(store Store, opts *Options) (*Locker, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	for _, f := range [...]struct {
		name  string
		value *time.Duration
		unset time.Duration
	}{{"TTL", &o.TTL, 30 * time.Second}, {"RetryAfter", &o.RetryAfter, 50 * time.Millisecond}, {"MaxWait", &o.MaxWait, 0}} {
		if *f.value < 0 {
			return nil, envelope.Invalid("lock.Options."+f.name, f.value.String(), "is negative")
		}
		if *f.value == 0 {
			*f.value = f.unset
		}
	}
	if o.TTL < time.Millisecond {
		return nil, envelope.Invalid("lock.Options.TTL", o.TTL.String(), "is under a millisecond")
	}
	return &Locker{store: store, opts: o}, nil
}

// TTL is how long a lease lasts without renewal.
func (l *Locker) TTL() time.Duration { return l.opts.TTL }

// TryLock takes key, if nobody holds it. The lease is renewed until it is given
// back with [Lease.Unlock] or lost; the context is for this call alone.
//
// Errors: [ErrHeld], [envelope.ErrInvalid] for a malformed key, the store's
// and the context's.
func (l *Locker) TryLock(ctx context.Context, key string) (*Lease, error) {
	lease, _, err := l.try(ctx, key)
	return lease, err
}

// Lock takes key, waiting for it as long as ctx and [Options.MaxWait] allow.
// Who waits longest is not served first: there is no queue.
//
// Errors: [ErrHeld] when MaxWait is over, [envelope.ErrInvalid] for a malformed
// key, the store's and the context's.
func (l *Locker) Lock(ctx context.Context, key string) (*Lease, error) {
	var over <-chan time.Time
	if l.opts.MaxWait > 0 {
		timer := time.NewTimer(l.opts.MaxWait)
		defer timer.Stop()
		over = timer.C
	}
	for {
		lease, left, err := l.try(ctx, key)
		if !errors.Is(err, ErrHeld) {
			return lease, err
		}
		wait := l.opts.RetryAfter*3/4 + mathrand.N(l.opts.RetryAfter/2+1)
		again := time.NewTimer(max(time.Millisecond, min(wait, left)))
		select {
		case <-again.C:
		case <-over:
			again.Stop()
			return nil, fmt.Errorf("lock %q: waited %v: %w", key, l.opts.MaxWait, ErrHeld)
		case <-ctx.Done():
			again.Stop()
			return nil, fmt.Errorf("lock %q: %w", key, context.Cause(ctx))
		}
	}
}

func (l *Locker) try(ctx context.Context, key string) (*Lease, time.Duration, error) {
	if err := envelope.ValidateName("lock key", key, MaxKeyBytes); err != nil {
		return nil, 0, err
	}
	if err := context.Cause(ctx); err != nil {
		return nil, 0, fmt.Errorf("lock %q: %w", key, err)
	}
	token := rand.Text()
	asked := time.Now() // before the store counts from its own now: ours ends first
	ok, left, err := l.store.TryLock(ctx, key, token, l.opts.TTL)
	switch {
	case err != nil:
		// It may have been taken all the same, with the answer lost; then it
		// ends by itself.
		return nil, 0, fmt.Errorf("lock %q: %w", key, err)
	case !ok:
		return nil, left, fmt.Errorf("lock %q: %w", key, ErrHeld)
	}
	return newLease(ctx, l, key, token, asked), 0, nil
}

// Sweep deletes leases that have ended, and returns how many.
//
// Errors: the store's and the context's.
func (l *Locker) Sweep(ctx context.Context) (int, error) { return l.store.Sweep(ctx) }
