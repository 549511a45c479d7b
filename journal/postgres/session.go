package postgres

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/troupe-go/troupe/journal"
)

const (
	// frozen is how much longer than the server's own timeout a commit waits
	// for an answer.
	frozen = 5 * time.Second

	// between is the pause between two attempts to connect.
	between = 50 * time.Millisecond

	// idleCheck is after how long without use a connection is looked at
	// before it is used: the server may have closed it long since, and a batch
	// sent into it would have an unknown outcome.
	idleCheck = 500 * time.Millisecond

	// ending is how long a new connection waits for the end of an old one's
	// server process.
	ending = 5 * time.Second
)

// session is the connection of one lane. One goroutine uses it.
type session struct {
	journal *Journal
	conn    *pgx.Conn // nil until it is needed
	tracer  pgx.QueryTracer
	self    process
	used    time.Time
	failed  time.Time

	// Server processes of lost connections, which may still be at work.
	//
	// A batch whose outcome is unknown is submitted again, and what is found
	// stored then decides. So nothing of it may still come later. The gate
	// alone does not see to that: a batch without an append has none. Hence
	// the lane ends these processes, and waits for their end, before it stores
	// anything else. Every batch that one of them worked on comes back to this
	// lane, since the streams of a batch say which lane is its own.
	lost []process
}

// process is one of the server's. Numbers are used again, beginnings are not.
type process struct {
	pid   uint32
	begun string
}

func newSession(j *Journal) *session { return &session{journal: j} }

// get returns a connection that was good a moment ago.
func (s *session) get() (*pgx.Conn, error) {
	if s.conn != nil && !s.conn.IsClosed() && time.Since(s.used) > idleCheck && !s.alive() {
		s.drop() // nothing was sent since its last answer
	}
	if s.conn == nil || s.conn.IsClosed() {
		if err := s.connect(); err != nil {
			return nil, err
		}
	}
	if len(s.lost) > 0 {
		if err := s.endLost(); err != nil {
			s.drop()
			return nil, err
		}
	}
	s.used = time.Now()
	return s.conn, nil
}

// trace tells the tracer of the pool's configuration of a statement that is sent
// beside the driver's own way.
func (s *session) trace(ctx context.Context, text string) (context.Context, func(pgconn.CommandTag, error)) {
	if s.tracer == nil {
		return ctx, func(pgconn.CommandTag, error) {}
	}
	conn := s.conn
	ctx = s.tracer.TraceQueryStart(ctx, conn, pgx.TraceQueryStartData{SQL: text})
	return ctx, func(tag pgconn.CommandTag, err error) {
		s.tracer.TraceQueryEnd(ctx, conn, pgx.TraceQueryEndData{CommandTag: tag, Err: err})
	}
}

func (s *session) alive() bool {
	ctx, cancel := context.WithTimeout(context.Background(), s.journal.opts.ConnectTimeout)
	defer cancel()
	return s.conn.Ping(ctx) == nil
}

func (s *session) connect() error {
	if wait := between - time.Since(s.failed); wait > 0 {
		time.Sleep(wait)
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.journal.opts.ConnectTimeout)
	defer cancel()
	conn, err := s.journal.dial(ctx)
	if err == nil {
		err = conn.QueryRow(ctx, "SELECT backend_start::text FROM pg_stat_get_activity(pg_backend_pid())").Scan(&s.self.begun)
		if err != nil {
			_ = conn.Close(ctx)
		}
	}
	if err != nil {
		s.failed = time.Now()
		return fmt.Errorf("postgres: connect: %w: %w", journal.ErrUnavailable, err)
	}
	s.conn, s.self.pid = conn, conn.PgConn().PID()
	s.tracer = conn.Config().Tracer
	return nil
}

// dial makes a connection beside the pool, as the pool makes its own.
func (j *Journal) dial(ctx context.Context) (*pgx.Conn, error) {
	pooled := j.pool.Config()
	config := pooled.ConnConfig.Copy()
	if pooled.BeforeConnect != nil { // fetches a password that expires, say
		if err := pooled.BeforeConnect(ctx, config); err != nil {
			return nil, err
		}
	}
	setTimeouts(config, &j.opts)
	// An acknowledged batch survives a power cut, whatever the server's default.
	config.RuntimeParams["synchronous_commit"] = "on"
	config.RuntimeParams["default_transaction_isolation"] = "read committed"
	config.RuntimeParams["jit"] = "off"
	// A statement for a group takes a millisecond to plan, and the plan is the
	// same for every size: heads by key, and the rest by hash.
	config.RuntimeParams["plan_cache_mode"] = "force_generic_plan"
	// Locks that this process would hold while it is stopped stop others.
	idle := j.opts.StatementTimeout + frozen
	config.RuntimeParams["idle_in_transaction_session_timeout"] = strconv.FormatInt(idle.Milliseconds(), 10)
	config.DefaultQueryExecMode = pgx.QueryExecModeCacheStatement
	return pgx.ConnectConfig(ctx, config)
}

// lose drops a connection whose last words were not heard.
func (s *session) lose() {
	if s.conn != nil {
		s.lost = append(s.lost, s.self)
	}
	s.drop()
}

func (s *session) drop() {
	if s.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = s.conn.Close(ctx) // whatever it says, it is of no more use
	s.conn = nil
}

// endLost ends the server processes of lost connections and waits until they
// are gone.
func (s *session) endLost() error {
	ctx, cancel := context.WithTimeout(context.Background(), ending)
	defer cancel()
	for len(s.lost) > 0 {
		var alive bool
		err := s.conn.QueryRow(ctx, `SELECT count(pg_terminate_backend(pid)) > 0 FROM pg_stat_get_activity(NULL)
			WHERE pid = $1 AND backend_start::text = $2`, int32(s.lost[0].pid), s.lost[0].begun).Scan(&alive)
		switch {
		case err != nil:
			return fmt.Errorf("postgres: end process %d, whose connection was lost: %w: %w", s.lost[0].pid, journal.ErrUnavailable, err)
		case !alive:
			s.lost = s.lost[1:]
		default:
			time.Sleep(5 * time.Millisecond)
		}
	}
	return nil
}

func (s *session) close() { s.drop() }
