package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/internal/testenv"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/sqlite"
)

const perWriter = 20

// contend appends to a stream that others write too, until so many of its
// events are stored, and returns their versions.
func contend(ctx context.Context, j journal.Journal) (versions []uint64, err error) {
	s := todo("shared")
	for len(versions) < perWriter {
		latest, err := j.LoadLatest(ctx, s)
		if err != nil {
			return nil, err
		}
		_, err = journal.Commit(ctx, j, batch(events(s, latest.Version, 1)))
		switch {
		case err == nil:
			versions = append(versions, latest.Version+1)
		case !errors.Is(err, journal.ErrConflict):
			return nil, err
		}
	}
	return versions, nil
}

// childContend is a second process that writes.
func childContend() error {
	j, err := sqlite.Open(context.Background(), os.Getenv("JOURNAL"), nil)
	if err != nil {
		return err
	}
	versions, err := contend(context.Background(), j)
	for _, v := range versions {
		testenv.Report("%d", v)
	}
	return errors.Join(err, j.Close())
}

func TestTwoHandlesAndAProcessWriteAtOnce(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	handles := []*sqlite.Journal{open(t, path, nil), open(t, path, nil)}
	child := testenv.StartChild(t, "contend", []string{"JOURNAL=" + path})
	var mu sync.Mutex
	winners := map[uint64]int{}
	var writers sync.WaitGroup
	for i := range 4 {
		writers.Go(func() {
			versions, err := contend(t.Context(), handles[i%2])
			if err != nil {
				t.Errorf("writer %d: %v", i, err)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, v := range versions {
				winners[v]++
			}
		})
	}
	for line := range child.Reports {
		var v uint64
		_, err := fmt.Sscan(line, &v)
		require.NoError(t, err)
		mu.Lock()
		winners[v]++
		mu.Unlock()
	}
	require.NoError(t, child.Wait())
	writers.Wait()
	require.Len(t, winners, 5*perWriter)
	for v, n := range winners {
		require.Equal(t, 1, n, "winners of version %d", v)
	}
	for _, j := range handles {
		records, err := readAll(t, j)
		require.NoError(t, err)
		require.Len(t, records, 5*perWriter)
		for i, rec := range records {
			require.Equal(t, uint64(i+1), rec.Version)
		}
	}
	_, err := journal.Commit(t.Context(), handles[0], batch(events(todo("shared"), 3, 1)))
	var facts *journal.ConflictError
	require.ErrorAs(t, err, &facts)
	require.Equal(t, uint64(5*perWriter), facts.Actual)
}

func TestManyMigrateAtOnce(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			j, err := sqlite.OpenAndMigrate(t.Context(), path, nil)
			if err != nil {
				t.Errorf("handle %d: %v", i, err)
				return
			}
			defer j.Close()
			if _, err := journal.Commit(t.Context(), j, batch(events(todo(fmt.Sprint(i)), 0, 1))); err != nil {
				t.Errorf("handle %d: %v", i, err)
			}
		})
	}
	all.Wait()
	records, err := readAll(t, open(t, path, nil))
	require.NoError(t, err)
	require.Len(t, records, 4)
}
