package outbox

import (
	"context"
	"time"

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
// behind the first of them must wait. The store is the truth; it is read when lanes
// are gained, and nobody else parks messages of these lanes.
type parkedKeys struct {
	keys     map[string]uint64   // key → position of its first parked message
	draining map[string]struct{} // keys whose first message waits behind one that is gone
	checked  time.Time           // when orders were last looked for
}

// load reads which keys of these lanes wait.
func (p *parkedKeys) load(ctx context.Context, o journal.Outbox, lanes []journal.SlotRange) error {
	p.keys, p.draining, p.checked = map[string]uint64{}, map[string]struct{}{}, time.Time{}
	for _, lane := range lanes {
		for m, err := range o.Parked(ctx, journal.ParkedFilter{Slots: lane}) {
			if err != nil {
				return err
			}
			key := m.OrderingKey()
			if key == "" {
				continue
			}
			if _, seen := p.keys[key]; seen {
				continue
			}
			if p.keys[key] = m.Position; m.Behind {
				// Whoever took orders for those before it did not get to it.
				p.draining[key] = struct{}{}
			}
		}
	}
	return nil
}

func (p *parkedKeys) add(m *envelope.StoredMessage) {
	key := m.OrderingKey()
	if first, some := p.keys[key]; key != "" && (!some || m.Position < first) {
		p.keys[key] = m.Position
	}
}

// has reports whether m has to wait behind a parked message.
func (p *parkedKeys) has(m *envelope.StoredMessage) bool {
	first, some := p.keys[m.OrderingKey()]
	return some && m.Position > first
}

// behind sets m aside behind a parked message of its key.
func behind(m *envelope.StoredMessage, now time.Time) journal.Park {
	return journal.Park{Position: m.Position, Parking: journal.Parking{
		Reason: "waits behind a parked message of its key", Time: now, Behind: true,
	}}
}

// takeOrders has parked messages pending again that somebody wants published,
// and deletes those that are to be discarded. settle tells the store. It returns
// the lowest position that is pending again, and 0 if none is.
func (p *parkedKeys) takeOrders(ctx context.Context, o journal.Outbox, lanes []journal.SlotRange, settle func(journal.Settlement) error) (lowest uint64, err error) {
	filters := map[journal.ParkedFilter]struct{}{}
	for key := range p.draining {
		filters[journal.ParkedFilter{Key: key}] = struct{}{}
	}
	for _, lane := range lanes {
		for m, err := range o.Parked(ctx, journal.ParkedFilter{Slots: lane, Ordered: true}) {
			switch key := m.OrderingKey(); {
			case err != nil:
				return 0, err
			case key != "":
				filters[journal.ParkedFilter{Key: key}] = struct{}{}
			default:
				filters[journal.ParkedFilter{ID: m.ID}] = struct{}{}
			}
		}
	}
	for filter := range filters {
		settled, left, err := ordered(ctx, o, filter)
		if err != nil {
			return lowest, err
		}
		if err := settle(settled); err != nil {
			return lowest, err
		}
		delete(p.draining, filter.Key)
		if delete(p.keys, filter.Key); left > 0 && filter.Key != "" {
			p.keys[filter.Key] = left
		}
		for _, position := range settled.Pending {
			if lowest == 0 || position < lowest {
				lowest = position
			}
		}
	}
	p.checked = time.Now()
	return lowest, nil
}

// ordered collects what is to become of the parked messages of one key, in their
// order, as far as there are orders; those behind follow by themselves. left is the
// position of the first that stays parked, and 0 if none does.
func ordered(ctx context.Context, o journal.Outbox, filter journal.ParkedFilter) (s journal.Settlement, left uint64, err error) {
	for m, err := range o.Parked(ctx, filter) {
		switch {
		case err != nil:
			return s, 0, err
		case m.Order == journal.OrderDiscard:
			s.Published = append(s.Published, m.Position)
		case m.Order == journal.OrderRequeue, m.Behind:
			s.Pending = append(s.Pending, m.Position)
		default:
			return s, m.Position, nil
		}
	}
	return s, 0, nil
}
