package sqlite

import (
	"context"
	"database/sql"
	"time"

	"github.com/troupe-go/troupe/envelope"
)

// receiptKey says whose receipt one is: type is empty and id the consumer for a
// message's.
type receiptKey struct{ typ, id, command string }

func keyOf(r *envelope.Receipt) receiptKey {
	if r.IsMessage() {
		return receiptKey{"", r.Consumer, r.ID}
	}
	return receiptKey{r.Stream.Type, r.Stream.ID, r.ID}
}

// Receipt implements [journal.Journal].
func (j *Journal) Receipt(ctx context.Context, of envelope.Stream, commandID string) (envelope.Receipt, bool, error) {
	return j.receipt(ctx, "receipt of "+of.String(), receiptKey{of.Type, of.ID, commandID})
}

// MessageReceipt implements [journal.Journal].
func (j *Journal) MessageReceipt(ctx context.Context, consumer, messageID string) (envelope.Receipt, bool, error) {
	return j.receipt(ctx, "receipt of consumer "+consumer, receiptKey{"", consumer, messageID})
}

// receipt reads a receipt, unless it is expired. Whether it was swept yet makes
// no difference.
func (j *Journal) receipt(ctx context.Context, doing string, k receiptKey) (envelope.Receipt, bool, error) {
	hash := k.hash()
	// Memory first: what is not in it now was in the index before the
	// transaction that begins next, or is behind what memory knows.
	recent, last := j.recent.find(hash, nil)
	var found *foundReceipt
	err := j.view(ctx, doing, func(ctx context.Context, s *session) (err error) {
		if found, err = s.newestOf(ctx, k, recent); found != nil || err != nil {
			return err
		}
		behind, err := j.recent.read(ctx, s, last)
		if err != nil {
			return err
		}
		var numbers []int64
		for _, n := range behind {
			if n.key == hash {
				numbers = append(numbers, n.number)
			}
		}
		if numbers, err = s.indexedNumbers(ctx, []any{hash}, numbers); err != nil {
			return err
		}
		found, err = s.newestOf(ctx, k, numbers)
		return err
	})
	if err != nil || found == nil || found.expired(j.opts.now(), j.opts.ReceiptRetention) {
		return envelope.Receipt{}, false, err
	}
	return found.receipt, true, nil
}

// newestOf reads the newest of the numbered receipts that is k's, and returns
// nil if none is.
func (s *session) newestOf(ctx context.Context, k receiptKey, numbers []int64) (found *foundReceipt, err error) {
	err = s.receiptsOf(ctx, numbers, func(f *foundReceipt) {
		if f.key == k && (found == nil || f.number > found.number) {
			found = f
		}
	})
	return found, err
}

// foundReceipt is one as it was read.
type foundReceipt struct {
	key     receiptKey
	number  int64
	batch   []byte // nil if its batch wrote events
	stored  int64
	receipt envelope.Receipt
}

func (f *foundReceipt) expired(now time.Time, retention time.Duration) bool {
	return f.stored <= now.Add(-retention).UnixMicro()
}

// scanReceipt reads a row of lookupReceipts.
func scanReceipt(rows *sql.Rows) (*foundReceipt, error) {
	f := new(foundReceipt)
	k, r := &f.key, &f.receipt
	var version, micros int64
	err := rows.Scan(&f.number, &k.typ, &k.id, &k.command, &f.batch, &version, &r.Codec, &r.Reply, &micros, &f.stored)
	if r.ID = k.command; k.typ == "" {
		r.Consumer = k.id
	} else {
		r.Stream = envelope.Stream{Type: k.typ, ID: k.id}
	}
	r.Version, r.Time = uint64(version), fromMicros(micros)
	return f, err
}

// asStored is r as it will be read.
func asStored(r envelope.Receipt) envelope.Receipt {
	r.Time = fromMicros(r.Time.UnixMicro())
	return r
}
