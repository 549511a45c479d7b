package readahead_test

import (
	"context"
	"errors"
	"iter"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/internal/readahead"
)

// pages yields 0, 1, 2, … in pages of two, up to n of them; calls counts reads.
func pages(ctx context.Context, n int, calls *int, fail error) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		read := 2
		next := func() (readahead.Page[int], error) {
			*calls++
			if read == 6 && fail != nil {
				return readahead.Page[int]{}, fail
			}
			read += 2
			return readahead.Page[int]{Items: []int{read - 2, read - 1}, Last: read >= n}, nil
		}
		readahead.Yield(readahead.Page[int]{Items: []int{0, 1}, Last: n <= 2}, next, func() error { return context.Cause(ctx) }, yield)
	}
}

func TestYieldsAllInOrder(t *testing.T) {
	t.Parallel()
	for _, n := range []int{2, 4, 10} {
		var got []int
		calls := 0
		for i, err := range pages(t.Context(), n, &calls, nil) {
			require.NoError(t, err)
			require.Equal(t, len(got), i)
			got = append(got, i)
		}
		require.Len(t, got, n)
		require.Equal(t, n/2-1, calls)
	}
}

// The next page is read while the caller has one, and no further one.
func TestReadsOneAhead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		for i, err := range pages(t.Context(), 10, &calls, nil) {
			require.NoError(t, err)
			synctest.Wait()
			require.Equal(t, min(i/2+1, 4), calls)
		}
	})
}

// Who stops reading finds nothing running behind it.
func TestStopsWithItsCaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // which fails if a goroutine stays
		calls := 0
		for range pages(t.Context(), 10, &calls, nil) {
			break
		}
		require.Equal(t, 1, calls)
		require.Panics(t, func() {
			for range pages(t.Context(), 10, &calls, nil) {
				panic("the caller's")
			}
		})
		require.Equal(t, 2, calls)
	})
}

func TestErrorsComeLast(t *testing.T) {
	t.Parallel()
	errOurs := errors.New("ours")
	collect := func(all iter.Seq2[int, error]) (n int, failed error) {
		for _, err := range all {
			require.NoError(t, failed)
			if failed = err; err == nil {
				n++
			}
		}
		return n, failed
	}
	calls := 0
	n, err := collect(pages(t.Context(), 10, &calls, errOurs))
	require.Equal(t, 6, n)
	require.Equal(t, errOurs, err)

	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errOurs)
	n, err = collect(pages(ctx, 10, &calls, nil))
	require.Zero(t, n)
	require.Equal(t, errOurs, err)
}
