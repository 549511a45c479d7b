package locktest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/lock"
)

// long is a lease that does not end within a test.
const long = time.Hour

// Run checks every promise of a [lock.Store], each as a parallel subtest on a
// store of its own. Leases of the suite last ttl where they are to end: as
// short as the store is quick, 100 ms or more for a server.
func Run(t *testing.T, ttl time.Duration, open func(t testing.TB) lock.Store) {
	t.Helper()
	for name, check := range map[string]func(*testing.T, lock.Store){
		"OneTokenHoldsAKey": func(t *testing.T, s lock.Store) {
			require.True(t, try(t, s, "a", "1", long))
			ok, left, err := s.TryLock(t.Context(), "a", "2", long)
			require.NoError(t, err)
			require.False(t, ok)
			require.Greater(t, left, long/2)
			require.LessOrEqual(t, left, long+time.Minute)
			require.True(t, try(t, s, "b", "2", long), "another key")
			require.True(t, try(t, s, "a", "1", long), "it is the holder's again")
		},
		"UnlockIsTheHoldersAlone": func(t *testing.T, s lock.Store) {
			require.True(t, try(t, s, "a", "1", long))
			require.False(t, unlock(t, s, "2"))
			require.False(t, try(t, s, "a", "2", long))
			require.True(t, unlock(t, s, "1"))
			require.False(t, unlock(t, s, "1"), "once")
			require.True(t, try(t, s, "a", "2", long))
		},
		"AnEndedLeaseIsFreeAndNotRenewed": func(t *testing.T, s lock.Store) {
			require.True(t, try(t, s, "a", "1", ttl))
			waitFor(t, func() bool { return try(t, s, "a", "2", long) })
			require.False(t, renew(t, s, "a", "1"))
			require.False(t, unlock(t, s, "1"))
			require.True(t, renew(t, s, "a", "2"))
		},
		"RenewalMakesItLast": func(t *testing.T, s lock.Store) {
			require.True(t, try(t, s, "a", "1", ttl))
			require.True(t, renew(t, s, "a", "1"))
			require.True(t, try(t, s, "sentry", "1", ttl))
			waitFor(t, func() bool { return try(t, s, "sentry", "2", long) }) // ttl has passed
			require.False(t, try(t, s, "a", "2", long))
			require.False(t, renew(t, s, "absent", "1"))
		},
		"SweepDeletesWhatHasEnded": func(t *testing.T, s lock.Store) {
			require.True(t, try(t, s, "a", "1", long))
			for i := range 5 {
				require.True(t, try(t, s, fmt.Sprint("short", i), "1", ttl))
			}
			swept := 0
			waitFor(t, func() bool {
				n, err := s.Sweep(t.Context())
				require.NoError(t, err)
				swept += n
				return swept >= 5
			})
			require.Equal(t, 5, swept)
			require.False(t, try(t, s, "a", "2", long))
		},
		"ManyTriesOneHolder": func(t *testing.T, s lock.Store) {
			l, err := lock.New(s, &lock.Options{TTL: time.Minute, RetryAfter: time.Millisecond})
			require.NoError(t, err)
			var inside, most atomic.Int32
			var group sync.WaitGroup
			for range 8 {
				group.Go(func() {
					for range 5 {
						lease, err := l.Lock(t.Context(), "a")
						if err != nil {
							t.Error(err)
							return
						}
						most.Store(max(most.Load(), inside.Add(1)))
						inside.Add(-1)
						if err := lease.Unlock(t.Context()); err != nil {
							t.Error(err)
						}
					}
				})
			}
			group.Wait()
			require.Equal(t, int32(1), most.Load())
		},
		"EveryKeyAndTokenIsTaken": func(t *testing.T, s lock.Store) {
			for _, key := range []string{"'; DROP TABLE x", "ключ", "a/b", "A", "a"} {
				require.True(t, try(t, s, key, "token", long), key)
				require.False(t, try(t, s, key, "TOKEN", long), key)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, open(t))
		})
	}
}

func try(t *testing.T, s lock.Store, key, token string, ttl time.Duration) bool {
	t.Helper()
	ok, _, err := s.TryLock(t.Context(), key, token, ttl)
	require.NoError(t, err)
	return ok
}

func renew(t *testing.T, s lock.Store, key, token string) bool {
	t.Helper()
	ok, err := s.Renew(t.Context(), key, token, long)
	require.NoError(t, err)
	return ok
}

func unlock(t *testing.T, s lock.Store, token string) bool {
	t.Helper()
	ok, err := s.Unlock(t.Context(), "a", token)
	require.NoError(t, err)
	return ok
}

// waitFor polls until ok, since the store's clock cannot be set.
func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for !ok() {
		select {
		case <-ctx.Done():
			require.FailNow(t, "waited in vain")
		case <-time.After(time.Millisecond):
		}
	}
}
