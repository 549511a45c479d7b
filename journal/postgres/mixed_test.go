package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/postgres"
)

// TestTwoJournalsUnderMixedLoad has two journals write batches of every kind to
// the same few streams, rows, receipts and inboxes. Nothing but a refusal may
// come of it, above all no deadlock that is told to a caller, and each batch is
// stored whole or not at all.
func TestTwoJournalsUnderMixedLoad(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	journals := []*postgres.Journal{d.open(nil), d.open(nil)}
	d.todos()
	const writers, each, streams = 12, 80, 6
	var appended, rows, messages, stored atomic.Int64
	var all sync.WaitGroup
	for w := range writers {
		j := journals[w%2]
		all.Go(func() {
			for i := range each {
				b := batch()
				var names []envelope.Stream
				for _, n := range rand.Perm(streams)[:1+rand.IntN(3)] {
					names = append(names, todo(fmt.Sprint(n)))
				}
				latest, err := j.LoadMany(context.Background(), names)
				if err != nil {
					t.Errorf("load: %v", err)
					return
				}
				for k, s := range names {
					if k == 2 {
						b.Asserts = append(b.Asserts, journal.Assert{Stream: s, Expected: latest[k].Version})
						continue
					}
					b.Appends = append(b.Appends, events(s, latest[k].Version, 1+rand.IntN(3)))
				}
				for n := range rand.IntN(3) {
					b.Rows = append(b.Rows, row(fmt.Sprint((w+i+n*5)%9), "x"))
				}
				if rand.IntN(3) == 0 {
					b.Receipts = append(b.Receipts, envelope.Receipt{Consumer: "c", ID: fmt.Sprint(rand.IntN(200)), Time: when})
				}
				if rand.IntN(2) == 0 {
					message(receipt(b, names[0], fmt.Sprint(rand.IntN(500))), fmt.Sprint(w, "-", i))
				}
				_, err = journal.Commit(context.Background(), j, b)
				switch {
				case err == nil:
					stored.Add(1)
					appended.Add(int64(b.Events()))
					rows.Add(int64(len(b.Rows)))
					messages.Add(int64(len(b.Messages)))
				case !errors.Is(err, journal.ErrConflict) && !errors.Is(err, journal.ErrDuplicate):
					t.Errorf("writer %d: %v", w, err)
				}
			}
		})
	}
	all.Wait()
	require.NotZero(t, stored.Load())
	require.Equal(t, appended.Load(), d.number("SELECT count(*) FROM @events"))
	require.Equal(t, appended.Load(), d.number("SELECT sum(version)::bigint FROM @heads"))
	require.Equal(t, rows.Load(), d.number("SELECT coalesce(sum(_sourced_version), 0)::bigint FROM @todos"))
	require.Equal(t, messages.Load(), d.number("SELECT count(*) FROM @outbox"))
	for n := range streams {
		for i, rec := range load(t, journals[n%2], todo(fmt.Sprint(n))) {
			require.Equal(t, uint64(i+1), rec.Version)
		}
	}
	require.Len(t, readAll(t, journals[0]), int(appended.Load()))
	t.Logf("%d of %d batches were stored", stored.Load(), writers*each)
}
