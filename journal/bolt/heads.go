package bolt

import (
	"bytes"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	bbolt "go.etcd.io/bbolt"

	"github.com/troupe-go/troupe/envelope"
)

// headTable is the part of all heads that lies in memory: every head that is
// newer than the one in the file, and the most recently checkpointed others.
// A stream that is in neither is looked up in bucket heads.
//
// Only the committer writes, so it reads without the lock. Readers do not put
// in what they find in the file: theirs may be an old transaction, and a head
// that is behind the stream would let a batch fork it.
type headTable struct {
	mu    sync.RWMutex
	dirty map[envelope.Stream]dirtyHead // newer than in the file, pinned until a checkpoint wrote them
	clean *simplelru.LRU[envelope.Stream, head]

	// listed are the streams that became dirty since the last checkpoint's
	// mark, each once; mark counts the marks.
	listed []envelope.Stream
	mark   uint64
}

type dirtyHead struct {
	head
	mark uint64 // the stream is in the list of this mark
}

func newHeadTable(size int) (*headTable, error) {
	clean, err := simplelru.NewLRU[envelope.Stream, head](size, nil)
	if err != nil {
		return nil, err
	}
	return &headTable{dirty: make(map[envelope.Stream]dirtyHead), clean: clean}, nil
}

// peek is the head of s if it is in memory, for the committer.
func (t *headTable) peek(s envelope.Stream) (head, bool) {
	if h, ok := t.dirty[s]; ok {
		return h.head, true
	}
	t.mu.Lock() // Get reorders
	defer t.mu.Unlock()
	return t.clean.Get(s)
}

// keep remembers a head that the committer read from the file.
func (t *headTable) keep(s envelope.Stream, h head) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.clean.Add(s, h)
}

// get is peek for readers.
func (t *headTable) get(s envelope.Stream) (head, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if h, ok := t.dirty[s]; ok {
		return h.head, true
	}
	return t.clean.Peek(s)
}

// set records a committed head that the file's bucket does not have yet. The
// lock is held.
func (t *headTable) set(s envelope.Stream, h head) {
	d, ok := t.dirty[s]
	if !ok {
		t.clean.Remove(s)
	}
	if !ok || d.mark != t.mark {
		t.listed = append(t.listed, s)
	}
	t.dirty[s] = dirtyHead{head: h, mark: t.mark}
}

// cut starts a new list and returns the streams that changed until now.
func (t *headTable) cut() []envelope.Stream {
	t.mu.Lock()
	defer t.mu.Unlock()
	listed := t.listed
	t.listed = nil
	t.mark++
	return listed
}

// written says that the file has the heads of streams as of now. Those that
// changed after the checkpoint's mark stay pinned: the next one lists them.
func (t *headTable) written(streams []envelope.Stream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range streams {
		if h, ok := t.dirty[s]; ok && h.mark < t.mark {
			delete(t.dirty, s)
			t.clean.Add(s, h.head)
		}
	}
}

// storedHead reads the head of s from the file; a stream that is not there has
// the zero head.
func storedHead(tx *bbolt.Tx, s envelope.Stream) (head, error) {
	key := streamKey(s)
	value, err := lookup(tx, bucketHeads, key)
	if err != nil || value == nil {
		return head{}, err
	}
	return parseHead(key, value)
}

// lookup is the value of a key in one of the buckets whose keys have no order
// in time, and nil if it is absent.
//
// It is absent if its neighbours say so: a damaged key in an inner page leads
// elsewhere, and a stream that seems new could fork.
func lookup(tx *bbolt.Tx, name, key []byte) ([]byte, error) {
	bucket := tx.Bucket(name)
	if bucket == nil {
		return nil, corrupt("bucket %s is missing", name)
	}
	cursor := bucket.Cursor()
	found, value := cursor.Seek(key)
	if bytes.Equal(found, key) {
		return value, nil
	}
	if found != nil && bytes.Compare(found, key) < 0 {
		return nil, corrupt("bucket %s: key %q looked for behind %q", name, key, found)
	}
	before, _ := cursor.Prev()
	if found == nil {
		before, _ = cursor.Last()
	}
	if before != nil && bytes.Compare(before, key) >= 0 {
		return nil, corrupt("bucket %s: key %q looked for before %q", name, key, before)
	}
	return nil, nil
}
