package bus

import (
	"context"
	"sync"
	"time"

	"github.com/troupe-go/troupe/envelope"
)

// parkedRefresh is how often a run that parks asks which parked messages are
// still there. One that was sent again is missed until it is handled, but one
// that was discarded for ever: after parkedGrace it no longer counts.
const (
	parkedRefresh = 5 * time.Second
	parkedGrace   = 30 * time.Second
)

// parked knows the keys that wait because a message of theirs was set aside.
// The dead letters are the truth: it is loaded from them at the start. Its
// methods may be called on nil, which knows none.
type parked struct {
	letters DeadLetters

	mu    sync.Mutex
	byKey map[string]map[string]time.Time // key → ids of parked messages → when they were last seen to be there
}

// loadParked finds the keys that an earlier run has parked.
func (r *runner) loadParked(ctx context.Context) error {
	if r.parked == nil {
		return nil
	}
	return r.parked.refresh(ctx, time.Now())
}

func (r *runner) refreshParked(ctx context.Context) {
	if err := r.parked.refresh(ctx, time.Now()); err != nil && ctx.Err() == nil {
		r.opts.Logger.Warn("bus: dead letters cannot be read, parked keys stay parked", "consumer", r.opts.Consumer, "err", err)
	}
}

func (p *parked) refresh(ctx context.Context, now time.Time) error {
	for letter, err := range p.letters.List(ctx, DeadLetterFilter{Parked: true}) {
		if err != nil {
			return err
		}
		p.add(&letter.Message, now)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, ids := range p.byKey {
		for id, seen := range ids {
			if now.Sub(seen) > parkedGrace {
				delete(ids, id)
			}
		}
		if len(ids) == 0 {
			delete(p.byKey, key)
		}
	}
	return nil
}

// blocks reports whether it must wait behind a parked message of its key, and
// which. One that was sent again does not wait: it is what the others wait for.
func (p *parked) blocks(key string, it *item) (behind string, yes bool) {
	if p == nil || key == "" || it.Resent() {
		return "", false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for id := range p.byKey[key] {
		return id, true
	}
	return "", false
}

func (p *parked) park(m *envelope.Message) {
	if p != nil {
		p.add(m, time.Now())
	}
}

func (p *parked) add(m *envelope.Message, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := m.OrderingKey()
	if key == "" {
		return
	}
	if p.byKey[key] == nil {
		p.byKey[key] = map[string]time.Time{}
	}
	p.byKey[key][m.ID] = now
}

// handled forgets a message that was sent again and is done.
func (p *parked) handled(it *item) {
	if p == nil {
		return
	}
	m := it.Message()
	key := m.OrderingKey()
	p.mu.Lock()
	defer p.mu.Unlock()
	if ids := p.byKey[key]; ids != nil {
		delete(ids, m.ID)
		if len(ids) == 0 {
			delete(p.byKey, key)
		}
	}
}
