package sqlite

import "github.com/troupe-go/troupe/envelope"

// head is what is known of a stream; the zero head is one that does not exist.
type head struct {
	version uint64
	first   uint64 // the version that replay begins with
}

// begin is first for readers: 1 for a stream that was never truncated, or does
// not exist.
func (h head) begin() uint64 { return max(h.first, 1) }

// generation is how many heads a half of the cache has: some 10 MB at most.
const generation = 32 << 10

// headCache remembers heads between groups. It holds what is stored for as long
// as nobody else commits: the committer asks SQLite at the beginning of each
// transaction, when the lock is its own, and forgets everything if somebody did.
//
// It has two halves: when the newer one is full it becomes the older one, whose
// heads are dropped unless they were used since.
type headCache struct {
	newer, older map[envelope.Stream]head

	session *session // on whose connection it was filled
	opened  int      // which connection of it that was
	data    int64    // PRAGMA data_version of it
}

func (c *headCache) get(s envelope.Stream) (head, bool) {
	if h, ok := c.newer[s]; ok {
		return h, true
	}
	h, ok := c.older[s]
	if ok {
		c.put(s, h)
	}
	return h, ok
}

func (c *headCache) put(s envelope.Stream, h head) {
	if len(c.newer) >= generation || c.newer == nil {
		c.older, c.newer = c.newer, make(map[envelope.Stream]head)
	}
	c.newer[s] = h
}

func (c *headCache) clear() { *c = headCache{} }

// check forgets everything unless nobody but s's connection committed since the
// cache was filled, and reports whether that is so.
func (c *headCache) check(s *session, data int64) (alone bool) {
	if alone = c.session == s && c.opened == s.opened && c.data == data; !alone {
		c.clear()
	}
	c.session, c.opened, c.data = s, s.opened, data
	return alone
}
