package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"slices"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// Outbox returns the messages that are to be published. One process has the
// file, so leases on slots are in its memory. They are there as long as the
// journal is open.
func (j *Journal) Outbox() journal.Outbox { return publishing{j} }

// publishing is the journal as an outbox.
type publishing struct{ journal *Journal }

var _ journal.Outbox = publishing{}

// ready reports why nothing can be done, if so.
func (p publishing) ready(ctx context.Context, valid error) error {
	select {
	case <-p.journal.finished:
		return errClosed
	default:
	}
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("bolt: %w", err)
	}
	return valid
}

func (p publishing) Lease(ctx context.Context, l journal.OutboxLease, ttl time.Duration) (bool, error) {
	if err := p.ready(ctx, l.Validate()); err != nil {
		return false, err
	}
	return p.journal.leases.Lease(l, ttl), nil
}

func (p publishing) Renew(ctx context.Context, token string, ttl time.Duration) ([]journal.SlotRange, error) {
	if err := p.ready(ctx, nil); err != nil {
		return nil, err
	}
	return p.journal.leases.Renew(token, ttl), nil
}

func (p publishing) Release(ctx context.Context, token string, slots journal.SlotRange) error {
	if err := p.ready(ctx, slots.Validate()); err != nil {
		return err
	}
	p.journal.leases.Release(token, slots)
	return nil
}

func (p publishing) Leases(ctx context.Context) ([]journal.OutboxLease, error) {
	if err := p.ready(ctx, nil); err != nil {
		return nil, err
	}
	return p.journal.leases.Leases(), nil
}

func (p publishing) Pending(ctx context.Context, q journal.PendingQuery) (page journal.PendingPage, err error) {
	if err := p.ready(ctx, q.Validate()); err != nil {
		return page, err
	}
	skip := make(map[string]struct{}, len(q.Skip))
	for _, key := range q.Skip {
		skip[key] = struct{}{}
	}
	page.Complete = p.journal.messages.Load()
	page.Messages, page.More, err = p.journal.readMessages(q.After, page.Complete, q.Limit, func(m *envelope.StoredMessage) bool {
		if !slices.ContainsFunc(q.Slots, func(r journal.SlotRange) bool { return r.Has(m.Slot) }) {
			return false
		}
		_, skipped := skip[m.OrderingKey()]
		return !skipped
	})
	return page, err
}

// Settle has the committer delete and move messages, so that it shares the sync
// of a group.
func (p publishing) Settle(ctx context.Context, token string, s journal.Settlement) error {
	if err := p.ready(ctx, nil); err != nil {
		return err
	}
	if s.IsEmpty() {
		return nil
	}
	size := 64 * (1 + len(s.Published) + len(s.Parked) + len(s.Pending))
	for i := range s.Parked {
		size += len(s.Parked[i].Reason)
	}
	return p.journal.edit(ctx, size, func(c *committer, g *group) (refused, fatal error) {
		return g.settle(s, func(slot int) bool { return p.journal.leases.Holds(token, slot) })
	})
}

// outboxMessage is a stored message.
type outboxMessage struct {
	message envelope.StoredMessage // shares the memory of value
	batch   journal.BatchID
	bucket  []byte   // where it is: bucketOutbox, bucketParked or bucketDelayed
	parking *parking // nil unless it is set aside
	value   []byte   // the stored message
}

type parking struct {
	journal.Parking
	order journal.ParkedOrder
}

// message finds the message of a position, and nil if there is none.
func (g *group) message(position uint64) (*outboxMessage, error) {
	key := uint64Key(position)
	value, err := lookup(g.tx, bucketOutbox, key[:])
	if err != nil {
		return nil, err
	}
	if value != nil {
		m := &outboxMessage{bucket: bucketOutbox, value: value}
		m.message, m.batch, err = parseMessage(position, value)
		return m, err
	}
	if value, err = lookup(g.tx, bucketParked, key[:]); err != nil {
		return nil, err
	}
	if value != nil {
		return parseParked(position, value)
	}
	if value, err = lookup(g.tx, bucketDelayed, key[:]); value == nil || err != nil {
		return nil, err
	}
	return parseDelayed(position, value)
}

// settle deletes and moves messages of slots that are held. What cannot be read
// refuses the whole settlement before anything is written.
func (g *group) settle(s journal.Settlement, held func(slot int) bool) (refused, fatal error) {
	lost := false
	find := func(position uint64) (*outboxMessage, error) {
		m, err := g.message(position)
		if err == nil && m != nil && !held(m.message.Slot) {
			lost, m = true, nil
		}
		return m, err
	}
	published, moved, back, refused := g.findSettled(s, find)
	if refused != nil {
		return refused, nil
	}
	for _, m := range published {
		if fatal := g.deleteMessage(m); fatal != nil {
			return nil, fatal
		}
	}
	for i, m := range moved {
		if m == nil {
			continue
		}
		why := s.Parked[i].Parking
		why.Reason = journal.CutParkReason(why.Reason)
		if fatal := g.park(m, parking{Parking: why}); fatal != nil {
			return nil, fatal
		}
	}
	for _, m := range back {
		if fatal := g.makePending(m); fatal != nil {
			return nil, fatal
		}
	}
	if lost {
		return fmt.Errorf("bolt: settle messages: %w", journal.ErrLeaseLost), nil
	}
	return nil, nil
}

// findSettled reads all messages of a settlement, nil for those that are not
// there or not to be touched.
func (g *group) findSettled(s journal.Settlement, find func(uint64) (*outboxMessage, error)) (published, moved, back []*outboxMessage, err error) {
	defer recoverCorrupt(&err)
	seen := make(map[uint64]struct{}, len(s.Published))
	for _, position := range s.Published {
		if _, twice := seen[position]; twice {
			continue
		}
		seen[position] = struct{}{}
		m, err := find(position)
		if err != nil {
			return nil, nil, nil, err
		}
		if m != nil {
			published = append(published, m)
		}
	}
	for _, position := range s.Pending {
		if _, again := seen[position]; again {
			continue
		}
		seen[position] = struct{}{}
		m, err := find(position)
		if err != nil {
			return nil, nil, nil, err
		}
		if m != nil && !bytes.Equal(m.bucket, bucketOutbox) {
			back = append(back, m)
		}
	}
	for i := range s.Parked {
		position := s.Parked[i].Position
		_, gone := seen[position]
		var m *outboxMessage
		if !gone {
			if m, err = find(position); err != nil {
				return nil, nil, nil, err
			}
		}
		moved = append(moved, m)
	}
	return published, moved, back, nil
}

// deleteMessage deletes m and frees its id.
func (g *group) deleteMessage(m *outboxMessage) error {
	hash := messageKey(m.message.ID)
	place := g.tx.Bucket(bucketMessages).Get(hash[:])
	if position, err := parseMessagePlace(hash[:], place); err != nil || position != m.message.Position {
		return corrupt("message id %q at position %d", m.message.ID, m.message.Position)
	}
	g.state.messagesSum -= uint64(headSum(place))
	g.state.messageIDs--
	g.wrote = true
	if err := g.remove(g.tx.Bucket(bucketMessages), hash[:]); err != nil {
		return err
	}
	return g.deleteAt(m)
}

// deleteAt deletes m from the bucket that it is in.
func (g *group) deleteAt(m *outboxMessage) error {
	if bytes.Equal(m.bucket, bucketDelayed) {
		g.delays = append(g.delays, delay{position: m.message.Position, ends: true})
	}
	key := uint64Key(m.message.Position)
	return g.remove(g.tx.Bucket(m.bucket), key[:])
}

// park stores m among those set aside, for why.
func (g *group) park(m *outboxMessage, why parking) error {
	value := appendParked(g.arena.reserve(64+len(why.Reason)+len(m.value)), m.message.Position, why, m.value)
	g.arena.keep(value)
	if m.parking == nil {
		if err := g.deleteAt(m); err != nil {
			return err
		}
	}
	g.wrote = true
	key := uint64Key(m.message.Position)
	return g.store(g.tx.Bucket(bucketParked), key[:], value)
}

// makePending moves m to where pending messages are.
func (g *group) makePending(m *outboxMessage) error {
	value := append(g.arena.reserve(len(m.value)), m.value...)
	g.arena.keep(value)
	if err := g.deleteAt(m); err != nil {
		return err
	}
	g.wrote = true
	key := uint64Key(m.message.Position)
	return g.store(g.tx.Bucket(bucketOutbox), key[:], value)
}

// A message that was set aside is: format, flags (1 if it waits behind another
// one), order, attempts, time in µs, reason, the message as it was stored, and a
// checksum that covers its position.

const flagBehind = 1

func appendParked(buf []byte, position uint64, why parking, message []byte) []byte {
	start := len(buf)
	flags := byte(0)
	if why.Behind {
		flags |= flagBehind
	}
	buf = append(buf, format, flags, byte(why.order))
	buf = binary.AppendUvarint(buf, uint64(max(why.Attempts, 0)))
	buf = binary.AppendVarint(buf, why.Time.UnixMicro())
	buf = appendString(buf, why.Reason)
	buf = append(buf, message...)
	return sealEntry(buf, start, position)
}

func parseParked(position uint64, value []byte) (*outboxMessage, error) {
	n := len(value) - 4
	if n < 1 || value[0] != format || binary.BigEndian.Uint32(value[n:]) != positionCRC(position, value[:n]) {
		return nil, corrupt("parked message %d", position)
	}
	d := decoder{buf: value[1:n]}
	m := &outboxMessage{bucket: bucketParked, parking: &parking{}}
	m.parking.Behind = d.byte()&flagBehind != 0
	m.parking.order = journal.ParkedOrder(d.byte())
	m.parking.Attempts = int(d.uvarint())
	m.parking.Time = fromMicros(d.varint())
	m.parking.Reason = string(d.bytes())
	m.value = d.rest()
	if d.failed {
		return nil, corrupt("parked message %d is malformed", position)
	}
	var err error
	m.message, m.batch, err = parseMessage(position, m.value)
	return m, err
}

func (m *outboxMessage) view() journal.ParkedMessage {
	return journal.ParkedMessage{StoredMessage: m.message, Parking: m.parking.Parking, Order: m.parking.order}
}

func (p publishing) Parked(ctx context.Context, filter journal.ParkedFilter) iter.Seq2[journal.ParkedMessage, error] {
	return func(yield func(journal.ParkedMessage, error) bool) {
		for after, more := uint64(0), true; more; {
			err := p.ready(ctx, filter.Validate())
			var page []journal.ParkedMessage
			if err == nil {
				page, after, more, err = p.journal.readParked(after, filter)
			}
			for _, m := range page {
				if !yield(m, nil) {
					return
				}
			}
			if err != nil {
				yield(journal.ParkedMessage{}, err)
				return
			}
		}
	}
}

// readParked reads a page of the messages set aside behind position after; last
// is how far it looked, and more says that it ended by its size.
func (j *Journal) readParked(after uint64, filter journal.ParkedFilter) (page []journal.ParkedMessage, last uint64, more bool, err error) {
	last = after
	err = j.view(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket(bucketParked)
		if bucket == nil {
			return corrupt("bucket parked is missing")
		}
		cursor := bucket.Cursor()
		key, value, err := seekBehind(cursor, bucketParked, after)
		if err != nil {
			return err
		}
		size := 0
		for ; key != nil; key, value = cursor.Next() {
			if !ascends(key, last) {
				// Either may be in the other's place.
				if n := len(page); n > 0 && page[n-1].Position == last {
					page = page[:n-1]
				}
				return corrupt("bucket parked has key %x behind message %d", key, last)
			}
			if len(page) == pageRecords || size >= pageBytes {
				more = true
				return nil
			}
			last = binary.BigEndian.Uint64(key)
			m, err := parseParked(last, value)
			if err != nil {
				return err
			}
			if view := m.view(); filter.Matches(&view) {
				view.Data = bytes.Clone(view.Data)
				page = append(page, view)
				size += len(value)
			}
		}
		return nil
	})
	return page, last, more, err
}

// OrderParked marks a page of messages at a time.
func (p publishing) OrderParked(ctx context.Context, filter journal.ParkedFilter, order journal.ParkedOrder) (marked int, err error) {
	for after, more := uint64(0), true; more; {
		if err := p.ready(ctx, filter.Validate()); err != nil {
			return marked, err
		}
		var page []journal.ParkedMessage
		if page, after, more, err = p.journal.readParked(after, filter); err != nil {
			return marked, err
		}
		n := 0
		err = p.journal.edit(ctx, 64*(1+len(page)), func(_ *committer, g *group) (refused, fatal error) {
			n, refused, fatal = g.order(page, order)
			return refused, fatal
		})
		if err != nil {
			return marked, err
		}
		marked += n
	}
	if marked > 0 {
		p.journal.announce()
	}
	return marked, nil
}

// order marks those of a page that are still set aside.
func (g *group) order(page []journal.ParkedMessage, order journal.ParkedOrder) (n int, refused, fatal error) {
	for i := range page {
		m, err := g.message(page[i].Position)
		if err != nil {
			return 0, err, nil
		}
		if m == nil || m.parking == nil {
			continue
		}
		why := *m.parking
		why.order = order
		if fatal := g.park(m, why); fatal != nil {
			return 0, nil, fatal
		}
		n++
	}
	return n, nil, nil
}

func (p publishing) Figures(ctx context.Context) (f journal.OutboxFigures, err error) {
	if err := p.ready(ctx, nil); err != nil {
		return f, err
	}
	f.Delayed = p.journal.ram.Load().delayed.Len()
	err = p.journal.view(func(tx *bbolt.Tx) error {
		outbox, parked := tx.Bucket(bucketOutbox), tx.Bucket(bucketParked)
		if outbox == nil || parked == nil {
			return corrupt("bucket outbox or parked is missing")
		}
		cursor := parked.Cursor()
		for key, _ := cursor.First(); key != nil; key, _ = cursor.Next() {
			f.Parked++
		}
		cursor = outbox.Cursor()
		for key, value := cursor.First(); key != nil; key, value = cursor.Next() {
			if f.Pending == 0 {
				m, _, err := parseMessage(binary.BigEndian.Uint64(key), value)
				if err != nil {
					return err
				}
				f.Oldest = max(time.Since(m.Time), 0)
			}
			f.Pending++
		}
		return nil
	})
	return f, err
}
