package sqlite

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	driver "modernc.org/sqlite"
)

// SchemaVersion is what this program works with.
const SchemaVersion = schemaVersion

// SetClock makes receipts age by now.
func (o *Options) SetClock(now func() time.Time) { o.now = now }

// SetIndexing makes so many slices' receipts go into the index, of 256, for
// every so many that come.
func (o *Options) SetIndexing(every, slices int) { o.indexEvery, o.indexSlices = every, slices }

// ReceiptHash is the key of a receipt in the index.
func ReceiptHash(typ, id, command string) int64 { return receiptKey{typ, id, command}.hash() }

// RecentReceipts is how many receipts are in memory.
func (j *Journal) RecentReceipts() int {
	j.recent.mu.Lock()
	defer j.recent.mu.Unlock()
	n := 0
	for i := range j.recent.slices {
		n += len(j.recent.slices[i].newest) + len(j.recent.slices[i].older)
	}
	return n
}

// ExecOnWriter runs a statement on the committer's connection, between groups.
func (j *Journal) ExecOnWriter(ctx context.Context, query string) error {
	s, err := j.writer.take(ctx)
	if err != nil {
		return err
	}
	defer j.writer.put(s)
	_, err = s.row(ctx, query, nil, new(any))
	return err
}

// HoldWriter keeps the committer from writing until release is called, once or
// more often, and has its connection's commits counted from then on.
func (j *Journal) HoldWriter(ctx context.Context, commits *atomic.Int64) (release func(), err error) {
	s, err := j.writer.take(ctx)
	if err != nil {
		return nil, err
	}
	if err = s.connect(ctx); err == nil {
		err = s.conn.Raw(func(conn any) error {
			hooks, ok := conn.(driver.HookRegisterer)
			if !ok {
				return fmt.Errorf("%T has no hooks", conn)
			}
			hooks.RegisterCommitHook(func() int32 {
				commits.Add(1)
				return 0 // let it be
			})
			return nil
		})
	}
	if err != nil {
		j.writer.put(s)
		return nil, err
	}
	return sync.OnceFunc(func() { j.writer.put(s) }), nil
}

// Submitted is how many batches and edits were queued so far.
func (j *Journal) Submitted() uint64 { return j.queue.Numbered() }
