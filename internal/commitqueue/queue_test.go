package commitqueue

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
)

func put(t *testing.T, q *Queue[int], events int) {
	t.Helper()
	require.NoError(t, q.Put(Item[int]{Events: events, Bytes: 100 * events}))
}

func smallQueue() *Queue[int] {
	return New[int](10, 1_000)
}

func TestQueueTakesWholeItemsWithinTheBounds(t *testing.T) {
	t.Parallel()
	q := smallQueue()
	for _, events := range []int{3, 3, 3, 9, 1} {
		put(t, q, events)
	}
	var group []Item[int]
	for _, want := range [][]int{{3, 3}, {3}, {9}, {1}, {}} { // at most 8, at least one item
		group = q.Take(group, 8, 1_000)
		require.Len(t, group, len(want))
		for i := range want {
			require.Equal(t, want[i], group[i].Events)
		}
	}
	require.Zero(t, q.events+q.bytes)
}

func TestQueueOverloadsAtTwiceItsBound(t *testing.T) {
	t.Parallel()
	q := smallQueue()
	put(t, q, 19)
	put(t, q, 1)
	var full *FullError
	require.ErrorAs(t, q.Put(Item[int]{Events: 1}), &full)
	require.Equal(t, FullError{Events: 20, Bytes: 2_000}, *full)
	require.ErrorAs(t, q.Put(Item[int]{Events: 1, Bytes: 2_000}), &full)
	q.Take(nil, 100, 100_000)
	put(t, q, 1_000) // whatever its size, an empty queue takes it
}

func TestCreditWakesInOrderAsManyAsFit(t *testing.T) {
	t.Parallel()
	q := smallQueue()
	put(t, q, 8)
	put(t, q, 2)
	var woken []int
	ask := func(n, events int) bool {
		return q.Credit(events, 100*events, func() { woken = append(woken, n) })
	}
	for n, events := range []int{4, 3, 5, 1} {
		require.False(t, ask(n, events))
	}
	q.Take(nil, 8, 1_000)
	require.Equal(t, []int{0, 1}, woken, "2 wait, 4 and 3 fit, 5 more do not, and 1 does not overtake")
	require.False(t, ask(4, 1), "a newcomer waits behind those that wait")
	q.Take(nil, 8, 1_000)
	require.Equal(t, []int{0, 1, 2, 3, 4}, woken)
	require.True(t, ask(5, 10))
}

func TestWaitersAreWokenAlthoughTheWokenGaveUp(t *testing.T) {
	t.Parallel()
	q := smallQueue()
	put(t, q, 10)
	woken := make(chan struct{}, 7)
	for range cap(woken) {
		require.False(t, q.Credit(6, 600, func() { woken <- struct{}{} }))
	}
	q.Take(nil, 100, 100_000)
	require.Len(t, woken, 1, "two do not fit together")
	ended := make(chan struct{})
	go func() { // an idle committer
		defer close(ended)
		for q.Wait() {
			q.Take(nil, 100, 100_000)
		}
	}()
	for range cap(woken) { // none of them submits anything
		<-woken
	}
	q.Close()
	<-ended
	require.True(t, q.Credit(1_000, 1_000, nil), "Submit says why")
	require.ErrorIs(t, q.Put(Item[int]{}), ErrClosed)
}

func TestPhantomsLastUntilTheirCallersAreTold(t *testing.T) {
	t.Parallel()
	s := envelope.Stream{Type: "todo", ID: "1"}
	var p Phantoms
	has := func(number, version uint64) bool { return p.Has(number, s, version) }
	require.False(t, has(4, 7))
	p.Add(3, s, 7)
	require.True(t, has(4, 7))
	require.False(t, has(4, 6), "nobody built on half of it")
	require.False(t, has(2, 7), "it was submitted before")
	p.Tell(3, 9)
	require.True(t, has(9, 7))
	require.False(t, has(10, 7), "its caller knew")
	p.Forget(9)
	require.True(t, has(9, 7))
	p.Forget(10)
	require.Empty(t, p.byStream)
}

func TestPutWaitWaitsForRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := smallQueue()
		put(t, q, 10)
		ctx, cancel := context.WithCancelCause(t.Context())
		leaving, staying := make(chan error, 1), make(chan error, 1)
		go func() { leaving <- q.PutWait(ctx, Item[int]{Events: 2}) }()
		synctest.Wait()
		go func() { staying <- q.PutWait(t.Context(), Item[int]{Events: 2}) }()
		synctest.Wait()
		gone := errors.New("gone")
		cancel(gone)
		require.ErrorIs(t, <-leaving, gone)
		synctest.Wait()
		require.Empty(t, staying)
		require.EqualValues(t, 1, q.Numbered(), "nothing was put")
		require.Len(t, q.Take(nil, 100, 100_000), 1)
		require.NoError(t, <-staying)
		require.EqualValues(t, 2, q.Numbered())
		require.ErrorIs(t, q.PutWait(ctx, Item[int]{Events: 1}), gone, "although there is room")
		q.Close()
		require.ErrorIs(t, q.PutWait(t.Context(), Item[int]{}), ErrClosed)
	})
}
