package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// outage is what the committer knows while the journal is down.
type outage struct {
	broken *file // must be undone and closed first; nil if it was
	err    error // what callers are told meanwhile
	retry  time.Time
	pause  time.Duration
}

const (
	firstPause = 10 * time.Millisecond
	longPause  = time.Second
)

// failed is called after a transaction that ended in cause. It makes sure that
// nothing of it counts, opens the file again and rebuilds memory from it, and
// returns what the group's callers are told.
//
// An error of a sync says that the disk may lack anything written since the
// last one, while the page cache shows it all as stored and clean; a second
// sync would succeed and mean nothing. So the transaction's header page, if it
// was written, is overwritten: that write is a new one, and its sync counts.
func (c *committer) failed(cause error) error {
	c.opts.Logger.Error("bolt: commit failed", "path", c.journal.path, "error", cause)
	unavailable := unavailable(cause)
	c.journal.setFile(nil, unavailable)
	c.down = outage{broken: c.file, err: unavailable, pause: firstPause}
	c.file = nil
	if err := c.down.undo(); err != nil {
		c.opts.Logger.Error("bolt: the last commit may or may not be stored", "path", c.journal.path, "error", err)
		c.reopen()
		return fmt.Errorf("bolt: commit: %w: %w", journal.ErrUnknownOutcome, cause)
	}
	c.reopen()
	return unavailable
}

func unavailable(cause error) error {
	if errors.Is(cause, journal.ErrUnavailable) {
		return cause
	}
	return fmt.Errorf("bolt: %w: %w", journal.ErrUnavailable, cause)
}

// undo settles what became of the failed transaction and closes the file. It
// keeps the file, and with it the lock, until that is done: another process
// would take what it sees for the truth.
func (o *outage) undo() error {
	if o.broken == nil {
		return nil
	}
	if err := o.broken.undo(); err != nil {
		return err
	}
	_ = o.broken.close() // nothing in it is needed any more
	o.broken = nil
	return nil
}

// reopen tries to serve again, unless the last try was just now. It reports
// whether the journal is up.
func (c *committer) reopen() bool {
	if time.Now().Before(c.down.retry) {
		return false
	}
	err := c.down.undo()
	if err == nil {
		err = c.open()
	}
	if err != nil {
		c.down.err = unavailable(err)
		c.down.retry = time.Now().Add(c.down.pause)
		c.down.pause = min(2*c.down.pause, longPause)
		c.journal.setFile(nil, c.down.err)
		c.opts.Logger.Error("bolt: reopen", "path", c.journal.path, "error", err)
		return false
	}
	c.down = outage{}
	c.opts.Logger.Info("bolt: serving again", "path", c.journal.path, "position", c.state.last)
	return true
}

// open opens the file, rebuilds memory from it and lets readers in.
func (c *committer) open() error {
	f, err := openFile(c.journal.path, c.opts)
	if err != nil {
		return err
	}
	c.checkpoint = nil // one under way belonged to the former memory
	if err := c.rebuild(f); err != nil {
		_ = f.close()
		return fmt.Errorf("bolt: open %s: %w", c.journal.path, err)
	}
	c.file = f
	c.journal.ram.Store(c.ram)
	c.publish()
	c.journal.setFile(f, nil)
	return nil
}

// rebuild reads the state, and replays the log from the last checkpoint to
// bring back the heads and receipts that no bucket has yet.
func (c *committer) rebuild(f *file) (err error) {
	defer recoverCorrupt(&err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	heads, err := newHeadTable(c.opts.MaxHeads)
	if err != nil {
		return err
	}
	c.ram = &memory{heads: heads, receipts: newReceiptTable()}
	return f.db.View(func(tx *bbolt.Tx) error {
		for _, name := range allBuckets {
			if tx.Bucket(name) == nil {
				return corrupt("bucket %s is missing", name)
			}
		}
		if err := verifyMeta(tx); err != nil {
			return err
		}
		var old bool
		if c.state, old, err = parseState(tx.Bucket(bucketMeta).Get(keyState)); err != nil {
			return err
		}
		if old {
			if c.state.newest, err = newestEvent(tx, c.state.last); err != nil {
				return err
			}
		}
		if c.runs, err = readRunInfos(tx); err != nil {
			return err
		}
		c.nextRun = 1
		for _, r := range c.runs {
			c.nextRun = max(c.nextRun, r.number+1)
		}
		c.mark = c.state.checkpoint
		if err := verifyHeads(tx, &c.state); err != nil {
			return err
		}
		if err := verifyMessages(tx, &c.state); err != nil {
			return err
		}
		if err := readDelayed(tx, &c.ram.delayed); err != nil {
			return err
		}
		if err := verifyRows(tx, &c.state); err != nil {
			return err
		}
		return c.replay(tx)
	})
}

// newestEvent is the position of the newest event of a file of format 1, which
// does not say it.
func newestEvent(tx *bbolt.Tx, last uint64) (uint64, error) {
	log, err := newLogReader(tx)
	if err != nil {
		return 0, err
	}
	for position := last; position > 0; position-- {
		e, err := log.entry(position)
		if err != nil {
			return 0, err
		}
		if e.kind == kindEvent {
			return position, nil
		}
	}
	return 0, nil
}

// verifyMeta refuses a key that no journal has: it is a damaged one, and what
// it named would count as absent. Without its runs a journal would carry out
// again what they say was done.
func verifyMeta(tx *bbolt.Tx) error {
	return tx.Bucket(bucketMeta).ForEach(func(key, value []byte) error {
		if value == nil {
			return corrupt("meta has a bucket %q", key)
		}
		for _, known := range [][]byte{keyFormat, keyState, keyRuns} {
			if bytes.Equal(key, known) {
				return nil
			}
		}
		return corrupt("meta has key %q", key)
	})
}

// verifyMessages checks the ids of messages, as verifyHeads does: an id that
// seems free could be taken twice. And it counts the messages: nobody would miss
// one that is hidden.
func verifyMessages(tx *bbolt.Tx, s *state) error {
	if s.messageIDs > maxVerifiedHeads {
		return nil
	}
	var count, sum uint64
	cursor := tx.Bucket(bucketMessages).Cursor()
	for key, value := cursor.First(); key != nil; key, value = cursor.Next() {
		if _, err := parseMessagePlace(key, value); err != nil {
			return err
		}
		count++
		sum += uint64(headSum(value))
	}
	if count != s.messageIDs || sum != s.messagesSum {
		return corrupt("bucket messages has %d ids with sum %d, want %d with sum %d", count, sum, s.messageIDs, s.messagesSum)
	}
	stored := uint64(0)
	for _, name := range [][]byte{bucketOutbox, bucketParked, bucketDelayed} {
		cursor, last := tx.Bucket(name).Cursor(), uint64(0)
		for key, _ := cursor.First(); key != nil; key, _ = cursor.Next() {
			if !ascends(key, last) || binary.BigEndian.Uint64(key) > s.messages {
				return corrupt("bucket %s has key %x behind message %d, and the last message is %d", name, key, last, s.messages)
			}
			last = binary.BigEndian.Uint64(key)
			stored++
		}
	}
	if stored != count {
		return corrupt("there are %d messages for %d ids", stored, count)
	}
	return nil
}

// verifyHeads checks the bucket of heads as a whole. A checksum in each head
// cannot tell that one is missing, or that a damaged page leads to an old
// version of the bucket, and a stream that seems shorter than it is could fork.
func verifyHeads(tx *bbolt.Tx, s *state) error {
	if s.heads > maxVerifiedHeads {
		return nil
	}
	var count, sum uint64
	cursor := tx.Bucket(bucketHeads).Cursor()
	for key, value := cursor.First(); key != nil; key, value = cursor.Next() {
		if _, err := parseHead(key, value); err != nil {
			return err
		}
		count++
		sum += uint64(headSum(value))
	}
	if count != s.heads || sum != s.headsSum {
		return corrupt("bucket heads has %d heads with sum %d, want %d with sum %d", count, sum, s.heads, s.headsSum)
	}
	return nil
}

// replay reads the entries behind the checkpoint.
func (c *committer) replay(tx *bbolt.Tx) error {
	log, err := newLogReader(tx)
	if err != nil {
		return err
	}
	table, receipts := c.ram.heads, c.ram.receipts
	for next := c.state.checkpoint + 1; ; {
		position, e, _, err := log.forward(next, c.state.last)
		if err != nil {
			return err
		}
		if position > c.state.last {
			return nil
		}
		next = position + 1
		if e.opens && position > c.state.spilled {
			wellFormed := e.parseReceipts(func(r envelope.Receipt) bool {
				receipts.young[makeReceiptKey(&r)] = position
				return true
			})
			if !wellFormed {
				return corrupt("receipts at position %d", position)
			}
			if e.kind == kindNote && e.receipts[0] == 0 { // it has none
				receipts.young[makeBatchKey(e.batch)] = position
			}
		}
		if e.kind != kindEvent {
			continue
		}
		h := e.headAt(position)
		// The compiler makes this lookup without allocating strings.
		if known, ok := table.dirty[envelope.Stream{Type: string(e.typ), ID: string(e.id)}]; ok && known.version+1 != h.version {
			return corrupt("position %d has version %d of stream %s/%s, want %d", position, h.version, e.typ, e.id, known.version+1)
		}
		table.set(envelope.Stream{Type: string(e.typ), ID: string(e.id)}, h)
	}
}
