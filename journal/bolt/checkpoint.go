package bolt

import (
	"cmp"
	"slices"
	"strings"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/troupe-go/troupe/envelope"
)

// A checkpoint moves what lies in memory alone into its buckets, so that a
// reopened file has little to replay. It is fuzzy, spread over many commits:
//
//	mark      position C is the newest. The streams that changed since the
//	          last mark, and the receipts since then, are set aside.
//	prepare   beside the committer, the streams are sorted and the receipts
//	          become a run, merged with small neighbours.
//	write     each commit takes the run, or a slice of the heads as they are
//	          by then, in the order of their keys.
//	finish    the commit that takes the last slice also moves the checkpoint
//	          position to C. Replay from C gives the right heads: one that was
//	          written early is met again, one that changed later too.
//
// A mark is taken when half of the events that a replay may have to read were
// stored since the last one; the writing keeps ahead of the other half.
type checkpoint struct {
	mark     uint64
	prepared chan prepared // gets one value
	work     *prepared     // once it was taken from prepared
	written  int           // of work.streams
}

// prepared is the work of a checkpoint, ready to be written.
type prepared struct {
	streams []envelope.Stream // in the order of their keys
	run     []byte            // nil without receipts
	info    runInfo
	merged  []runInfo // the runs that run replaces
}

const (
	// headsPerCommit bounds a slice: 8,000 heads that lie next to each other
	// are half a megabyte, and 32 MiB if each is alone on its page.
	headsPerCommit    = 8_000
	minHeadsPerCommit = 64

	// maxVerifiedHeads bounds the heads that Open verifies, to keep it fast.
	maxVerifiedHeads = 2_000_000
)

// checkpointDue reports whether it is time for the next mark.
func (c *committer) checkpointDue() bool {
	return c.state.last-c.mark >= uint64(c.opts.CheckpointEvents)/2 ||
		len(c.ram.receipts.young) >= c.opts.ReceiptWindow/2
}

// beginCheckpoint takes the mark and has the work prepared.
func (c *committer) beginCheckpoint() {
	cp := &checkpoint{mark: c.state.last, prepared: make(chan prepared, 1)}
	streams := c.ram.heads.cut()
	sealed := c.ram.receipts.seal(c.state.spilled + 1)
	job := prepareJob{
		journal: c.journal, ram: c.ram, streams: streams, sealed: sealed,
		runs: slices.Clone(c.runs), window: uint64(c.opts.ReceiptWindow),
		info: runInfo{number: c.nextRun, newest: time.Now().UnixMicro(), first: c.state.spilled + 1, last: cp.mark},
	}
	if sealed != nil {
		c.nextRun++
	}
	c.mark = cp.mark
	c.checkpoint = cp
	c.background.Go(func() { cp.prepared <- job.run() })
}

// writeCheckpoint adds the next piece of the checkpoint under way to tx: at
// most so many heads. It reports whether it wrote anything.
func (c *committer) writeCheckpoint(tx *bbolt.Tx, g *group, heads int) (bool, error) {
	cp := c.checkpoint
	if cp == nil {
		return false, nil
	}
	if cp.work == nil {
		select {
		case work := <-cp.prepared:
			cp.work = &work
		default:
			return false, nil
		}
	}
	wrote := false
	if g.state.spilled < cp.mark {
		wrote = true
		g.state.spilled = cp.mark
		if cp.work.run != nil {
			if err := c.writeRun(tx, g, cp.work); err != nil {
				return false, err
			}
		}
	}
	if slice := cp.work.streams[cp.written:]; len(slice) > 0 {
		slice = slice[:min(len(slice), heads)]
		if err := c.writeHeads(tx, g, slice); err != nil {
			return false, err
		}
		g.checkpointed = slice
		wrote = true
	}
	if cp.written+len(g.checkpointed) == len(cp.work.streams) {
		g.state.checkpoint = cp.mark
		wrote = true
	}
	return wrote, nil
}

// headSlice is how many heads a commit of so many events should write, so that
// the checkpoint is finished before the next is due.
func headSlice(events int) int {
	return min(max(2*events, minHeadsPerCommit), headsPerCommit)
}

// writeHeads stores the heads of streams as they are committed now.
func (c *committer) writeHeads(tx *bbolt.Tx, g *group, streams []envelope.Stream) error {
	bucket := tx.Bucket(bucketHeads)
	bucket.FillPercent = 0.7 // between inserts in the order of keys and at random
	var scratch [512]byte
	for _, s := range streams {
		h, ok := c.ram.heads.dirty[s]
		if !ok {
			continue
		}
		key := appendStreamKey(scratch[:0], s)
		old := bucket.Get(key)
		switch {
		case old == nil:
			g.state.heads++
		case len(old) != headBytes && len(old) != truncatedHeadBytes:
			return corrupt("head of stream %s", s)
		default:
			g.state.headsSum -= uint64(headSum(old))
		}
		value := appendHead(g.arena.reserve(truncatedHeadBytes), key, h.head)
		g.arena.keep(value)
		g.state.headsSum += uint64(headSum(value))
		if err := g.store(bucket, key, value); err != nil {
			return err
		}
	}
	return nil
}

// writeRun stores the run of a checkpoint in place of those that it merges.
func (c *committer) writeRun(tx *bbolt.Tx, g *group, work *prepared) error {
	runs := slices.Clone(c.runs)
	runs = slices.DeleteFunc(runs, func(r runInfo) bool { return slices.Contains(work.merged, r) })
	runs = append(runs, work.info)
	bucket := tx.Bucket(bucketReceipts)
	bucket.FillPercent = 1
	for _, r := range work.merged {
		key := uint64Key(r.number)
		if err := g.remove(bucket, key[:]); err != nil {
			return err
		}
	}
	key := uint64Key(work.info.number)
	if err := g.store(bucket, key[:], work.run); err != nil {
		return err
	}
	g.runInfos = runs
	return c.putRunInfos(tx, g)
}

// dropExpired deletes the runs whose newest receipt is past its retention. It
// reports whether there was one.
func (c *committer) dropExpired(tx *bbolt.Tx, g *group, now time.Time) (bool, error) {
	oldest := now.Add(-c.opts.ReceiptRetention).UnixMicro()
	if c.checkpoint != nil || !slices.ContainsFunc(c.runs, func(r runInfo) bool { return r.newest < oldest }) {
		return false, nil // a checkpoint may be merging them
	}
	bucket := tx.Bucket(bucketReceipts)
	g.runInfos = nil
	for _, r := range c.runs {
		if r.newest >= oldest {
			g.runInfos = append(g.runInfos, r)
			continue
		}
		key := uint64Key(r.number)
		if err := g.remove(bucket, key[:]); err != nil {
			return false, err
		}
	}
	return true, c.putRunInfos(tx, g)
}

// putRunInfos stores g.runInfos as the list of runs.
func (c *committer) putRunInfos(tx *bbolt.Tx, g *group) error {
	g.runsChanged = true
	return g.store(tx.Bucket(bucketMeta), keyRuns, appendRunInfos(nil, g.runInfos))
}

// prepareJob is what a checkpoint's background work starts from. It shares
// nothing that changes with the committer.
type prepareJob struct {
	journal *Journal
	ram     *memory
	streams []envelope.Stream
	sealed  map[receiptKey]uint64
	runs    []runInfo
	window  uint64
	info    runInfo
}

func (p *prepareJob) run() prepared {
	slices.SortFunc(p.streams, compareStreamKeys)
	work := prepared{streams: p.streams}
	if p.sealed == nil {
		return work
	}
	entries := make([]runEntry, 0, len(p.sealed))
	for key, position := range p.sealed {
		high, low := key.words()
		entries = append(entries, runEntry{high, low, position})
	}
	entries, work.merged = p.merge(entries)
	work.info = p.info
	for _, r := range work.merged {
		work.info.first = min(work.info.first, r.first)
	}
	work.run = encodeRun(&work.info, entries)
	return work
}

// merge adds the entries of the newest stored runs to those of a new one as
// long as they are not much larger, and returns which ones. A receipt is so
// rewritten a few times, and the number of runs grows with the logarithm of
// the receipts up to a window's size, and from there with their number. If the
// stored runs cannot be read now, the new one stays alone.
func (p *prepareJob) merge(entries []runEntry) ([]runEntry, []runInfo) {
	total, from := uint64(len(entries)), len(p.runs)
	for from > 0 && p.runs[from-1].count < 2*total && p.runs[from-1].count+total <= p.window {
		from--
		total += p.runs[from].count
	}
	merged := p.runs[from:]
	if len(merged) == 0 {
		return entries, nil
	}
	own := len(entries)
	err := p.journal.view(func(tx *bbolt.Tx) error {
		runs, err := openRuns(tx, &p.ram.verified)
		if err != nil {
			return err
		}
		for i := range runs {
			if slices.Contains(merged, runs[i].runInfo) {
				for n := range runs[i].count {
					entries = append(entries, runs[i].at(n))
				}
			}
		}
		return nil
	})
	if err == nil && uint64(len(entries)) != total {
		err = corrupt("receipts runs from number %d", merged[0].number)
	}
	if err != nil {
		p.journal.opts.Logger.Warn("bolt: receipts not merged", "path", p.journal.path, "error", err)
		return entries[:own], nil
	}
	return entries, merged
}

// compareStreamKeys orders streams as their keys are ordered.
func compareStreamKeys(a, b envelope.Stream) int {
	if c := cmp.Compare(len(a.Type), len(b.Type)); c != 0 {
		return c
	}
	if c := strings.Compare(a.Type, b.Type); c != 0 {
		return c
	}
	return strings.Compare(a.ID, b.ID)
}
