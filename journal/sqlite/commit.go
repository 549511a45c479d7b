package sqlite

import (
	"context"
	"errors"

	"github.com/troupe-go/troupe/internal/commitqueue"
	"github.com/troupe-go/troupe/journal"
)

// committer is the one goroutine of a journal that writes. It owns everything
// in here.
type committer struct {
	journal  *Journal
	ctx      context.Context // never ends: a commit is not taken back
	phantoms commitqueue.Phantoms
	heads    headCache

	items       []item
	outcomes    []outcome
	transaction transaction // reused, for its memory
}

// outcome is what becomes of one item of the group.
type outcome struct {
	result journal.Result
	err    error
}

func newCommitter(j *Journal) *committer {
	return &committer{journal: j, ctx: context.Background()}
}

// run commits groups until the queue is closed and empty.
func (c *committer) run() {
	j := c.journal
	defer close(j.finished)
	last := 0
	for j.queue.Wait() {
		j.queue.Regroup(last)
		c.items = j.queue.Take(c.items, j.opts.MaxGroupEvents, j.opts.MaxGroupBytes)
		if last = len(c.items); last > 0 {
			c.phantoms.Forget(c.items[0].Number)
			c.commit(c.items)
		}
		clear(c.items)
	}
	if j.readers != j.writer {
		c.closed(j.readers.close())
	}
	c.closed(j.writer.close())
	j.announce()
}

// closed logs what closing said: everything that was acknowledged is stored.
func (c *committer) closed(err error) {
	if err != nil {
		c.journal.opts.Logger.Warn("sqlite: close", "path", c.journal.path, "error", err)
	}
}

// commit decides the items, stores what they wrote in one transaction, and
// answers. If the database refuses that because of what one of them wrote, or
// of what is stored, it tries again with each half, so that the culprit fails
// alone.
func (c *committer) commit(items []item) {
	c.outcomes = append(c.outcomes[:0], make([]outcome, len(items))...)
	err := c.transact(items)
	if err == nil {
		c.answer(items)
		return
	}
	c.heads.clear()
	c.phantoms.Annul() // the decisions are made anew, or all are refused
	if half := len(items) / 2; half > 0 && ofOneBatch(err) {
		c.commit(items[:half])
		c.commit(items[half:])
		return
	}
	c.journal.opts.Logger.Error("sqlite: commit failed", "path", c.journal.path, "batches", len(items), "error", err)
	for i := range items {
		c.refuse(&items[i])
		c.outcomes[i] = outcome{err: err}
	}
	c.answer(items)
}

// transact stores the items' batches in one transaction. After an error nothing
// of it is stored, or nobody knows, as the error says.
func (c *committer) transact(items []item) error {
	s, err := c.journal.writer.take(c.ctx)
	if err != nil {
		return err
	}
	defer c.journal.writer.put(s)
	if err := s.exec(c.ctx, "BEGIN IMMEDIATE"); err != nil {
		if code := codeOf(err); code != codeBusy && code != codeLocked {
			s.undo(c.ctx)
		}
		return typed("begin", err)
	}
	t := &c.transaction
	t.reset(c, s)
	if err := t.prefetch(items); err != nil {
		s.undo(c.ctx)
		return typed("read heads", err)
	}
	for i := range items {
		if edit := items[i].Value.edit; edit != nil {
			if err := edit(c.ctx, s); err != nil {
				s.undo(c.ctx)
				return err
			}
			t.wrote = true
			continue
		}
		o := &c.outcomes[i]
		var fatal error
		if o.result, o.err, fatal = t.decide(&items[i]); fatal != nil {
			s.undo(c.ctx)
			return typed("batch "+items[i].Value.batch.ID.String(), fatal)
		}
		if o.err != nil {
			c.refuse(&items[i])
		}
	}
	if !t.wrote {
		if err := s.exec(c.ctx, "ROLLBACK"); err != nil {
			s.undo(c.ctx)
		}
		return nil
	}
	base, err := t.flush()
	if err != nil {
		s.undo(c.ctx)
		return typed("store", err)
	}
	if err := s.exec(c.ctx, "COMMIT"); err != nil {
		s.undo(c.ctx)
		return typedCommit(err, t.rows)
	}
	for i := range c.outcomes {
		if p := &c.outcomes[i].result.Position; p.Seq > 0 {
			p.Seq += base // until now it was the number within the transaction
		}
	}
	t.remember()
	if t.events.n+t.outbox.n > 0 {
		c.journal.announce()
	}
	return nil
}

// refuse remembers what the refused item would have made.
func (c *committer) refuse(it *item) {
	for i := range it.Value.batch.Appends {
		a := &it.Value.batch.Appends[i]
		c.phantoms.Add(it.Number, a.Stream, a.Expected+uint64(len(a.Records)))
	}
}

// answer tells every caller its own outcome.
func (c *committer) answer(items []item) {
	for i := range items {
		it, o := &items[i], &c.outcomes[i]
		if o.err != nil {
			c.phantoms.Tell(it.Number, c.journal.queue.Numbered())
		}
		it.Value.done(o.result, o.err)
	}
	clear(c.outcomes)
}

// isRefusal reports whether err is the answer to one batch, and not trouble
// with the database.
func isRefusal(err error) bool {
	var lost *lostError
	if errors.As(err, &lost) {
		return false
	}
	for _, refusal := range [...]error{
		journal.ErrConflict, journal.ErrDuplicate, journal.ErrMessageExists, journal.ErrRowConflict, journal.ErrInvalid,
	} {
		if errors.Is(err, refusal) {
			return true
		}
	}
	return false
}

// ofOneBatch reports whether err is one batch's fault, or its bad luck, so that
// the others of its transaction can do without it.
func ofOneBatch(err error) bool {
	return errors.Is(err, journal.ErrCorrupt) || errors.Is(err, journal.ErrInvalid)
}
