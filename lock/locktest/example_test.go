package locktest_test

import (
	"testing"
	"time"

	"github.com/troupe-go/troupe/lock"
	"github.com/troupe-go/troupe/lock/locktest"
)

// A store's test hands the suite a way to make fresh stores.
func Example() {
	_ = func(t *testing.T) {
		locktest.Run(t, time.Millisecond, func(testing.TB) lock.Store { return &lock.Memory{} })
	}
}
