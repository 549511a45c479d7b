package outbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// work is one run of a dispatcher, on one goroutine: a window is read,
// published, and settled, then the next.
//
// What is read is what the store has: existence is the truth. Each page begins
// at floor, below which nothing of these lanes is left or will appear, so no
// message of a key is passed by for one behind it.
type work struct {
	d      *Dispatcher
	leases *leases
	lanes  []journal.SlotRange // as of the last pass
	losses int                 // of leases, until then
	floor  uint64

	resting resting
	parked  parkedKeys
	delayed timetable

	result Result
}

func newWork(d *Dispatcher) *work {
	return &work{d: d, leases: newLeases(d), resting: resting{opts: &d.opts}, parked: parkedKeys{keys: map[string]uint64{}}}
}

// pass publishes one window of at most so many messages. more says that there is
// more to do at once. An error says that nothing could be done: the broker
// confirmed nothing, or the journal is away.
func (w *work) pass(ctx context.Context, window int) (more bool, err error) {
	if err := w.leases.share(ctx); err != nil {
		return false, err
	}
	if err := w.relane(ctx); err != nil || len(w.lanes) == 0 {
		return false, err
	}
	if err := w.takeOrders(ctx); err != nil {
		return false, err
	}
	if err := w.releaseDelayed(ctx); err != nil {
		return false, err
	}
	now := time.Now()
	skip := w.resting.keys(now)
	page, err := w.d.outbox.Pending(ctx, journal.PendingQuery{
		Slots: w.lanes, After: w.floor, Limit: window + w.resting.kept(now, len(skip)), Skip: skip,
	})
	if err != nil {
		return false, err
	}
	confirmed, err := w.publishPage(ctx, &page, window, now)
	return (page.More || w.delayed.more) && (confirmed > 0 || err == nil), err
}

// releaseDelayed has messages pending whose time has come.
func (w *work) releaseDelayed(ctx context.Context) error {
	lowest, err := w.delayed.release(ctx, w.d, w.lanes, func(s journal.Settlement) error { return w.tell(ctx, s) })
	if lowest > 0 {
		w.floor = min(w.floor, lowest-1)
	}
	return err
}

// takeOrders does what is ordered for parked messages, if it is time to look.
func (w *work) takeOrders(ctx context.Context) error {
	if time.Since(w.parked.checked) < w.d.opts.PollInterval {
		return nil
	}
	lowest, err := w.parked.takeOrders(ctx, w.d.outbox, w.lanes, func(s journal.Settlement) error { return w.tell(ctx, s) })
	if lowest > 0 {
		w.floor = min(w.floor, lowest-1)
	}
	return err
}

// relane notes which lanes there are. Of new ones nothing is known: what was
// published, where to begin, which keys wait.
func (w *work) relane(ctx context.Context) error {
	held, losses := w.leases.lanes()
	lanes := journal.JoinSlots(held)
	if slices.Equal(lanes, w.lanes) && losses == w.losses {
		return nil
	}
	w.floor = 0
	w.resting.clear()
	w.delayed.reset()
	if err := w.parked.load(ctx, w.d.outbox, lanes); err != nil {
		w.lanes = nil
		return err
	}
	w.lanes, w.losses = lanes, losses
	return nil
}

// publishPage publishes what may be of a page, and settles all of it.
func (w *work) publishPage(ctx context.Context, page *journal.PendingPage, window int, now time.Time) (confirmed int, err error) {
	var settled journal.Settlement
	var due []envelope.StoredMessage
	left := uint64(0) // the lowest position that stays
	stays := func(m *envelope.StoredMessage) {
		if left == 0 || m.Position < left {
			left = m.Position
		}
	}
	waits := w.resting.at(now)
	due = make([]envelope.StoredMessage, 0, min(len(page.Messages), window))
	for i := range page.Messages {
		m := &page.Messages[i]
		switch {
		case w.parked.has(m):
			settled.Parked = append(settled.Parked, behind(m, now))
		case waits.has(m):
			stays(m)
		case len(due) == window: // the page has room for those that rest
			stays(m)
			page.More = true
		default:
			due = append(due, *m)
		}
	}
	w.result.Claimed += len(due)
	if len(due) > 0 {
		var failed []error
		failed, err = w.publish(ctx, due)
		for _, e := range failed {
			if e == nil {
				confirmed++
			}
		}
		w.resting.confirmed += int64(confirmed)
		published := make([]envelope.StoredMessage, 0, confirmed)
		settled.Published = make([]uint64, 0, confirmed)
		if confirmed == 0 && w.resting.knows(due) {
			err = nil // only what failed before failed again: that is no outage
		}
		stopped := map[string]bool{} // keys of which an earlier one failed
		for i, e := range failed {
			m := &due[i]
			key := m.OrderingKey()
			if e == nil {
				published = append(published, *m)
				settled.Published = append(settled.Published, m.Position)
				w.resting.forget(m)
				continue
			}
			if w.parked.has(m) {
				settled.Parked = append(settled.Parked, behind(m, now))
				continue
			}
			if key == "" || !stopped[key] {
				if why, park := w.judge(m, e, confirmed > 0, now); park {
					settled.Parked = append(settled.Parked, journal.Park{Position: m.Position, Parking: why})
					w.parked.add(m)
					w.resting.forget(m)
					w.d.opts.Logger.Warn("outbox: message parked", "message", m.ID, "name", m.Name, "key", key, "reason", why.Reason)
					continue
				}
				stopped[key] = true
			}
			stays(m)
			w.result.Released++
			w.d.totals.failed.Add(1)
		}
		if archive := w.d.opts.Archive; archive != nil && len(published) > 0 {
			if archiveErr := archive(ctx, published); archiveErr != nil {
				w.lanes = nil // what was to be parked is not: begin anew
				return 0, fmt.Errorf("outbox: archive %d messages: %w", len(published), archiveErr)
			}
		}
	}
	if settleErr := w.settle(ctx, settled); settleErr != nil {
		return confirmed, settleErr
	}
	w.raise(page, left)
	return confirmed, err
}

// raise moves the floor: to what the page has seen, and no further than what
// stays or may appear late.
func (w *work) raise(page *journal.PendingPage, left uint64) {
	floor := page.Complete
	if n := len(page.Messages); page.More && n > 0 {
		floor = min(floor, page.Messages[n-1].Position)
	}
	if left > 0 {
		floor = min(floor, left-1)
	}
	if lowest := w.resting.lowest(); lowest > 0 {
		floor = min(floor, lowest-1)
	}
	w.floor = max(w.floor, floor)
}

// publish hands a window to the broker. failed has an entry per message; err is
// an error that speaks of all of them, or of each alike.
func (w *work) publish(ctx context.Context, due []envelope.StoredMessage) (failed []error, err error) {
	messages := make([]envelope.Message, len(due))
	for i := range due {
		messages[i] = due[i].Message
	}
	held, end := w.leases.begin(context.WithoutCancel(ctx))
	defer end()
	window, cancel := context.WithTimeoutCause(held, w.d.opts.PublishTimeout, errTooSlow)
	defer cancel()
	// The end of the run leaves the window some time.
	defer context.AfterFunc(ctx, func() { time.AfterFunc(w.d.opts.DrainTimeout, cancel) })()
	if err := context.Cause(window); err != nil {
		return repeated(err, len(due)), err
	}
	err = bus.PublishInOrder(window, w.d.publisher, messages)
	failed = bus.PublishErrors(err, len(due))
	if cause := context.Cause(window); err != nil && cause != nil {
		err = fmt.Errorf("%w: %w", cause, err)
	}
	for _, e := range failed {
		if e == nil || bus.IsPermanent(e) {
			return failed, nil // the broker is there
		}
	}
	return failed, err
}

// errTooSlow reports that a broker did not confirm in time.
var errTooSlow = fmt.Errorf("outbox: not confirmed in time: %w", bus.ErrUnavailable)

func repeated(err error, n int) []error { return slices.Repeat([]error{err}, n) }

// judge says whether a message that failed is to be parked, and why. If not, it
// rests if the broker confirmed others, now or before; if it did not, that says
// nothing about this one.
func (w *work) judge(m *envelope.StoredMessage, err error, othersConfirmed bool, now time.Time) (why journal.Parking, park bool) {
	if bus.IsPermanent(err) {
		return journal.Parking{Reason: err.Error(), Attempts: w.resting.attempts(m) + 1, Time: now}, true
	}
	if !othersConfirmed && !w.resting.known(m) {
		return why, false
	}
	attempts := w.resting.fail(m, now)
	if most := w.d.opts.MaxAttempts; most < 0 || attempts < most {
		return why, false
	}
	return journal.Parking{
		Reason: fmt.Sprintf("not confirmed in %d attempts while others were: %v", attempts, err), Attempts: attempts, Time: now,
	}, true
}

// settle tells the store what became of messages, and counts.
func (w *work) settle(ctx context.Context, s journal.Settlement) error {
	if err := w.tell(ctx, s); err != nil {
		return err
	}
	w.result.Published += len(s.Published)
	w.result.Parked += len(s.Parked)
	w.d.totals.published.Add(int64(len(s.Published)))
	w.d.totals.parked.Add(int64(len(s.Parked)))
	return nil
}

// tell tells the store. When the leases are lost, so is the right to go on.
func (w *work) tell(ctx context.Context, s journal.Settlement) error {
	if s.IsEmpty() {
		return nil
	}
	// What was confirmed is settled even though the run has ended.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.d.opts.PublishTimeout)
	defer cancel()
	err := w.d.outbox.Settle(ctx, w.d.token, s)
	if errors.Is(err, journal.ErrLeaseLost) {
		w.leases.drop()
	}
	if err != nil {
		w.lanes = nil // what of it was settled is not known: begin anew
	}
	return err
}

// next is when there is something to do that nobody tells of.
func (w *work) next() time.Time {
	if retry, some := w.resting.next(); some && retry.Before(w.delayed.look) {
		return retry
	}
	return w.delayed.look
}
