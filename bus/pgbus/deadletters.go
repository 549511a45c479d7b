package pgbus

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
)

// letterPage is how many dead letters are read at a time.
const letterPage = 200

// deadLetters are the rows of bus_dead_letter.
type deadLetters struct{ t *transport }

var _ bus.DeadLetters = deadLetters{}

func scanLetter(r pgx.CollectableRow) (number int64, l bus.DeadLetter, err error) {
	var kind int16
	var into scanned
	if err := r.Scan(into.targets(&number, &kind, &l.Group, &l.Reason, &l.Attempts, &l.Parked, &l.Time)...); err != nil {
		return 0, l, err
	}
	l.ID = strconv.FormatInt(number, 10)
	l.Message, _ = into.result(envelope.Kind(kind)) // what is wrong with it is the reason
	return number, l, nil
}

func (d deadLetters) List(ctx context.Context, filter bus.DeadLetterFilter) iter.Seq2[bus.DeadLetter, error] {
	return func(yield func(bus.DeadLetter, error) bool) {
		after := int64(0)
		for {
			if d.t.life.Err() != nil {
				yield(bus.DeadLetter{}, bus.ErrClosed)
				return
			}
			rows, err := d.t.pool.Query(ctx, d.t.sql.letters, d.t.opts.Namespace, filter.AllGroups, d.t.group,
				filter.Name, filter.Key, filter.Parked, after, letterPage)
			var page []bus.DeadLetter
			if err == nil {
				page, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (l bus.DeadLetter, err error) {
					after, l, err = scanLetter(r)
					return l, err
				})
			}
			if err != nil {
				yield(bus.DeadLetter{}, typed(ctx, "list dead letters", err))
				return
			}
			for _, l := range page {
				if !yield(l, nil) {
					return
				}
			}
			if len(page) < letterPage {
				return
			}
		}
	}
}

// number reads an id.
func number(id string) (int64, error) {
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %q", bus.ErrNotFound, id)
	}
	return n, nil
}

func (d deadLetters) Show(ctx context.Context, id string) (bus.DeadLetter, error) {
	n, err := number(id)
	if err != nil {
		return bus.DeadLetter{}, err
	}
	rows, err := d.t.pool.Query(ctx, d.t.sql.letter, d.t.opts.Namespace, n)
	if err != nil {
		return bus.DeadLetter{}, typed(ctx, "show a dead letter", err)
	}
	letter, err := pgx.CollectExactlyOneRow(rows, func(r pgx.CollectableRow) (bus.DeadLetter, error) {
		_, l, err := scanLetter(r)
		return l, err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return bus.DeadLetter{}, fmt.Errorf("%w: %q", bus.ErrNotFound, id)
	}
	if err != nil {
		return bus.DeadLetter{}, typed(ctx, "show a dead letter", err)
	}
	return letter, nil
}

func (d deadLetters) Resend(ctx context.Context, id string) error {
	err := d.change(ctx, "send a dead letter again", id, d.t.sql.resendEvent, d.t.sql.resendCommand)
	if err == nil {
		d.t.changed()
	}
	return err
}

func (d deadLetters) ResendAll(ctx context.Context, filter bus.DeadLetterFilter) (n int, err error) {
	for l, err := range d.List(ctx, filter) {
		if err != nil {
			return n, err
		}
		switch err := d.Resend(ctx, l.ID); {
		case errors.Is(err, bus.ErrNotFound): // somebody else did
		case err != nil:
			return n, err
		default:
			n++
		}
	}
	return n, nil
}

func (d deadLetters) Discard(ctx context.Context, id string) error {
	return d.change(ctx, "discard a dead letter", id, d.t.sql.discard)
}

// change runs statements until one of them has found the dead letter.
func (d deadLetters) change(ctx context.Context, doing, id string, statements ...string) error {
	n, err := number(id)
	if err != nil {
		return err
	}
	for _, statement := range statements {
		tag, err := d.t.pool.Exec(ctx, statement, d.t.opts.Namespace, n)
		if err != nil {
			return typed(ctx, doing, err)
		}
		if tag.RowsAffected() > 0 {
			return nil
		}
	}
	return fmt.Errorf("%w: %q", bus.ErrNotFound, id)
}
