package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// Requeue has the parked messages that filter picks published, and those that
// wait behind them, and returns how many it picked. Whichever dispatcher has
// their lanes does it, soon: in the order of each key, before anything newer of
// it.
//
// Errors: as those of [journal.Outbox].
func Requeue(ctx context.Context, j Journal, filter journal.ParkedFilter) (int, error) {
	return j.Outbox().OrderParked(ctx, filter, journal.OrderRequeue)
}

// Discard has the parked messages that filter picks deleted unpublished, and
// returns how many it picked. Those that wait behind them are published.
//
// Errors: as those of [journal.Outbox].
func Discard(ctx context.Context, j Journal, filter journal.ParkedFilter) (int, error) {
	return j.Outbox().OrderParked(ctx, filter, journal.OrderDiscard)
}

// parkedKeys knows the ordering keys of which messages are parked: what comes
// later must wait. The store is the truth; it is read when lanes are gained, and
// nobody else parks messages of these lanes.
type parkedKeys struct {
	keys     map[string]int      // key → its slot
	draining map[string]struct{} // keys whose messages only wait behind one that is gone
	checked  time.Time           // when orders were last looked for
}

// load reads which keys of these lanes wait.
func (p *parkedKeys) load(ctx context.Context, o journal.Outbox, lanes []journal.SlotRange) error {
	p.keys, p.draining, p.checked = map[string]int{}, map[string]struct{}{}, time.Time{}
	for _, lane := range lanes {
		for m, err := range o.Parked(ctx, journal.ParkedFilter{Slots: lane}) {
			if err != nil {
				return err
			}
			key := m.OrderingKey()
			if key == "" {
				continue
			}
			if _, seen := p.keys[key]; !seen && m.Behind {
				// Whoever published or discarded the first died before the rest.
				p.draining[key] = struct{}{}
			}
			p.keys[key] = m.Slot
		}
	}
	return nil
}

func (p *parkedKeys) add(m *envelope.StoredMessage) {
	if key := m.OrderingKey(); key != "" {
		p.keys[key] = m.Slot
	}
}

// has reports whether m has to wait behind a parked message.
func (p *parkedKeys) has(m *envelope.StoredMessage) bool {
	_, waits := p.keys[m.OrderingKey()]
	return waits
}

// behind sets m aside behind a parked message of its key.
func behind(m *envelope.StoredMessage, now time.Time) journal.Park {
	return journal.Park{Position: m.Position, Parking: journal.Parking{
		Reason: "waits behind a parked message of its key", Time: now, Behind: true,
	}}
}

// maxOrders bounds how many orders are looked at in one go.
const maxOrders = 1000

// carryOutOrders publishes and deletes the parked messages that somebody wants
// that for, if it is time to look. more says that there may be more orders.
func (w *work) carryOutOrders(ctx context.Context) (more bool, err error) {
	if time.Since(w.parked.checked) < w.d.opts.PollInterval {
		return false, nil
	}
	keys, alone := map[string]struct{}{}, []string(nil)
	for key := range w.parked.draining {
		keys[key] = struct{}{}
	}
	for _, lane := range w.lanes {
		for m, err := range w.d.outbox.Parked(ctx, journal.ParkedFilter{Slots: lane, Ordered: true}) {
			if err != nil {
				return false, err
			}
			if more = len(keys)+len(alone) >= maxOrders; more {
				break
			}
			if key := m.OrderingKey(); key != "" {
				keys[key] = struct{}{}
			} else {
				alone = append(alone, m.ID)
			}
		}
	}
	// Looked for again behind what is done now, not in the middle of it.
	defer func() {
		if !more {
			w.parked.checked = time.Now()
		}
	}()
	stuck := false
	for key := range keys {
		drained, err := w.drain(ctx, journal.ParkedFilter{Key: key})
		if err != nil {
			return false, err
		}
		if delete(w.parked.draining, key); drained {
			delete(w.parked.keys, key)
			continue
		}
		stuck = true
		if first, err := w.firstParked(ctx, key); err != nil {
			return false, err
		} else if first != nil && first.Behind {
			w.parked.draining[key] = struct{}{}
		}
	}
	for _, id := range alone {
		if _, err := w.drain(ctx, journal.ParkedFilter{ID: id}); err != nil {
			return false, err
		}
	}
	more = more && !stuck
	return more, nil
}

func (w *work) firstParked(ctx context.Context, key string) (*journal.ParkedMessage, error) {
	for m, err := range w.d.outbox.Parked(ctx, journal.ParkedFilter{Key: key}) {
		if err != nil {
			return nil, err
		}
		return &m, nil
	}
	return nil, nil
}

// drain carries out the orders for the parked messages of one key, in their
// order, as far as there are any. It reports whether none is left. What cannot be
// published for now keeps its order.
func (w *work) drain(ctx context.Context, filter journal.ParkedFilter) (drained bool, err error) {
	var due []journal.ParkedMessage
	for m, err := range w.d.outbox.Parked(ctx, filter) {
		if err != nil {
			return false, err
		}
		if m.Order == journal.OrderNone && !m.Behind {
			_, err := w.publishParked(ctx, due)
			return false, err
		}
		if due = append(due, m); len(due) == w.d.opts.Window {
			if goOn, err := w.publishParked(ctx, due); !goOn || err != nil {
				return false, err
			}
			due = due[:0]
		}
	}
	return w.publishParked(ctx, due)
}

// publishParked publishes messages that were parked, or deletes those that are
// to be discarded. It reports whether all are done with.
func (w *work) publishParked(ctx context.Context, due []journal.ParkedMessage) (all bool, err error) {
	if len(due) == 0 {
		return true, nil
	}
	var settled journal.Settlement
	var publish []envelope.StoredMessage
	for i := range due {
		if due[i].Order == journal.OrderDiscard {
			settled.Published = append(settled.Published, due[i].Position)
			continue
		}
		publish = append(publish, due[i].StoredMessage)
	}
	all = true
	if len(publish) > 0 {
		failed, _ := w.publish(ctx, publish) // each message's own error says enough
		now := time.Now()
		for i, e := range failed {
			m := &publish[i]
			switch {
			case e == nil:
				settled.Published = append(settled.Published, m.Position)
				continue
			case bus.IsPermanent(e):
				settled.Parked = append(settled.Parked, journal.Park{Position: m.Position, Parking: journal.Parking{
					Reason: fmt.Sprintf("sent again: %v", e), Attempts: 1, Time: now,
				}})
			}
			all = false
		}
	}
	return all, w.settle(ctx, settled)
}
