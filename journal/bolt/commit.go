package bolt

import (
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/internal/commitqueue"
	"github.com/troupe-go/troupe/journal"
)

// committer is the one goroutine that writes. It owns everything in here;
// readers share ram, under its locks.
type committer struct {
	journal *Journal
	opts    *Options
	queue   *commitqueue.Queue[submission]
	ram     *memory

	file  *file // nil while the journal is down
	down  outage
	group group

	phantoms commitqueue.Phantoms

	state   state     // as committed
	runs    []runInfo // as committed
	nextRun uint64

	mark       uint64 // position of the newest checkpoint, finished or not
	checkpoint *checkpoint
	background sync.WaitGroup
}

func newCommitter(j *Journal) *committer {
	return &committer{journal: j, opts: &j.opts, queue: j.queue}
}

// group is what one transaction is made of. It is used again for the next.
type group struct {
	tx    *bbolt.Tx
	guard *leafGuard
	log   *logReader
	arena arena

	items    []item
	outcomes []outcome

	// What memory becomes once the commit succeeded, and not before: after a
	// full disk, heads that ran ahead would refuse every batch.
	state    state
	heads    map[envelope.Stream]head
	runInfos []runInfo

	wrote        bool
	runsChanged  bool
	checkpointed []envelope.Stream // whose heads are written

	formerRows map[string][]byte // what the group's rows were before it
	delays     []delay           // what becomes of the index of delayed messages

	sub       *bbolt.Bucket // of the log, for positions of number subNumber
	subNumber uint64

	gates      []head       // of the appends of the batch being decided, in order
	keys       []receiptKey // of its receipts
	runs       []run        // opened when the first receipt needs them
	runsOpened bool
}

type outcome struct {
	result journal.Result
	err    error
}

// run commits groups until the queue is closed and empty.
func (c *committer) run() {
	defer close(c.journal.finished)
	debug.SetPanicOnFault(true) // the mapped file may lose its pages
	last := 0
	for c.queue.Wait() {
		c.queue.Regroup(last)
		items := c.queue.Take(c.group.items, c.opts.MaxGroupEvents, c.opts.MaxGroupBytes)
		c.group.items = items
		if last = len(items); last > 0 {
			c.phantoms.Forget(items[0].Number)
		}
		switch {
		case c.file == nil && !c.reopen():
			c.answerAll(c.down.err)
		case len(items) > 0:
			c.commitGroup()
		}
		clear(c.group.items)
	}
	c.finish()
}

// commitGroup decides the group's items, stores what they wrote, and answers.
func (c *committer) commitGroup() {
	events := 0
	for i := range c.group.items {
		events += c.group.items[i].Events
	}
	if err := c.transact(headSlice(events)); err != nil {
		c.answerAll(c.failed(err))
		return
	}
	c.answer()
	if c.checkpoint == nil && c.checkpointDue() {
		c.beginCheckpoint()
	}
}

// transact stores the group, and at most so many heads of a checkpoint under
// way, in one transaction. After an error nothing can be said about the file
// but what recovery finds out.
func (c *committer) transact(heads int) (err error) {
	g := &c.group
	defer g.release()
	tx, err := c.begin()
	if err != nil {
		return err
	}
	defer func() {
		if p := recover(); p != nil {
			c.opts.Logger.Error("bolt: commit panicked", "path", c.journal.path, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("bolt: %w: %v", journal.ErrCorrupt, p)
			c.file.stuck = !rolledBack(tx)
		}
	}()
	if err := g.begin(tx, c); err != nil {
		_ = tx.Rollback()
		return err
	}
	for i := range g.items {
		o := &g.outcomes[i]
		o.result, o.err, err = c.decide(g, &g.items[i])
		if err != nil {
			_ = tx.Rollback()
			return err
		}
	}
	if err := c.maintain(g, heads); err != nil {
		_ = tx.Rollback()
		return err
	}
	if !g.wrote {
		return tx.Rollback()
	}
	if err := g.store(tx.Bucket(bucketMeta), keyState, g.state.append(g.arena.reserve(stateBytes))); err != nil {
		_ = tx.Rollback()
		return err
	}
	number := uint64(tx.ID())
	if g.formerRows != nil {
		c.ram.rows.set(g.formerRows)
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	c.file.committed = number
	c.apply(g)
	return nil
}

// begin starts a write transaction.
func (c *committer) begin() (tx *bbolt.Tx, err error) {
	defer func() {
		if p := recover(); p != nil {
			c.file.stuck = true
			err = fmt.Errorf("bolt: %w: %v", journal.ErrCorrupt, p)
		}
	}()
	return c.file.db.Begin(true)
}

// rolledBack ends tx after a panic, and reports whether it could.
func rolledBack(tx *bbolt.Tx) (ok bool) {
	defer func() { ok = recover() == nil }()
	_ = tx.Rollback()
	return true
}

// maintain adds what is due beside the batches: a piece of a checkpoint, and
// the end of receipts past their retention.
func (c *committer) maintain(g *group, heads int) error {
	if !g.wrote && len(g.items) > 0 {
		return nil // refusals and asserts need not wait for a sync
	}
	wrote, err := c.writeCheckpoint(g.tx, g, heads)
	if err != nil {
		return err
	}
	dropped, err := c.dropExpired(g.tx, g, time.Now())
	g.wrote = g.wrote || wrote || dropped
	return err
}

// apply makes memory what the file now is.
func (c *committer) apply(g *group) {
	heads := c.ram.heads
	heads.mu.Lock()
	for s, h := range g.heads {
		heads.set(s, h)
	}
	heads.mu.Unlock()
	if g.formerRows != nil {
		c.ram.rows.set(nil)
	}
	for _, d := range g.delays {
		d.apply(&c.ram.delayed)
	}
	changed := g.state.messages != c.state.messages
	if g.state.last != c.state.last {
		changed = true
		c.journal.groups.Add(1)
		c.journal.entries.Add(g.state.last - c.state.last)
	}
	c.state = g.state
	if g.runsChanged {
		c.replaceRuns(g.runInfos)
	}
	c.publish()
	if cp := c.checkpoint; cp != nil && cp.work != nil {
		heads.written(g.checkpointed)
		cp.written += len(g.checkpointed)
		if c.state.checkpoint == cp.mark {
			c.checkpoint = nil
		}
	}
	if changed {
		c.journal.announce()
	}
}

// publish says how far readers may see.
func (c *committer) publish() {
	c.journal.committed.Store(c.state.last)
	c.journal.newest.Store(c.state.newest)
	c.journal.messages.Store(c.state.messages)
	c.journal.oldest.Store(c.oldestReceipt())
	c.journal.swept.Store(c.state.swept)
}

// replaceRuns adopts the stored list of runs.
func (c *committer) replaceRuns(infos []runInfo) {
	kept := make(map[uint64]struct{}, len(infos))
	for _, r := range infos {
		kept[r.number] = struct{}{}
	}
	for _, r := range c.runs {
		if _, ok := kept[r.number]; !ok {
			c.ram.verified.remove(r.number)
		}
	}
	c.runs = append(c.runs[:0:0], infos...)
}

// answer tells every caller of the group its own outcome.
func (c *committer) answer() {
	for i := range c.group.items {
		it, o := &c.group.items[i], &c.group.outcomes[i]
		if o.err != nil {
			c.phantoms.Tell(it.Number, c.queue.Numbered())
		}
		it.Value.done(o.result, o.err)
		*o = outcome{}
	}
}

// answerAll tells every caller of the group the same error.
func (c *committer) answerAll(err error) {
	c.phantoms.Annul()
	for i := range c.group.items {
		it := &c.group.items[i]
		c.refuse(it)
		c.phantoms.Tell(it.Number, c.queue.Numbered())
		it.Value.done(journal.Result{}, err)
	}
	clear(c.group.outcomes)
}

// finish completes the checkpoint and closes the file.
func (c *committer) finish() {
	defer c.background.Wait()
	c.group.items = c.group.items[:0]
	if c.file != nil {
		if err := c.flush(); err != nil {
			c.opts.Logger.Warn("bolt: closed without a checkpoint", "path", c.journal.path, "error", err)
		}
	}
	_ = c.down.undo() // the last try; the next Open settles it otherwise
	c.journal.setFile(nil, errClosed)
	for _, f := range []*file{c.file, c.down.broken} {
		if f == nil {
			continue
		}
		if err := f.close(); err != nil {
			c.opts.Logger.Warn("bolt: close", "path", c.journal.path, "error", err)
		}
	}
}

// flush checkpoints until the file has everything.
func (c *committer) flush() error {
	for c.checkpoint != nil || c.state.checkpoint != c.state.last {
		if c.checkpoint == nil {
			c.beginCheckpoint()
		}
		if cp := c.checkpoint; cp.work == nil {
			work := <-cp.prepared
			cp.work = &work
		}
		if err := c.transact(headsPerCommit); err != nil {
			c.down.broken, c.file = c.file, nil
			return err
		}
	}
	return nil
}

// begin readies the group for a transaction.
func (g *group) begin(tx *bbolt.Tx, c *committer) (err error) {
	g.tx, g.guard = tx, c.file.guard
	c.file.db.AllocSize = growBytes(tx.Size())
	if g.log, err = newLogReader(tx); err != nil {
		return err
	}
	for _, name := range [][]byte{bucketHeads, bucketSnapshots, bucketReceipts, bucketMeta} {
		if tx.Bucket(name) == nil {
			return corrupt("bucket %s is missing", name)
		}
	}
	if g.heads == nil {
		g.heads = make(map[envelope.Stream]head)
	}
	g.state, g.runInfos = c.state, c.runs
	if n := len(g.items); cap(g.outcomes) < n {
		g.outcomes = make([]outcome, n, 2*n)
	} else {
		g.outcomes = g.outcomes[:n]
	}
	return nil
}

// growBytes is by how much a file of this size grows when it is full: each time
// costs a sync more, and bbolt's 16 MiB are much for a small file.
func growBytes(size int64) int {
	const least, most = 1 << 20, 64 << 20
	return int(min(max(size/4, least), most))
}

// release forgets everything but the items, their outcomes and the memory.
func (g *group) release() {
	clear(g.heads)
	g.arena.reset()
	g.tx, g.log, g.sub = nil, nil, nil
	g.runs, g.runsOpened = nil, false
	g.runInfos, g.checkpointed = nil, nil
	g.wrote, g.runsChanged = false, false
	g.formerRows = nil // readers may still have it
	g.delays = g.delays[:0]
}
