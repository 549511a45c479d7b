package journaltest

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

type toyLease struct {
	journal.OutboxLease
	until time.Time
}

func (y *toy) Outbox() journal.Outbox { return toyOutbox{y} }

type toyOutbox struct{ *toy }

// begin locks the disk, and returns how to unlock it.
func (o toyOutbox) begin(ctx context.Context, invalid error) (func(), error) {
	if err := o.check(ctx); err != nil && o.fault != "outbox after close" {
		return nil, err
	}
	if invalid != nil {
		return nil, invalid
	}
	o.disk.mu.Lock()
	if o.fault != "leases last for ever" {
		o.disk.leases = slices.DeleteFunc(o.disk.leases, func(l toyLease) bool { return time.Now().After(l.until) })
	}
	return o.disk.mu.Unlock, nil
}

func (o toyOutbox) Lease(ctx context.Context, l journal.OutboxLease, ttl time.Duration) (bool, error) {
	end, err := o.begin(ctx, l.Validate())
	if err != nil {
		return false, err
	}
	defer end()
	for _, other := range o.disk.leases {
		collides := other.Slots.Overlaps(l.Slots) || o.fault == "leases of no slots collide" && other.Slots.Len() == 0 && l.Slots.Len() == 0
		if other.Token != l.Token && collides && o.fault != "leases overlap" {
			return false, nil
		}
	}
	o.release(l.Token, l.Slots)
	o.disk.leases = append(o.disk.leases, toyLease{l, time.Now().Add(ttl)})
	return true, nil
}

func (o toyOutbox) release(token string, slots journal.SlotRange) {
	o.disk.leases = slices.DeleteFunc(o.disk.leases, func(l toyLease) bool { return l.Token == token && l.Slots == slots })
}

func (o toyOutbox) Renew(ctx context.Context, token string, ttl time.Duration) (held []journal.SlotRange, err error) {
	end, err := o.begin(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer end()
	for i := range o.disk.leases {
		if l := &o.disk.leases[i]; l.Token == token {
			l.until = time.Now().Add(ttl)
			held = append(held, l.Slots)
		}
	}
	return held, nil
}

func (o toyOutbox) Release(ctx context.Context, token string, slots journal.SlotRange) error {
	end, err := o.begin(ctx, nil)
	if err != nil {
		return err
	}
	defer end()
	o.release(token, slots)
	return nil
}

func (o toyOutbox) Leases(ctx context.Context) (all []journal.OutboxLease, err error) {
	end, err := o.begin(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer end()
	for _, l := range o.disk.leases {
		l.Left = time.Until(l.until)
		all = append(all, l.OutboxLease)
	}
	slices.SortFunc(all, func(a, b journal.OutboxLease) int { return a.Slots.From - b.Slots.From })
	return all, nil
}

func (o toyOutbox) Pending(ctx context.Context, q journal.PendingQuery) (page journal.PendingPage, err error) {
	end, err := o.begin(ctx, q.Validate())
	if err != nil {
		return page, err
	}
	defer end()
	bytes := 0
	for i := range o.disk.outbox {
		m := &o.disk.outbox[i]
		page.Complete = m.message.Position
		if m.gone || !m.message.NotBefore.IsZero() || m.parking != nil && o.fault != "parked messages are pending" || m.message.Position <= q.After {
			continue
		}
		if !slices.ContainsFunc(q.Slots, func(r journal.SlotRange) bool { return r.Has(m.message.Slot) }) && o.fault != "pending of all slots" {
			continue
		}
		key := m.message.OrderingKey()
		if o.fault == "pending skips by key only" {
			key = m.message.Key
		}
		if slices.Contains(q.Skip, key) {
			continue
		}
		if len(page.Messages) >= q.Limit && o.fault != "pending limit ignored" || bytes > 1<<20 && o.fault != "pending pages without bound" {
			page.More = true
			continue
		}
		bytes += m.message.SizeBytes()
		page.Messages = append(page.Messages, m.message)
	}
	if o.fault == "complete is too high" {
		page.Complete += 20
	}
	return page, nil
}

func (o toyOutbox) Delayed(ctx context.Context, q journal.DelayedQuery) (page journal.DelayedPage, err error) {
	end, err := o.begin(ctx, q.Validate())
	if err != nil {
		return page, err
	}
	defer end()
	var held []*toyMessage
	for i := range o.disk.outbox {
		m := &o.disk.outbox[i]
		ours := slices.ContainsFunc(q.Slots, func(r journal.SlotRange) bool { return r.Has(m.message.Slot) })
		if !m.gone && m.parking == nil && !m.message.NotBefore.IsZero() && (ours || o.fault == "delayed of all slots") {
			held = append(held, m)
		}
	}
	if o.fault != "delayed in the order of positions" {
		slices.SortStableFunc(held, func(a, b *toyMessage) int { return a.message.NotBefore.Compare(b.message.NotBefore) })
	}
	for _, m := range held {
		due := !m.message.NotBefore.After(q.Until)
		if o.fault == "due is before its time" {
			due = !m.message.NotBefore.After(q.Until.Add(time.Microsecond))
		}
		if due && (len(page.Due) < q.Limit || o.fault == "delayed limit ignored") {
			page.Due = append(page.Due, m.message.Position)
			continue
		}
		if page.Next.IsZero() && (!due || o.fault != "next is what is not due") {
			page.Next = m.message.NotBefore.UTC()
		}
	}
	return page, nil
}

func (o toyOutbox) Settle(ctx context.Context, token string, s journal.Settlement) error {
	end, err := o.begin(ctx, nil)
	if err != nil {
		return err
	}
	defer end()
	lost := false
	settle := func(position uint64, do func(m *toyMessage)) {
		for i := range o.disk.outbox {
			m := &o.disk.outbox[i]
			if m.gone || m.message.Position != position {
				continue
			}
			if !slices.ContainsFunc(o.disk.leases, func(l toyLease) bool { return l.Token == token && l.Slots.Has(m.message.Slot) }) &&
				o.fault != "anybody settles" {
				lost = true
				continue
			}
			do(m)
		}
	}
	for _, position := range s.Published {
		settle(position, func(m *toyMessage) { m.gone = o.fault != "published messages stay" })
	}
	for _, park := range s.Parked {
		settle(park.Position, func(m *toyMessage) {
			why := park.Parking
			why.Time = why.Time.Truncate(time.Microsecond).UTC()
			if o.fault != "reasons as given" {
				why.Reason = journal.CutParkReason(why.Reason)
			}
			m.parking, m.message.NotBefore = &why, time.Time{}
			if o.fault != "orders stay" {
				m.order = journal.OrderNone
			}
		})
	}
	for _, position := range s.Pending {
		settle(position, func(m *toyMessage) {
			if o.fault == "unparked messages stay parked" {
				return
			}
			if o.fault != "delayed messages stay delayed" {
				m.message.NotBefore = time.Time{}
			}
			if m.parking, m.order = nil, journal.OrderNone; o.fault == "unparked messages come last" {
				m.message.Position = o.disk.outbox[len(o.disk.outbox)-1].message.Position + 1
			}
		})
	}
	if lost && o.fault != "lost leases are silent" {
		return journal.ErrLeaseLost
	}
	return nil
}

func (o toyOutbox) Parked(ctx context.Context, filter journal.ParkedFilter) iter.Seq2[journal.ParkedMessage, error] {
	return func(yield func(journal.ParkedMessage, error) bool) {
		end, err := o.begin(ctx, filter.Validate())
		if err != nil {
			yield(journal.ParkedMessage{}, err)
			return
		}
		picked := o.pick(filter, func(*toyMessage) {})
		end()
		for _, m := range picked {
			if !yield(m, nil) {
				return
			}
		}
	}
}

func (o toyOutbox) pick(filter journal.ParkedFilter, do func(*toyMessage)) (picked []journal.ParkedMessage) {
	for i := range o.disk.outbox {
		m := &o.disk.outbox[i]
		if m.gone || m.parking == nil {
			continue
		}
		view := journal.ParkedMessage{StoredMessage: m.message, Parking: *m.parking, Order: m.order}
		if filter.Matches(&view) {
			do(m)
			picked = append(picked, view)
		}
	}
	return picked
}

func (o toyOutbox) OrderParked(ctx context.Context, filter journal.ParkedFilter, order journal.ParkedOrder) (int, error) {
	end, err := o.begin(ctx, filter.Validate())
	if err != nil {
		return 0, err
	}
	defer end()
	return len(o.pick(filter, func(m *toyMessage) { m.order = order })), nil
}

func (o toyOutbox) Figures(ctx context.Context) (f journal.OutboxFigures, err error) {
	end, err := o.begin(ctx, nil)
	if err != nil {
		return f, err
	}
	defer end()
	var oldest *envelope.StoredMessage
	for i := range o.disk.outbox {
		switch m := &o.disk.outbox[i]; {
		case m.gone:
		case m.parking != nil:
			f.Parked++
		case !m.message.NotBefore.IsZero():
			f.Delayed++
		default:
			f.Pending++
			if oldest == nil {
				oldest = &m.message
				f.Oldest = time.Since(oldest.Time)
			}
		}
	}
	return f, nil
}
