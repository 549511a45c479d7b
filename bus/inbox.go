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

// Claim returns the message's receipt for a batch that is about to be
// committed. Call [InboxScope.Done] with what became of the batch.
//
// Errors: [ErrInboxCommitted], if another batch carries it.
func (s *InboxScope) Claim(now time.Time) (envelope.Receipt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.claimed {
		return envelope.Receipt{}, fmt.Errorf("%w: a second commit", ErrInboxCommitted)
	}
	s.claimed = true
	return envelope.Receipt{Consumer: s.consumer, ID: s.message, Time: now}, nil
}

// Done tells what became of the batch that [InboxScope.Claim] gave the receipt
// for: with a nil err it is durable; after an unknown outcome nothing may
// follow; otherwise it had no effect and another one may have the receipt.
func (s *InboxScope) Done(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.committed = err == nil
	s.claimed = err == nil || errors.Is(err, journal.ErrUnknownOutcome)
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
	return context.WithValue(ctx, inboxKey{}, &InboxScope{consumer: b.consumer, message: m.ID}), done, err
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
	receipt, err := scope.Claim(time.Now())
	if err != nil {
		return Retryable(err) // a commit of unknown outcome, which the handler kept to itself
	}
	_, err = journal.Settle(ctx, b.journal, &journal.Batch{ID: journal.NewBatchID(), Receipts: []envelope.Receipt{receipt}})
	if errors.Is(err, journal.ErrDuplicate) {
		err = nil // another replica was as fast
	}
	scope.Done(err)
	return err
}
