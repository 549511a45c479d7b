package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"time"
)

// session is one connection with its prepared statements. One goroutine uses
// it at a time.
//
// The contexts that it passes to the driver never end: a statement that was
// interrupted would leave a connection of which little is known, and pages are
// short.
type session struct {
	pool    *pool
	conn    *sql.Conn // nil until it is needed
	opened  int       // how many connections there were
	prepare map[string]*sql.Stmt
	driver  map[string]driverStatement // for records
	tables  tables
}

// maxStatements bounds the prepared statements of one connection: each choice of
// columns that a row is written with takes one.
const maxStatements = 250

// stmt prepares query, once per connection.
func (s *session) stmt(ctx context.Context, query string) (*sql.Stmt, error) {
	if stmt, ok := s.prepare[query]; ok {
		return stmt, nil
	}
	if err := s.connect(ctx); err != nil {
		return nil, err
	}
	if len(s.prepare) >= maxStatements {
		for query, stmt := range s.prepare { // any: those in use come back
			_ = stmt.Close()
			delete(s.prepare, query)
			break
		}
	}
	stmt, err := s.conn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	s.prepare[query] = stmt
	return stmt, nil
}

func (s *session) connect(ctx context.Context) error {
	if s.conn != nil {
		return nil
	}
	waiting, cancel := context.WithTimeout(ctx, s.pool.patience)
	defer cancel()
	conn, err := s.pool.db.Conn(waiting)
	for codeOf(err) == codeBusy && waiting.Err() == nil {
		time.Sleep(time.Millisecond) // a handle that sets WAL mode before it has a busy time-out
		conn, err = s.pool.db.Conn(waiting)
	}
	if err != nil {
		return err
	}
	for _, p := range s.pool.pragmas {
		if _, err := conn.ExecContext(ctx, "PRAGMA "+p.name+" = "+p.value); err != nil {
			_ = conn.Raw(func(any) error { return driver.ErrBadConn })
			_ = conn.Close()
			return err
		}
	}
	s.conn, s.prepare, s.driver = conn, make(map[string]*sql.Stmt), make(map[string]driverStatement)
	s.opened++
	return nil
}

// exec runs query.
func (s *session) exec(ctx context.Context, query string, args ...any) error {
	_, err := s.result(ctx, query, args)
	return err
}

// count runs query and returns how many rows it changed.
func (s *session) count(ctx context.Context, query string, args ...any) (int64, error) {
	res, err := s.result(ctx, query, args)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func (s *session) result(ctx context.Context, query string, args []any) (sql.Result, error) {
	stmt, err := s.stmt(ctx, query)
	if err != nil {
		return nil, err
	}
	return stmt.ExecContext(ctx, args...)
}

// row reads the only row of query into dest, and reports whether there is one.
func (s *session) row(ctx context.Context, query string, args []any, dest ...any) (bool, error) {
	return s.scan(ctx, query, args, func(scan func(...any) error) error { return scan(dest...) })
}

// scan calls fn to read the only row of query, and reports whether there is one.
func (s *session) scan(ctx context.Context, query string, args []any, fn func(scan func(...any) error) error) (bool, error) {
	stmt, err := s.stmt(ctx, query)
	if err != nil {
		return false, err
	}
	err = fn(stmt.QueryRowContext(ctx, args...).Scan)
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
	_ = s.exec(ctx, "ROLLBACK") // SQLite may have done it already
	if !s.pool.memory {
		s.drop()
	}
}

// drop closes the connection; the next use makes a new one.
func (s *session) drop() {
	if s.conn == nil {
		return
	}
	s.release(func(any) error { return driver.ErrBadConn }) // not back into the pool
}

// release gives the connection up. The pool of the handle keeps it, unless
// check says that it is bad.
func (s *session) release(check func(any) error) {
	for _, stmt := range s.prepare {
		_ = stmt.Close()
	}
	_ = s.conn.Raw(func(conn any) error { // it says what check does, which is not news
		for _, stmt := range s.driver {
			_ = stmt.Close() // as the others: the connection goes
		}
		return check(conn)
	})
	_ = s.conn.Close()
	s.conn, s.prepare, s.driver, s.tables = nil, nil, nil, tables{}
}
