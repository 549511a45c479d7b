package memory

import (
	"time"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// sweepAtOnce bounds how many expired receipts are cleared away when one is
// stored. More than one, so that their number shrinks; few, so that the first
// command after a quiet day does not wait for all of them.
const sweepAtOnce = 4

// receipts remembers commands and messages for a time. They expire in the order in which
// they were stored, so they stand in a queue: sweeping looks at its front only.
type receipts struct {
	queue blocks[storedReceipt]
	front uint64                // number of the oldest that was not swept
	byKey map[receiptKey]uint64 // number of the newest under each key
}

type receiptKey struct {
	stream   envelope.Stream // of a command
	consumer string          // of a message
	id       string
}

func keyOf(r *envelope.Receipt) receiptKey { return receiptKey{r.Stream, r.Consumer, r.ID} }

type storedReceipt struct {
	receipt envelope.Receipt
	batch   journal.BatchID
	expires time.Time
}

// find returns the receipt under key, or nil. One that has expired is not
// found, whether or not it was swept yet.
func (r *receipts) find(key receiptKey, now time.Time) *storedReceipt {
	number, ok := r.byKey[key]
	if !ok {
		return nil
	}
	stored := r.queue.at(number)
	if !now.Before(stored.expires) {
		return nil
	}
	return stored
}

// add stores a receipt that is not to be found, and sweeps.
func (r *receipts) add(rec *envelope.Receipt, batch journal.BatchID, now time.Time, retention time.Duration) {
	r.sweep(now)
	if r.byKey == nil {
		r.byKey = make(map[receiptKey]uint64)
	}
	stored, number := r.queue.add()
	stored.receipt, stored.batch, stored.expires = *rec, batch, now.Add(retention)
	stored.receipt.Time = rec.Time.Truncate(time.Microsecond)
	r.byKey[keyOf(rec)] = number
}

// sweep forgets expired receipts, at most sweepAtOnce of them.
func (r *receipts) sweep(now time.Time) {
	for range sweepAtOnce {
		if r.front == r.queue.end {
			return
		}
		oldest := r.queue.at(r.front)
		if now.Before(oldest.expires) {
			return
		}
		key := keyOf(&oldest.receipt)
		if r.byKey[key] == r.front { // else the command came again since
			delete(r.byKey, key)
		}
		*oldest = storedReceipt{} // frees the reply before the block goes
		r.front++
		r.queue.drop(r.front)
	}
}
