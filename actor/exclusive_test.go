package actor_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/actor"
	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/lock"
)

// unreliable is a store of leases that can be away.
type unreliable struct {
	lock.Memory
	away atomic.Bool
}

var errAway = errors.New("away")

func (s *unreliable) Renew(ctx context.Context, key, token string, ttl time.Duration) (bool, error) {
	if s.away.Load() {
		return false, errAway
	}
	return s.Memory.Renew(ctx, key, token, ttl)
}

func (s *unreliable) TryLock(ctx context.Context, key, token string, ttl time.Duration) (bool, time.Duration, error) {
	if s.away.Load() {
		return false, 0, errAway
	}
	return s.Memory.TryLock(ctx, key, token, ttl)
}

// askUntil asks until the answer is of that kind, nil for success.
func (w *world) askUntil(id string, want error) answer {
	w.t.Helper()
	var a answer
	require.Eventually(w.t, func() bool {
		var err error
		a, err = cmdLook.Ask(context.Background(), w.purses, order{ID: id})
		return errors.Is(err, want)
	}, 30*time.Second, time.Millisecond)
	return a
}

func TestOnlyTheOwnerServes(t *testing.T) {
	t.Parallel()
	j, store := openMemory(t), &unreliable{}
	open := func() *world {
		locker, err := lock.New(store, &lock.Options{TTL: 100 * time.Millisecond, RetryAfter: time.Millisecond})
		require.NoError(t, err)
		return newWorld(t, j, nil, &actor.HostOptions{Exclusive: locker})
	}
	first := open()
	first.askUntil("a", nil)
	first.put("a", 10)
	second := open()
	_, err := cmdLook.Ask(t.Context(), second.purses, order{ID: "a"})
	require.ErrorIs(t, err, aggregate.ErrUnavailable)
	first.stop()
	require.Equal(t, answer{Coins: 10, Version: 1}, second.askUntil("a", nil))

	// It loses the lease, somebody else writes, and it gets the lease again.
	store.away.Store(true)
	second.askUntil("a", aggregate.ErrUnavailable)
	other := newWorld(t, j, nil, nil)
	other.put("a", 5)
	_, err = cmdPut.Ask(t.Context(), second.purses, order{ID: "a", N: 1})
	require.ErrorIs(t, err, aggregate.ErrUnavailable)
	store.away.Store(false)
	require.Equal(t, answer{Coins: 15, Version: 2}, second.askUntil("a", nil), "not the state of the former lease")
}

func TestExclusiveIsNotShared(t *testing.T) {
	t.Parallel()
	locker, err := lock.New(&lock.Memory{}, nil)
	require.NoError(t, err)
	s, err := actor.NewSystem(openMemory(t), nil)
	require.NoError(t, err)
	_, err = actor.Host(s, purses, &actor.HostOptions{Exclusive: locker, Shared: true})
	require.ErrorIs(t, err, envelope.ErrInvalid)
	_, err = actor.Host(s, purses, &actor.HostOptions{MaxHold: -1})
	require.ErrorIs(t, err, envelope.ErrInvalid)
	require.NoError(t, s.Stop(t.Context()))
}
