package membus

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"

	"github.com/troupe-go/troupe/bus"
)

// letter is a dead letter, and where it came from.
type letter struct {
	bus.DeadLetter
	number uint64
	entry  *entry
	queue  *queue
}

// bury stores e among the dead letters. s.mu is held.
func (s *space) bury(e *entry, q *queue, group string, why bus.Failure) {
	s.lastID++
	why.Reason = bus.CutReason(why.Reason)
	id := strconv.FormatUint(s.lastID, 10)
	s.letters[id] = &letter{
		DeadLetter: bus.DeadLetter{ID: id, Group: group, Message: e.message, Failure: why},
		number:     s.lastID, entry: e, queue: q,
	}
}

// deadLetters looks after those of a space for one group.
type deadLetters struct {
	space *space
	group string
}

var _ bus.DeadLetters = (*deadLetters)(nil)

func (d *deadLetters) List(ctx context.Context, filter bus.DeadLetterFilter) iter.Seq2[bus.DeadLetter, error] {
	return func(yield func(bus.DeadLetter, error) bool) {
		for _, l := range d.pick(filter) {
			if err := ctx.Err(); err != nil {
				yield(bus.DeadLetter{}, err)
				return
			}
			letter := l.DeadLetter
			letter.Message = clone(&l.Message)
			if !yield(letter, nil) {
				return
			}
		}
	}
}

// pick returns the letters that filter picks, oldest first.
func (d *deadLetters) pick(filter bus.DeadLetterFilter) []*letter {
	d.space.mu.Lock()
	defer d.space.mu.Unlock()
	letters := slices.SortedFunc(maps.Values(d.space.letters), func(a, b *letter) int { return cmp.Compare(a.number, b.number) })
	return slices.DeleteFunc(letters, func(l *letter) bool { return !filter.Matches(&l.DeadLetter, d.group) })
}

func (d *deadLetters) Show(ctx context.Context, id string) (bus.DeadLetter, error) {
	if err := ctx.Err(); err != nil {
		return bus.DeadLetter{}, err
	}
	d.space.mu.Lock()
	defer d.space.mu.Unlock()
	l := d.space.letters[id]
	if l == nil {
		return bus.DeadLetter{}, fmt.Errorf("%w: %q", bus.ErrNotFound, id)
	}
	shown := l.DeadLetter
	shown.Message = clone(&l.Message)
	return shown, nil
}

func (d *deadLetters) Resend(ctx context.Context, id string) error {
	return d.remove(ctx, id, func(l *letter) {
		e := &entry{message: l.entry.message, sequence: l.entry.sequence, resent: true}
		lane := l.queue.lane(e.message.OrderingKey())
		lane.insert(e)
		lane.nowReady()
	})
}

func (d *deadLetters) ResendAll(ctx context.Context, filter bus.DeadLetterFilter) (n int, err error) {
	for _, l := range d.pick(filter) {
		if err := d.Resend(ctx, l.ID); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

func (d *deadLetters) Discard(ctx context.Context, id string) error {
	return d.remove(ctx, id, func(*letter) {})
}

func (d *deadLetters) remove(ctx context.Context, id string, then func(*letter)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	d.space.mu.Lock()
	defer d.space.mu.Unlock()
	l := d.space.letters[id]
	if l == nil {
		return fmt.Errorf("%w: %q", bus.ErrNotFound, id)
	}
	delete(d.space.letters, id)
	then(l)
	return nil
}
