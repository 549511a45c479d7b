package outbox

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// leases are the slots that a dispatcher holds. They go by the store's clock; by
// this process's own they end earlier, a lease's time after the last renewal was
// asked for, not answered.
//
// Lanes are taken and given back between two windows, by whoever publishes, so
// that nothing of theirs is on its way then. Renewals happen beside, since a
// window can take longer than a lease lasts.
type leases struct {
	d *Dispatcher

	// calls holds one while the store is asked, so that its answers are about
	// what is held.
	calls chan struct{}

	mu     sync.Mutex
	held   []journal.SlotRange // lanes, as they were leased
	losses int                 // how often all were lost
	until  time.Time
	window context.CancelCauseFunc // ends the window that is under way; nil without
	expire *time.Timer             // does so when the leases end

	shared time.Time // when lanes were last shared out

	busy func(journal.SlotRange) bool // lanes that cannot be given back now; nil if all can
}

func newLeases(d *Dispatcher) *leases { return &leases{d: d, calls: make(chan struct{}, 1)} }

func (l *leases) enter(ctx context.Context) error {
	select {
	case l.calls <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (l *leases) leave() { <-l.calls }

// announcement is the lease that tells others of this dispatcher.
var announcement = journal.SlotRange{}

// lane i of all of them.
func (l *leases) lane(i int) journal.SlotRange {
	n := l.d.opts.Lanes
	return journal.SlotRange{From: i * envelope.Slots / n, To: (i + 1) * envelope.Slots / n}
}

// keep renews until ctx ends.
func (l *leases) keep(ctx context.Context) {
	ttl := l.d.opts.LeaseTTL
	ticker := time.NewTicker(ttl / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := l.renew(ctx); err != nil && ctx.Err() == nil {
			l.d.opts.Logger.Warn("outbox: leases could not be renewed", "owner", l.d.opts.Owner, "err", err)
		}
	}
}

func (l *leases) renew(ctx context.Context) error {
	if err := l.enter(ctx); err != nil {
		return err
	}
	defer l.leave()
	ttl := l.d.opts.LeaseTTL
	asked := time.Now()
	call, cancel := context.WithTimeout(ctx, ttl)
	defer cancel()
	renewed, err := l.d.outbox.Renew(call, l.d.token, ttl)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if slices.ContainsFunc(l.held, func(r journal.SlotRange) bool { return !slices.Contains(renewed, r) }) {
		l.dropLocked()
		return nil
	}
	if len(l.held) > 0 {
		l.until = asked.Add(ttl)
		if l.expire != nil {
			l.expire.Reset(time.Until(l.until))
		}
	}
	return nil
}

// drop forgets all lanes, which are lost.
func (l *leases) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropLocked()
}

func (l *leases) dropLocked() {
	if len(l.held) > 0 {
		l.d.opts.Logger.Warn("outbox: leases lost", "owner", l.d.opts.Owner, "lanes", len(l.held))
	}
	l.held, l.until, l.shared = nil, time.Time{}, time.Time{}
	l.losses++
	if l.window != nil {
		l.window(journal.ErrLeaseLost)
	}
}

// share takes lanes that are free and gives back those that are more than this
// dispatcher's part, if it is time.
func (l *leases) share(ctx context.Context) (err error) {
	if err := l.enter(ctx); err != nil {
		return err
	}
	defer l.leave()
	l.mu.Lock()
	expired := !l.until.IsZero() && !time.Now().Before(l.until)
	if expired {
		l.dropLocked()
	}
	due := time.Since(l.shared) >= min(l.d.opts.PollInterval, l.d.opts.LeaseTTL/3)
	held := slices.Clone(l.held)
	l.mu.Unlock()
	if !due {
		return nil
	}
	all, err := l.d.outbox.Leases(ctx)
	if err != nil {
		return err
	}
	others := map[string]bool{}
	announced := false
	for _, lease := range all {
		switch {
		case lease.Token != l.d.token:
			others[lease.Token] = true
		case lease.Slots == announcement:
			announced = true
		case !slices.Contains(held, lease.Slots):
			// The answer to taking it, or to giving it back, was lost. It would be
			// renewed with the others, and nobody would publish its slots.
			if err := l.d.outbox.Release(ctx, l.d.token, lease.Slots); err != nil {
				return err
			}
		}
	}
	if !announced {
		if _, err := l.take(ctx, announcement); err != nil {
			return err
		}
	}
	part := (l.d.opts.Lanes + len(others)) / (1 + len(others)) // rounded up
	for i := len(held) - 1; i >= 0 && len(held) > part; i-- {
		lane := held[i]
		if l.busy != nil && l.busy(lane) {
			continue
		}
		held = slices.Delete(held, i, i+1)
		l.mu.Lock()
		l.held = slices.DeleteFunc(l.held, func(r journal.SlotRange) bool { return r == lane })
		l.mu.Unlock()
		if err := l.d.outbox.Release(ctx, l.d.token, lane); err != nil {
			return err
		}
	}
	for i := 0; i < l.d.opts.Lanes && len(held) < part; i++ {
		lane := l.lane(i)
		if slices.Contains(held, lane) || slices.ContainsFunc(all, func(other journal.OutboxLease) bool {
			return other.Token != l.d.token && other.Slots.Overlaps(lane)
		}) {
			continue
		}
		ok, err := l.take(ctx, lane)
		if err != nil {
			return err
		}
		if ok {
			held = append(held, lane)
		}
	}
	l.mu.Lock()
	l.shared = time.Now()
	l.mu.Unlock()
	return nil
}

// take leases a lane, or announces.
func (l *leases) take(ctx context.Context, slots journal.SlotRange) (bool, error) {
	ttl := l.d.opts.LeaseTTL
	asked := time.Now()
	ok, err := l.d.outbox.Lease(ctx, journal.OutboxLease{Token: l.d.token, Owner: l.d.opts.Owner, Slots: slots}, ttl)
	if err != nil || !ok || slots == announcement {
		return ok, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if until := asked.Add(ttl); len(l.held) == 0 || until.Before(l.until) {
		l.until = until
	}
	l.held = append(l.held, slots)
	return true, nil
}

// lanes are those that are held now. losses tells whether they were held all the
// time since they were asked for before: another dispatcher may have had lanes that
// were lost and taken again.
func (l *leases) lanes() (held []journal.SlotRange, losses int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.held), l.losses
}

// begin returns the context of a window, which ends when a lease does, and what
// ends it.
func (l *leases) begin(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(parent)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.window = cancel
	l.expire = time.AfterFunc(time.Until(l.until), func() {
		cancel(fmt.Errorf("outbox: not renewed in time: %w", journal.ErrLeaseLost))
	})
	return ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.expire.Stop()
		l.window, l.expire = nil, nil
		cancel(nil)
	}
}

// releaseAll gives everything back. What cannot be given back ends by itself.
func (l *leases) releaseAll(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.d.opts.DrainTimeout)
	defer cancel()
	if l.enter(ctx) == nil {
		defer l.leave()
	}
	held, _ := l.lanes()
	for _, r := range append(held, announcement) {
		if err := l.d.outbox.Release(ctx, l.d.token, r); err != nil {
			l.d.opts.Logger.Warn("outbox: slots stay leased for a while", "owner", l.d.opts.Owner, "slots", r.String(), "err", err)
			return
		}
	}
}
