package memory

import (
	"context"
	"iter"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

func unsupported(part string) error { return &journal.UnsupportedError{Adapter: "memory", Part: part} }

// MessageReceipt implements [journal.Journal].
func (j *Journal) MessageReceipt(context.Context, string, string) (envelope.Receipt, bool, error) {
	return envelope.Receipt{}, false, unsupported("message receipts")
}

// Row implements [journal.Journal].
func (j *Journal) Row(context.Context, string, []envelope.Column) (envelope.StoredRow, bool, error) {
	return envelope.StoredRow{}, false, unsupported("rows")
}

// Messages implements [journal.Journal].
func (j *Journal) Messages(context.Context, uint64, int) iter.Seq2[envelope.StoredMessage, error] {
	return func(yield func(envelope.StoredMessage, error) bool) {
		yield(envelope.StoredMessage{}, unsupported("messages"))
	}
}

// ReadSlices implements [journal.Journal].
func (j *Journal) ReadSlices(ctx context.Context, slices journal.SliceRange, after journal.Position, limit int) iter.Seq2[envelope.Record, error] {
	return journal.InSlices(j.ReadAll(ctx, after, 0), slices, limit)
}

// Lag implements [journal.Journal].
func (j *Journal) Lag(context.Context, journal.Position) (journal.Lag, error) {
	return journal.Lag{}, unsupported("lag")
}

// Scavenge implements [journal.Journal].
func (j *Journal) Scavenge(context.Context, func(context.Context, []envelope.Record) error) (int, error) {
	return 0, unsupported("truncation")
}
