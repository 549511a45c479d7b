package actor

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/lock"
)

var errNotOwner = fmt.Errorf("%w: another process serves these aggregates, or this one has lost touch with the lease", aggregate.ErrUnavailable)

// ownership is an [HostOptions.Exclusive] host's hold on its type: a lease that
// is taken, kept, and taken again when it was lost.
//
// The journal's heads keep two owners from forking a stream whatever happens.
// The lease is for answers that commit nothing: they are given only while it
// lasts, and for its first time to live, while a batch of the former owner may
// still be on its way to the store, only behind an assert.
type ownership struct {
	locker *lock.Locker
	key    string
	logger *slog.Logger

	lease atomic.Pointer[lock.Lease] // nil without
	term  atomic.Uint64              // counts the leases
	since atomic.Int64               // when this one began, in nanoseconds since began
	began time.Time

	stop context.CancelFunc
	done sync.WaitGroup
}

func newOwnership(l *lock.Locker, typ string, logger *slog.Logger) *ownership {
	ctx, stop := context.WithCancel(context.Background())
	o := &ownership{locker: l, key: "host/" + typ, logger: logger, began: time.Now(), stop: stop}
	o.done.Go(func() { o.keep(ctx) })
	return o
}

// keep takes the lease whenever it is to be had, until ctx ends.
func (o *ownership) keep(ctx context.Context) {
	failing := false
	for ctx.Err() == nil {
		lease, err := o.locker.Lock(ctx, o.key)
		if err != nil {
			if ctx.Err() == nil && !failing {
				failing = true
				o.logger.Error("lease cannot be taken: commands fail fast", slog.String("key", o.key), slog.Any("error", err))
			}
			wait := time.NewTimer(o.locker.TTL() / 10)
			select {
			case <-wait.C:
			case <-ctx.Done():
				wait.Stop()
			}
			continue
		}
		failing = false
		o.since.Store(int64(time.Since(o.began)))
		o.term.Add(1)
		o.lease.Store(lease)
		o.logger.Info("lease taken", slog.String("key", o.key))
		select {
		case <-lease.Ended():
			o.lease.Store(nil)
			o.logger.Error("lease lost: commands fail fast", slog.String("key", o.key))
		case <-ctx.Done():
			o.lease.Store(nil)
		}
		o.giveBack(context.WithoutCancel(ctx), lease)
	}
}

// giveBack gives up a lease that may be lost already.
func (o *ownership) giveBack(ctx context.Context, lease *lock.Lease) {
	ctx, cancel := context.WithTimeout(ctx, min(o.locker.TTL(), 5*time.Second))
	defer cancel()
	if err := lease.Unlock(ctx); err != nil {
		o.logger.Info("lease not given back: it ends by itself", slog.String("key", o.key), slog.Any("error", err))
	}
}

// holds reports whether answers may be given.
func (o *ownership) holds() bool {
	lease := o.lease.Load()
	return lease != nil && lease.Holds()
}

// isNew reports whether the former owner's last batches may still be on their
// way.
func (o *ownership) isNew() bool {
	return time.Since(o.began)-time.Duration(o.since.Load()) < o.locker.TTL()
}

func (o *ownership) close() {
	o.stop()
	o.done.Wait()
}

// current reports whether answers may be given, and drops a state that is of
// an earlier lease.
func (r *resident[A]) current() bool {
	o := r.host.owner
	if o == nil {
		return true
	}
	if term := o.term.Load(); term != r.term {
		r.term = term
		r.state, r.savepoint = nil, nil
	}
	return o.holds()
}

// owns reports whether the state is of the lease that lasts.
func (r *resident[A]) owns() bool {
	o := r.host.owner
	return o == nil || o.term.Load() == r.term && o.holds()
}

// asserts reports whether an answer that commits nothing needs the journal's
// word that the state is the newest.
func (h *Aggregates[A]) asserts() bool {
	return h.opts.Shared || h.owner != nil && h.owner.isNew()
}

func (h *Aggregates[A]) closeOwner() {
	if h.owner != nil {
		h.owner.close()
	}
}
