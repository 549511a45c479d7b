package postgres

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/troupe-go/troupe/journal"
)

// commitFast stores the units of the group in one statement and answers those
// that passed. What did not pass comes before the rest of the slow step.
func (l *lane) commitFast() {
	g := &l.fast
	g.arrange()
	err := l.runFast(g)
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

// carefulGroups is for how long a lane expects another group that not all units
// of which pass, once there was one: other processes write to the same streams,
// or a bus delivers commands again.
const carefulGroups = 64

// runFast sends the statement. After an error that is not an
// ErrUnknownOutcome, nothing was stored.
func (l *lane) runFast(g *fastGroup) error {
	if l.careful == 0 {
		err := l.send(g, false)
		code := codeOf(err)
		if errors.Is(err, journal.ErrUnknownOutcome) || code != codeNotBoolean && (code != codeUnique || g.receipts == 0) {
			return err
		}
		l.careful = carefulGroups
	}
	l.careful--
	return l.send(g, true)
}

// send stores all units, or nothing if one does not pass; or with care, those
// that pass.
func (l *lane) send(g *fastGroup, careful bool) error {
	text := l.journal.sql.forms(careful)[g.encode(careful, l.journal.opts.expired())]
	conn, err := l.session.get()
	if err != nil {
		return err
	}
	ctx, cancel := l.deadline()
	defer cancel()
	statement, err := conn.Prepare(ctx, text, text) // once per connection
	if err != nil {
		if conn.IsClosed() {
			l.session.drop()
		}
		return err
	}
	ctx, traced := l.session.trace(ctx, text)
	rows := conn.PgConn().ExecStatement(ctx, statement, g.params.values(), binaryForm, binaryForm)
	if careful {
		err = g.read(rows)
	} else {
		err = g.readAll(rows)
	}
	tag, closed := rows.Close()
	if closed != nil {
		err = closed
	}
	traced(tag, err)
	if err == nil {
		return nil
	}
	return l.commitError(conn, err)
}

var binaryForm = []int16{pgx.BinaryFormatCode}

// encode makes the parameters, and says which parts the statement has.
func (g *fastGroup) encode(careful bool, expired int64) (parts int) {
	p := &g.params
	p.reset()
	g.heads.encode(p)
	g.events.encode(p)
	if g.asserts > 0 {
		parts |= withAsserts
	}
	if g.receipts > 0 {
		parts |= withReceipts
		g.replies.encode(p)
		if careful {
			p.bigint(expired)
		}
	}
	if g.messages > 0 {
		parts |= withMessages
		g.outbox.encode(p)
		if careful {
			p.sharedTexts(g.unitType)
			p.texts(g.unitID)
		}
	}
	if g.snapshots > 0 {
		parts |= withSnapshots
		g.snaps.encode(p)
	}
	return parts
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

// read reads which events were stored, and which gates were passed.
func (g *fastGroup) read(rows *pgconn.ResultReader) error {
	for rows.NextRow() {
		v := rows.Values()
		if len(v) != 5 || len(v[2]) != 8 || len(v[3]) != 8 || len(v[4]) != 8 {
			return otherForm()
		}
		position := journal.Position{Epoch: binary.BigEndian.Uint64(v[3]), Seq: binary.BigEndian.Uint64(v[4])}
		if err := g.passed(v[0], v[1], binary.BigEndian.Uint64(v[2]), position); err != nil {
			return err
		}
	}
	return nil
}

// readAll reads the one row that says that everything was stored, and where.
func (g *fastGroup) readAll(rows *pgconn.ResultReader) error {
	for rows.NextRow() {
		v := rows.Values()
		if len(v) != 3 || len(v[0]) != 8 && v[0] != nil {
			return otherForm()
		}
		var xid uint64
		if v[0] != nil {
			xid = binary.BigEndian.Uint64(v[0])
		}
		if err := g.allPassed(xid, v[1]); err != nil {
			return err
		}
	}
	return nil
}

func otherForm() error { return corrupt("the server's answer has another form than was asked for") }

// failed logs a commit that failed.
func (l *lane) failed(err error, batches int) {
	l.journal.opts.Logger.Error("postgres: commit failed", "schema", l.journal.opts.Schema, "batches", batches, "error", err)
}
