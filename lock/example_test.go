package lock_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/troupe-go/troupe/lock"
)

func Example() {
	ctx := context.Background()
	locker, err := lock.New(&lock.Memory{}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	lease, err := locker.Lock(ctx, "nightly-report")
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = locker.TryLock(ctx, "nightly-report")
	fmt.Println(errors.Is(err, lock.ErrHeld), lease.Holds())
	fmt.Println(lease.Unlock(ctx))
	// Output:
	// true true
	// <nil>
}
