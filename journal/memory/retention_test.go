package memory

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

func command(s envelope.Stream, id string) *journal.Batch {
	return &journal.Batch{ID: journal.NewBatchID(), Receipts: []envelope.Receipt{{Stream: s, ID: id}}}
}

func TestReceiptsExpire(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j, err := Open(&Options{ReceiptRetention: time.Hour})
		require.NoError(t, err)
		defer j.Close()
		s := envelope.Stream{Type: "todo", ID: "1"}
		first := command(s, "id")
		_, err = journal.Commit(t.Context(), j, first)
		require.NoError(t, err)

		time.Sleep(time.Hour - time.Nanosecond)
		_, err = journal.Commit(t.Context(), j, command(s, "id"))
		require.ErrorIs(t, err, journal.ErrDuplicate)
		_, found, err := j.Receipt(t.Context(), s, "id")
		require.NoError(t, err)
		require.True(t, found)

		time.Sleep(time.Nanosecond) // exactly one hour later, and not swept yet
		_, found, err = j.Receipt(t.Context(), s, "id")
		require.NoError(t, err)
		require.False(t, found)
		_, err = journal.Commit(t.Context(), j, command(s, "id"))
		require.NoError(t, err)

		// Sweeping the old one must not take the new one of the same key.
		time.Sleep(time.Minute)
		_, err = journal.Commit(t.Context(), j, command(s, "other"))
		require.NoError(t, err)
		_, err = journal.Commit(t.Context(), j, command(s, "id"))
		require.ErrorIs(t, err, journal.ErrDuplicate)
	})
}

func TestExpiredReceiptsFreeTheirMemory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j, err := Open(&Options{ReceiptRetention: time.Second})
		require.NoError(t, err)
		defer j.Close()
		s := envelope.Stream{Type: "todo", ID: "1"}
		for i := range 20_000 { // ten a second: ten are within the retention
			_, err = journal.Commit(t.Context(), j, command(s, fmt.Sprint(i)))
			require.NoError(t, err)
			time.Sleep(100 * time.Millisecond)
		}
		require.LessOrEqual(t, len(j.receipts.byKey), 12)
		require.LessOrEqual(t, len(j.receipts.queue.list), 2)

		// A burst after which few commands come is cleared away by those few.
		burst := &journal.Batch{ID: journal.NewBatchID()}
		for i := range 1000 {
			burst.Receipts = append(burst.Receipts, envelope.Receipt{Stream: s, ID: fmt.Sprint("burst", i)})
		}
		_, err = journal.Commit(t.Context(), j, burst)
		require.NoError(t, err)
		time.Sleep(time.Minute)
		for i := range 1000/(sweepAtOnce-1) + 10 {
			_, err = journal.Commit(t.Context(), j, command(s, fmt.Sprint("later", i)))
			require.NoError(t, err)
			time.Sleep(time.Minute)
		}
		require.LessOrEqual(t, len(j.receipts.byKey), 2)
	})
}

func TestRetentionBelowZeroIsRefused(t *testing.T) {
	t.Parallel()
	_, err := Open(&Options{ReceiptRetention: -time.Second})
	require.ErrorIs(t, err, envelope.ErrInvalid)
	require.EqualError(t, err, `memory: invalid option ReceiptRetention "-1s": is negative`)
}

// A done that panics is the caller's mistake; Close does not wait for it.
func TestPanicInDoneDoesNotHangClose(t *testing.T) {
	t.Parallel()
	j, err := Open(nil)
	require.NoError(t, err)
	require.Panics(t, func() {
		j.Submit(command(envelope.Stream{Type: "todo", ID: "1"}, "id"), func(journal.Result, error) { panic("mistake") })
	})
	require.NoError(t, j.Close())
}

func TestSubmitAllocatesNothing(t *testing.T) {
	j, err := Open(nil)
	require.NoError(t, err)
	s := envelope.Stream{Type: "todo", ID: "1"}
	records := make([]envelope.Record, 1)
	appends := make([]journal.Append, 1)
	var batch journal.Batch
	version := uint64(0)
	done := func(_ journal.Result, err error) {
		if err != nil {
			t.Error(err)
		}
	}
	allocations := testing.AllocsPerRun(10_000, func() {
		records[0] = envelope.Record{Stream: s, Version: version + 1, Name: "happened", Schema: 1, Codec: "json"}
		appends[0] = journal.Append{Stream: s, Expected: version, Records: records}
		batch = journal.Batch{ID: journal.NewBatchID(), Appends: appends}
		j.Submit(&batch, done)
		version++
	})
	require.Zero(t, allocations, "besides the log's blocks, which AllocsPerRun rounds away")
}
