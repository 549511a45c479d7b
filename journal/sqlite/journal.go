package sqlite

import (
	"errors"
	"fmt"
	"sync"

	"github.com/troupe-go/troupe/internal/commitqueue"
	"github.com/troupe-go/troupe/journal"
)

// Journal is a [journal.Journal] in an SQLite database. Make one with
// [OpenAndMigrate] or [Open]; it is safe for concurrent use.
type Journal struct {
	path     string
	opts     Options
	features journal.Features
	queue    *commitqueue.Queue[submission]

	recent *recentReceipts

	writer  *pool // of one; the committer's
	readers *pool // the writer's, if the database is in memory

	changedMu sync.Mutex
	changed   chan struct{} // nil when nobody listens

	scavenging chan struct{} // has room for one

	finished chan struct{} // closed when the committer has ended
}

var _ journal.Journal = (*Journal)(nil)

// submission is one submitted batch on its way, or an edit.
type submission struct {
	batch  *journal.Batch // an empty one if edit is set
	hashes []int64        // of its receipts
	edit   edit           // what else than a batch is written; nil for a batch
	done   func(journal.Result, error)
}

type item = commitqueue.Item[submission]

func newJournal(path string, o Options) *Journal {
	return &Journal{
		path: path, opts: o, recent: new(recentReceipts),
		features:   journal.Features{Name: "sqlite", Messages: true, Rows: true, Inbox: true, Truncation: true},
		queue:      commitqueue.New[submission](o.QueueEvents, o.QueueBytes),
		scavenging: make(chan struct{}, 1),
		finished:   make(chan struct{}),
	}
}

// start begins to take batches.
func (j *Journal) start(durable bool) {
	j.features.Durable = durable
	go newCommitter(j).run()
}

// Features implements [journal.Journal]. It takes everything but fences.
func (j *Journal) Features() journal.Features { return j.features }

// Submit implements [journal.Journal]. It validates b and enqueues it; the
// committer decides it. done is called by the committer, or by Submit itself
// when b is not taken.
func (j *Journal) Submit(b *journal.Batch, done func(journal.Result, error)) {
	if err := b.Validate(); err != nil {
		done(journal.Result{}, err)
		return
	}
	if err := j.features.Check(b); err != nil {
		done(journal.Result{}, err)
		return
	}
	var hashes []int64
	if len(b.Receipts) > 0 {
		hashes = make([]int64, len(b.Receipts))
		for i := range b.Receipts {
			hashes[i] = keyOf(&b.Receipts[i]).hash()
		}
	}
	err := j.queue.Put(item{Value: submission{batch: b, hashes: hashes, done: done}, Events: b.Events(), Bytes: b.SizeBytes()})
	switch {
	case err == nil:
	case errors.Is(err, commitqueue.ErrClosed):
		done(journal.Result{}, fmt.Errorf("sqlite: batch not taken: %w", journal.ErrClosed))
	default:
		done(journal.Result{}, fmt.Errorf("sqlite: batch not taken, %w: %w", err, journal.ErrOverloaded))
	}
}

// Credit implements [journal.Journal]. It only looks: see [Options] for the
// bounds.
func (j *Journal) Credit(events, bytes int, ready func()) bool {
	return j.queue.Credit(events, bytes, ready)
}

// Changed implements [journal.Journal]. It tells of what this Journal stored,
// and not of what others stored in the same database.
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
