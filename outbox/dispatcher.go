package outbox

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/journal"
)

// ErrRunning reports that this dispatcher runs already. Make another one.
var ErrRunning = errors.New("outbox: the dispatcher runs already")

// Journal is what a dispatcher needs of a journal; every [journal.Journal] has
// it.
type Journal interface {
	Outbox() journal.Outbox
	Changed() <-chan struct{}
}

// Dispatcher publishes the messages of a journal's outbox. Make one with [New],
// and run it by [Dispatcher.Run], or a pass at a time by
// [Dispatcher.DispatchOnce]. Its methods are safe for concurrent use, but it does
// one of the two at a time.
type Dispatcher struct {
	journal   Journal
	outbox    journal.Outbox
	publisher bus.Publisher
	opts      Options
	token     string

	running atomic.Bool
	totals  struct{ published, parked, failed atomic.Int64 }
}

// New makes a dispatcher from the outbox of j to publisher, which may be a
// [bus.Bus] of any transport. It starts nothing.
//
// Errors: [envelope.ErrInvalid], naming the option and its value.
func New(j Journal, publisher bus.Publisher, opts *Options) (*Dispatcher, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	return &Dispatcher{journal: j, outbox: j.Outbox(), publisher: publisher, opts: o, token: rand.Text()}, nil
}

// Totals counts what a dispatcher did since it was made.
type Totals struct {
	Published int64 // confirmed by the broker and taken from the outbox
	Parked    int64 // set aside, those behind others included
	Failed    int64 // attempts that were not confirmed, and will be made again
}

// Totals returns how much was done so far.
func (d *Dispatcher) Totals() Totals {
	return Totals{d.totals.published.Load(), d.totals.parked.Load(), d.totals.failed.Load()}
}

// Run publishes until ctx ends; then it finishes the window that is under way,
// gives its slots back, and returns nil. While the journal or the broker is away
// it waits and goes on. Run it on a goroutine of its own.
//
// Errors: [ErrRunning]; [journal.ErrClosed] and [bus.ErrClosed] when the journal
// or the publisher was closed under it.
func (d *Dispatcher) Run(ctx context.Context) error {
	if !d.running.CompareAndSwap(false, true) {
		return ErrRunning
	}
	defer d.running.Store(false)
	w := newWork(d)
	var renewing sync.WaitGroup
	renew, stop := context.WithCancel(context.WithoutCancel(ctx))
	renewing.Go(func() { w.leases.keep(renew) })
	err := d.loop(ctx, w)
	stop()
	renewing.Wait()
	w.leases.releaseAll(ctx)
	return err
}

func (d *Dispatcher) loop(ctx context.Context, w *work) error {
	failures := 0
	for ctx.Err() == nil {
		changed := d.journal.Changed()
		more, err := w.pass(ctx, d.opts.Window)
		wait := d.opts.PollInterval
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // it was asked to end
		case errors.Is(err, journal.ErrClosed), errors.Is(err, bus.ErrClosed):
			return err
		case err != nil:
			if failures++; failures == 1 {
				d.opts.Logger.Warn("outbox: cannot publish, will go on trying", "owner", d.opts.Owner, "err", err)
			}
			wait = d.opts.backoff(failures)
		default:
			if failures > 0 {
				d.opts.Logger.Info("outbox: publishing again", "owner", d.opts.Owner, "failures", failures)
			}
			failures = 0
		}
		if more && err == nil {
			continue
		}
		if err == nil && len(w.lanes) > 0 {
			wait = min(wait, time.Until(w.next()))
		}
		if err != nil {
			// What changes does not bring the broker back, but it may be only
			// one message that it does not take.
			least := min(wait, d.opts.PollInterval)
			d.await(ctx, least, nil)
			wait -= least
		}
		d.await(ctx, wait, changed)
	}
	return nil
}

// await waits so long, at most until changed is closed or ctx ends.
func (d *Dispatcher) await(ctx context.Context, wait time.Duration, changed <-chan struct{}) {
	if wait <= 0 {
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-changed:
	case <-timer.C:
	}
}

// Result is what one [Dispatcher.DispatchOnce] did, in messages.
type Result struct {
	Claimed   int // read, to be published
	Published int // confirmed by the broker and taken from the outbox
	Parked    int // set aside
	Released  int // left for another time
}

// DispatchOnce takes what slots are free, publishes at most n messages, or all
// there are if n is zero, and gives the slots back: for loops that have a rhythm
// of their own. It returns once nothing is left that could be published now, or at
// the first failure.
//
// Errors: [ErrRunning]; those of the journal; the publisher's, when it confirmed
// none of a window.
func (d *Dispatcher) DispatchOnce(ctx context.Context, n int) (Result, error) {
	if !d.running.CompareAndSwap(false, true) {
		return Result{}, ErrRunning
	}
	defer d.running.Store(false)
	w := newWork(d)
	var renewing sync.WaitGroup
	renew, stop := context.WithCancel(context.WithoutCancel(ctx))
	renewing.Go(func() { w.leases.keep(renew) })
	defer func() {
		stop()
		renewing.Wait()
		w.leases.releaseAll(ctx)
	}()
	for {
		window := d.opts.Window
		if n > 0 {
			window = min(window, n-w.result.Claimed)
		}
		more, err := w.pass(ctx, window)
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil || !more || n > 0 && w.result.Claimed >= n {
			return w.result, err
		}
	}
}
