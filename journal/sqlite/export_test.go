package sqlite

import (
	"context"
	"time"
)

// SchemaVersion is what this program works with.
const SchemaVersion = schemaVersion

// SetClock makes receipts age by now.
func (o *Options) SetClock(now func() time.Time) { o.now = now }

// ExecOnWriter runs a statement on the committer's connection, between groups.
func (j *Journal) ExecOnWriter(ctx context.Context, query string) error {
	s, err := j.writer.take(ctx)
	if err != nil {
		return err
	}
	defer j.writer.put(s)
	_, err = s.row(ctx, query, nil, new(any))
	return err
}
