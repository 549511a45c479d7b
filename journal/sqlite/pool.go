package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/troupe-go/troupe/journal"
)

// pool lends sessions.
type pool struct {
	poolOptions

	db     *sql.DB
	free   chan *session
	closed chan struct{}
}

type poolOptions struct {
	size     int
	memory   bool          // a connection is the database: it is never dropped
	foreign  bool          // the handle is the program's: it is not closed, and in memory has its connection back after each use
	patience time.Duration // how long a connection may take to get
	pragmas  []pragma      // what is set on each connection
}

func newPool(db *sql.DB, o poolOptions) *pool {
	p := &pool{poolOptions: o, db: db, free: make(chan *session, o.size), closed: make(chan struct{})}
	for range o.size {
		p.free <- &session{pool: p}
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

func (p *pool) put(s *session) {
	if p.memory && p.foreign && s.conn != nil {
		s.release(func(any) error { return nil })
	}
	p.free <- s
}

// close waits for every session and closes them.
func (p *pool) close() error {
	close(p.closed)
	for range cap(p.free) {
		(<-p.free).drop()
	}
	if p.foreign {
		return nil
	}
	return p.db.Close()
}
