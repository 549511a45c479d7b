package journal

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/troupe-go/troupe/envelope"
)

// ErrLeaseLost reports that a lease on slots of an [Outbox] has ended, or is
// another dispatcher's. What was published is published; publish no more of
// those slots.
var ErrLeaseLost = errors.New("journal: the lease on outbox slots is lost")

// SlotRange is some of the [envelope.Slots] parts of all ordering keys: From
// and up, but not To.
type SlotRange struct{ From, To int }

// AllSlots is every ordering key.
var AllSlots = SlotRange{To: envelope.Slots}

// Validate checks that r is within all slots; it may be empty.
//
// Errors: [ErrInvalid].
func (r SlotRange) Validate() error {
	if r.From < 0 || r.To > envelope.Slots || r.From > r.To {
		return envelope.Invalid("slots", r.String(), fmt.Sprintf("want a range within [0,%d)", envelope.Slots))
	}
	return nil
}

// Len is how many slots there are in r.
func (r SlotRange) Len() int { return r.To - r.From }

// Has reports whether slot is one of r.
func (r SlotRange) Has(slot int) bool { return r.From <= slot && slot < r.To }

// Overlaps reports whether a slot is in both.
func (r SlotRange) Overlaps(other SlotRange) bool {
	return max(r.From, other.From) < min(r.To, other.To)
}

// String is "[0,1024)".
func (r SlotRange) String() string { return fmt.Sprintf("[%d,%d)", r.From, r.To) }

// JoinSlots sorts ranges and joins those that touch or overlap; empty ones are
// left out.
func JoinSlots(ranges []SlotRange) []SlotRange {
	sorted := slices.DeleteFunc(slices.Clone(ranges), func(r SlotRange) bool { return r.Len() <= 0 })
	slices.SortFunc(sorted, func(a, b SlotRange) int { return a.From - b.From })
	joined := sorted[:0]
	for _, r := range sorted {
		if n := len(joined); n > 0 && r.From <= joined[n-1].To {
			joined[n-1].To = max(joined[n-1].To, r.To)
			continue
		}
		joined = append(joined, r)
	}
	return joined
}

// OutboxLease is a dispatcher's right to publish the messages of some slots.
type OutboxLease struct {
	Token string // tells the dispatcher from all others, for ever
	Owner string // names it to people: "host/pid"

	// Slots are leased together and given back together. An empty range holds
	// nothing: it tells the others that this dispatcher is there.
	Slots SlotRange

	// Left is how long the lease lasted when it was read; ignored when it is
	// taken.
	Left time.Duration
}

// Validate checks names and the range.
//
// Errors: [ErrInvalid].
func (l *OutboxLease) Validate() error {
	if err := envelope.ValidateName("lease token", l.Token, envelope.MaxNameBytes); err != nil {
		return err
	}
	if err := envelope.ValidateName("lease owner", l.Owner, envelope.MaxNameBytes); err != nil {
		return err
	}
	return l.Slots.Validate()
}

// PendingQuery asks for messages that are to be published.
type PendingQuery struct {
	Slots []SlotRange // whose messages; none yields nothing
	After uint64      // position behind which to begin
	Limit int         // at most so many messages, at least 1

	// Skip are ordering keys to leave out. At most [MaxSkippedKeys].
	Skip []string
}

// PendingPageBytes bounds a page of pending messages: it ends with the message
// whose data reaches it.
const PendingPageBytes = 1 << 20

// MaxSkippedKeys bounds [PendingQuery].Skip.
const MaxSkippedKeys = 10_000

// Validate checks the ranges, the limit and the number of keys.
//
// Errors: [ErrInvalid].
func (q *PendingQuery) Validate() error {
	for _, r := range q.Slots {
		if err := r.Validate(); err != nil {
			return err
		}
	}
	if q.Limit < 1 {
		return envelope.Invalid("limit", fmt.Sprint(q.Limit), "want at least 1")
	}
	if len(q.Skip) > MaxSkippedKeys {
		return envelope.Invalid("skipped keys", fmt.Sprint(len(q.Skip)), fmt.Sprintf("at most %d are allowed", MaxSkippedKeys))
	}
	return nil
}

// PendingPage answers a [PendingQuery].
type PendingPage struct {
	// Messages are in the order of positions, those set aside left out. There
	// may be fewer than the limit because of [PendingPageBytes], but at least
	// one if any is there.
	Messages []envelope.StoredMessage

	// More: the page ended by its limit or its size.
	More bool

	// Complete is a position: whatever is at or below it was there when the
	// page was read, so nothing will appear there late. It can be lower than
	// positions of the page, since a commit with a lower one may be under way.
	Complete uint64
}

// DelayedQuery asks for messages that are held back.
type DelayedQuery struct {
	Slots []SlotRange // whose messages; none yields nothing
	Until time.Time   // those that are held back until then, or a time before
	Limit int         // at most so many, at least 1
}

// Validate checks the ranges and the limit.
//
// Errors: [ErrInvalid].
func (q *DelayedQuery) Validate() error {
	pending := PendingQuery{Slots: q.Slots, Limit: q.Limit}
	return pending.Validate()
}

// DelayedPage answers a [DelayedQuery].
type DelayedPage struct {
	// Due are positions of messages whose time has come, the earliest first.
	// They are held back until they are settled as pending.
	Due []uint64

	// Next is until when the first of the others is held back, which may be
	// one that had no room in Due; zero if there is none.
	Next time.Time
}

// Settlement is what became of messages that a dispatcher read.
type Settlement struct {
	// Published are positions of messages that are done with: published or
	// discarded. They are deleted; one that is gone already is no error.
	Published []uint64

	// Parked are messages to set aside.
	Parked []Park

	// Pending are positions of messages that were parked or held back and are
	// to be published: they are pending, in their old places. One that is
	// neither is no error.
	Pending []uint64
}

// IsEmpty reports whether there is nothing to settle.
func (s *Settlement) IsEmpty() bool { return len(s.Published)+len(s.Parked)+len(s.Pending) == 0 }

// Park sets one message of an outbox aside, or changes why it was.
type Park struct {
	Position uint64
	Parking
}

// Parking is why a message was set aside.
type Parking struct {
	Reason   string // for people; at most [MaxParkReasonBytes] are kept
	Attempts int    // how often publishing it failed
	Time     time.Time

	// Behind: it waits behind another parked message of its ordering key, and
	// follows once that one was published or discarded.
	Behind bool
}

// MaxParkReasonBytes bounds the stored reason of a parked message.
const MaxParkReasonBytes = 2 << 10

// ParkedOrder is what somebody wants done with a parked message. Only the
// dispatcher that has its slot does it.
type ParkedOrder uint8

// The orders.
const (
	OrderNone    ParkedOrder = iota
	OrderRequeue             // publish it
	OrderDiscard             // delete it
)

// String is "none", "requeue" or "discard".
func (o ParkedOrder) String() string {
	names := [...]string{"none", "requeue", "discard"}
	if int(o) < len(names) {
		return names[o]
	}
	return fmt.Sprintf("order %d", uint8(o))
}

// ParkedMessage is a message that was set aside.
type ParkedMessage struct {
	envelope.StoredMessage
	Parking
	Order ParkedOrder
}

// ParkedFilter picks parked messages; the zero one picks all.
type ParkedFilter struct {
	ID    string    // of the message; empty is any
	Key   string    // ordering key; empty is any
	Name  string    // of the message; empty is any
	Slots SlotRange // empty is all

	Ordered bool // only those with an order
}

// Validate checks the range.
//
// Errors: [ErrInvalid].
func (f *ParkedFilter) Validate() error { return f.Slots.Validate() }

// Matches reports whether f picks m.
func (f *ParkedFilter) Matches(m *ParkedMessage) bool {
	return (f.ID == "" || m.ID == f.ID) &&
		(f.Key == "" || m.OrderingKey() == f.Key) &&
		(f.Name == "" || m.Name == f.Name) &&
		(f.Slots.Len() == 0 || f.Slots.Has(m.Slot)) &&
		(!f.Ordered || m.Order != OrderNone)
}

// OutboxFigures say how much an outbox holds.
type OutboxFigures struct {
	Pending int           // messages that are to be published
	Oldest  time.Duration // since the time of the first of those; 0 without any
	Parked  int           // messages that were set aside
	Delayed int           // messages that are held back until their time
}

// Outbox is the messages that a journal holds until they are published. A
// message is there because its batch committed, and nothing but
// [Outbox.Settle] takes it away. Every method is safe for concurrent use.
//
// Dispatchers share the slots of ordering keys by leases, which go by the
// store's clock: a slot has one dispatcher at a time, so messages of one key are
// published in their order.
//
// Errors of all: those of [Journal.Load], and [ErrInvalid].
type Outbox interface {
	// Lease gives slots to a dispatcher for ttl, unless a lease of another
	// token lasts on any of them, and reports whether it did. It is how leases
	// begin; [Outbox.Renew] lets them last.
	Lease(ctx context.Context, lease OutboxLease, ttl time.Duration) (bool, error)

	// Renew lets all leases of token that have not ended last for ttl from
	// now, and returns their slots, empty ranges included.
	Renew(ctx context.Context, token string, ttl time.Duration) ([]SlotRange, error)

	// Release ends the lease of token on exactly these slots. One that has
	// ended is no error.
	Release(ctx context.Context, token string, slots SlotRange) error

	// Leases returns all that last, in the order of slots.
	Leases(ctx context.Context) ([]OutboxLease, error)

	// Pending reads messages to publish.
	Pending(ctx context.Context, q PendingQuery) (PendingPage, error)

	// Delayed reads which messages that were held back are due. A message with
	// a [envelope.Message.NotBefore] is held back from the beginning, whatever
	// the time is: it is neither pending nor parked until it is settled as
	// pending, and then has no NotBefore.
	Delayed(ctx context.Context, q DelayedQuery) (DelayedPage, error)

	// Settle tells what became of messages, all or nothing but for
	// [ErrLeaseLost]: then those in slots that token has no lease on are as
	// they were, and the others are settled.
	Settle(ctx context.Context, token string, s Settlement) error

	// Parked yields the messages set aside that filter picks, in the order of
	// positions. An error is the last thing yielded.
	Parked(ctx context.Context, filter ParkedFilter) iter.Seq2[ParkedMessage, error]

	// OrderParked asks for something to be done with the parked messages that
	// filter picks, and returns how many those are. Messages behind them in
	// their keys follow by themselves.
	OrderParked(ctx context.Context, filter ParkedFilter, order ParkedOrder) (int, error)

	// Figures counts.
	Figures(ctx context.Context) (OutboxFigures, error)
}

// CutParkReason makes a reason fit for every store: at most
// [MaxParkReasonBytes], on one line, in valid UTF-8.
func CutParkReason(reason string) string { return envelope.CutText(reason, MaxParkReasonBytes) }
