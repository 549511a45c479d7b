package postgres

import (
	"context"
	"time"
)

// SchemaVersion is what this program works with.
const SchemaVersion = schemaVersion

// SetClock makes receipts age by now.
func (o *Options) SetClock(now func() time.Time) { o.now = now }

// Sweep deletes what expired, at once.
func (j *Journal) Sweep(ctx context.Context) error {
	_, err := j.sweepSome(ctx, sweepRows)
	return err
}
