package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/troupe-go/troupe/internal/commitqueue"
	"github.com/troupe-go/troupe/journal"
)

// Journal is a [journal.Journal] in a PostgreSQL database. Make one with
// [OpenAndMigrate], [Open] or [FromPool]; it is safe for concurrent use.
type Journal struct {
	opts     Options
	queue    *commitqueue.Queue[submission]
	refusals *refusals

	pool    *pgxpool.Pool // for reads
	ownPool bool
	sql     statements

	changedMu sync.Mutex
	changed   chan struct{} // nil when nobody listens
	notify    chan struct{} // one slot: something was stored that others may hear of
	teller    atomic.Uint32 // server process through which this journal tells others

	horizon horizon

	outboxHorizon outboxHorizon
	pageRows      pageRows

	keys       sync.Map      // of tables of read models, as checkKey found them
	scavenging chan struct{} // one slot: whoever is in it scavenges
	sweeps     chan struct{} // one slot: receipts were stored

	stopped  context.Context // ended by Close, for what runs beside the committers
	stop     context.CancelFunc
	closed   atomic.Bool
	finished chan struct{} // closed when everything has ended
	beside   sync.WaitGroup
}

var _ journal.Journal = (*Journal)(nil)

// submission is one submitted batch on its way.
type submission struct {
	batch *journal.Batch
	done  func(journal.Result, error)
	route *route
}

type item = commitqueue.Item[submission]

func newJournal(pool *pgxpool.Pool, own bool, o Options) *Journal {
	j := &Journal{
		opts: o, pool: pool, ownPool: own,
		queue:      commitqueue.New[submission](o.QueueEvents, o.QueueBytes),
		refusals:   newRefusals(o.Committers + 1),
		notify:     make(chan struct{}, 1),
		scavenging: make(chan struct{}, 1),
		sweeps:     make(chan struct{}, 1),
		finished:   make(chan struct{}),
	}
	j.sql = newStatements(j.table)
	j.stopped, j.stop = context.WithCancel(context.Background())
	return j
}

// start starts everything that runs until Close.
func (j *Journal) start() {
	router := newRouter(j)
	var lanes sync.WaitGroup
	for _, l := range router.lanes {
		lanes.Go(l.run)
	}
	j.beside.Go(j.listen)
	j.beside.Go(j.tell)
	j.beside.Go(j.sweep)
	go func() {
		defer close(j.finished)
		router.run()
		lanes.Wait()
		j.closed.Store(true)
		j.stop()
		j.beside.Wait()
		if j.ownPool {
			j.pool.Close()
		}
		j.announce()
	}()
}

// table is the quoted name of one of the journal's tables.
func (j *Journal) table(name string) string {
	return pgx.Identifier{j.opts.Schema, name}.Sanitize()
}

// Features implements [journal.Journal]. It takes everything but fences.
func (j *Journal) Features() journal.Features {
	return journal.Features{
		Name: "postgres", Durable: true,
		Messages: true, Rows: true, Inbox: true, Truncation: true,
	}
}

// Submit implements [journal.Journal]. It validates b and enqueues it; a
// committer decides it. done is called by a committer, or by Submit itself when
// b is not taken.
func (j *Journal) Submit(b *journal.Batch, done func(journal.Result, error)) {
	if err := b.Validate(); err != nil {
		done(journal.Result{}, err)
		return
	}
	if err := j.Features().Check(b); err != nil {
		done(journal.Result{}, err)
		return
	}
	err := j.queue.Put(item{Value: submission{batch: b, done: done}, Events: b.Events(), Bytes: b.SizeBytes()})
	switch {
	case err == nil:
	case errors.Is(err, commitqueue.ErrClosed):
		done(journal.Result{}, fmt.Errorf("postgres: batch not taken: %w", journal.ErrClosed))
	default:
		done(journal.Result{}, fmt.Errorf("postgres: batch not taken, %w: %w", err, journal.ErrOverloaded))
	}
}

// Credit implements [journal.Journal]. It only looks: see [Options] for the
// bounds.
func (j *Journal) Credit(events, bytes int, ready func()) bool {
	return j.queue.Credit(events, bytes, ready)
}

// Changed implements [journal.Journal]. It tells at once of what this Journal
// stored, and of what others stored in the same schema when the server passes
// their notification on.
func (j *Journal) Changed() <-chan struct{} {
	j.changedMu.Lock()
	defer j.changedMu.Unlock()
	if j.changed == nil {
		j.changed = make(chan struct{})
	}
	return j.changed
}

// announce wakes those that wait on Changed.
func (j *Journal) announce() {
	j.changedMu.Lock()
	defer j.changedMu.Unlock()
	if j.changed != nil {
		close(j.changed)
		j.changed = nil
	}
}

// Close implements [journal.Journal]. It waits for reads of a page that are
// under way; iterators that go on afterwards end with an [journal.ErrClosed].
func (j *Journal) Close() error {
	j.queue.Close()
	<-j.finished
	return nil
}
