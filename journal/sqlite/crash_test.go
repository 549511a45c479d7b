package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/internal/testenv"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/sqlite"
)

// crashOptions say nothing of what a crash is meant to break, and have receipts
// get into the index often.
func crashOptions() *sqlite.Options { return moving() }

// childLoad commits batches from many goroutines until it is killed, and
// reports each one that was acknowledged. A batch has a tag; each of its
// events says "tag i/n", and its receipt is named after it. It goes to the
// worker's own stream, and sometimes to one that all share.
func childLoad() error {
	j, err := sqlite.OpenAndMigrate(context.Background(), os.Getenv("JOURNAL"), crashOptions())
	if err != nil {
		return err
	}
	ctx := context.Background()
	var wg sync.WaitGroup
	failures := make(chan error, 1)
	for worker := range 20 {
		wg.Go(func() {
			if err := work(ctx, j, os.Getenv("ROUND"), worker); err != nil {
				select {
				case failures <- err:
				default:
				}
			}
		})
	}
	go wg.Wait()
	return <-failures
}

func work(ctx context.Context, j *sqlite.Journal, round string, worker int) error {
	own, shared := todo(fmt.Sprint("worker-", worker)), todo("shared")
	latest, err := j.LoadLatest(ctx, own)
	if err != nil {
		return err
	}
	version := latest.Version
	for turn := 0; ; turn++ {
		tag := fmt.Sprintf("%s-%d-%d", round, worker, turn)
		n := 1 + turn%3
		b := &journal.Batch{ID: journal.NewBatchID(), Appends: []journal.Append{tagged(own, version, n, tag, 0, n)}}
		if turn%16 == 0 {
			latest, err := j.LoadLatest(ctx, shared)
			if err != nil {
				return err
			}
			b.Appends = []journal.Append{tagged(own, version, n, tag, 0, n+2), tagged(shared, latest.Version, 2, tag, n, n+2)}
		}
		_, err := journal.Commit(ctx, j, receipt(b, own, tag))
		switch {
		case err == nil:
			version += uint64(n)
			testenv.Report("%s", tag)
		case !errors.Is(err, journal.ErrConflict):
			return err
		}
	}
}

// tagged appends events number first and up of the total of a batch.
func tagged(s envelope.Stream, expected uint64, n int, tag string, first, total int) journal.Append {
	a := events(s, expected, n)
	for i := range a.Records {
		a.Records[i].Data = fmt.Appendf(nil, "%s %d/%d", tag, first+i, total)
	}
	return a
}

// requireAcknowledged demands that every acknowledged batch is stored, that
// every stored one is whole and stored once, and that streams have no gaps.
func requireAcknowledged(t *testing.T, path string, acknowledged map[string]bool) {
	t.Helper()
	j := open(t, path, crashOptions())
	defer j.Close()
	versions := map[envelope.Stream]uint64{}
	stored := map[string]int{} // events seen
	records, err := readAll(t, j)
	require.NoError(t, err)
	for _, rec := range records {
		versions[rec.Stream]++
		require.Equal(t, versions[rec.Stream], rec.Version, "a gap in stream %s", rec.Stream)
		tag, part, _ := strings.Cut(string(rec.Data), " ")
		var i, total int
		_, err := fmt.Sscanf(part, "%d/%d", &i, &total)
		require.NoError(t, err)
		require.Equal(t, stored[tag], i, "batch %s is stored twice or in parts", tag)
		if stored[tag]++; stored[tag] == total {
			stored[tag] = -1
		}
	}
	for tag, n := range stored {
		require.Equal(t, -1, n, "batch %s is not whole", tag)
	}
	for tag := range acknowledged {
		require.Contains(t, stored, tag, "an acknowledged batch is lost")
	}
	for s, version := range versions {
		latest, err := j.LoadLatest(t.Context(), s)
		require.NoError(t, err)
		require.Equal(t, version, latest.Version)
	}
	checked := 0
	for tag := range stored { // in random order: a sample
		worker := strings.Split(tag, "-")[1]
		_, ok, err := j.Receipt(t.Context(), todo("worker-"+worker), tag)
		require.NoError(t, err)
		require.True(t, ok, "the receipt of batch %s is lost", tag)
		if checked++; checked == 200 {
			break
		}
	}
}

// loadUntil runs a child under load until a random moment after its first
// acknowledgement, and adds what it acknowledged; end is how it ends.
func loadUntil(t *testing.T, random *rand.Rand, path string, round int, acknowledged map[string]bool, end func(*testenv.Child)) {
	t.Helper()
	child := testenv.StartChild(t, "load", []string{"JOURNAL=" + path, fmt.Sprint("ROUND=", round)})
	tag, ok := <-child.Reports
	require.True(t, ok, "the child ended before its first acknowledgement")
	acknowledged[tag] = true
	moment := time.NewTimer(time.Duration(random.IntN(60_000)) * time.Microsecond)
	defer moment.Stop()
	for over := false; !over; {
		select {
		case tag, ok := <-child.Reports:
			require.True(t, ok, "the child ended by itself")
			acknowledged[tag] = true
		case <-moment.C:
			over = true
		}
	}
	end(child)
	for tag := range child.Reports {
		acknowledged[tag] = true
	}
}

func TestKilledUnderLoad(t *testing.T) {
	t.Parallel()
	random := testenv.Rand(t)
	path, acknowledged := newPath(t), map[string]bool{}
	total := 0
	for round := range testenv.Count(6, 200) {
		if round%6 == 0 { // so that reading it all stays quick
			path, acknowledged = newPath(t), map[string]bool{}
		}
		before := len(acknowledged)
		loadUntil(t, random, path, round, acknowledged, (*testenv.Child).Kill)
		requireAcknowledged(t, path, acknowledged)
		total += len(acknowledged) - before
	}
	t.Logf("%d acknowledged batches", total)
}
