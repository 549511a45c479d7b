package bolt

import (
	"context"
	"errors"

	"github.com/troupe-go/troupe/internal/commitqueue"
	"github.com/troupe-go/troupe/journal"
)

// edit writes something else than a batch, as one member of a group. refused is
// the answer to whoever asked for it; fatal means that the transaction is beyond
// use.
type edit func(c *committer, g *group) (refused, fatal error)

// edit has the committer make an edit, which takes about so many bytes of the
// queue, and waits for it to be durable.
func (j *Journal) edit(ctx context.Context, bytes int, write edit) error {
	done := make(chan error, 1)
	it := item{Events: 1, Bytes: bytes, Value: submission{
		batch: &journal.Batch{}, edit: write, done: func(_ journal.Result, err error) { done <- err },
	}}
	err := j.queue.PutWait(ctx, it)
	switch {
	case err == nil:
		return <-done
	case errors.Is(err, commitqueue.ErrClosed):
		return notTaken(err)
	}
	return err
}
