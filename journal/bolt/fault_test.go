package bolt_test

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

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/internal/testenv"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/bolt"
)

const (
	waitLong  = 20 * time.Second
	waitShort = 5 * time.Millisecond
)

// childFaulty commits one batch after another while strace makes syncs fail. A
// batch that was unavailable is tried again as a new one, one with an unknown
// outcome as the identical one. It reports what it was told.
func childFaulty() error {
	ctx := context.Background()
	j, err := bolt.Open(os.Getenv("JOURNAL"), crashOptions())
	if err != nil {
		return err
	}
	testenv.Report("open")
	s := todo("1")
	first := uint64(1)
	for version := range uint64(40) {
		b := widen(receipt(batch(events(s, version, 1)), s, fmt.Sprint(version)), fmt.Sprint(version))
		b.Rows = []envelope.Row{expecting(version, counter("1", int64(version)))}
		if version%10 == 9 {
			truncate(b)
			first = version + 1
		}
		for {
			_, err := journal.Commit(ctx, j, b)
			if err == nil {
				testenv.Report("stored %d", version+1)
				break
			}
			switch {
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
		if records != int(version+2-first) {
			return fmt.Errorf("%d records are readable, want %d", records, version+2-first)
		}
		row, _, err := j.Row(ctx, "counters", counter("1", 0).Key)
		if err != nil || row.Version != version+1 {
			return fmt.Errorf("row has version %d, want %d: %w", row.Version, version+1, err)
		}
		messages := 0
		for _, err := range j.Messages(ctx, 0, 0) {
			if err != nil {
				return fmt.Errorf("messages: %w", err)
			}
			messages++
		}
		if messages != int(version)+1 {
			return fmt.Errorf("%d messages are readable, want %d", messages, version+1)
		}
	}
	return j.Close()
}

func TestFailingSyncs(t *testing.T) {
	t.Parallel()
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("takes strace")
	}
	if out, err := exec.Command(strace, "-f", "-qq", "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		t.Skipf("strace may not trace here: %v: %s", err, out)
	}
	// The numbers count the syncs of each thread: data and header of a
	// commit take turns, so neighbours fail at different places. "a..b" is
	// an outage that outlasts the first attempts to come back.
	type fault struct{ calls, when string }
	var faults []fault
	for n := 5; n < 5+testenv.Count(8, 40); n++ {
		faults = append(faults, fault{"fdatasync", fmt.Sprint(n)})
	}
	for n := 5; n < 5+testenv.Count(2, 20); n++ {
		faults = append(faults, fault{"fdatasync,fsync", fmt.Sprintf("%d..%d", n, n+3)}, fault{"pwrite64", fmt.Sprintf("%d", 6*n)},
			fault{"fdatasync,fsync,pwrite64", fmt.Sprintf("%d..%d", 6*n, 6*n+5)})
	}
	told := map[string]int{}
	for _, f := range faults {
		path := newPath(t)
		child := testenv.StartChild(t, "faulty", []string{"JOURNAL=" + path, "GOMAXPROCS=1"},
			strace, "-f", "-qq", "-o", os.DevNull, "-e", "trace="+f.calls, "-e", "inject="+f.calls+":error=EIO:when="+f.when)
		opened := false
		for line := range child.Reports {
			opened = true
			word, _, _ := strings.Cut(line, " ")
			told[word]++
		}
		if !opened {
			require.Contains(t, child.Stderr(), "input/output error", "Open itself may fail")
			continue
		}
		require.NoError(t, child.Wait(), "%v", f)
		j := open(t, path, crashOptions())
		all, err := readAll(t, j)
		require.NoError(t, err)
		require.Len(t, all, 40, "%v", f)
		require.Len(t, load(t, j, todo("1"), 39), 1, "%v", f)
		messages, err := outbox(t, j)
		require.NoError(t, err)
		require.Len(t, messages, 40, "%v", f)
		row, _, err := j.Row(t.Context(), "counters", counter("1", 0).Key)
		require.NoError(t, err)
		require.EqualValues(t, 40, row.Version, "%v", f)
		for version := range 40 {
			_, ok, err := j.Receipt(t.Context(), todo("1"), fmt.Sprint(version))
			require.NoError(t, err)
			require.True(t, ok)
		}
		require.NoError(t, j.Close())
	}
	t.Log(told)
	require.NotZero(t, told["unavailable"]+told["unknown"], "no fault was injected")
}
