package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/internal/testenv"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/postgres"
)

const perWriter = 20

// contend appends to a stream that others write too, until so many of its
// events are stored, and returns their versions. Every other batch also writes
// to a second stream that all share.
func contend(ctx context.Context, j journal.Journal) (versions []uint64, err error) {
	s, second := todo("shared"), todo("second")
	for len(versions) < perWriter {
		latest, err := j.LoadMany(ctx, []envelope.Stream{s, second})
		if err != nil {
			return nil, err
		}
		b := batch(events(s, latest[0].Version, 1))
		if len(versions)%2 == 0 {
			b.Appends = append(b.Appends, events(second, latest[1].Version, 1))
		}
		_, err = journal.Commit(ctx, j, b)
		switch {
		case err == nil:
			versions = append(versions, latest[0].Version+1)
		case !errors.Is(err, journal.ErrConflict):
			return nil, err
		}
	}
	return versions, nil
}

// childContend is a second process that writes.
func childContend() error {
	j, err := postgres.Open(context.Background(), os.Getenv("JOURNAL"), &postgres.Options{Schema: os.Getenv("SCHEMA")})
	if err != nil {
		return err
	}
	versions, err := contend(context.Background(), j)
	for _, v := range versions {
		testenv.Report("%d", v)
	}
	return errors.Join(err, j.Close())
}

func TestTwoJournalsAndAProcessRaceForEachVersion(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	journals := []*postgres.Journal{d.open(nil), d.open(nil)}
	child := testenv.StartChild(t, "contend", []string{"JOURNAL=" + d.url, "SCHEMA=" + d.schema})
	var mu sync.Mutex
	winners := map[uint64]int{}
	var writers sync.WaitGroup
	for i := range 4 {
		writers.Go(func() {
			versions, err := contend(context.Background(), journals[i%2])
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
	for _, j := range journals {
		require.Len(t, load(t, j, todo("shared")), 5*perWriter)
		require.Len(t, load(t, j, todo("second")), 5*perWriter/2)
	}
}

func TestChangedHearsOtherProcesses(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	writer, reader := d.open(nil), d.open(nil)
	for v := range uint64(20) {
		for { // once everything before was heard
			changed := reader.Changed()
			select {
			case <-changed:
				continue
			case <-time.After(60 * time.Millisecond):
			}
			break
		}
		changed := reader.Changed()
		commit(t, writer, batch(events(todo("1"), v, 1)))
		select {
		case <-changed:
		case <-time.After(10 * time.Second):
			require.FailNow(t, "the other journal was not told", "version %d", v+1)
		}
	}
}

func TestStreamTwiceInAGroup(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	j := d.open(nil)
	for round := range 50 {
		s := todo(fmt.Sprint(round))
		first := submit(j, batch(events(s, 0, 2)))
		next := submit(j, batch(events(s, 2, 3)))  // goes with it
		stale := submit(j, batch(events(s, 2, 1))) // does not
		last := submit(j, batch(events(s, 5, 1)))
		var positions []journal.Position
		for _, answer := range []<-chan outcome{first, next, last} {
			o := <-answer
			require.NoError(t, o.err)
			positions = append(positions, o.res.Position)
		}
		require.ErrorIs(t, (<-stale).err, journal.ErrConflict)
		records := load(t, j, s)
		require.Len(t, records, 6)
		for i, version := range []int{2, 5, 6} {
			require.Equal(t, records[version-1].Position, positions[i])
		}
	}
}

func TestWideAndNarrowBatchesOfAStreamKeepTheirOrder(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.open(nil).Close()
	d.todos()
	opts := d.options()
	opts.Committers, opts.MaxGroupEvents = 3, 20
	j := d.open(opts)
	var answers []<-chan outcome
	heads := map[envelope.Stream]uint64{}
	take := func(id string, n int) journal.Append {
		s := todo(id)
		a := events(s, heads[s], n)
		heads[s] += uint64(n)
		return a
	}
	for i := range 600 {
		id, other := fmt.Sprint(i%7), fmt.Sprint((i+1+i/7%5)%7)
		b := batch(take(id, 1))
		switch i % 5 {
		case 1: // of two streams
			b.Appends = append(b.Appends, take(other, 2))
		case 2: // of one, and of another lane's assert
			b.Asserts = append(b.Asserts, journal.Assert{Stream: todo(other), Expected: heads[todo(other)]})
		case 3: // not plain
			b.Rows = append(b.Rows, row(id, fmt.Sprint(i)))
		}
		if i%11 == 0 {
			receipt(message(b, fmt.Sprint("m", i)), todo(id), fmt.Sprint("c", i))
		}
		answers = append(answers, submit(j, b))
	}
	for i, answer := range answers {
		require.NoError(t, (<-answer).err, "batch %d", i)
	}
	for s, head := range heads {
		require.Len(t, load(t, j, s), int(head))
	}
	require.Equal(t, int64(55), d.number("SELECT count(*) FROM @outbox"))
}

func TestServerRefusesOnlyTheCulprit(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.open(nil).Close()
	d.todos()
	d.exec("ALTER TABLE @todos ADD CHECK (task <> 'forbidden')")
	opts := d.options()
	opts.Committers = 1
	j := d.open(opts)
	bad := map[int]envelope.Row{
		3:  row("x", "forbidden"),
		14: {Table: "todos", Op: envelope.RowUpsert, Key: []envelope.Column{{Name: "id", Value: "y"}}, Columns: []envelope.Column{{Name: "count", Value: "no number"}}},
		25: {Table: "todos", Op: envelope.RowUpsert, Key: []envelope.Column{{Name: "id", Value: "y"}}, Columns: []envelope.Column{{Name: "at", Value: int64(5)}}},
		36: {Table: "nowhere.todos", Op: envelope.RowDelete, Key: []envelope.Column{{Name: "id", Value: "y"}}},
	}
	var answers []<-chan outcome
	for i := range 60 {
		b := batch(events(todo(fmt.Sprint(i)), 0, 1))
		b.Rows = append(b.Rows, row(fmt.Sprint(i), "fine"))
		if r, ok := bad[i]; ok {
			b.Rows = append(b.Rows, r)
		}
		answers = append(answers, submit(j, b))
	}
	for i, answer := range answers {
		if _, ok := bad[i]; ok {
			require.ErrorIs(t, (<-answer).err, journal.ErrInvalid, "batch %d", i)
		} else {
			require.NoError(t, (<-answer).err, "batch %d", i)
		}
	}
	require.Equal(t, int64(56), d.number("SELECT count(*) FROM @todos"))
	require.Len(t, readAll(t, j), 56)
}

func TestDamageFailsWhoMeetsIt(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	opts := d.options()
	opts.Committers = 1
	j := d.open(opts)
	for _, id := range []string{"gap", "behind", "good"} {
		commit(t, j, batch(events(todo(id), 0, 3)))
	}
	d.exec("DELETE FROM @events WHERE id = 'gap' AND version = 2")
	d.exec("UPDATE @heads SET version = 2 WHERE id = 'behind'")
	var err error
	for _, err = range j.Load(t.Context(), todo("gap"), 0) {
	}
	require.ErrorIs(t, err, journal.ErrCorrupt)
	require.ErrorContains(t, err, "gap has no version 2")
	answers := map[string]<-chan outcome{}
	for id, expected := range map[string]uint64{"good": 3, "behind": 2, "new": 0} {
		answers[id] = submit(j, batch(events(todo(id), expected, 1)))
	}
	require.NoError(t, (<-answers["good"]).err)
	require.ErrorIs(t, (<-answers["behind"]).err, journal.ErrCorrupt)
	require.NoError(t, (<-answers["new"]).err)
}

func TestMissingBaselineIsNoEmptyAggregate(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	j := d.open(nil)
	s := todo("1")
	commit(t, j, batch(events(s, 0, 3)))
	b := batch(events(s, 3, 1))
	b.Appends[0].Records[0].Name = envelope.BaselineName
	b.Truncates = []journal.Truncate{{Stream: s, Before: 4}}
	commit(t, j, b)
	commit(t, j, batch(events(s, 4, 2)))
	deleted, err := j.Scavenge(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, 3, deleted)
	require.Len(t, load(t, j, s), 3)
	d.exec("DELETE FROM @events WHERE version = 4")
	_, err = j.LoadLatest(t.Context(), s)
	require.ErrorIs(t, err, journal.ErrHistoryGone)
	for _, err = range j.Load(t.Context(), s, 0) {
	}
	require.ErrorIs(t, err, journal.ErrHistoryGone)
}
