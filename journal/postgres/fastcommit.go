package postgres

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/troupe-go/troupe/journal"
)

// commitFast stores the units of the group in one statement and answers those
// that passed. What did not pass comes before the rest of the slow step.
func (l *lane) commitFast() {
	g := &l.fast
	err := g.arrange()
	if err == nil {
		err = l.runFast(g)
	}
	var left []*member
	switch {
	case err == nil:
		stored := false
		for _, u := range g.sorted {
			for i, rt := range u.routes {
				if !u.passed {
					left = append(left, &member{route: rt})
					continue
				}
				stored = true
				l.answer(rt, u.results[i], nil)
			}
		}
		if stored {
			if len(g.events.types) > 0 {
				l.journal.stored()
			}
			if g.receipts > 0 {
				l.journal.sweepSoon()
			}
		}
	case errors.Is(err, journal.ErrUnknownOutcome):
		l.failed(err, len(g.sorted))
		for _, u := range g.sorted {
			for _, rt := range u.routes {
				l.refuse(rt)
				l.answer(rt, journal.Result{}, err)
			}
		}
	default:
		// Nothing was stored. The slow step finds out who is at fault, and
		// fails alike where the trouble is with the server.
		for _, u := range g.sorted {
			for _, rt := range u.routes {
				left = append(left, &member{route: rt})
			}
		}
	}
	l.answered()
	l.slow = append(left, l.slow...)
}

// runFast sends the statement. After an error that is not an
// ErrUnknownOutcome, nothing was stored.
func (l *lane) runFast(g *fastGroup) error {
	parts := 0
	args := g.heads.args(nil)
	args = g.events.args(args)
	if g.asserts > 0 {
		parts |= withAsserts
	}
	if g.receipts > 0 {
		parts |= withReceipts
		args = append(g.replies.args(args), l.journal.opts.expired())
	}
	if g.messages > 0 {
		parts |= withMessages
		args = append(g.outbox.args(args), g.unitType, g.unitID)
	}
	if g.snapshots > 0 {
		parts |= withSnapshots
		args = g.snaps.args(args)
	}
	conn, err := l.session.get()
	if err != nil {
		return err
	}
	ctx, cancel := l.deadline()
	defer cancel()
	rows, err := conn.Query(ctx, l.journal.sql.fast(parts), args...)
	if err == nil {
		err = g.read(rows)
	}
	if err == nil {
		return nil
	}
	return l.commitError(conn, err)
}

// commitError is the contract's error for what came in answer to a commit.
func (l *lane) commitError(conn *pgx.Conn, err error) error {
	unsent := codeOf(err) == "" && !conn.IsClosed() && !errors.Is(err, journal.ErrCorrupt) // a parameter without a form on the wire
	if unsent || rolledBack(err) {
		if conn.IsClosed() {
			l.session.drop()
		}
		return err
	}
	l.session.lose()
	return fmt.Errorf("postgres: commit: %w: %w", journal.ErrUnknownOutcome, err)
}

// read reads what the statement stored.
func (g *fastGroup) read(rows pgx.Rows) error {
	defer rows.Close()
	for rows.Next() {
		v := rows.RawValues()
		if len(v) != 5 || len(v[2]) != 8 || len(v[3]) != 8 || len(v[4]) != 8 {
			return corrupt("the server's answer has another form than was asked for")
		}
		position := journal.Position{Epoch: binary.BigEndian.Uint64(v[3]), Seq: binary.BigEndian.Uint64(v[4])}
		if err := g.passed(v[0], v[1], binary.BigEndian.Uint64(v[2]), position); err != nil {
			return err
		}
	}
	rows.Close()
	return rows.Err()
}

// failed logs a commit that failed.
func (l *lane) failed(err error, batches int) {
	l.journal.opts.Logger.Error("postgres: commit failed", "schema", l.journal.opts.Schema, "batches", batches, "error", err)
}
