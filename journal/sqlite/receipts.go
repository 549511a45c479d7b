package sqlite

import (
	"context"

	"github.com/troupe-go/troupe/envelope"
)

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
func (j *Journal) receipt(ctx context.Context, doing string, k receiptKey) (r envelope.Receipt, ok bool, err error) {
	err = j.view(ctx, doing, func(ctx context.Context, s *session) (err error) {
		const query = "SELECT type, id, command, version, codec, reply, time, stored FROM receipts WHERE type = ? AND id = ? AND command = ?"
		var stored int64
		ok, err = s.scan(ctx, query, []any{k.typ, k.id, k.command}, func(scan func(...any) error) error {
			return scanReceipt(scan, &r, &stored, new(receiptKey))
		})
		ok = ok && stored > j.opts.now().Add(-j.opts.ReceiptRetention).UnixMicro()
		return err
	})
	if err != nil || !ok {
		return envelope.Receipt{}, false, err
	}
	return r, true, nil
}

// scanReceipt reads type, id, command, version, codec, reply, time, stored.
func scanReceipt(scan func(...any) error, r *envelope.Receipt, stored *int64, k *receiptKey) error {
	var version, micros int64
	if err := scan(&k.typ, &k.id, &k.command, &version, &r.Codec, &r.Reply, &micros, stored); err != nil {
		return err
	}
	if r.ID = k.command; k.typ == "" {
		r.Consumer = k.id
	} else {
		r.Stream = envelope.Stream{Type: k.typ, ID: k.id}
	}
	r.Version, r.Time = uint64(version), fromMicros(micros)
	return nil
}

// asStored is r as it will be read.
func asStored(r envelope.Receipt) envelope.Receipt {
	r.Time = fromMicros(r.Time.UnixMicro())
	return r
}
