package sqlite

import (
	"context"
	"time"

	"github.com/troupe-go/troupe/envelope"
)

// Receipt implements [journal.Journal].
func (j *Journal) Receipt(ctx context.Context, of envelope.Stream, commandID string) (r envelope.Receipt, ok bool, err error) {
	err = j.view(ctx, "receipt of "+of.String(), func(ctx context.Context, s *session) (err error) {
		r, _, ok, err = s.receipt(ctx, of, commandID, j.opts.now().Add(-j.opts.ReceiptRetention))
		return err
	})
	if err != nil || !ok {
		return envelope.Receipt{}, false, err
	}
	return r, true, nil
}

// receipt reads a command's receipt, unless it was stored at expired or before,
// and the batch that it was stored with. Whether it was swept yet makes no
// difference.
func (s *session) receipt(ctx context.Context, of envelope.Stream, commandID string, expired time.Time) (r envelope.Receipt, batch []byte, ok bool, err error) {
	var version, micros int64
	ok, err = s.row(ctx, "SELECT batch, version, codec, reply, time FROM receipts WHERE type = ? AND id = ? AND command = ? AND stored > ?",
		[]any{of.Type, of.ID, commandID, expired.UnixMicro()}, &batch, &version, &r.Codec, &r.Reply, &micros)
	r.Stream, r.ID, r.Version, r.Time = of, commandID, uint64(version), fromMicros(micros)
	return r, batch, ok, err
}
