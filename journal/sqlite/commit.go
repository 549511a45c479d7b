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

	items    []item
	outcomes []outcome
}

// outcome is what becomes of one item of the group.
type outcome struct {
	result  journal.Result
	err     error
	damaged bool // it failed the group's transaction, and is left out when that is repeated
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
			c.commitGroup()
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

// commitGroup decides the group's items, stores what they wrote, and answers.
// A member that the database refuses because of what is stored fails alone: all
// is rolled back and repeated without it.
func (c *committer) commitGroup() {
	c.outcomes = append(c.outcomes[:0], make([]outcome, len(c.items))...)
	for {
		culprit, err := c.transact()
		switch {
		case err == nil:
			c.answer()
			return
		case culprit < 0:
			c.journal.opts.Logger.Error("sqlite: commit failed", "path", c.journal.path, "error", err)
			c.phantoms.Annul()
			for i := range c.items {
				c.refuse(&c.items[i])
				c.outcomes[i] = outcome{err: err}
			}
			c.answer()
			return
		}
		c.journal.opts.Logger.Error("sqlite: batch failed", "path", c.journal.path, "batch", c.items[culprit].Value.batch.ID, "error", err)
		c.phantoms.Annul() // the decisions are made anew
		c.outcomes[culprit] = outcome{err: err, damaged: true}
	}
}

// transact stores the group in one transaction. After an error nothing of it
// is stored, or nobody knows, as the error says; culprit is the item whose
// fault it is, or -1.
func (c *committer) transact() (culprit int, err error) {
	s, err := c.journal.writer.take(c.ctx)
	if err != nil {
		return -1, err
	}
	defer c.journal.writer.put(s)
	if _, err := s.exec(c.ctx, "BEGIN IMMEDIATE"); err != nil {
		if code := codeOf(err); code != codeBusy && code != codeLocked {
			s.undo(c.ctx)
		}
		return -1, typed("begin", err)
	}
	t := &transaction{session: s, ctx: c.ctx, now: c.journal.opts.now(), retention: c.journal.opts.ReceiptRetention, phantoms: &c.phantoms}
	for i := range c.items {
		it, o := &c.items[i], &c.outcomes[i]
		if o.damaged {
			c.refuse(it)
			continue
		}
		var fatal error
		o.result, o.err, fatal = t.decide(it)
		if fatal != nil {
			s.undo(c.ctx)
			if damaged(fatal) {
				return i, typed("batch "+it.Value.batch.ID.String(), fatal)
			}
			return -1, typed("commit", fatal)
		}
		if o.err != nil {
			c.refuse(it)
		}
	}
	if !t.wrote {
		if _, err := s.exec(c.ctx, "ROLLBACK"); err != nil {
			s.undo(c.ctx)
		}
		return -1, nil
	}
	if err := t.sweep(); err != nil {
		s.undo(c.ctx)
		return -1, typed("sweep receipts", err)
	}
	if _, err := s.exec(c.ctx, "COMMIT"); err != nil {
		s.undo(c.ctx)
		return -1, typedCommit(err)
	}
	if t.events > 0 {
		c.journal.announce()
	}
	return -1, nil
}

// refuse remembers what the refused item would have made.
func (c *committer) refuse(it *item) {
	for i := range it.Value.batch.Appends {
		a := &it.Value.batch.Appends[i]
		c.phantoms.Add(it.Number, a.Stream, a.Expected+uint64(len(a.Records)))
	}
}

// answer tells every caller of the group its own outcome.
func (c *committer) answer() {
	for i := range c.items {
		it, o := &c.items[i], &c.outcomes[i]
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
	return errors.Is(err, journal.ErrConflict) || errors.Is(err, journal.ErrDuplicate)
}
