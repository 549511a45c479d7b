package actor

import (
	"hash/maphash"
	"sync"
)

// routerShards is how many locks the map from id to entry has. With 64, even
// 64 cores that do nothing but look up rarely meet.
const routerShards = 64

// router finds the entry of an id.
type router[A any] struct {
	seed   maphash.Seed
	shards [routerShards]routerShard[A]
}

type routerShard[A any] struct {
	mu      sync.Mutex
	entries map[string]*entry[A]
	_       [40]byte // keeps the next lock off this cache line
}

func newRouter[A any]() *router[A] {
	r := &router[A]{seed: maphash.MakeSeed()}
	for i := range r.shards {
		r.shards[i].entries = make(map[string]*entry[A])
	}
	return r
}

func (r *router[A]) shard(id string) *routerShard[A] {
	return &r.shards[maphash.String(r.seed, id)%routerShards]
}

// entry returns the entry of id, making one if there is none.
func (r *router[A]) entry(h *Aggregates[A], id string) *entry[A] {
	s := r.shard(id)
	s.mu.Lock()
	e := s.entries[id]
	if e == nil {
		e = &entry[A]{host: h, id: id}
		s.entries[id] = e
		h.system.entries.Add(1)
	}
	s.mu.Unlock()
	return e
}

// find returns the entry of id, or nil.
func (r *router[A]) find(id string) *entry[A] {
	s := r.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entries[id]
}

// remove takes a dead entry out. The caller holds the entry's lock.
func (r *router[A]) remove(e *entry[A]) {
	s := r.shard(e.id)
	s.mu.Lock()
	found := s.entries[e.id] == e
	if found {
		delete(s.entries, e.id)
	}
	s.mu.Unlock()
	if found {
		e.host.system.entryRemoved()
	}
}

// all appends every entry to dst.
func (r *router[A]) all(dst []*entry[A]) []*entry[A] {
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		for _, e := range s.entries {
			dst = append(dst, e)
		}
		s.mu.Unlock()
	}
	return dst
}
