package bolt

import (
	"errors"
	"fmt"

	"github.com/troupe-go/troupe/internal/commitqueue"
	"github.com/troupe-go/troupe/journal"
)

// item is one submitted batch on its way.
type item = commitqueue.Item[submission]

// submission is what an item carries.
type submission struct {
	batch *journal.Batch // an empty one if edit is set
	edit  edit           // what else than a batch is written; nil for a batch
	done  func(journal.Result, error)

	// Its receipts' keys, hashed by whoever submits: the committer is one
	// goroutine, those are many. A single one needs no slice. A batch that
	// leaves no entry has a key of its own.
	key  receiptKey
	keys []receiptKey
}

// hashReceipts fills the keys.
func (s *submission) hashReceipts() {
	receipts := s.batch.Receipts
	switch len(receipts) {
	case 0:
		if leavesNoEntry(s.batch) {
			s.key = makeBatchKey(s.batch.ID)
		}
	case 1:
		s.key = makeReceiptKey(&receipts[0])
	default:
		s.keys = make([]receiptKey, len(receipts))
		for i := range receipts {
			s.keys[i] = makeReceiptKey(&receipts[i])
		}
	}
}

// leavesNoEntry reports whether nothing but rows and messages can tell that b
// was stored, which they cannot for long: another batch may write the rows
// again, and messages go once they are published.
func leavesNoEntry(b *journal.Batch) bool {
	return len(b.Rows)+len(b.Messages) > 0 && len(b.Appends)+len(b.Receipts) == 0
}

// receiptKey is the key of the batch's receipt i.
func (s *submission) receiptKey(i int) receiptKey {
	if s.keys != nil {
		return s.keys[i]
	}
	return s.key
}

// Submit implements [journal.Journal]. It validates b and enqueues it; the
// committer decides it. done is called by the committer, or by Submit itself
// when b is not taken.
func (j *Journal) Submit(b *journal.Batch, done func(journal.Result, error)) {
	if err := b.Validate(); err != nil {
		done(journal.Result{}, err)
		return
	}
	if err := features.Check(b); err != nil {
		done(journal.Result{}, err)
		return
	}
	s := submission{batch: b, done: done}
	s.hashReceipts()
	if err := j.queue.Put(item{Value: s, Events: b.Events(), Bytes: b.SizeBytes()}); err != nil {
		done(journal.Result{}, notTaken(err))
	}
}

// notTaken is the contract's error for one of the queue.
func notTaken(err error) error {
	if errors.Is(err, commitqueue.ErrClosed) {
		return fmt.Errorf("bolt: batch not taken: %w", journal.ErrClosed)
	}
	return fmt.Errorf("bolt: batch not taken, %w: %w", err, journal.ErrOverloaded)
}

// Credit implements [journal.Journal]. It only looks: see [Options] for the
// bounds.
func (j *Journal) Credit(events, bytes int, ready func()) bool {
	return j.queue.Credit(events, bytes, ready)
}
