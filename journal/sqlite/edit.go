package sqlite

import (
	"context"
	"fmt"
)

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
