package memory

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/internal/duetimes"
	"github.com/troupe-go/troupe/journal"
)

// outbox is the messages that are to be published, those set aside, and those held
// back.
type outbox struct {
	last    uint64                    // the newest position
	pending []*storedMessage          // in the order of positions; nil where one is gone
	gone    int                       // how many of them are nil
	parked  []*storedMessage          // set aside, in the order of positions
	delayed map[uint64]*storedMessage // held back, by position
	due     duetimes.Index            // of those
	byID    map[string]*storedMessage
}

// storedMessage is one message; what readers get is a copy.
type storedMessage struct {
	message envelope.StoredMessage
	parking *journal.Parking // nil unless it is set aside
	order   journal.ParkedOrder
}

func byPosition(m *storedMessage, position uint64) int {
	switch {
	case m.message.Position < position:
		return -1
	case m.message.Position > position:
		return 1
	}
	return 0
}

// isHeldBack reports whether m waits for its time.
func (m *storedMessage) isHeldBack() bool { return !m.message.NotBefore.IsZero() }

// check refuses a batch with a message id that is taken.
func (o *outbox) check(b *journal.Batch) error {
	for i := range b.Messages {
		if _, taken := o.byID[b.Messages[i].ID]; taken {
			return &journal.MessageExistsError{ID: b.Messages[i].ID}
		}
	}
	return nil
}

func (o *outbox) add(b *journal.Batch) {
	if len(b.Messages) > 0 && o.byID == nil {
		o.byID = make(map[string]*storedMessage)
	}
	for i := range b.Messages {
		m := &b.Messages[i]
		o.last++
		stored := &storedMessage{message: envelope.StoredMessage{Message: *m, Position: o.last, Slot: m.Slot()}}
		stored.message.Time = m.Time.Truncate(time.Microsecond)
		stored.message.NotBefore = m.NotBefore.Truncate(time.Microsecond)
		o.byID[m.ID] = stored
		if stored.isHeldBack() {
			if o.delayed == nil {
				o.delayed = map[uint64]*storedMessage{}
			}
			o.delayed[o.last] = stored
			o.due.Add(o.last, stored.message.Slot, m.NotBefore)
			continue
		}
		o.pending = append(o.pending, stored)
	}
}

// behind yields the pending messages behind position after.
func (o *outbox) behind(after uint64) iter.Seq[*storedMessage] {
	return func(yield func(*storedMessage) bool) {
		for _, m := range o.pending[o.indexBehind(after):] {
			if m != nil && !yield(m) {
				return
			}
		}
	}
}

// indexBehind is where positions behind after begin in pending. Items that are
// gone have no position, but the last item is never gone.
func (o *outbox) indexBehind(after uint64) int {
	from, to := 0, len(o.pending)
	for from < to {
		at := (from + to) / 2
		probe := at
		for o.pending[probe] == nil {
			probe++
		}
		if o.pending[probe].message.Position <= after {
			from = probe + 1
		} else {
			to = at
		}
	}
	return from
}

// take removes the pending message of a position, or returns nil.
func (o *outbox) take(position uint64) *storedMessage {
	if position == 0 {
		return nil
	}
	at := o.indexBehind(position - 1)
	for at < len(o.pending) && o.pending[at] == nil {
		at++
	}
	if at == len(o.pending) || o.pending[at].message.Position != position {
		return nil
	}
	m := o.pending[at]
	o.pending[at] = nil
	o.gone++
	for n := len(o.pending); n > 0 && o.pending[n-1] == nil; n-- {
		o.pending = o.pending[:n-1]
		o.gone--
	}
	if o.gone > len(o.pending)/2 {
		o.pending = slices.DeleteFunc(o.pending, func(m *storedMessage) bool { return m == nil })
		o.gone = 0
	}
	return m
}

// Messages yields at most limit messages behind position after, up to the
// newest at the time when the loop over them begins.
func (j *Journal) Messages(ctx context.Context, after uint64, limit int) iter.Seq2[envelope.StoredMessage, error] {
	return func(yield func(envelope.StoredMessage, error) bool) {
		j.mu.Lock()
		last := j.outbox.last
		j.mu.Unlock()
		for n := 0; after < last && (limit <= 0 || n < limit); {
			page := checkEvery
			if limit > 0 {
				page = min(page, limit-n)
			}
			messages, err := j.readMessages(ctx, after, last, page)
			if err != nil {
				yield(envelope.StoredMessage{}, fmt.Errorf("memory: messages behind %d: %w", after, err))
				return
			}
			for _, m := range messages {
				if !yield(m, nil) {
					return
				}
				after = m.Position
			}
			n += len(messages)
			if len(messages) < page {
				return
			}
		}
		if err := j.ready(ctx); err != nil {
			yield(envelope.StoredMessage{}, fmt.Errorf("memory: messages behind %d: %w", after, err))
		}
	}
}

func (j *Journal) readMessages(ctx context.Context, after, last uint64, most int) ([]envelope.StoredMessage, error) {
	if err := j.ready(ctx); err != nil {
		return nil, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	var page []envelope.StoredMessage
	for m := range j.outbox.behind(after) {
		if len(page) == most || m.message.Position > last {
			break
		}
		page = append(page, m.message)
	}
	return page, nil
}

// ready reports why nothing can be read or done, if so.
func (j *Journal) ready(ctx context.Context) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return journal.ErrClosed
	}
	return context.Cause(ctx)
}

// Outbox returns the messages that are to be published. They are there as long
// as the journal is open.
func (j *Journal) Outbox() journal.Outbox { return publishing{j} }

// publishing is the journal as an outbox.
type publishing struct{ journal *Journal }

var _ journal.Outbox = publishing{}

// begin checks what an operation was given.
func (p publishing) begin(ctx context.Context, doing string, valid error) error {
	err := p.journal.ready(ctx)
	if err == nil {
		err = valid
	}
	if err != nil {
		return fmt.Errorf("memory: %s: %w", doing, err)
	}
	return nil
}

func (p publishing) Lease(ctx context.Context, l journal.OutboxLease, ttl time.Duration) (bool, error) {
	if err := p.begin(ctx, "lease outbox slots", l.Validate()); err != nil {
		return false, err
	}
	return p.journal.leases.Lease(l, ttl), nil
}

func (p publishing) Renew(ctx context.Context, token string, ttl time.Duration) ([]journal.SlotRange, error) {
	if err := p.begin(ctx, "renew outbox leases", nil); err != nil {
		return nil, err
	}
	return p.journal.leases.Renew(token, ttl), nil
}

func (p publishing) Release(ctx context.Context, token string, slots journal.SlotRange) error {
	if err := p.begin(ctx, "release outbox slots", slots.Validate()); err != nil {
		return err
	}
	p.journal.leases.Release(token, slots)
	return nil
}

func (p publishing) Leases(ctx context.Context) ([]journal.OutboxLease, error) {
	if err := p.begin(ctx, "read outbox leases", nil); err != nil {
		return nil, err
	}
	return p.journal.leases.Leases(), nil
}

func (p publishing) Pending(ctx context.Context, q journal.PendingQuery) (page journal.PendingPage, err error) {
	if err := p.begin(ctx, "read pending messages", q.Validate()); err != nil {
		return page, err
	}
	skip := make(map[string]struct{}, len(q.Skip))
	for _, key := range q.Skip {
		skip[key] = struct{}{}
	}
	j := p.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	page.Complete = j.outbox.last
	bytes := 0
	for m := range j.outbox.behind(q.After) {
		if !slices.ContainsFunc(q.Slots, func(r journal.SlotRange) bool { return r.Has(m.message.Slot) }) {
			continue
		}
		if _, skipped := skip[m.message.OrderingKey()]; skipped {
			continue
		}
		if len(page.Messages) == q.Limit || bytes >= journal.PendingPageBytes {
			page.More = true
			break
		}
		bytes += len(m.message.Data)
		page.Messages = append(page.Messages, m.message)
	}
	return page, nil
}

func (p publishing) Delayed(ctx context.Context, q journal.DelayedQuery) (page journal.DelayedPage, err error) {
	if err := p.begin(ctx, "read delayed messages", q.Validate()); err != nil {
		return page, err
	}
	j := p.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.outbox.due.Page(q), nil
}

func (p publishing) Settle(ctx context.Context, token string, s journal.Settlement) error {
	if err := p.begin(ctx, "settle messages", nil); err != nil {
		return err
	}
	j := p.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	lost := false
	mine := func(m *storedMessage) bool {
		held := j.leases.Holds(token, m.message.Slot)
		lost = lost || !held
		return held
	}
	for _, position := range s.Published {
		if m := j.outbox.find(position); m != nil && mine(m) {
			j.outbox.remove(m)
			delete(j.outbox.byID, m.message.ID)
		}
	}
	for i := range s.Parked {
		if m := j.outbox.find(s.Parked[i].Position); m != nil && mine(m) {
			j.outbox.park(m, s.Parked[i].Parking)
		}
	}
	for _, position := range s.Pending {
		if m := j.outbox.find(position); m != nil && (m.parking != nil || m.isHeldBack()) && mine(m) {
			j.outbox.release(m)
		}
	}
	if lost {
		return fmt.Errorf("memory: settle messages: %w", journal.ErrLeaseLost)
	}
	return nil
}

// find is the message of a position, wherever it is, or nil.
func (o *outbox) find(position uint64) *storedMessage {
	if at, ok := slices.BinarySearchFunc(o.parked, position, byPosition); ok {
		return o.parked[at]
	}
	if m := o.delayed[position]; m != nil {
		return m
	}
	if position == 0 {
		return nil
	}
	for m := range o.behind(position - 1) {
		if m.message.Position == position {
			return m
		}
		break
	}
	return nil
}

// remove takes m out of where it is.
func (o *outbox) remove(m *storedMessage) {
	if m.isHeldBack() {
		delete(o.delayed, m.message.Position)
		o.due.Remove(m.message.Position)
		return
	}
	if m.parking == nil {
		o.take(m.message.Position)
		return
	}
	if at, ok := slices.BinarySearchFunc(o.parked, m.message.Position, byPosition); ok {
		o.parked = slices.Delete(o.parked, at, at+1)
	}
}

// release has m pending.
func (o *outbox) release(m *storedMessage) {
	o.remove(m)
	m.parking, m.order, m.message.NotBefore = nil, journal.OrderNone, time.Time{}
	o.pending = slices.DeleteFunc(o.pending, func(m *storedMessage) bool { return m == nil })
	o.gone = 0
	at, _ := slices.BinarySearchFunc(o.pending, m.message.Position, byPosition)
	o.pending = slices.Insert(o.pending, at, m)
}

// park sets m aside, or changes why it was.
func (o *outbox) park(m *storedMessage, why journal.Parking) {
	why.Reason, why.Time = journal.CutParkReason(why.Reason), why.Time.UTC().Truncate(time.Microsecond)
	if m.parking == nil {
		o.remove(m)
		m.message.NotBefore = time.Time{}
		at, _ := slices.BinarySearchFunc(o.parked, m.message.Position, byPosition)
		o.parked = slices.Insert(o.parked, at, m)
	}
	m.parking, m.order = &why, journal.OrderNone
}

func (p publishing) Parked(ctx context.Context, filter journal.ParkedFilter) iter.Seq2[journal.ParkedMessage, error] {
	return func(yield func(journal.ParkedMessage, error) bool) {
		if err := p.begin(ctx, "read parked messages", filter.Validate()); err != nil {
			yield(journal.ParkedMessage{}, err)
			return
		}
		for _, m := range p.parked(filter) {
			if !yield(m, nil) {
				return
			}
		}
	}
}

func (p publishing) parked(filter journal.ParkedFilter) (picked []journal.ParkedMessage) {
	p.journal.mu.Lock()
	defer p.journal.mu.Unlock()
	for _, m := range p.journal.outbox.parked {
		view := m.view()
		if filter.Matches(&view) {
			picked = append(picked, view)
		}
	}
	return picked
}

func (m *storedMessage) view() journal.ParkedMessage {
	return journal.ParkedMessage{StoredMessage: m.message, Parking: *m.parking, Order: m.order}
}

func (p publishing) OrderParked(ctx context.Context, filter journal.ParkedFilter, order journal.ParkedOrder) (int, error) {
	if err := p.begin(ctx, "order parked messages", filter.Validate()); err != nil {
		return 0, err
	}
	j := p.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	n := 0
	for _, m := range j.outbox.parked {
		if view := m.view(); filter.Matches(&view) {
			m.order = order
			n++
		}
	}
	if n > 0 {
		j.wake()
	}
	return n, nil
}

func (p publishing) Figures(ctx context.Context) (f journal.OutboxFigures, err error) {
	if err := p.begin(ctx, "count messages", nil); err != nil {
		return f, err
	}
	j := p.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	for m := range j.outbox.behind(0) {
		f.Oldest = max(time.Since(m.message.Time), 0)
		break
	}
	f.Pending, f.Parked, f.Delayed = len(j.outbox.pending)-j.outbox.gone, len(j.outbox.parked), len(j.outbox.delayed)
	return f, nil
}
