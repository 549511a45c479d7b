package lock

import (
	"context"
	"sync"
	"time"
)

// Memory is a [Store] of this process. The zero Memory is ready to use.
type Memory struct {
	mu     sync.Mutex
	leases map[string]memoryLease
}

type memoryLease struct {
	token string
	until time.Time
}

var _ Store = (*Memory)(nil)

// holds reports whether token has key now; mu is held.
func (m *Memory) holds(key, token string, now time.Time) bool {
	held, ok := m.leases[key]
	return ok && held.token == token && now.Before(held.until)
}

// TryLock implements [Store].
func (m *Memory) TryLock(_ context.Context, key, token string, ttl time.Duration) (bool, time.Duration, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if held, ok := m.leases[key]; ok && held.token != token && now.Before(held.until) {
		return false, held.until.Sub(now), nil
	}
	if m.leases == nil {
		m.leases = make(map[string]memoryLease)
	}
	m.leases[key] = memoryLease{token, now.Add(ttl)}
	return true, 0, nil
}

// Renew implements [Store].
func (m *Memory) Renew(_ context.Context, key, token string, ttl time.Duration) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if !m.holds(key, token, now) {
		return false, nil
	}
	m.leases[key] = memoryLease{token, now.Add(ttl)}
	return true, nil
}

// Unlock implements [Store].
func (m *Memory) Unlock(_ context.Context, key, token string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.holds(key, token, time.Now()) {
		return false, nil
	}
	delete(m.leases, key)
	return true, nil
}

// Sweep implements [Store].
func (m *Memory) Sweep(context.Context) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now, n := time.Now(), 0
	for key, held := range m.leases {
		if !now.Before(held.until) {
			delete(m.leases, key)
			n++
		}
	}
	return n, nil
}
