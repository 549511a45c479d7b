package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/internal/testenv"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/sqlite"
)

// resumption is how long service may take to come back once a fault has ended.
const resumption = 2 * time.Second

// requireService demands that b, which was refused, is stored now, without any
// help.
func requireService(t *testing.T, j journal.Journal, b *journal.Batch) {
	t.Helper()
	begin := time.Now()
	require.Eventually(t, func() bool {
		_, err := journal.Commit(t.Context(), j, b)
		return err == nil
	}, resumption, 5*time.Millisecond)
	t.Logf("service was back after %v", time.Since(begin).Round(time.Millisecond))
}

// writeUntilRefused commits single events to streams of their own until one
// fails, and returns the failed batch, its error, and how many are stored.
func writeUntilRefused(t *testing.T, j journal.Journal, data []byte, most int) (b *journal.Batch, stored int, err error) {
	t.Helper()
	for ; stored < most; stored++ {
		b = batch(events(todo(fmt.Sprint(stored)), 0, 1))
		b.Appends[0].Records[0].Data = data
		if _, err = journal.Commit(t.Context(), j, b); err != nil {
			return b, stored, err
		}
	}
	require.FailNow(t, "nothing was refused")
	return nil, 0, nil
}

// requireStored demands n events, each of a stream of its own.
func requireStored(t *testing.T, j journal.Journal, n int) {
	t.Helper()
	records, err := readAll(t, j)
	require.NoError(t, err)
	require.Len(t, records, n)
	for i := range n {
		latest, err := j.LoadLatest(t.Context(), todo(fmt.Sprint(i)))
		require.NoError(t, err)
		require.Equal(t, uint64(1), latest.Version)
	}
}

func TestReadOnlyConnectionIsUnavailable(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	j := open(t, path, quiet())
	commit(t, j, batch(events(todo("0"), 0, 1)))
	require.NoError(t, j.ExecOnWriter(t.Context(), "PRAGMA query_only = 1"))
	b := batch(events(todo("1"), 0, 1))
	_, err := journal.Commit(t.Context(), j, b)
	require.ErrorIs(t, err, journal.ErrUnavailable)
	require.ErrorContains(t, err, "readonly")
	requireStored(t, j, 1)
	requireService(t, j, b)
	requireStored(t, open(t, path, nil), 2)
}

func TestFullDatabaseLosesNothing(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	j := open(t, path, quiet())
	require.NoError(t, j.ExecOnWriter(t.Context(), "PRAGMA max_page_count = 60"))
	b, stored, err := writeUntilRefused(t, j, make([]byte, 10<<10), 1_000)
	require.ErrorIs(t, err, journal.ErrUnavailable)
	require.ErrorContains(t, err, "full")
	require.NotZero(t, stored)
	requireStored(t, j, stored)
	requireService(t, j, b) // a new connection has no such bound
	requireStored(t, j, stored+1)
	require.NoError(t, j.Close())
	requireStored(t, open(t, path, nil), stored+1)
}

func TestTablesOfSomebodyElseAreNotMigrated(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	_, err := raw(t, path).Exec("CREATE TABLE outbox (id INTEGER PRIMARY KEY)")
	require.NoError(t, err)
	_, err = sqlite.OpenAndMigrate(t.Context(), path, nil)
	require.ErrorIs(t, err, sqlite.ErrSchema)
	require.ErrorContains(t, err, "outbox already exists")
	var tables int
	require.NoError(t, raw(t, path).QueryRow("SELECT count(*) FROM sqlite_master WHERE name = 'events'").Scan(&tables))
	require.Zero(t, tables, "a migration is applied as a whole or not at all")
	_, err = raw(t, path).Exec("DROP TABLE outbox")
	require.NoError(t, err)
	commit(t, open(t, path, nil), batch(events(todo("1"), 0, 1)))
}

func TestMissingTable(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	require.NoError(t, open(t, path, nil).Close())
	_, err := raw(t, path).Exec("DROP TABLE outbox")
	require.NoError(t, err)
	for _, opening := range []func() (*sqlite.Journal, error){
		func() (*sqlite.Journal, error) { return sqlite.Open(t.Context(), path, nil) },
		func() (*sqlite.Journal, error) { return sqlite.OpenAndMigrate(t.Context(), path, nil) },
	} {
		_, err := opening()
		require.ErrorIs(t, err, sqlite.ErrSchema)
		require.ErrorContains(t, err, "no table outbox")
	}
}

func TestCorruptFile(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	j := open(t, path, quiet())
	for i := range 300 {
		commit(t, j, batch(events(todo(fmt.Sprint(i)), 0, 1)))
	}
	require.NoError(t, j.Close())
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	info, err := file.Stat()
	require.NoError(t, err)
	const page = 4096
	for at := int64(page); at < info.Size(); at += page { // all but the first, which has the schema
		_, err := file.WriteAt([]byte(strings.Repeat("damage! ", page/8)), at)
		require.NoError(t, err)
	}
	require.NoError(t, file.Close())
	j, err = sqlite.Open(t.Context(), path, quiet())
	if err == nil {
		defer j.Close()
		_, err = j.LoadLatest(t.Context(), todo("1"))
		require.ErrorIs(t, err, journal.ErrCorrupt)
		_, err = readAll(t, j)
		require.ErrorIs(t, err, journal.ErrCorrupt)
		_, err = journal.Commit(t.Context(), j, batch(events(todo("1"), 1, 1)))
	}
	require.ErrorIs(t, err, journal.ErrCorrupt)
	require.ErrorContains(t, err, "malformed")
}

// childFaulty commits one batch after another while strace makes syncs fail. A
// batch that was unavailable is tried again as a new one, one with an unknown
// outcome as the identical one. It reports what it was told.
func childFaulty() error {
	ctx := context.Background()
	j, err := sqlite.Open(ctx, os.Getenv("JOURNAL"), crashOptions())
	if err != nil {
		return err
	}
	testenv.Report("open")
	s := todo("1")
	for version := range uint64(faultyEvents) {
		b := receipt(batch(events(s, version, 1)), s, fmt.Sprint(version))
		for begin := time.Now(); ; {
			_, err := journal.Commit(ctx, j, b)
			if err == nil {
				testenv.Report("stored %d", version+1)
				break
			}
			switch {
			case time.Since(begin) > 10*resumption: // strace is slow
				return fmt.Errorf("version %d: no service: %w", version+1, err)
			case errors.Is(err, journal.ErrUnknownOutcome):
				testenv.Report("unknown")
				b.Resubmit = true
			case errors.Is(err, journal.ErrUnavailable):
				testenv.Report("unavailable")
				if !b.Resubmit {
					b.ID = journal.NewBatchID() // it must not be stored, under the former id
				}
			default:
				return fmt.Errorf("version %d: %w", version+1, err)
			}
			time.Sleep(time.Millisecond) // as a caller would back off
		}
		records := 0
		for _, err := range j.Load(ctx, s, 0) {
			if err != nil {
				return fmt.Errorf("load behind version %d: %w", version+1, err)
			}
			records++
		}
		if records != int(version)+1 {
			return fmt.Errorf("%d records are readable, want %d", records, version+1)
		}
	}
	return j.Close()
}

const faultyEvents = 20

func TestFailingSyncs(t *testing.T) {
	t.Parallel()
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("takes strace")
	}
	if out, err := exec.Command(strace, "-f", "-qq", "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		t.Skipf("strace may not trace here: %v: %s", err, out)
	}
	type fault struct{ calls, when string }
	var faults []fault
	rounds := testenv.Count(3, 15)
	for n := 3; n < 3+rounds; n++ { // "a..b" is an outage that outlasts the first attempts to come back
		faults = append(faults, fault{"fdatasync,fsync", fmt.Sprint(n)}, fault{"fdatasync,fsync", fmt.Sprintf("%d..%d", n, n+3)},
			fault{"pwrite64", fmt.Sprintf("%d..%d", 9*n, 9*n+4)})
	}
	told := map[string]int{}
	for _, f := range faults {
		path := newPath(t)
		require.NoError(t, open(t, path, nil).Close())
		child := testenv.StartChild(t, "faulty", []string{"JOURNAL=" + path, "GOMAXPROCS=1"},
			strace, "-f", "-qq", "-o", os.DevNull, "-e", "trace="+f.calls, "-e", "inject="+f.calls+":error=EIO:when="+f.when)
		opened := false
		for line := range child.Reports {
			opened = true
			word, _, _ := strings.Cut(line, " ")
			told[word]++
		}
		if !opened {
			require.Contains(t, child.Stderr(), "I/O error", "Open itself may fail")
			continue
		}
		require.NoError(t, child.Wait(), "%v", f)
		j := open(t, path, crashOptions())
		records, err := readAll(t, j)
		require.NoError(t, err)
		require.Len(t, records, faultyEvents, "%v", f)
		for version := range faultyEvents {
			_, ok, err := j.Receipt(t.Context(), todo("1"), fmt.Sprint(version))
			require.NoError(t, err)
			require.True(t, ok)
		}
		require.NoError(t, j.Close())
	}
	t.Log(told)
	require.NotZero(t, told["unknown"], "no sync failed at a COMMIT")
}
