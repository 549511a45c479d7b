package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/troupe-go/troupe/journal"
)

// session is one connection with its prepared statements. One goroutine uses
// it at a time.
//
// The contexts that it passes to the driver never end: a statement that was
// interrupted would leave a connection of which little is known, and pages are
// short.
type session struct {
	db      *sql.DB
	memory  bool      // the connection is the database: it is never dropped
	conn    *sql.Conn // nil until it is needed
	prepare map[string]*sql.Stmt
}

// stmt prepares query, once per connection.
func (s *session) stmt(ctx context.Context, query string) (*sql.Stmt, error) {
	if stmt, ok := s.prepare[query]; ok {
		return stmt, nil
	}
	if s.conn == nil {
		conn, err := s.db.Conn(ctx)
		if err != nil {
			return nil, err
		}
		s.conn, s.prepare = conn, make(map[string]*sql.Stmt)
	}
	stmt, err := s.conn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	s.prepare[query] = stmt
	return stmt, nil
}

// exec runs query and returns the newest row's number.
func (s *session) exec(ctx context.Context, query string, args ...any) (int64, error) {
	stmt, err := s.stmt(ctx, query)
	if err != nil {
		return 0, err
	}
	res, err := stmt.ExecContext(ctx, args...)
	if err != nil {
		return 0, err
	}
	return res.LastInsertId()
}

// row reads the only row of query into dest, and reports whether there is one.
func (s *session) row(ctx context.Context, query string, args []any, dest ...any) (bool, error) {
	stmt, err := s.stmt(ctx, query)
	if err != nil {
		return false, err
	}
	err = stmt.QueryRowContext(ctx, args...).Scan(dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// rows calls each for every row of query, until it says no.
func (s *session) rows(ctx context.Context, query string, args []any, each func(*sql.Rows) (bool, error)) (err error) {
	stmt, err := s.stmt(ctx, query)
	if err != nil {
		return err
	}
	rows, err := stmt.QueryContext(ctx, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if more, err := each(rows); err != nil || !more {
			return err
		}
	}
	return rows.Err()
}

// undo ends the transaction after an error, and drops the connection, which
// does so too if ROLLBACK could not.
func (s *session) undo(ctx context.Context) {
	_, _ = s.exec(ctx, "ROLLBACK") // SQLite may have done it already
	if !s.memory {
		s.drop()
	}
}

// drop closes the connection; the next use makes a new one.
func (s *session) drop() {
	if s.conn == nil {
		return
	}
	for _, stmt := range s.prepare {
		_ = stmt.Close()
	}
	_ = s.conn.Raw(func(any) error { return driver.ErrBadConn }) // not back into the pool
	_ = s.conn.Close()
	s.conn, s.prepare = nil, nil
}

// pool lends sessions.
type pool struct {
	db     *sql.DB
	free   chan *session
	closed chan struct{}
}

func newPool(db *sql.DB, size int, memory bool) *pool {
	p := &pool{db: db, free: make(chan *session, size), closed: make(chan struct{})}
	for range size {
		p.free <- &session{db: db, memory: memory}
	}
	return p
}

// take waits for a session, which put gives back.
func (p *pool) take(ctx context.Context) (*session, error) {
	select {
	case s := <-p.free:
		return s, nil
	case <-p.closed:
		return nil, fmt.Errorf("sqlite: %w", journal.ErrClosed)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (p *pool) put(s *session) { p.free <- s }

// close waits for every session and closes them.
func (p *pool) close() error {
	close(p.closed)
	for range cap(p.free) {
		(<-p.free).drop()
	}
	return p.db.Close()
}
