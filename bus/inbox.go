package bus

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// InboxScope is what makes the effects of one message exactly-once while its
// handler runs: see [Inbox]. Runtimes that ask and commit use it; handlers do
// not. It is safe for concurrent use.
type InboxScope struct {
	journal           journal.Journal
	consumer, message string

	mu        sync.Mutex
	ordinals  map[string]int // command → how often it was asked
	claimed   bool           // a batch carries the receipt, or has
	committed bool
}

type inboxKey struct{}

// InboxFrom returns the scope of the inbox handler that ctx belongs to, or nil.
func InboxFrom(ctx context.Context) *InboxScope {
	s, _ := ctx.Value(inboxKey{}).(*InboxScope)
	return s
}

// CommandID returns the id of the next command of that name to stream: the same
// in each run of the handler for its message.
//
// Errors: [ErrInboxCommitted].
func (s *InboxScope) CommandID(stream envelope.Stream, command string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.claimed {
		return "", fmt.Errorf("%w: command %q", ErrInboxCommitted, command)
	}
	what := digest(stream.Type, stream.ID, command)
	if s.ordinals == nil {
		s.ordinals = map[string]int{}
	}
	n := s.ordinals[what]
	s.ordinals[what]++
	return digest(s.consumer, s.message, what, fmt.Sprint(n)), nil
}

// digest is a hash of parts that no other parts have.
func digest(parts ...string) string {
	h := sha256.New()
	var length [8]byte
	for _, part := range parts {
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		h.Write(length[:])
		h.Write([]byte(part))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// InboxClaim is a batch's hold on the receipt of the message that its handler
// handles. The zero InboxClaim is of a batch outside of any inbox.
type InboxClaim struct{ scope *InboxScope }

// ClaimInbox adds to b, which is about to be committed to j, the receipt of the
// message whose inbox handler ctx belongs to. Outside of an inbox it does
// nothing. Call [InboxClaim.Done] with what became of b. It is for runtimes.
//
// Errors: [ErrInboxCommitted] if another batch carries the receipt, and
// [ErrInboxJournal].
func ClaimInbox(ctx context.Context, j journal.Journal, b *journal.Batch) (InboxClaim, error) {
	s := InboxFrom(ctx)
	if s == nil {
		return InboxClaim{}, nil
	}
	if s.journal != j {
		return InboxClaim{}, ErrInboxJournal
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.claimed {
		return InboxClaim{}, fmt.Errorf("%w: a second commit", ErrInboxCommitted)
	}
	s.claimed = true
	b.Receipts = append(b.Receipts, envelope.Receipt{Consumer: s.consumer, ID: s.message, Time: time.Now()})
	return InboxClaim{s}, nil
}

// Done tells what became of the batch: with a nil err it is durable; after an
// unknown outcome nothing may follow; otherwise it had no effect, and another
// one may have the receipt.
func (c InboxClaim) Done(err error) {
	if c.scope == nil {
		return
	}
	c.scope.mu.Lock()
	defer c.scope.mu.Unlock()
	c.scope.committed = err == nil
	c.scope.claimed = err == nil || errors.Is(err, journal.ErrUnknownOutcome)
}

// SettleInbox is [journal.Settle] of b with the receipt of the inbox that ctx
// belongs to, if there is one. It is for runtimes.
//
// Errors: those of [journal.Settle] and of [ClaimInbox].
func SettleInbox(ctx context.Context, j journal.Journal, b *journal.Batch) error {
	claim, err := ClaimInbox(ctx, j, b)
	if err != nil {
		return err
	}
	_, err = journal.Settle(ctx, j, b)
	claim.Done(err)
	return err
}

// inbox is the receiving end of a run by [Inbox].
type inbox struct {
	journal  journal.Journal
	consumer string
}

// begin returns the context for the handler of m, and whether m had its effect
// before.
func (b *inbox) begin(ctx context.Context, m *envelope.Message) (_ context.Context, done bool, err error) {
	if err := envelope.ValidateName("message id", m.ID, envelope.MaxMessageIDBytes); err != nil {
		return nil, false, err
	}
	done, err = b.done(ctx, m)
	return context.WithValue(ctx, inboxKey{}, &InboxScope{journal: b.journal, consumer: b.consumer, message: m.ID}), done, err
}

func (b *inbox) done(ctx context.Context, m *envelope.Message) (bool, error) {
	_, done, err := b.journal.MessageReceipt(ctx, b.consumer, m.ID)
	return done, err
}

// end makes sure of m's receipt behind a handler that returned nil.
func (b *inbox) end(ctx context.Context) error {
	scope := InboxFrom(ctx)
	scope.mu.Lock()
	committed := scope.committed
	scope.mu.Unlock()
	if committed {
		return nil
	}
	err := SettleInbox(ctx, b.journal, &journal.Batch{ID: journal.NewBatchID()})
	switch {
	case errors.Is(err, ErrInboxCommitted): // behind a commit of unknown outcome, which the handler kept to itself
		return Retryable(err)
	case errors.Is(err, journal.ErrDuplicate): // another replica was as fast
		return nil
	}
	return err
}
