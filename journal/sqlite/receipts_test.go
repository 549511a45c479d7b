package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/internal/testenv"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/sqlite"
)

// bound is so small that receipts get into the index all the time.
const bound = 4

func moving() *sqlite.Options {
	opts := quiet()
	opts.SetIndexing(bound, 256) // all of them, always
	return opts
}

// command is a batch that leaves nothing but a receipt of stream 1.
func command(id string) *journal.Batch {
	return receipt(&journal.Batch{ID: journal.NewBatchID()}, todo("1"), id)
}

// requireDuplicate demands that the command's receipt is found, alone and by a
// batch that would store it again.
func requireDuplicate(t *testing.T, j *sqlite.Journal, id string) {
	t.Helper()
	found, ok, err := j.Receipt(t.Context(), todo("1"), id)
	require.NoError(t, err)
	require.True(t, ok, "no receipt of %s", id)
	require.Equal(t, "reply "+id, string(found.Reply))
	_, err = journal.Commit(t.Context(), j, command(id))
	var duplicate *journal.DuplicateError
	require.ErrorAs(t, err, &duplicate, "command %s", id)
	require.Len(t, duplicate.Receipts, 1)
	require.Equal(t, found, duplicate.Receipts[0])
}

// requireNone demands that the command has no receipt.
func requireNone(t *testing.T, j *sqlite.Journal, id string) {
	t.Helper()
	_, ok, err := j.Receipt(t.Context(), todo("1"), id)
	require.NoError(t, err)
	require.False(t, ok, "a receipt of %s", id)
}

// levels counts what is stored: receipts, and how many of them are in the index.
func levels(t *testing.T, path string) (receipts, indexed int) {
	t.Helper()
	require.NoError(t, raw(t, path).QueryRow("SELECT (SELECT count(*) FROM receipts), (SELECT count(*) FROM receipt_keys)").Scan(&receipts, &indexed))
	return receipts, indexed
}

func TestDuplicatesAreFoundInBothLevels(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	j := open(t, path, moving())
	const n = 2*bound + 3
	for i := range n {
		commit(t, j, command(fmt.Sprint(i)))
		for k := range i + 1 {
			requireDuplicate(t, j, fmt.Sprint(k))
		}
		requireNone(t, j, fmt.Sprint(i+1))
	}
	receipts, indexed := levels(t, path)
	require.Equal(t, n, receipts, "nothing is stored twice")
	require.Equal(t, 2*bound, indexed)
	require.Equal(t, 3, j.RecentReceipts())
	require.NoError(t, j.Close())

	j = open(t, path, moving())
	requireNone(t, j, "new")
	require.Equal(t, 3, j.RecentReceipts(), "only those that are not in the index are read")
	for k := range n {
		requireDuplicate(t, j, fmt.Sprint(k))
	}
}

// TestReceiptsOfOthersAreFound: what one handle stores, the other finds, wherever
// it is by then.
func TestReceiptsOfOthersAreFound(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	a, b := open(t, path, moving()), open(t, path, moving())
	for i := range 5 * bound {
		writer, other := a, b
		if i%3 == 0 {
			writer, other = b, a
		}
		commit(t, writer, command(fmt.Sprint(i)))
		requireDuplicate(t, other, fmt.Sprint(i))
		requireDuplicate(t, a, fmt.Sprint(i/2))
	}
	for i := range 20 * bound { // a does not look meanwhile
		commit(t, b, command(fmt.Sprint("b", i)))
	}
	for i := range 20 * bound {
		requireDuplicate(t, a, fmt.Sprint("b", i))
	}
	require.LessOrEqual(t, a.RecentReceipts(), 2*bound)
}

const repeats = 60

// race commits commands that others commit, too, and returns those that it was
// the one to store. What was answered must be found at once.
func race(ctx context.Context, j *sqlite.Journal) (won []string, err error) {
	for i := range repeats {
		id := fmt.Sprint(i)
		_, err := journal.Commit(ctx, j, command(id))
		switch {
		case err == nil:
			won = append(won, id)
		case !errors.Is(err, journal.ErrDuplicate):
			return nil, err
		}
		for _, id := range []string{id, fmt.Sprint(i / 2)} {
			if _, ok, err := j.Receipt(ctx, todo("1"), id); err != nil || !ok {
				return nil, fmt.Errorf("receipt of %s: %v, %w", id, ok, err)
			}
		}
	}
	return won, nil
}

// childRace is a second process that does.
func childRace() error {
	j, err := sqlite.Open(context.Background(), os.Getenv("JOURNAL"), moving())
	if err != nil {
		return err
	}
	won, err := race(context.Background(), j)
	for _, id := range won {
		testenv.Report("%s", id)
	}
	return errors.Join(err, j.Close())
}

func TestSameCommandsInSeveralProcesses(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	handles := []*sqlite.Journal{open(t, path, moving()), open(t, path, moving())}
	child := testenv.StartChild(t, "race", []string{"JOURNAL=" + path})
	var mu sync.Mutex
	winners := map[string]int{}
	count := func(ids ...string) {
		mu.Lock()
		defer mu.Unlock()
		for _, id := range ids {
			winners[id]++
		}
	}
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			won, err := race(t.Context(), handles[i%2])
			if err != nil {
				t.Errorf("caller %d: %v", i, err)
			}
			count(won...)
		})
	}
	for id := range child.Reports {
		count(id)
	}
	require.NoError(t, child.Wait())
	all.Wait()
	require.Len(t, winners, repeats)
	for id, n := range winners {
		require.Equal(t, 1, n, "times that command %s was stored", id)
	}
	receipts, indexed := levels(t, path)
	require.Equal(t, repeats, receipts)
	require.Greater(t, indexed, repeats/2)
	require.LessOrEqual(t, indexed, repeats)
}

// TestReceiptsOfAGroupThatFailed: they are neither found nor in the way, and
// what was moved into the index with them is in its former place.
func TestReceiptsOfAGroupThatFailed(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]struct {
		pragma string // of this connection
		row    bool   // that fails the COMMIT
	}{
		"begin":  {pragma: "query_only = 1"},
		"flush":  {pragma: "max_page_count = 1"},
		"commit": {pragma: "foreign_keys = 1", row: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := newPath(t)
			j := open(t, path, moving())
			_, err := raw(t, path).Exec(rowTables)
			require.NoError(t, err)
			for i := range bound {
				commit(t, j, command(fmt.Sprint(i)))
			}
			require.NoError(t, j.ExecOnWriter(t.Context(), "PRAGMA "+fail.pragma))
			failing := command("failing") // with it, the others get into the index
			if failing.Receipts[0].Reply = make([]byte, 100<<10); fail.row {
				failing.Rows = append(failing.Rows, upsert("child", "x", envelope.Column{Name: "parent", Value: "nobody"}))
			}
			_, err = journal.Commit(t.Context(), j, failing)
			require.Error(t, err)
			requireNone(t, j, "failing")
			require.Equal(t, bound, j.RecentReceipts())
			_, indexed := levels(t, path)
			require.Zero(t, indexed)
			for i := range bound {
				requireDuplicate(t, j, fmt.Sprint(i))
			}
			commit(t, j, command("failing"))
			for _, id := range []string{"0", "1", "2", "3", "failing"} {
				requireDuplicate(t, j, id)
			}
			_, indexed = levels(t, path)
			require.Equal(t, bound, indexed)
		})
	}
}

// TestSweptInBothLevels: expired receipts go from both, and a command that comes
// again after them is a new one.
func TestSweptInBothLevels(t *testing.T) {
	t.Parallel()
	var hours atomic.Int64
	opts := moving()
	opts.ReceiptRetention = time.Hour
	opts.SetClock(func() time.Time { return when.Add(time.Duration(hours.Load()) * time.Hour) })
	path := newPath(t)
	j := open(t, path, opts)
	const old = 100*bound + 3
	id := func(i int) string { return fmt.Sprint(i) }
	for i := range old {
		commit(t, j, command(id(i)))
	}
	hours.Store(1)
	for _, i := range []int{0, old / 2, old - 1} {
		requireNone(t, j, id(i))
	}
	for _, i := range []int{old / 2, old - 1} { // one of each level, which has not been swept
		again := command(id(i))
		again.Receipts[0].Version = 7
		commit(t, j, again)
		found, ok, err := j.Receipt(t.Context(), todo("1"), id(i))
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, uint64(7), found.Version, "the new one")
		requireDuplicate(t, j, id(i))
	}
	const fresh = old / 4 * 2
	for i := range fresh {
		commit(t, j, command(fmt.Sprint("new-", i)))
	}
	receipts, indexed := levels(t, path)
	require.Equal(t, fresh+2, receipts, "the others are gone")
	require.Less(t, indexed, fresh+256+bound, "of the others no more than are not worth it")
	require.NoError(t, j.Close())
	j = open(t, path, opts)
	commit(t, j, command(id(1)))
	for _, i := range []int{1, old / 2, old - 1} {
		requireDuplicate(t, j, id(i))
	}
	for i := range fresh {
		requireDuplicate(t, j, fmt.Sprint("new-", i))
	}
	requireNone(t, j, id(2))
}

// TestNumbersAreNotGivenOutAgain: a process that knows receipts up to a number
// would not see others with lower ones.
func TestNumbersAreNotGivenOutAgain(t *testing.T) {
	t.Parallel()
	var hours atomic.Int64
	opts := moving()
	opts.ReceiptRetention = time.Hour
	opts.SetClock(func() time.Time { return when.Add(time.Duration(hours.Load()) * time.Hour) })
	path := newPath(t)
	a, b := open(t, path, opts), open(t, path, opts)
	for i := range bound - 1 {
		commit(t, a, command(fmt.Sprint(i)))
		requireDuplicate(t, b, fmt.Sprint(i))
	}
	hours.Store(2)
	_, err := raw(t, path).Exec("DELETE FROM receipts") // all are expired
	require.NoError(t, err)
	commit(t, a, command("new"))
	requireDuplicate(t, b, "new")
}

// TestMemoryOfReceiptsIsBounded: also of a handle that only looks, and of one
// that was just opened. A slice at a time goes into the index, so that all 256
// slices have their turn before the first has it again.
func TestMemoryOfReceiptsIsBounded(t *testing.T) {
	t.Parallel()
	path, opts := newPath(t), quiet()
	const perBatch, most = 7, 256 + 2*7
	opts.SetIndexing(1, 1)
	writer, reader := open(t, path, opts), open(t, path, opts)
	largest := 0
	for i := range 200 {
		b := command(fmt.Sprint(i))
		for k := range perBatch - 1 {
			receipt(b, todo("1"), fmt.Sprint(i, "-", k))
		}
		commit(t, writer, b)
		requireDuplicate(t, reader, fmt.Sprint(i/2))
		largest = max(largest, writer.RecentReceipts(), reader.RecentReceipts())
	}
	require.LessOrEqual(t, largest, most)
	require.Greater(t, largest, 50, "they gather")
	opened := open(t, path, opts)
	for i := range 200 {
		requireDuplicate(t, opened, fmt.Sprint(i))
		requireDuplicate(t, opened, fmt.Sprint(i, "-", i%(perBatch-1)))
	}
	require.LessOrEqual(t, opened.RecentReceipts(), most)
}

// TestReceiptHash: it is stored, and never changes.
func TestReceiptHash(t *testing.T) {
	t.Parallel()
	for want, k := range map[int64][3]string{
		-5539458302773674855: {"todo", "1", "command"},
		2239115124146914885:  {"todo", "1", "other"},
		-2484268624096366474: {"", "mailer", "message"},
	} {
		require.Equal(t, want, sqlite.ReceiptHash(k[0], k[1], k[2]), "%q", k)
	}
}

// TestReceiptsWithOneKey: commands whose hashes are the same are different ones.
func TestReceiptsWithOneKey(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	j := open(t, path, moving())
	db := raw(t, path)
	strangers := 0
	stranger := func(id string) {
		strangers++
		_, err := db.Exec(`INSERT INTO receipts (key, type, id, command, version, codec, reply, time, stored)
			VALUES (?, 'todo', '1', ?, 1, '', x'', 0, ?)`, sqlite.ReceiptHash("todo", "1", id), fmt.Sprint("stranger ", strangers), time.Now().UnixMicro())
		require.NoError(t, err)
	}
	stranger("a")
	stranger("a")
	requireNone(t, j, "a")
	commit(t, j, command("a"))
	stranger("a")
	requireDuplicate(t, j, "a") // in memory
	for i := range 2 * bound {
		commit(t, j, command(fmt.Sprint(i)))
	}
	requireDuplicate(t, j, "a") // in the index
	_, ok, err := j.Receipt(t.Context(), todo("1"), "stranger 2")
	require.NoError(t, err)
	require.False(t, ok, "its own key leads elsewhere")
}

func TestMarkOfTheIndexIsMissing(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	commit(t, open(t, path, nil), command("a"))
	_, err := raw(t, path).Exec("DELETE FROM receipts_indexed WHERE slice = 7")
	require.NoError(t, err)
	j := open(t, path, quiet())
	_, _, err = j.Receipt(t.Context(), todo("1"), "a")
	require.ErrorIs(t, err, journal.ErrCorrupt)
	_, err = journal.Commit(t.Context(), j, command("a"))
	require.ErrorIs(t, err, journal.ErrCorrupt)
}
