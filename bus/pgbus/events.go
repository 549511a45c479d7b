package pgbus

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
)

// deferredPoll is how often rows that wait for their time are looked at.
const deferredPoll = 50 * time.Millisecond

// eventSource reads the log for a group, while it has the group's lease.
//
// The group's offset is behind everything that was settled; what is settled
// further on is remembered in window until all before it is. An event that is
// given back becomes a row of bus_pending, which counts as settled for the log;
// from then on its key is deferred: later events of it become pending rows too,
// and are taken in order from there, until none is left.
type eventSource struct {
	t     *transport
	names []string
	token string
	wake  chan struct{}

	keeping sync.WaitGroup
	ctx     context.Context // ends with Close
	end     context.CancelFunc
	kick    chan struct{} // has room for one: something was settled

	mu      sync.Mutex
	closed  bool
	held    bool // the lease is ours, until
	until   time.Time
	term    int   // counts leases: what was lent in an earlier one cannot be settled
	cursor  int64 // of the log: read up to here
	behind  bool  // the last page was full: there is more, most likely
	stored  int64 // the offset in the table
	window  []*event
	flying  map[int64]struct{}  // pending rows on loan
	loans   map[string]int      // messages on loan, by key
	waiting map[string]struct{} // keys that are deferred
	done    []int64             // pending rows that were acknowledged, not deleted yet
	look    bool                // pending rows may have come
}

var _ bus.Source = (*eventSource)(nil)

func (t *transport) Subscribe(ctx context.Context, names []string) (bus.Source, error) {
	if t.life.Err() != nil {
		return nil, bus.ErrClosed
	}
	if _, err := t.pool.Exec(ctx, t.sql.subscribe, t.opts.Namespace, t.group); err != nil {
		return nil, typed(ctx, "subscribe", err)
	}
	s := &eventSource{t: t, names: names, token: rand.Text(), wake: t.listeners.add(), kick: make(chan struct{}, 1)}
	s.ctx, s.end = context.WithCancel(t.life)
	if err := t.adopt(s); err != nil {
		t.listeners.remove(s.wake)
		return nil, err
	}
	s.keeping.Go(s.keep)
	return s, nil
}

func (s *eventSource) Order() bus.Order     { return bus.OrderedAlways }
func (s *eventSource) Lease() time.Duration { return 0 } // the source renews it

func (s *eventSource) Receive(ctx context.Context, limit int) ([]bus.Delivery, error) {
	limit = min(limit, maxPublish)
	for {
		held, err := s.hold(ctx)
		var got []bus.Delivery
		if held && err == nil {
			got, err = s.read(ctx, limit)
		}
		if err != nil || len(got) > 0 {
			return got, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-s.ctx.Done():
			return nil, bus.ErrClosed
		case <-s.wake:
			s.mu.Lock()
			s.look = true
			s.mu.Unlock()
		case <-time.After(s.patience(held)):
		}
	}
}

// patience is how long to wait without a notification.
func (s *eventSource) patience(held bool) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !held:
		return min(s.t.opts.Poll, s.t.opts.Lease/3)
	case len(s.waiting) > 0:
		return min(s.t.opts.Poll, deferredPoll)
	}
	s.look = true
	return s.t.opts.Poll
}

// hold makes sure of the group's lease, and reports false if another one has it.
func (s *eventSource) hold(ctx context.Context) (bool, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return false, bus.ErrClosed
	}
	if s.held && time.Now().After(s.until) {
		s.lose("it was not renewed in time")
	}
	held := s.held
	s.mu.Unlock()
	if held {
		return true, nil
	}
	start := time.Now()
	var position int64
	err := s.t.pool.QueryRow(ctx, s.t.sql.acquire, s.t.opts.Namespace, s.t.group, s.token, s.t.opts.Lease.Seconds()).Scan(&position)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, typed(ctx, "take the group's lease", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held, s.until = true, s.deadline(start)
	s.term++
	s.cursor, s.stored, s.window = position, position, nil
	s.flying, s.loans, s.waiting = map[int64]struct{}{}, map[string]int{}, map[string]struct{}{}
	s.done, s.look, s.behind = nil, true, false
	return true, nil
}

// deadline is until when a lease that was asked for at start can be relied on.
func (s *eventSource) deadline(start time.Time) time.Time {
	return start.Add(s.t.opts.Lease - s.t.opts.Lease/10)
}

// lose forgets everything that was lent: it is delivered again, to whoever has
// the lease next. s.mu is held.
func (s *eventSource) lose(why string) {
	if !s.held {
		return
	}
	s.held = false
	s.term++
	if n := len(s.flying) + len(s.window); n > 0 {
		s.t.opts.Logger.Warn("pgbus: the group's lease is lost, what was delivered comes again", "group", s.t.group, "why", why, "messages", n)
	}
}

// read takes up to limit messages: pending ones first.
func (s *eventSource) read(ctx context.Context, limit int) ([]bus.Delivery, error) {
	var got []bus.Delivery
	s.mu.Lock()
	term, look := s.term, s.look || len(s.waiting) > 0
	s.look = false
	s.mu.Unlock()
	if look {
		var err error
		if got, err = s.readPending(ctx, term, limit); err != nil {
			s.mu.Lock()
			s.look = true
			s.mu.Unlock()
			return nil, err
		}
	}
	if len(got) == limit {
		return got, nil
	}
	some, err := s.readLog(ctx, term, limit-len(got))
	if err != nil && len(got) > 0 {
		return got, nil // what is on loan must be handed over; the error comes again
	}
	return append(got, some...), err
}

func (s *eventSource) collect(rows pgx.Rows, term int, pending bool) ([]*event, error) {
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (*event, error) {
		e := &event{source: s, term: term, pending: pending}
		var into scanned
		if err := r.Scan(into.targets(&e.position, &e.attempts, &e.resent)...); err != nil {
			return nil, err
		}
		e.message, e.malformed = into.result(envelope.KindEvent)
		e.key = e.message.OrderingKey()
		return e, nil
	})
}

// readPending lends pending rows whose time has come. A key of which something
// is on loan has to wait: it may be given back, and comes before these then.
func (s *eventSource) readPending(ctx context.Context, term, limit int) ([]bus.Delivery, error) {
	s.flush(ctx)
	rows, err := s.t.pool.Query(ctx, s.t.sql.keys, s.t.opts.Namespace, s.t.group)
	if err != nil {
		return nil, typed(ctx, "receive", err)
	}
	keys, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, typed(ctx, "receive", err)
	}
	s.mu.Lock()
	giving := s.waiting // one that is being given back at this moment is not there yet
	s.waiting = map[string]struct{}{}
	for _, key := range keys {
		s.waiting[key] = struct{}{}
	}
	for key := range giving {
		if s.loans[key] > 0 {
			s.waiting[key] = struct{}{}
		}
	}
	flying := make([]int64, 0, len(s.flying)+len(s.done))
	for position := range s.flying {
		flying = append(flying, position)
	}
	flying = append(flying, s.done...)
	busy := []string{}
	for key := range s.waiting {
		if key != "" && s.loans[key] > 0 {
			busy = append(busy, key)
		}
	}
	s.mu.Unlock()
	if len(keys) == 0 {
		return nil, nil
	}
	rows, err = s.t.pool.Query(ctx, s.t.sql.readPending, s.t.opts.Namespace, s.t.group, s.names, flying, busy, limit)
	if err != nil {
		return nil, typed(ctx, "receive", err)
	}
	events, err := s.collect(rows, term, true)
	if err != nil {
		return nil, typed(ctx, "receive", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.term != term {
		return nil, nil
	}
	got := make([]bus.Delivery, 0, len(events))
	for _, e := range events {
		s.flying[e.position] = struct{}{}
		s.loans[e.key]++
		got = append(got, e)
	}
	return got, nil
}

// readLog lends what comes next in the log, and defers what must wait.
func (s *eventSource) readLog(ctx context.Context, term, limit int) ([]bus.Delivery, error) {
	s.mu.Lock()
	cursor, top := s.cursor, s.cursor
	behind := s.behind
	s.mu.Unlock()
	if !behind { // there may be nothing, or nothing of these names
		if err := s.t.pool.QueryRow(ctx, s.t.sql.top, s.t.opts.Namespace).Scan(&top); err != nil {
			return nil, typed(ctx, "receive", err)
		}
		if top <= cursor {
			return nil, nil
		}
	}
	rows, err := s.t.pool.Query(ctx, s.t.sql.readLog, s.t.opts.Namespace, cursor, s.names, limit)
	if err != nil {
		return nil, typed(ctx, "receive", err)
	}
	events, err := s.collect(rows, term, false)
	if err != nil {
		return nil, typed(ctx, "receive", err)
	}
	if n := len(events); n > 0 && (n == limit || events[n-1].position > top) { // all before the last one have been seen
		top = events[n-1].position
	}
	s.mu.Lock()
	if s.term != term {
		s.mu.Unlock()
		return nil, nil
	}
	s.behind = len(events) == limit
	var got []bus.Delivery
	var waiting []*event
	for _, e := range events {
		s.window = append(s.window, e)
		s.loans[e.key]++
		if _, deferred := s.waiting[e.key]; deferred && e.key != "" {
			waiting = append(waiting, e)
			continue
		}
		got = append(got, e)
	}
	s.cursor = top
	if len(events) == 0 {
		fill(s.kick) // the offset moves over what nobody here handles
	}
	s.mu.Unlock()
	return got, s.deferAll(ctx, waiting)
}

// deferAll makes pending rows of events whose keys wait.
func (s *eventSource) deferAll(ctx context.Context, events []*event) error {
	for part := range slices.Chunk(events, 200) {
		batch := &pgx.Batch{}
		for _, e := range part {
			args, err := s.pendingRow(e, 0)
			if err != nil {
				return err
			}
			batch.Queue(s.t.sql.deferRows, args...)
		}
		if err := s.t.pool.SendBatch(ctx, batch).Close(); err != nil {
			s.mu.Lock()
			s.lose("events could not be deferred")
			s.mu.Unlock()
			return typed(ctx, "receive", err)
		}
		for _, e := range part {
			e.settled(nil)
		}
	}
	return nil
}

func (s *eventSource) pendingRow(e *event, delay time.Duration) ([]any, error) {
	columns, err := row(&e.message)
	return append([]any{s.t.opts.Namespace, s.t.group, delay.Seconds(), e.resent, e.position, e.key, e.attempts}, columns...), err
}

// minKeepGap is the least time between two flushes: each is a commit, which the
// reading of pages would wait behind. What is settled meanwhile comes again
// after a crash, as what was settled just before one does.
const minKeepGap = 10 * time.Millisecond

// keep renews the lease, and stores how far the group has come.
func (s *eventSource) keep() {
	ticker := time.NewTicker(s.t.opts.Lease / 3)
	defer ticker.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.kick:
		case <-ticker.C:
		}
		s.flush(s.ctx)
		select {
		case <-s.ctx.Done():
			return
		case <-time.After(minKeepGap):
		}
	}
}

// flush stores the offset, deletes pending rows that were acknowledged, and
// renews the lease.
func (s *eventSource) flush(ctx context.Context) {
	s.mu.Lock()
	if !s.held {
		s.mu.Unlock()
		return
	}
	term, done := s.term, slices.Clone(s.done)
	position := s.cursor
	if len(s.window) > 0 {
		position = s.window[0].position - 1
	}
	s.mu.Unlock()
	start := time.Now()
	var mine int
	err := s.t.pool.QueryRow(ctx, s.t.sql.keep, s.t.opts.Namespace, s.t.group, s.token, position, s.t.opts.Lease.Seconds(), nonNil(done)).Scan(&mine)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err != nil || s.term != term: // the lease ends by itself if this goes on
		return
	case mine == 0:
		s.lose("another replica has it")
		return
	}
	s.until, s.stored = s.deadline(start), position
	s.done = slices.DeleteFunc(s.done, func(p int64) bool { return slices.Contains(done, p) })
}

func nonNil(p []int64) []int64 {
	if p == nil {
		return []int64{}
	}
	return p
}

// Close stores how far it came and lets another replica go on.
func (s *eventSource) Close(ctx context.Context) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	s.end()
	s.keeping.Wait()
	defer s.t.forget(s)
	s.t.listeners.remove(s.wake)
	s.flush(ctx)
	s.mu.Lock()
	s.held = false
	s.term++
	s.mu.Unlock()
	if err := s.leave(ctx); err != nil {
		return typed(ctx, "leave the group", err)
	}
	s.t.changed()
	return nil
}

// leave ends the lease. A server that was restarted leaves as many dead
// connections in the pool as there were; each is found out by its use.
func (s *eventSource) leave(ctx context.Context) (err error) {
	for range s.t.pool.Config().MaxConns + 1 {
		var away *pgconn.ConnectError
		_, err = s.t.pool.Exec(ctx, s.t.sql.leave, s.t.opts.Namespace, s.t.group, s.token)
		if err == nil || ctx.Err() != nil || errors.As(err, &away) {
			return err
		}
	}
	return err
}

// event is one delivery.
type event struct {
	source    *eventSource
	term      int
	position  int64
	pending   bool // a row of bus_pending, not of the log
	over      bool // settled; source.mu
	attempts  int64
	resent    bool
	key       string
	message   envelope.Message
	malformed error
}

var _ bus.Delivery = (*event)(nil)

func (e *event) Message() *envelope.Message   { return &e.message }
func (e *event) Malformed() error             { return e.malformed }
func (e *event) Attempt() int                 { return int(e.attempts) + 1 }
func (e *event) Resent() bool                 { return e.resent }
func (e *event) Extend(context.Context) error { return nil }

// mine reports whether e can still be settled.
func (e *event) mine() error {
	s := e.source
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || !s.held || s.term != e.term || e.over {
		return bus.ErrClosed
	}
	return nil
}

// settled ends the loan of e; acked pending rows are to be deleted.
func (e *event) settled(more func()) {
	s := e.source
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.term != e.term || e.over {
		return
	}
	e.over = true
	if s.loans[e.key]--; s.loans[e.key] == 0 {
		delete(s.loans, e.key)
	}
	if e.pending {
		delete(s.flying, e.position)
	} else {
		n := 0
		for n < len(s.window) && s.window[n].over {
			n++
		}
		s.window = slices.Delete(s.window, 0, n)
	}
	if more != nil {
		more()
	}
	fill(s.kick)
}

func (e *event) Ack(context.Context) error {
	if err := e.mine(); err != nil {
		return err
	}
	e.settled(func() {
		if e.pending {
			e.source.done = append(e.source.done, e.position)
		}
	})
	return nil
}

func (e *event) Retry(ctx context.Context, delay time.Duration) error {
	if err := e.mine(); err != nil {
		return err
	}
	s := e.source
	s.mu.Lock()
	s.waiting[e.key] = struct{}{}
	s.mu.Unlock()
	again := *e
	again.attempts++
	args, err := s.pendingRow(&again, delay)
	if err == nil {
		_, err = s.t.pool.Exec(ctx, s.t.sql.deferRows, args...)
	}
	if err != nil {
		s.mu.Lock()
		s.lose("a message could not be given back")
		s.mu.Unlock()
		return typed(ctx, "give back", err)
	}
	e.settled(nil)
	return nil
}

func (e *event) DeadLetter(ctx context.Context, why bus.Failure) error {
	if err := e.mine(); err != nil {
		return err
	}
	s := e.source
	columns, err := row(&e.message)
	if err != nil {
		return err
	}
	args := []any{s.t.opts.Namespace, s.t.group, e.position, e.key, bus.CutReason(why.Reason), why.Attempts, why.Parked, why.Time}
	if _, err := s.t.pool.Exec(ctx, s.t.sql.buryEvent, append(args, columns...)...); err != nil {
		return typed(ctx, "set aside", err)
	}
	e.settled(nil)
	return nil
}
