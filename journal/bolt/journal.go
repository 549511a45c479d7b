package bolt

import (
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"

	bbolt "go.etcd.io/bbolt"

	"github.com/troupe-go/troupe/internal/commitqueue"
	"github.com/troupe-go/troupe/internal/duetimes"
	"github.com/troupe-go/troupe/internal/slotlease"
	"github.com/troupe-go/troupe/journal"
)

// features is what this adapter takes: everything but fences, since one process
// has the file.
var features = journal.Features{Name: "bolt", Durable: true, Messages: true, Rows: true, Inbox: true, Truncation: true}

// Journal is a [journal.Journal] in one file. Make one with [Open]; it is safe
// for concurrent use.
type Journal struct {
	path  string
	opts  Options
	queue *commitqueue.Queue[submission]

	// ram is what is known beside the file. It is replaced when the file had
	// to be opened again.
	ram atomic.Pointer[memory]

	// committed is the newest position that readers may see. A transaction
	// shows in the mapped file before it is durable, so the file itself is
	// no bound.
	committed atomic.Uint64
	newest    atomic.Uint64 // that of the newest event, which committed may lie behind
	messages  atomic.Uint64 // the same for messages
	oldest    atomic.Uint64 // no receipt is looked for at a position below this one
	swept     atomic.Uint64 // see state
	groups    atomic.Uint64 // transactions that wrote entries
	entries   atomic.Uint64 // what they wrote

	fileMu sync.RWMutex // held for reading during each read
	file   *file        // nil when the journal is closed, or down after an error
	why    error        // why file is nil

	changedMu sync.Mutex
	changed   chan struct{} // nil when nobody listens

	leases slotlease.Table // on slots of the outbox

	scavenging chan struct{} // holds one while Scavenge runs

	finished chan struct{} // closed when the committer has ended
}

var _ journal.Journal = (*Journal)(nil)

// memory is what the committer keeps in memory and readers share.
type memory struct {
	heads    *headTable
	receipts *receiptTable
	rows     inflight
	delayed  duetimes.Index // of the messages in bucketDelayed
	verified verifiedRuns
}

// Open opens the journal in the file at path, and creates the file if there is
// none. One process can have it open at a time. The time that Open takes is
// bounded by [Options.CheckpointEvents], whatever the size of the file and
// however it was left.
//
// Errors: [journal.ErrLocked] when another process has the file open longer
// than [Options.LockTimeout]; [journal.ErrCorrupt] when the file is damaged or
// no journal; those of the file system; a wrong option.
func Open(path string, opts *Options) (*Journal, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	j := &Journal{
		path: path, opts: o, queue: commitqueue.New[submission](o.QueueEvents, o.QueueBytes),
		scavenging: make(chan struct{}, 1), finished: make(chan struct{}),
	}
	c := newCommitter(j)
	if err := c.open(); err != nil {
		return nil, err
	}
	go c.run()
	return j, nil
}

// Features implements [journal.Journal].
func (j *Journal) Features() journal.Features { return features }

// Close implements [journal.Journal]. It also completes the checkpoint, so
// that the next Open has nothing to replay.
func (j *Journal) Close() error {
	j.queue.Close()
	<-j.finished
	return nil
}

// Changed implements [journal.Journal].
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

// view runs fn in a read transaction. It keeps the committer from replacing
// the file meanwhile, so fn must be short and call no one else's code.
func (j *Journal) view(fn func(*bbolt.Tx) error) (err error) {
	j.fileMu.RLock()
	defer j.fileMu.RUnlock()
	if j.file == nil {
		j.queue.Kick() // the committer tries to open it again, if it is time
		return j.why
	}
	defer recoverCorrupt(&err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	return j.file.db.View(fn)
}

// setFile gives readers the file, or takes it away and waits for them. why is
// what they are told when f is nil.
func (j *Journal) setFile(f *file, why error) {
	j.fileMu.Lock()
	defer j.fileMu.Unlock()
	j.file, j.why = f, why
}

var errClosed = fmt.Errorf("bolt: %w", journal.ErrClosed)

// Groups returns how many groups of batches were committed, and how many log
// entries they wrote, since the journal was opened: their quotient is what
// group commit is worth.
func (j *Journal) Groups() (groups, entries uint64) {
	return j.groups.Load(), j.entries.Load()
}
