package sqlite

import (
	"context"
	"errors"
	"fmt"

	"github.com/troupe-go/troupe/internal/commitqueue"
	"github.com/troupe-go/troupe/journal"
)

// edit writes something else than a batch, as one member of a group. It may be
// called again if the group's transaction is tried again. An error means that
// the transaction is beyond use: a refusal is none, and for whoever asked to
// find out.
type edit func(ctx context.Context, s *session) error

// edit has the committer make an edit, which takes about so many bytes of the
// queue, and waits for it to be durable.
func (j *Journal) edit(ctx context.Context, doing string, bytes int, write edit) error {
	done := make(chan error, 1)
	err := j.queue.PutWait(ctx, item{Events: 1, Bytes: bytes, Value: submission{
		batch: &journal.Batch{}, done: func(_ journal.Result, err error) { done <- err },
		edit: func(ctx context.Context, s *session) error {
			if err := write(ctx, s); err != nil {
				return typed(doing, err)
			}
			return nil
		},
	}})
	if err == nil {
		return <-done
	}
	if errors.Is(err, commitqueue.ErrClosed) {
		err = journal.ErrClosed
	}
	return fmt.Errorf("sqlite: %s: %w", doing, err)
}

// write runs fn in a transaction between two groups of the committer.
func (j *Journal) write(ctx context.Context, doing string, fn func(ctx context.Context, s *session) error) error {
	s, err := j.writer.take(ctx)
	if err != nil {
		return fmt.Errorf("sqlite: %s: %w", doing, err)
	}
	defer j.writer.put(s)
	ctx = context.WithoutCancel(ctx)
	if err := s.exec(ctx, "BEGIN IMMEDIATE"); err != nil {
		if code := codeOf(err); code != codeBusy && code != codeLocked {
			s.undo(ctx)
		}
		return typed(doing, err)
	}
	if err = fn(ctx, s); err == nil {
		err = s.exec(ctx, "COMMIT")
	}
	if err != nil {
		s.undo(ctx)
		return typed(doing, err)
	}
	return nil
}
