package lock_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/lock"
	"github.com/troupe-go/troupe/lock/locktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMemory(t *testing.T) {
	t.Parallel()
	locktest.Run(t, time.Millisecond, func(testing.TB) lock.Store { return &lock.Memory{} })
}

// away is a store that can be unreachable.
type away struct {
	lock.Memory
	gone    atomic.Bool
	renewed atomic.Int32
}

var errAway = errors.New("away")

func (s *away) Renew(ctx context.Context, key, token string, ttl time.Duration) (bool, error) {
	if s.gone.Load() {
		return false, errAway
	}
	s.renewed.Add(1)
	return s.Memory.Renew(ctx, key, token, ttl)
}

func newLocker(t *testing.T, s lock.Store, o *lock.Options) *lock.Locker {
	t.Helper()
	l, err := lock.New(s, o)
	require.NoError(t, err)
	return l
}

func TestLeaseIsRenewedWhileItIsHeld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &away{}
		l := newLocker(t, store, &lock.Options{TTL: 30 * time.Second})
		lease, err := l.TryLock(t.Context(), "a")
		require.NoError(t, err)
		time.Sleep(295 * time.Second)
		require.True(t, lease.Holds())
		require.Equal(t, int32(29), store.renewed.Load()) // every ten seconds
		_, err = l.TryLock(t.Context(), "a")
		require.ErrorIs(t, err, lock.ErrHeld)
		require.NoError(t, lease.Unlock(t.Context()))
		<-lease.Ended()
		require.False(t, lease.Holds())
		require.NoError(t, lease.Unlock(t.Context()), "a second time does nothing")
	})
}

func TestLeaseIsLostWhenItCannotBeRenewed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &away{}
		l := newLocker(t, store, &lock.Options{TTL: 30 * time.Second})
		lease, err := l.TryLock(t.Context(), "a")
		require.NoError(t, err)
		began := time.Now()
		store.gone.Store(true)
		time.Sleep(20 * time.Second)
		require.True(t, lease.Holds(), "it lasts as long as it was given")
		<-lease.Ended()
		require.Equal(t, 30*time.Second, time.Since(began))
		require.False(t, lease.Holds())
		other, err := l.TryLock(t.Context(), "a")
		require.NoError(t, err, "another one's now")
		require.ErrorIs(t, lease.Unlock(t.Context()), lock.ErrLost)
		require.NoError(t, other.Unlock(t.Context()))
	})
}

func TestStoreThatIsBackInTimeLosesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &away{}
		l := newLocker(t, store, &lock.Options{TTL: 30 * time.Second})
		lease, err := l.TryLock(t.Context(), "a")
		require.NoError(t, err)
		store.gone.Store(true)
		time.Sleep(25 * time.Second)
		store.gone.Store(false)
		time.Sleep(time.Minute)
		require.True(t, lease.Holds())
		require.NoError(t, lease.Unlock(t.Context()))
	})
}

func TestLockWaitsAsLongAsItMay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &lock.Memory{}
		l := newLocker(t, store, &lock.Options{MaxWait: time.Second})
		lease, err := l.Lock(t.Context(), "a")
		require.NoError(t, err)
		began := time.Now()
		_, err = l.Lock(t.Context(), "a")
		require.ErrorIs(t, err, lock.ErrHeld)
		require.Equal(t, time.Second, time.Since(began))

		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err = l.Lock(ctx, "a")
		require.ErrorIs(t, err, context.DeadlineExceeded)

		go func() {
			time.Sleep(500 * time.Millisecond)
			_ = lease.Unlock(context.Background())
		}()
		second, err := l.Lock(t.Context(), "a")
		require.NoError(t, err)
		require.NoError(t, second.Unlock(t.Context()))
	})
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	for _, o := range []lock.Options{{TTL: -1}, {TTL: 1}, {RetryAfter: -1}, {MaxWait: -1}} {
		_, err := lock.New(&lock.Memory{}, &o)
		require.ErrorIs(t, err, envelope.ErrInvalid)
	}
	l := newLocker(t, &lock.Memory{}, nil)
	for _, key := range []string{"", " ", "a\x00b", string(make([]byte, 300))} {
		_, err := l.TryLock(t.Context(), key)
		require.ErrorIs(t, err, envelope.ErrInvalid)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := l.Lock(ctx, "a")
	require.ErrorIs(t, err, context.Canceled)
}
