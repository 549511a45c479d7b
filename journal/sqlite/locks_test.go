package sqlite_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/lock"
	"github.com/troupe-go/troupe/lock/locktest"
)

func TestLocks(t *testing.T) {
	t.Parallel()
	locktest.Run(t, 50*time.Millisecond, func(t testing.TB) lock.Store {
		j := open(t, newPath(t), nil)
		t.Cleanup(func() { require.NoError(t, j.Close()) })
		return j.Locks()
	})
}
