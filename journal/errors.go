package journal

import (
	"errors"
	"fmt"

	"github.com/troupe-go/troupe/envelope"
)

// What a journal answers with. Each text says what the caller does then.
var (
	// ErrConflict reports that the stream moved on since the writer loaded
	// it. Load again and decide again; the batch wrote nothing. The facts
	// are in a [ConflictError].
	ErrConflict = errors.New("journal: version conflict")

	// ErrDuplicate reports that a receipt of the batch is stored already: the
	// command or message had its effect before. The batch wrote nothing; the
	// stored receipts, with their replies, are in a [DuplicateError].
	ErrDuplicate = errors.New("journal: receipt is stored already")

	// ErrRowConflict reports that a read model's row is not as the batch
	// expects: another version, present, or absent. The batch wrote nothing.
	// Read the row again and decide again. The facts are in a
	// [RowConflictError].
	ErrRowConflict = errors.New("journal: row conflict")

	// ErrMessageExists reports that the outbox holds a message of that id
	// already. The batch wrote nothing and never will: the id is in a
	// [MessageExistsError].
	ErrMessageExists = errors.New("journal: message id is taken")

	// ErrFenced reports that the batch's [Fence] is not the current one: this
	// node no longer owns the shard. The batch wrote nothing. Forget the
	// state and ask the owner.
	ErrFenced = errors.New("journal: fenced, another node owns the shard")

	// ErrInvalid reports a batch that no journal may hold; it is
	// [envelope.ErrInvalid]. The batch wrote nothing and never will.
	ErrInvalid = envelope.ErrInvalid

	// ErrUnsupported reports a part of a batch that this adapter does not
	// take, see [Features]. The batch wrote nothing.
	ErrUnsupported = errors.New("journal: not supported by this adapter")

	// ErrUnavailable reports that the batch was not stored because the store
	// cannot write now: disk full, server away. It is safe to submit it
	// again later.
	ErrUnavailable = errors.New("journal: unavailable")

	// ErrOverloaded reports that the queue is full: the batch was not taken.
	// Ask [Journal.Credit] before submitting.
	ErrOverloaded = errors.New("journal: overloaded")

	// ErrUnknownOutcome reports that the batch may or may not be stored: the
	// answer to its commit was lost. Submit the identical batch again, with
	// Resubmit set, until another answer comes.
	ErrUnknownOutcome = errors.New("journal: unknown outcome")

	// ErrHistoryGone reports that records were truncated and the baseline
	// that stands for them is missing or broken.
	ErrHistoryGone = errors.New("journal: history is gone")

	// ErrCorrupt reports stored bytes that are not what was written. The
	// position or stream is in the text. Nothing that depends on them is
	// served.
	ErrCorrupt = errors.New("journal: corrupt")

	// ErrLocked reports that another process has the journal open.
	ErrLocked = errors.New("journal: in use by another process")

	// ErrClosed reports a call on a journal that was closed. A batch that it
	// answers was not stored.
	ErrClosed = errors.New("journal: closed")
)

// ConflictError is the [ErrConflict] of one append or assert.
type ConflictError struct {
	Stream           envelope.Stream
	Expected, Actual uint64 // versions
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("journal: stream %s is at version %d, expected %d", e.Stream, e.Actual, e.Expected)
}

// Is reports whether target is [ErrConflict].
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// DuplicateError is the [ErrDuplicate] of one batch: all of its receipts that
// are stored already, as stored.
type DuplicateError struct{ Receipts []envelope.Receipt }

func (e *DuplicateError) Error() string {
	if len(e.Receipts) == 0 {
		return ErrDuplicate.Error()
	}
	r := &e.Receipts[0]
	if r.IsMessage() {
		return fmt.Sprintf("journal: message %q had its effect on consumer %s already", r.ID, r.Consumer)
	}
	return fmt.Sprintf("journal: command %q had its effect on stream %s already", r.ID, r.Stream)
}

// Is reports whether target is [ErrDuplicate].
func (e *DuplicateError) Is(target error) bool { return target == ErrDuplicate }

// RowConflictError is the [ErrRowConflict] of one row.
type RowConflictError struct {
	Table    string
	Key      string // as [envelope.RowIdentity] writes it
	Op       envelope.RowOp
	Expected *uint64 // as in the [envelope.Row]
	Actual   uint64  // the row's version, 0 if it is absent
}

func (e *RowConflictError) Error() string {
	switch {
	case e.Actual == 0:
		return fmt.Sprintf("journal: %s of row %s: it is absent", e.Op, e.Key)
	case e.Expected == nil || *e.Expected == 0:
		return fmt.Sprintf("journal: %s of row %s: it exists, at version %d", e.Op, e.Key, e.Actual)
	}
	return fmt.Sprintf("journal: %s of row %s: it is at version %d, expected %d", e.Op, e.Key, e.Actual, *e.Expected)
}

// Is reports whether target is [ErrRowConflict].
func (e *RowConflictError) Is(target error) bool { return target == ErrRowConflict }

// MessageExistsError is the [ErrMessageExists] of one message.
type MessageExistsError struct{ ID string }

func (e *MessageExistsError) Error() string {
	return fmt.Sprintf("journal: the outbox holds a message %q already", e.ID)
}

// Is reports whether target is [ErrMessageExists].
func (e *MessageExistsError) Is(target error) bool { return target == ErrMessageExists }

// UnsupportedError is the [ErrUnsupported] of one part of a batch.
type UnsupportedError struct {
	Adapter string // "bolt"
	Part    string // "rows"
}

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("journal: %s does not store %s", e.Adapter, e.Part)
}

// Is reports whether target is [ErrUnsupported].
func (e *UnsupportedError) Is(target error) bool { return target == ErrUnsupported }

// Features says what an adapter takes.
type Features struct {
	Name     string // the adapter: "bolt"
	Durable  bool   // an acknowledged batch survives a power cut
	Messages bool   // outbox messages
	Rows     bool   // read-model rows
	Inbox    bool   // receipts of messages (those of commands are always taken)
	Fencing  bool   // fences

	Truncation bool // truncates, and scavenging what they let go
}

// Check reports the first part of b that the adapter does not take.
//
// Errors: [ErrUnsupported], as an [UnsupportedError].
func (f Features) Check(b *Batch) error {
	switch {
	case len(b.Truncates) > 0 && !f.Truncation:
		return &UnsupportedError{Adapter: f.Name, Part: "truncation"}
	case len(b.Messages) > 0 && !f.Messages:
		return &UnsupportedError{Adapter: f.Name, Part: "messages"}
	case len(b.Rows) > 0 && !f.Rows:
		return &UnsupportedError{Adapter: f.Name, Part: "rows"}
	case b.Fence != nil && !f.Fencing:
		return &UnsupportedError{Adapter: f.Name, Part: "fences"}
	}
	if !f.Inbox {
		for i := range b.Receipts {
			if b.Receipts[i].IsMessage() {
				return &UnsupportedError{Adapter: f.Name, Part: "message receipts"}
			}
		}
	}
	return nil
}
