package bolt_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	"github.com/troupe-go/troupe/journal/bolt"
)

// crashOptions checkpoint often, so that a crash meets all of its stages.
func crashOptions() *bolt.Options {
	return &bolt.Options{CheckpointEvents: 2_000, ReceiptWindow: 1_000, Logger: slog.New(slog.DiscardHandler)}
}

// expecting demands that the row is at version, or absent.
func expecting(version uint64, row envelope.Row) envelope.Row {
	row.Expected = &version
	return row
}

// childLoad commits batches from many goroutines until it is killed, and
// reports each one that was acknowledged. A batch has a tag; each of its
// events says "tag i/n", and its receipt, message, row and message receipt are
// named after it. It goes to the worker's own stream, and sometimes to one that
// all share, or to one that it truncates and that is scavenged meanwhile. A row
// counts the worker's batches.
func childLoad() error {
	j, err := bolt.Open(os.Getenv("JOURNAL"), crashOptions())
	if err != nil {
		return err
	}
	ctx := context.Background()
	var wg sync.WaitGroup
	failures := make(chan error, 1)
	for worker := range 40 {
		wg.Go(func() {
			if err := work(ctx, j, os.Getenv("ROUND"), worker); err != nil {
				select {
				case failures <- err:
				default:
				}
			}
		})
	}
	wg.Go(func() {
		for {
			if _, err := j.Scavenge(ctx, nil); err != nil {
				select {
				case failures <- err:
				default:
				}
				return
			}
		}
	})
	go wg.Wait()
	return <-failures
}

func work(ctx context.Context, j *bolt.Journal, round string, worker int) error {
	own, shared := todo(fmt.Sprint("worker-", worker)), todo("shared")
	latest, err := j.LoadLatest(ctx, own)
	if err != nil {
		return err
	}
	version := latest.Version
	row, _, err := j.Row(ctx, "counters", counter(own.ID, 0).Key)
	if err != nil {
		return err
	}
	stored := row.Version
	for turn := 0; ; turn++ {
		tag := fmt.Sprintf("%s-%d-%d", round, worker, turn)
		n := 1 + turn%3
		cut := todo(fmt.Sprint("cut-", worker))
		b := &journal.Batch{ID: journal.NewBatchID(), Appends: []journal.Append{tagged(own, version, n, tag, 0, n)}}
		if turn%16 == 0 {
			latest, err := j.LoadLatest(ctx, shared)
			if err != nil {
				return err
			}
			b.Appends = []journal.Append{tagged(own, version, n, tag, 0, n+2), tagged(shared, latest.Version, 2, tag, n, n+2)}
		}
		widen(b, tag)
		b.Rows = append(b.Rows, counter(tag, int64(n)), expecting(stored, counter(own.ID, int64(stored+1))))
		if turn%8 == 0 { // lets go of all that it wrote there before
			latest, err := j.LoadLatest(ctx, cut)
			if err != nil {
				return err
			}
			a := events(cut, latest.Version, 2)
			b.Appends = append(b.Appends, a)
			a.Records[1].Name = envelope.BaselineName
			b.Truncates = append(b.Truncates, journal.Truncate{Stream: cut, Before: latest.Version + 2})
		}
		_, err := journal.Commit(ctx, j, receipt(b, own, tag))
		switch {
		case err == nil:
			version += uint64(n)
			stored++
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
		if strings.HasPrefix(rec.Stream.ID, "cut-") {
			continue
		}
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
	requireParts(t, j, stored)
	checked := 0
	for tag := range stored { // in random order: a sample
		worker := strings.Split(tag, "-")[1]
		_, ok, err := j.Receipt(t.Context(), todo("worker-"+worker), tag)
		require.NoError(t, err)
		require.True(t, ok, "the receipt of batch %s is lost", tag)
		if checked++; checked == 500 {
			break
		}
	}
}

// requireParts demands that the stored batches have all their parts, and that
// nothing is there of any other.
func requireParts(t *testing.T, j *bolt.Journal, stored map[string]int) {
	t.Helper()
	messages, err := outbox(t, j)
	require.NoError(t, err)
	require.Len(t, messages, len(stored))
	batches, cuts := map[string]uint64{}, map[string]uint64{} // by worker
	for i, m := range messages {
		require.EqualValues(t, i+1, m.Position)
		require.Contains(t, stored, m.ID, "a message without its batch")
		var round, turn int
		var worker string
		_, err := fmt.Sscanf(strings.ReplaceAll(m.ID, "-", " "), "%d %s %d", &round, &worker, &turn)
		require.NoError(t, err)
		if batches[worker]++; turn%8 == 0 {
			cuts[worker]++
		}
		if i%16 != 0 {
			continue // a sample
		}
		_, found, err := j.MessageReceipt(t.Context(), "load", m.ID)
		require.NoError(t, err)
		require.True(t, found, "the receipt of message %s is lost", m.ID)
		row, found, err := j.Row(t.Context(), "counters", counter(m.ID, 0).Key)
		require.NoError(t, err)
		require.True(t, found, "the row of batch %s is lost", m.ID)
		require.EqualValues(t, 1, row.Version)
	}
	for worker, n := range batches {
		row, _, err := j.Row(t.Context(), "counters", counter("worker-"+worker, 0).Key)
		require.NoError(t, err)
		require.Equal(t, n, row.Version, "batches of worker %s", worker)
		latest, err := j.LoadLatest(t.Context(), todo("cut-"+worker))
		require.NoError(t, err)
		require.Equal(t, 2*cuts[worker], latest.Version, "truncations of worker %s", worker)
		require.Equal(t, max(latest.Version, 1), latest.First)
		require.Len(t, load(t, j, latest.Stream, latest.First-1), min(1, int(latest.Version)))
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
	for round := range testenv.Count(20, 200) {
		if round%10 == 0 { // so that reading it all stays quick
			path, acknowledged = newPath(t), map[string]bool{}
		}
		before := len(acknowledged)
		loadUntil(t, random, path, round, acknowledged, (*testenv.Child).Kill)
		requireAcknowledged(t, path, acknowledged)
		total += len(acknowledged) - before
	}
	t.Logf("%d acknowledged batches", total)
}

// childOpen reports how opening went, and holds the journal until it is killed.
func childOpen() error {
	j, err := bolt.Open(os.Getenv("JOURNAL"), crashOptions())
	if err != nil {
		testenv.Report("%v", err)
		return nil
	}
	defer j.Close()
	testenv.Report("open")
	select {}
}

func TestSecondProcessIsLockedOut(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	child := testenv.StartChild(t, "open", []string{"JOURNAL=" + path})
	require.Equal(t, "open", <-child.Reports)
	opts := crashOptions()
	opts.LockTimeout = 100 * time.Millisecond
	began := time.Now()
	_, err := bolt.Open(path, opts)
	require.ErrorIs(t, err, journal.ErrLocked)
	require.ErrorContains(t, err, path)
	require.Less(t, time.Since(began), 10*time.Second)
	child.Kill()
	j := open(t, path, opts)
	other := testenv.StartChild(t, "open", []string{"JOURNAL=" + path})
	require.Contains(t, <-other.Reports, "another one has it open")
	commit(t, j, batch(events(todo("1"), 0, 1)))
}
