package bolt

import (
	"context"
	"crypto/sha256"
	"sync"

	bbolt "go.etcd.io/bbolt"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// receiptKey is what a receipt is found by. The entry that it leads to has the
// whole receipt and settles whether the key's owner is meant.
type receiptKey [16]byte

// makeReceiptKey hashes (stream, command id) or (consumer, message id). The
// hash is part of the stored format. It is a cryptographic one so that nobody
// can make up an id that hides another's receipt.
func makeReceiptKey(r *envelope.Receipt) receiptKey {
	var scratch [800]byte
	buf := scratch[:0]
	if r.IsMessage() {
		buf = append(buf, 0) // no stream key begins so
		buf = append(buf, r.Consumer...)
	} else {
		buf = appendStreamKey(buf, r.Stream)
	}
	buf = append(buf, 0) // ids have no NUL
	buf = append(buf, r.ID...)
	sum := sha256.Sum256(buf)
	return receiptKey(sum[:16])
}

// makeBatchKey is what a batch of nothing but rows is found by: its note is
// its receipt.
func makeBatchKey(id journal.BatchID) receiptKey {
	sum := sha256.Sum256(append([]byte{0, 0}, id[:]...)) // no consumer's name is empty
	return receiptKey(sum[:16])
}

// receiptTable holds the newest receipts' positions in two generations. The
// young one grows until a checkpoint seals it; the old one is sealed and being
// written to a run, or written and kept because the newest receipts are the
// ones asked for. Everything else is in runs.
//
// Only the committer writes, so it reads without the lock.
type receiptTable struct {
	mu    sync.RWMutex
	young map[receiptKey]uint64
	old   map[receiptKey]uint64

	oldFirst uint64 // no position in old is below this one
}

func newReceiptTable() *receiptTable {
	return &receiptTable{young: make(map[receiptKey]uint64)}
}

// peek is the position of a receipt that is in memory, for the committer.
func (t *receiptTable) peek(key receiptKey) (uint64, bool) {
	if position, ok := t.young[key]; ok {
		return position, true
	}
	position, ok := t.old[key]
	return position, ok
}

// get is peek for readers.
func (t *receiptTable) get(key receiptKey) (uint64, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.peek(key)
}

// add records receipts at position, which need not be committed yet: readers
// compare positions with the newest committed one, and when the commit fails
// the whole table is built anew.
func (t *receiptTable) add(keys []receiptKey, position uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, key := range keys {
		t.young[key] = position
	}
}

// seal makes the young generation the old one and returns it; from then on it
// never changes. The former old one must be in a run by now. first is where
// the young one's positions begin.
func (t *receiptTable) seal(first uint64) map[receiptKey]uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.young) > 0 {
		t.old, t.young = t.young, make(map[receiptKey]uint64, len(t.young))
		t.oldFirst = first
		return t.old
	}
	return nil
}

// Receipt implements [journal.Journal]. It finds what was stored within
// [Options.ReceiptRetention], and often more.
func (j *Journal) Receipt(ctx context.Context, s envelope.Stream, commandID string) (envelope.Receipt, bool, error) {
	return j.receipt(ctx, &envelope.Receipt{Stream: s, ID: commandID})
}

// MessageReceipt implements [journal.Journal], as Receipt does.
func (j *Journal) MessageReceipt(ctx context.Context, consumer, messageID string) (envelope.Receipt, bool, error) {
	if consumer == "" {
		return envelope.Receipt{}, false, context.Cause(ctx)
	}
	return j.receipt(ctx, &envelope.Receipt{Consumer: consumer, ID: messageID})
}

func (j *Journal) receipt(ctx context.Context, wanted *envelope.Receipt) (envelope.Receipt, bool, error) {
	var found envelope.Receipt
	var ok bool
	if err := context.Cause(ctx); err != nil {
		return found, false, err
	}
	key := makeReceiptKey(wanted)
	// Memory first: what is not in it now is in a run that was committed
	// before the transaction that begins next.
	ram := j.ram.Load()
	position, inRAM := ram.receipts.get(key)
	err := j.view(func(tx *bbolt.Tx) error {
		if !inRAM {
			runs, err := openRuns(tx, &ram.verified)
			if err != nil {
				return err
			}
			if position = findInRuns(runs, key); position == 0 {
				return nil
			}
		}
		if position > j.committed.Load() {
			return nil
		}
		log, err := newLogReader(tx)
		if err != nil {
			return err
		}
		found, _, ok, err = readReceipt(log, position, wanted)
		return err
	})
	return found, ok, err
}

// readReceipt reads the receipt of the same command or message as wanted from
// the entry at position, with the id of its batch. It is not there if another
// one has the same key.
func readReceipt(log *logReader, position uint64, wanted *envelope.Receipt) (r envelope.Receipt, batch journal.BatchID, ok bool, err error) {
	e, err := log.entry(position)
	if err != nil {
		return r, batch, false, err
	}
	wellFormed := e.parseReceipts(func(candidate envelope.Receipt) bool {
		if candidate.Stream == wanted.Stream && candidate.Consumer == wanted.Consumer && candidate.ID == wanted.ID {
			r, ok = candidate, true
			r.Reply = append([]byte(nil), candidate.Reply...)
		}
		return !ok
	})
	if !wellFormed {
		return r, batch, false, corrupt("receipts at position %d", position)
	}
	return r, e.batch, ok, nil
}
