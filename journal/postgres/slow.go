package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// How often a transaction is repeated that lost a race with another one.
const maxRaces = 10

// member is one batch of a transaction of the slow step.
type member struct {
	route   *route
	rows    []rowWrite
	invalid error // the server does not take it
	result  journal.Result
	err     error // why it is refused
}

func (m *member) batch() *journal.Batch { return m.route.item.Value.batch }

// commitSlow decides the members one after the other and stores those that
// pass, all in one transaction, and answers.
//
// A transaction that lost a race is repeated. One that the server refuses for
// what it was given is halved, and halved again, until the culprit stands alone:
// one bad batch never fails the others.
func (l *lane) commitSlow(members []*member) {
	var err error
	for races, lost := 0, 0; ; {
		if err = l.transact(members); err == nil {
			l.answerSlow(members)
			return
		}
		l.session.rollback()
		l.journal.refusals.annul(l.number) // the decisions are made anew
		var culprit *culpritError
		switch code := codeOf(err); {
		case errors.Is(err, journal.ErrUnknownOutcome):
		case transient(err) && races < maxRaces, (code == codeUnique || code == codeNotNull) && races < 3:
			races++
			continue
		case errors.As(err, &culprit) && deterministic(err):
			culprit.member.invalid = invalid(culprit.member, err)
			continue
		case errors.Is(err, errLost) && lost == 0:
			lost++ // nothing was stored, and a new connection may do
			continue
		case code == codeLockTimeout && len(members) > 1:
			if rest := l.refuseLocked(members, err); len(rest) < len(members) {
				members = rest
				continue
			}
		case code == codeReadOnly:
			l.session.drop() // the next one may find the new primary
		}
		break
	}
	switch {
	case len(members) > 1 && deterministic(err):
		half := len(members) / 2
		l.commitSlow(members[:half])
		l.commitSlow(members[half:])
		return
	case errors.Is(err, journal.ErrUnknownOutcome):
	case deterministic(err):
		err = invalid(members[0], err)
	default:
		err = typed("commit", err)
	}
	l.failed(err, len(members))
	for _, m := range members {
		m.result, m.err = journal.Result{}, err
		l.refuse(m.route)
	}
	l.answerSlow(members)
}

// invalid is the error of a batch that the server refuses for what it holds.
// A key of the journal's own tables that exists although the head says that it
// does not is damage.
func invalid(m *member, err error) error {
	if len(m.batch().Rows) == 0 && codeOf(err) == codeUnique {
		return fmt.Errorf("postgres: batch %s: %w: %w", m.batch().ID, journal.ErrCorrupt, err)
	}
	return fmt.Errorf("postgres: batch %s: %w: %w", m.batch().ID, journal.ErrInvalid, err)
}

func (l *lane) answerSlow(members []*member) {
	for _, m := range members {
		l.answer(m.route, m.result, m.err)
	}
	l.answered()
}

// refuseLocked refuses those of whose streams somebody else holds the head, and
// answers them, after all waited in vain. It returns the others.
func (l *lane) refuseLocked(members []*member, cause error) (rest []*member) {
	held, err := l.heldStreams(members)
	if err != nil {
		return members
	}
	var refused []*member
	for _, m := range members {
		if !slices.ContainsFunc(m.route.streams, func(s envelope.Stream) bool { return held[s] }) {
			rest = append(rest, m)
			continue
		}
		m.result, m.err = journal.Result{}, typed("commit", cause)
		l.refuse(m.route)
		refused = append(refused, m)
	}
	l.answerSlow(refused)
	return rest
}

// heldStreams are those whose heads are locked by somebody else.
func (l *lane) heldStreams(members []*member) (map[envelope.Stream]bool, error) {
	conn, err := l.session.get()
	if err != nil {
		return nil, err
	}
	defer l.session.rollback()
	held := make(map[envelope.Stream]bool)
	var types, ids []string
	for _, m := range members {
		for _, s := range m.route.streams {
			if !held[s] {
				held[s] = true
				types, ids = append(types, s.Type), append(ids, s.ID)
			}
		}
	}
	ctx, cancel := l.deadline()
	defer cancel()
	rows, err := conn.Query(ctx, l.journal.sql.freeHeads, types, ids)
	if err != nil {
		return nil, err
	}
	var s envelope.Stream
	_, err = pgx.ForEachRow(rows, []any{&s.Type, &s.ID}, func() error {
		delete(held, s)
		return nil
	})
	return held, err
}

// errLost reports a connection that was lost before the commit was sent.
var errLost = errors.New("connection lost")

// culpritError says whose row it was.
type culpritError struct {
	member *member
	cause  error
}

func (e *culpritError) Error() string { return e.cause.Error() }
func (e *culpritError) Unwrap() error { return e.cause }

// transact runs the transaction. After an error nothing of it is stored, or
// nobody knows, as the error says.
func (l *lane) transact(members []*member) error {
	conn, err := l.session.get()
	if err != nil {
		return err
	}
	t := newTransaction(l, members)
	ctx, cancel := l.deadline()
	defer cancel()
	if err := t.prepareRows(ctx, conn); err != nil {
		return l.readError(conn, err)
	}
	if err := t.look(ctx, conn); err != nil {
		return l.readError(conn, err)
	}
	for _, m := range members {
		m.result, m.err = journal.Result{}, nil
		if m.err = t.decide(m); m.err != nil {
			l.refuse(m.route)
		}
	}
	if !t.wants() {
		l.session.rollback()
		return nil
	}
	if err := t.write(ctx, conn); err != nil {
		return l.commitError(conn, err)
	}
	if t.events+len(t.columns.messages.ids) > 0 {
		l.journal.stored()
	}
	if t.receipts > 0 {
		l.journal.sweepSoon()
	}
	return nil
}

// readError is the error for one that came before anything was written.
func (l *lane) readError(conn *pgx.Conn, err error) error {
	if conn.IsClosed() {
		l.session.lose() // its process may hold locks
		return fmt.Errorf("%w: %w", errLost, err)
	}
	return err
}

// rollback ends an open transaction, or the connection if that is not possible.
func (s *session) rollback() {
	if s.conn == nil || s.conn.IsClosed() || s.conn.PgConn().TxStatus() == 'I' {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), frozen)
	defer cancel()
	if _, err := s.conn.Exec(ctx, "ROLLBACK"); err != nil {
		s.lose()
	}
}
